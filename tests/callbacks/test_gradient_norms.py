"""Gradient norms against those worked out by hand, for one optimizer and for two players."""

import pytest
import torch
from torch import nn

from lit_gen.callbacks.gradient_norms import GradientNorms, player_of
from lit_gen.models.manual import ManualOptimizationModel


class Spy(GradientNorms):
    """Remembers what is logged in which batch."""

    def __init__(self):
        super().__init__()
        self.rows = {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        new = {player: float(norm) for player, norm in self._new.items()}
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if new:
            self.rows[batch_idx + 1] = new


class Players(ManualOptimizationModel):
    """The generator's gradient has norm 5 times its step's number, the discriminator's 13; each second batch."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.generator = nn.Linear(2, 1, bias=False)
        self.discriminator = nn.Linear(1, 1)
        self.stepped = 0

    def play(self, batch, batch_number):
        terms = self.step_player(self.discriminator, 0, "d", self.of_discriminator, batch.x)
        if batch_number % 2:
            self.stepped += 1
            terms |= self.step_player(self.generator, 1, "g", self.of_generator, batch.x)
        return terms

    def of_discriminator(self, x):
        value = 12 * self.discriminator.weight.sum() + 5 * self.discriminator.bias.sum()
        return {"d": value.expand(len(x))}

    def of_generator(self, x):
        value = self.stepped * (self.generator.weight * torch.tensor([3.0, 4.0])).sum()
        return {"g": value.expand(len(x))}

    def configure_optimizers(self):
        return [torch.optim.SGD(part.parameters(), lr=0.1) for part in (self.discriminator, self.generator)]

    def validation_step(self, batch, batch_idx):
        return {}


@pytest.mark.parametrize("options", [{}, {"gradient_clip_norm": 0.1}, {"num_micro_batches": 4}])
def test_players_on_logged_steps_alone_before_clipping(make_trainer, small_data, options):
    spy = Spy()
    trainer = make_trainer(spy, max_epochs=1, log_every_n_steps=3)
    trainer.fit(Players(**options), small_data((2,), num=7 * 4, batch_size=4))
    # In batches 3 and 6; the generator steps in even ones.
    assert spy.rows == {
        3: {"discriminator": pytest.approx(13)},
        6: {"discriminator": pytest.approx(13), "generator": pytest.approx(15)},
    }
    assert float(trainer.callback_metrics["train/gradient_norm_generator"]) == pytest.approx(15)
    assert set(spy.last) == {"generator", "discriminator"}
    again = GradientNorms()
    again.load_state_dict(spy.state_dict())
    assert {player: float(norm) for player, norm in again.last.items()} == {
        "discriminator": pytest.approx(13),
        "generator": pytest.approx(15),
    }


def test_one_optimizer_of_a_whole_model(make_trainer, small_data, linear_model):
    norms = []

    class Model(linear_model):
        def on_before_optimizer_step(self, optimizer):
            norms.append(sum(float(p.grad.square().sum()) for p in self.parameters()) ** 0.5)

    spy = Spy()
    make_trainer(spy, max_epochs=1).fit(Model(), small_data())
    assert [row["model"] for row in spy.rows.values()] == pytest.approx(norms, rel=1e-5)
    assert len(norms) == 3


def test_other_steps_take_no_norm(make_trainer, small_data, linear_model, monkeypatch):
    taken, norm = [], torch._foreach_norm
    monkeypatch.setattr(torch, "_foreach_norm", lambda *args, **kwargs: taken.append(1) or norm(*args, **kwargs))
    make_trainer(GradientNorms(), max_epochs=2, log_every_n_steps=4).fit(linear_model(), small_data())
    assert len(taken) == 1  # of six batches the fourth


def test_names_of_players():
    model = Players()
    assert player_of(torch.optim.SGD(model.generator.parameters(), lr=1.0), model) == "generator"
    both = [*model.generator.parameters(), *model.discriminator.parameters()]
    assert player_of(torch.optim.SGD(both, lr=1.0), model) == "players"

    class VQVAEModel(Players):
        pass

    assert player_of(torch.optim.SGD(both, lr=1.0), VQVAEModel()) == "vqvae_model"
