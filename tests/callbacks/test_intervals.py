"""However training ends, what has an interval acts on its final model, and the training knows nothing of it."""

import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import EarlyStopping

from lit_gen.callbacks.intervals import EpochPicture, FinalValidation, due, due_or_asked_for
from lit_gen.callbacks.pictures import batches_done


class AtValidations(Callback):
    """Notes after which batch it acted, and what was logged then."""

    def __init__(self, every_n_epochs: int) -> None:
        self.every_n_epochs = every_n_epochs
        self.steps: list[int] = []

    def on_validation_epoch_end(self, trainer, pl_module):
        if due_or_asked_for(trainer, self.every_n_epochs):
            self.steps.append(batches_done(trainer))


class AtEpochEnds(EpochPicture):
    def __init__(self, every_n_epochs: int) -> None:
        super().__init__(every_n_epochs, at_start=False)
        self.steps: list[int] = []

    def save(self, trainer, pl_module):
        self.steps.append(batches_done(trainer))


class Stops(Callback):
    """Asks for the end after a batch, as ``max_time`` does, or in some other hook."""

    def __init__(self, after: int, hook: str) -> None:
        setattr(self, hook, lambda trainer, *args: setattr(trainer, "should_stop", batches_done(trainer) >= after))


def early(**options) -> EarlyStopping:
    return EarlyStopping("val/distance", patience=1, min_delta=1e6, **options)


# What ends the training, after how many batches; an epoch has three.
ENDS = {
    "the last epoch": ({"max_epochs": 5}, [], 15),
    "shorter epochs": ({"max_epochs": 5, "limit_train_batches": 2}, [], 10),
    "a step amid an epoch": ({"max_epochs": -1, "max_steps": 8}, [], 8),
    "a step at an epoch's end": ({"max_epochs": -1, "max_steps": 9}, [], 9),
    "time": ({"max_epochs": 9}, [lambda: Stops(8, "on_train_batch_end")], 8),
    "a stop after the validation": ({"max_epochs": 9}, [lambda: Stops(12, "on_validation_end")], 12),
    "a stop after the epoch": ({"max_epochs": 9}, [lambda: Stops(12, "on_train_epoch_end")], 12),
    "early stopping": ({"max_epochs": 9}, [early], 6),
    "early stopping at validations": ({"max_epochs": 9}, [lambda: early(check_on_train_epoch_end=False)], 6),
    "an epoch without validation": ({"max_epochs": 3, "check_val_every_n_epoch": 2}, [], 9),
    "fewer epochs than validations": ({"max_epochs": 2, "check_val_every_n_epoch": 7}, [], 6),
    "validations amid an epoch": ({"max_epochs": 2, "val_check_interval": 2}, [], 6),
    "none of the validations": ({"max_epochs": 1, "check_val_every_n_epoch": None, "val_check_interval": 2}, [], 3),
}


@pytest.mark.parametrize("every_n_epochs", [1, 2, 4, 100])
@pytest.mark.parametrize("end", ENDS)
def test_what_has_an_interval_acts_on_the_final_model_once(end, every_n_epochs, make_trainer, linear_model, small_data):
    options, others, final = ENDS[end]
    seen, drawn, never = AtValidations(every_n_epochs), AtEpochEnds(every_n_epochs), AtValidations(0)
    trainer = make_trainer(seen, drawn, never, FinalValidation(), *(other() for other in others), **options)
    trainer.fit(linear_model(), small_data())
    assert batches_done(trainer) == final, "the end that the case is about"
    assert drawn.steps[-1] == final
    assert seen.steps[-1] == final
    assert drawn.steps == sorted(set(drawn.steps))
    assert never.steps == []
    if every_n_epochs == 100:
        assert seen.steps == drawn.steps == [final], "and on nothing before"


@pytest.mark.parametrize("end", ENDS)
def test_the_final_validation_changes_no_weight_and_no_count(end, make_trainer, linear_model, small_data):
    left = []
    for extra in ([], [FinalValidation(), AtValidations(4)]):
        options, others, _ = ENDS[end]
        seed_everything(0, verbose=False)
        model, trainer = linear_model(), make_trainer(*extra, *(other() for other in others), **options)
        trainer.fit(model, small_data())
        loops = trainer.fit_loop.state_dict()
        loops.pop("epoch_loop.val_loop.batch_progress")
        loops.pop("epoch_loop.val_loop.state_dict")
        left.append((model.state_dict(), loops, trainer.current_epoch, trainer.global_step))
    (one, *counts), (other, *other_counts) = left
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert counts == other_counts


def test_a_validation_that_is_known_to_be_the_last_is_not_repeated(make_trainer, linear_model, small_data):
    seen = AtValidations(1)
    make_trainer(seen, AtValidations(2), FinalValidation(), max_epochs=3).fit(linear_model(), small_data())
    assert seen.steps == [3, 6, 9]


def test_where_validation_is_turned_off_there_is_none_at_the_end(make_trainer, linear_model, small_data):
    seen = AtValidations(1)
    make_trainer(seen, FinalValidation(), limit_val_batches=0).fit(linear_model(), small_data())
    assert seen.steps == []


def test_its_metrics_are_logged_as_of_the_last_batch_and_its_epoch(make_trainer, linear_model, small_data, tmp_path):
    from lit_gen.loggers.metrics_csv import MetricsCSV

    options = {"max_epochs": 3, "check_val_every_n_epoch": 2, "logger": MetricsCSV(tmp_path)}
    make_trainer(FinalValidation(), **options).fit(linear_model(), small_data())
    head, *_, last = [line.split(",") for line in (tmp_path / "metrics.csv").read_text().splitlines()]
    row = dict(zip(head, last, strict=True))
    assert (row["step"], row["epoch"]) == ("8", "2")
    assert row["val/distance"]
    assert row["train/loss"], "it joins the row of that batch"


def test_outside_of_a_fit_only_what_was_asked_for_is_measured(make_trainer, linear_model, small_data):
    asked, pictures = AtValidations(0), []
    note = Callback()
    note.on_validation_epoch_end = lambda trainer, model: pictures.append(due(trainer, 1))
    make_trainer(asked, note).validate(linear_model(), small_data(), verbose=False)
    assert len(asked.steps) == 1
    assert pictures == [False]
