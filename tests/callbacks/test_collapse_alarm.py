"""The alarm on generators made to collapse, on healthy ones, and on small games; in the same steps when resumed."""

import functools
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger

from lit_gen.callbacks.collapse_alarm import CollapseAlarm
from lit_gen.callbacks.gradient_norms import GradientNorms
from lit_gen.data.digits import Digits
from lit_gen.data.toy import Grid, Ring
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError
from lit_gen.models.gans.gan import GAN
from lit_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lit_gen.objectives import NonSaturating
from tests.callbacks.drawing import Draws, Judges

SMALL = {"num_train": 160, "num_validation": 400, "num_test": 20, "batch_size": 10}
QUICK = {"every_n_steps": 2, "start_step": 4, "num_samples": 400}


class Records(Logger):
    """What was logged in which step."""

    name = version = "records"

    def __init__(self):
        super().__init__()
        self.rows = {}

    def log_hyperparams(self, *args, **kwargs):
        pass

    def log_metrics(self, metrics, step=None):
        self.rows.setdefault(step, {}).update(metrics)


def watched(make_trainer, model, data, steps=10, **options):
    """The alarm after a run, its verdicts, the warnings, and the trainer."""
    alarm = CollapseAlarm(**QUICK | options)
    trainer = make_trainer(alarm, max_steps=steps, max_epochs=-1, limit_val_batches=0)
    look, told = alarm.look, []

    def look_and_tell(*args):
        verdict = look(*args)
        told.append(verdict)
        return verdict

    alarm.look = look_and_tell
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(model, data)
    return alarm, told, [str(w.message) for w in caught if "collapse" in str(w.message)], trainer


def near(points, std):
    return lambda num: points[torch.randint(len(points), (num,))] + std * torch.randn(num, *points.shape[1:])


def images(of, std=0.03):
    return lambda num: (near(of, std)(num)).clamp(0, 1)


RING, GRID, DIGITS = Ring(**SMALL), Grid(**SMALL), Digits(num_validation=400)
DIGITS_X = torch.cat([batch.x for batch in DIGITS.reference_loader("train")])
DIGITS_LABEL = torch.cat([batch.label for batch in DIGITS.reference_loader("train")])
COLLAPSED = {
    "one point": (RING, near(RING.modes[:1], 1e-5), "repeat each other"),
    "one mode of the ring": (RING, near(RING.modes[3:4], 0.01), "leave out parts"),
    "two modes of the ring": (RING, near(RING.modes[[0, 4]], 0.01), "leave out parts"),
    "all modes without breadth": (RING, near(RING.modes, 0.0002), "repeat each other"),
    "two modes of the grid": (GRID, near(GRID.modes[[3, 17]], 0.05), "leave out parts"),
    "one digit": (DIGITS, images(DIGITS_X[5:6]), "leave out parts"),
    "one class of digits": (DIGITS, images(DIGITS_X[DIGITS_LABEL == 1]), "leave out parts"),
    "not finite": (RING, lambda num: torch.full((num, 2), torch.nan), "aren't finite"),
}
HEALTHY = {
    "ring": (RING, RING.sample),
    "grid": (GRID, GRID.sample),
    "ring, too broad": (RING, near(RING.modes, 0.03)),
    "digits": (DIGITS, lambda num: DIGITS_X[torch.randperm(len(DIGITS_X))[:num]]),
    "noisy digits": (DIGITS, images(DIGITS_X, 0.1)),
}


@pytest.mark.parametrize("name", COLLAPSED)
def test_raised_by_a_collapsed_generator(make_trainer, name):
    data, draw, finding = COLLAPSED[name]
    alarm, told, warned, trainer = watched(make_trainer, Draws(draw), data)
    assert alarm.raised_at == 6  # looked at 4, 6, 8, 10; patience 2
    assert all(any(finding in words for words in verdict.findings) for verdict in told)
    assert len(warned) == 1 and warned[0].startswith("collapse at step 6: ") and finding in warned[0]
    assert trainer.callback_metrics["train/collapse"] == 1


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("seed", range(3))
def test_not_raised_by_a_healthy_generator(make_trainer, name, seed):
    data, draw = HEALTHY[name]
    alarm, told, warned, trainer = watched(make_trainer, Draws(draw), data, seed=seed, patience=1)
    assert alarm.raised_at is None and not warned and not any(verdict.findings for verdict in told)
    assert trainer.callback_metrics["train/collapse"] == 0
    assert 0.8 < trainer.callback_metrics["train/collapse_diversity"] < 4
    assert trainer.callback_metrics["train/collapse_left_out"] < 0.2


