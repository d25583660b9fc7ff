"""The games' benchmarks, run small: no pass is wasted, and the table goes on where it was left."""

import json
import sys
from functools import partial

import pytest
import torch

from benchmarks import game_steps, games
from lit_gen.models.gans.terms import Due
from lit_gen.objectives import BoundaryEquilibrium
from lit_gen.regularizers import WeightClipping


@pytest.mark.parametrize("name", ["non-saturating", "Wasserstein, gradient penalty", "relativistic pairs, R1 and R2"])
def test_no_network_is_run_more_often_than_by_hand(name, tmp_path):
    result = game_steps.passes(name, tmp_path, torch.randn(1000, 2))
    assert result.ratio == 1.0
    assert result.ok


@pytest.mark.parametrize(
    "name", [name for name, game in game_steps.HAND.items() if game.discriminator_steps == 1 and game.penalty is None]
)
def test_the_hand_written_loops_take_the_same_steps(name, tmp_path):
    """A game by hand ends with the weights of ours, given its batches and its latents."""
    turn = game_steps.Turn(1, 3)
    cli = game_steps.prepared(tmp_path, turn, name)
    ours, theirs = cli.model, game_steps.prepared(tmp_path, turn, name).model
    theirs.load_state_dict(ours.state_dict())
    for model in (ours, theirs):  # Adam would blow up roundings where gradients cancel
        model.generator_optimizer = model.discriminator_optimizer = partial(torch.optim.SGD, lr=0.1)
    z, x = torch.randn(8, 128, 2), torch.randn(4, 128, 2)
    draws = iter(z)
    ours.trainer = cli.trainer
    ours.setup("fit")
    ours.draw_latents = lambda num: next(draws)
    step = game_steps.hand_written(game_steps.HAND[name], theirs.train())
    cli.trainer.strategy.model = ours
    randn = iter(z)
    patched = pytest.MonkeyPatch()
    patched.setattr(torch, "randn", lambda *shape: next(randn))
    for batch in x[:2]:
        step(batch)
    patched.undo()
    terms = [ours._discriminator_terms, ours._generator_terms]
    optimizers = [
        ours.discriminator_optimizer(ours.discriminator.parameters()),
        ours.generator_optimizer(ours.generator.parameters()),
    ]
    for batch in x[:2]:
        for losses, optimizer, player in zip(terms, optimizers, ("discriminator", "generator"), strict=True):
            optimizer.zero_grad()
            due = [Due(*term, ()) for term in ours._terms[player]]
            losses(batch, ours.draw_latents(128), due)[f"{player}_loss"].mean().backward()
            optimizer.step()
    for player in ("generator", "discriminator"):
        after = [list(getattr(model, player).parameters()) for model in (ours, theirs)]
        torch.testing.assert_close(*after)


def test_what_is_done_after_steps_by_hand_is_ours():
    ours, theirs = (torch.nn.Linear(3, 2) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    WeightClipping(0.1).after_step(ours)
    game_steps.clip(theirs)
    assert theirs.weight.abs().max() <= 0.1
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
    objective, game = BoundaryEquilibrium(), game_steps.equilibrium()
    real, fake = torch.rand(8) + 1, torch.rand(8)
    for _ in range(3):
        objective.observe(real=real.mean() * 100, fake=fake.mean())
        game.after_generator(real.mean() * 100, fake.mean())
    assert objective.k > 0.05
    torch.testing.assert_close(
        game.discriminator_loss(real, fake), objective.discriminator_loss(real=real, fake=fake).mean()
    )


def test_the_table_goes_on_where_it_was_left(tmp_path, monkeypatch, capsys):
    kept = tmp_path / "games.json"
    words = ["games", "non-saturating", "hinge", "--steps", "20", "--json", str(kept)]
    for seeds in ("1", "2"):
        monkeypatch.setattr(sys, "argv", [*words, "--seeds", seeds])
        assert games.main() == 0
    runs = json.loads(kept.read_text())
    assert [(run["game"], run["seed"]) for run in runs] == [
        ("non-saturating", 0),
        ("hinge", 0),
        ("non-saturating", 1),
        ("hinge", 1),
    ]
    told = capsys.readouterr()
    assert told.err.count('"game"') == 4  # none was played twice
    assert "| hinge |" in told.out


def test_a_diverged_game_is_told(capsys):
    played = {"game": "hinge", "steps": 9, "modes": 8.0, "high_quality": 0.5, "mode_kl": 0.2}
    diverged = {"game": "hinge", "steps": 9, "diverged": "inf", "modes": 0.0, "high_quality": 0.0, "mode_kl": 0.0}
    (line,) = [line for line in games.table([played, diverged]) if "hinge" in line]
    assert line == "| hinge | 4.0 (0) | 25.0 (0.0) | 0.200 (0.200) | 2 | 1 |"


def test_an_unknown_game_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["games", "chess"])
    assert games.main() == 2
    assert "there is no game chess" in capsys.readouterr().err
