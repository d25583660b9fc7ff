"""The callbacks that count modes, on models that draw from known modes."""

import math

import pytest
import torch

from lit_gen.callbacks.mode_coverage import ModeCoverage, StackedModeCoverage
from lit_gen.data.digits import Digits
from lit_gen.data.toy import GaussianMixture, Grid, Ring, TwoMoons
from lit_gen.errors import UserError
from lit_gen.metrics.digit_classifier import DigitClassifier
from tests.callbacks.drawing import Draws

SMALL = {"num_train": 64, "num_validation": 32, "num_test": 32, "batch_size": 32}


def test_draws_of_some_modes(make_trainer):
    ring = Ring(**SMALL)
    model = Draws(lambda num: ring.modes[torch.randint(2, (num,)) * 4] + 0.001 * torch.randn(num, 2))
    callback = ModeCoverage(num_samples=400, batch_size=60)
    (figures,) = make_trainer(callback).test(model, ring, verbose=False)
    assert figures["test/modes_400"] == 2 and figures["test/high_quality_400"] == 1
    assert figures["test/mode_kl_400"] == pytest.approx(math.log(4), abs=0.02)
    assert callback.protocols["test/modes_400"] == "of 8 modes; high quality within 3 std; 400 samples; noise seed 0"
    assert set(callback.protocols) == {name for name in figures if "_400" in name}
    assert set(model.seen) == {(False, False)}


def test_draws_of_the_density_itself(make_trainer):
    grid = Grid(**SMALL)
    (figures,) = make_trainer(ModeCoverage(2000)).test(Draws(grid.sample), grid, verbose=False)
    assert figures["test/modes_2k"] == 25
    assert figures["test/high_quality_2k"] == pytest.approx(0.989, abs=0.012)
    assert 0 <= figures["test/mode_kl_2k"] < 0.02


def test_weights_are_the_data_s(make_trainer):
    data = GaussianMixture([[0.0, 0.0], [5.0, 5.0]], 0.1, [1, 9], **SMALL)
    (figures,) = make_trainer(ModeCoverage(2000)).test(Draws(data.sample), data, verbose=False)
    assert figures["test/mode_kl_2k"] < 0.005


def test_measured_at_every_nth_validation_without_a_trace_in_training(make_trainer):
    def weights(*callbacks):
        ring = Ring(**SMALL)
        model = Draws(ring.sample, step=1.0)
        drawn = []
        model.training_step = lambda batch, batch_idx: drawn.append(torch.rand(())) or {"loss": model.shift}
        trainer = make_trainer(*callbacks, max_epochs=4)
        trainer.fit(model, ring)
        return drawn, trainer.callback_metrics

    class Spy(ModeCoverage):
        epochs = []

        def measure(self, trainer, *args):
            self.epochs.append(trainer.current_epoch)
            return super().measure(trainer, *args)

    with_figures, metrics = weights(Spy(100, every_n_epochs=2))
    without, _ = weights()
    assert with_figures == without
    assert Spy.epochs == [1, 3]
    assert metrics["val/high_quality_100"] == 0  # the shift has moved all samples away
    make_trainer(Spy(100, every_n_epochs=0)).validate(Draws(Ring().sample), Ring(**SMALL), verbose=False)
    assert Spy.epochs == [1, 3, 0]


def test_a_dry_run_draws_a_block_a_batch(make_trainer):
    ring = Ring(**SMALL)
    trainer = make_trainer(ModeCoverage(2500, batch_size=40), fast_dev_run=2)
    trainer.fit(Draws(ring.sample), ring)
    assert "val/modes_80" in trainer.callback_metrics


def test_stacked_digits(make_trainer, small_data):
    digits = next(iter(Digits(eval_batch_size=200).test_dataloader()))
    classifier = DigitClassifier()
    told = classifier(digits.x)
    ones, sevens = (digits.x[told == digit] for digit in (1, 7))
    model = Draws(lambda num: torch.stack([ones[torch.randint(len(ones), (num,)), 0]] * 2 + [pick(sevens, num)], 1))

    def pick(of, num):
        return of[torch.randint(len(of), (num,)), 0]

    callback = StackedModeCoverage(num_samples=300)
    trainer = make_trainer(callback)
    (figures,) = trainer.test(model, small_data((3, 8, 8)), verbose=False)
    assert figures["test/modes_300"] == 1
    assert figures["test/mode_kl_300"] == pytest.approx(math.log(1000), rel=1e-6)
    assert callback.protocols["test/modes_300"].startswith("of 1000 modes, by a LeNet (weights ")
    model.draw = lambda num: digits.x[torch.randint(len(digits.x), (3 * num,)), 0].view(num, 3, 8, 8)
    (figures,) = trainer.test(model, small_data((3, 8, 8)), verbose=False)
    assert figures["test/modes_300"] > 200


def test_what_is_refused(make_trainer, linear_model):
    for make, match in (
        (lambda: ModeCoverage(0), "num_samples of at least 1"),
        (lambda: ModeCoverage(num_std=0.0), "num_std"),
        (lambda: ModeCoverage(every_n_epochs=-1), "every_n_epochs"),
        (lambda: StackedModeCoverage(batch_size=0), "batch_size"),
    ):
        with pytest.raises(UserError, match=match):
            make()
    moons, ring = TwoMoons(**SMALL), Ring(**SMALL)
    for callback, model, data, match in (
        (ModeCoverage(), Draws(moons.sample), moons, "of which TwoMoons knows none"),
        (ModeCoverage(), ModelWithoutSamples(), ring, "no sample"),
        (StackedModeCoverage(), Draws(ring.sample), ring, r"shape \(2,\)"),
    ):
        with pytest.raises(UserError, match=match) as caught:
            make_trainer(callback).fit(model, data)
        assert "\n" not in str(caught.value)


class ModelWithoutSamples(Draws):
    sample = None

    def __init__(self) -> None:
        super().__init__(lambda num: None)