def test_figures_reach_the_loggers_at_each_look_and_the_test(make_trainer):
    alarm, records = CollapseAlarm(**QUICK), Records()
    model = Judges(COLLAPSED["one mode of the ring"][1], lambda x: 2 - x.norm(dim=1))
    trainer = make_trainer(alarm, max_steps=8, limit_val_batches=0, log_every_n_steps=1000, logger=records)
    with pytest.warns(UserWarning, match="collapse at step 6"):
        trainer.fit(model, RING)
    rows = {step: row for step, row in records.rows.items() if "train/collapse" in row}
    assert {step: row["train/collapse"] for step, row in rows.items()} == {3: 0, 5: 1, 7: 1}
    names = ("diversity", "left_out", "probability_real_of_real", "probability_real_of_fake")
    assert set(rows[3]) == {"train/collapse", *(f"train/collapse_{name}" for name in names)}
    assert rows[3]["train/collapse_probability_real_of_real"] == pytest.approx(0.731, abs=0.001)
    (figures,) = trainer.test(model, RING, verbose=False)
    assert figures["test/collapse"] == 1 and figures["test/collapse_left_out"] > 0.8
    told = alarm.protocols["test/collapse"]
    assert told.startswith("the alarm was first raised at step 6; samples leave out parts of the data: 8")
    assert told.endswith("400 samples and val examples; noise seed 0")
    model.draw = RING.sample
    (figures,) = trainer.test(model, RING, verbose=False)
    assert figures["test/collapse"] == 0
    assert "first raised at step 6; nothing wrong with the weights tested" in alarm.protocols["test/collapse"]


def test_an_untrained_generator_is_not_looked_at_and_one_bad_look_is_no_alarm(make_trainer):
    looks = []

    def late(num):  # collapsed at first, at the third look and from the fifth on
        looks.append(1)
        return (COLLAPSED["one point"][1] if len(looks) in (3, 5, 6, 7) else RING.sample)(num)

    alarm, told, *_ = watched(make_trainer, Draws(late), RING, steps=18)
    assert len(told) == 8 and alarm.raised_at == 14


def test_it_can_stop_the_run(make_trainer):
    *_, trainer = watched(make_trainer, Draws(COLLAPSED["one point"][1]), RING, stop=True, steps=40)
    assert trainer.global_step == 6


