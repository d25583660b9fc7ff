import pytest
import torch
from torch import nn

from lit_gen.protocols import Game, Judged
from lit_gen.regularizers.adversarial.historical_averaging import HistoricalAveraging


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_is_the_squared_distance_to_the_mean_of_all_weights_so_far(player):
    players = {"generator": nn.Linear(2, 3), "discriminator": nn.Linear(3, 1)}
    own = players[player]
    term = HistoricalAveraging(player)
    term.join(**players)
    game = Game(**players, real=None, fake=Judged(torch.zeros(1, 3), torch.zeros(1)))
    history = [[p.detach().clone() for p in own.parameters()]]
    assert term(game).item() == 0.0
    for _ in range(4):
        with torch.no_grad():
            for parameter in own.parameters():
                parameter.add_(torch.randn_like(parameter))
        term.after_step(own)
        history.append([p.detach().clone() for p in own.parameters()])
    means = [torch.stack(values).mean(0) for values in zip(*history, strict=True)]
    expected = sum((p - mean).square().sum() for p, mean in zip(own.parameters(), means, strict=True))
    torch.testing.assert_close(term(game), expected)
    gradients = torch.autograd.grad(term(game), list(own.parameters()))
    for gradient, p, mean in zip(gradients, own.parameters(), means, strict=True):
        torch.testing.assert_close(gradient, 2 * (p - mean))


def test_a_checkpoint_holds_the_mean():
    players = {"generator": nn.Linear(2, 3), "discriminator": nn.Linear(3, 1)}
    term, other = HistoricalAveraging("generator"), HistoricalAveraging("generator")
    term.join(**players)
    other.join(**players)
    with torch.no_grad():
        players["generator"].weight.add_(1.0)
    term.after_step(players["generator"])
    other.load_state_dict(term.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(term.buffers(), other.buffers(), strict=True))
    assert int(other.num_steps) == 1