@pytest.mark.parametrize("gradients,raised", [((1.0, 1.0, 5e-4, 5e-4), 10), ((1.0, 1.0, 1e-2, 1e-2), None)])
def test_a_sure_discriminator_and_a_vanished_gradient(make_trainer, gradients, raised):
    real = torch.cat([batch.x for batch in RING.reference_loader("val")])

    def judge(x):  # knows the validation examples by heart
        known = (x[:, None] == real).all(2).any(1)
        return torch.where(known, 9.0, -9.0)

    norms = GradientNorms()
    alarm = CollapseAlarm(**QUICK)
    values = iter(gradients)
    look = alarm.look

    def look_with_gradient(*args):
        norms.last["generator"] = torch.tensor(next(values))
        return look(*args)

    alarm.look = look_with_gradient
    model = Judges(RING.sample, judge)
    trainer = make_trainer(alarm, norms, max_steps=10, limit_val_batches=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(model, RING)
    assert alarm.raised_at == raised
    assert any("the discriminator is sure" in str(w.message) for w in caught) == (raised is not None)


def game(seed, discriminator_lr):
    """A small DCGAN for digits; against a discriminator that hardly learns the generator runs to one point."""
    seed_everything(seed, verbose=False)
    adam = functools.partial(torch.optim.Adam, betas=(0.5, 0.999), fused=True)
    return GAN(
        DCGANGenerator(latent_dim=16, image_shape=(1, 8, 8), base_channels=16),
        DCGANDiscriminator(image_shape=(1, 8, 8), base_channels=16),
        StandardNormal(16),
        NonSaturating(),
        generator_optimizer=functools.partial(adam, lr=1e-3),
        discriminator_optimizer=functools.partial(adam, lr=discriminator_lr),
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("discriminator_lr,collapses", [(1e-3, False), (1e-7, True)])
def test_raised_in_games_made_to_collapse_and_in_no_healthy_one(make_trainer, seed, discriminator_lr, collapses):
    data = Digits(batch_size=64, num_validation=400)
    options = {"every_n_steps": 50, "start_step": 200, "steps": 250}
    alarm, told, warned, _ = watched(make_trainer, game(seed, discriminator_lr), data, **options)
    assert (alarm.raised_at is not None) == bool(warned) == collapses
    assert all((verdict.figures["left_out"] > 0.6) == collapses for verdict in told)  # far from the threshold


def test_resumed_amid_a_streak(make_trainer, tmp_path):
    def run(*callbacks, steps, **kwargs):
        alarm = CollapseAlarm(**QUICK | {"patience": 3})
        trainer = make_trainer(alarm, *callbacks, max_steps=steps, limit_val_batches=0, enable_checkpointing=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer.fit(Draws(COLLAPSED["one point"][1]), RING, **kwargs)
        return alarm

    whole = run(steps=12)
    run(ModelCheckpoint(tmp_path, filename="at", every_n_train_steps=6), steps=6)
    resumed = run(steps=12, ckpt_path=tmp_path / "at.ckpt", weights_only=True)
    assert whole.raised_at == resumed.raised_at == 8
    assert whole.state_dict() == resumed.state_dict()


def test_looking_leaves_no_trace_in_training(make_trainer):
    def drawn(*callbacks):
        model, numbers = Draws(RING.sample), []
        model.training_step = lambda batch, batch_idx: numbers.append(torch.rand(())) or {"loss": model.shift}
        make_trainer(*callbacks, max_steps=8, limit_val_batches=0).fit(model, RING)
        return numbers

    assert drawn(CollapseAlarm(**QUICK)) == drawn()


def test_what_is_refused(make_trainer, linear_model):
    for kwargs, match in (
        ({"every_n_steps": 0}, "every_n_steps"),
        ({"start_step": -1}, "start_step"),
        ({"patience": 0}, "patience"),
        ({"num_samples": 100}, "num_samples of at least 160"),
        ({"most_left_out": 1.0}, "most_left_out"),
        ({"least_diversity": -0.1}, "least_diversity"),
        ({"reference": "all"}, "'all'"),
    ):
        with pytest.raises(UserError, match=match):
            CollapseAlarm(**kwargs)
    few = Ring(**SMALL | {"num_validation": 50, "num_train": 150})
    for model, data, match in (
        (Draws(RING.sample), few, "train split into num_cells 16 cells, for which its 150 examples are fewer"),
        (Unsampled(), RING, "no sample"),
    ):
        with pytest.raises(UserError, match=match):
            make_trainer(CollapseAlarm()).fit(model, data)


def test_a_small_validation_split_is_passed_over(make_trainer):
    data = Ring(**SMALL | {"num_validation": 150, "num_train": 300})
    alarm, *_ = watched(make_trainer, Draws(data.sample), data)
    assert len(alarm._real) == 300
    alarm, *_ = watched(make_trainer, Draws(data.sample), data, reference="val", num_cells=12, num_samples=150)
    assert len(alarm._real) == 150


def test_two_ranks_stop_together(tmp_path):
    script = Path(__file__).with_name("collapsing_on_two_ranks.py")
    env = {**os.environ, "PYTHONPATH": str(script.parents[2])}
    command = [sys.executable, str(script), str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"rank_{rank}.json").read_text()) for rank in range(2))
    assert first["step"] == second["step"] == first["raised_at"] == second["raised_at"] == 4
    assert first["norms"] == second["norms"] and set(first["norms"]) == {"generator", "discriminator"}
    assert first["figures"] == second["figures"] and first["figures"]["train/collapse"] == 1
    assert len(first["told"]) == 1 and not second["told"]
    names = {file.name for file in (tmp_path / "samples").iterdir()}
    assert {"sample_strip_0000002.png", "discriminator_0000000.png"} <= names


class Unsampled(Draws):
    sample = None

    def __init__(self) -> None:
        super().__init__(lambda num: None)
