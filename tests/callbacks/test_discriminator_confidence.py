"""What a discriminator makes of data and samples, on discriminators whose verdict is known."""

import pytest
import torch

from lit_gen.callbacks.discriminator_confidence import DiscriminatorConfidence
from lit_gen.data.toy import Ring
from lit_gen.errors import UserError
from tests.callbacks.drawing import Draws, Judges

RING = Ring(num_train=64, num_validation=90, num_test=70, batch_size=32, eval_batch_size=40)


def far(num):
    """Points of which three in four lie beyond 5."""
    return torch.stack([torch.where(torch.arange(num) % 4 == 0, 0.0, 9.0), torch.randn(num)], 1)


def by_place(x):
    """Logits: sure of what is near the origin, and that the rest is not real."""
    return torch.where(x[:, 0].abs() < 5, 2.0, -1.0)


def measured(make_trainer, model, **kwargs):
    callback = DiscriminatorConfidence(**kwargs)
    (figures,) = make_trainer(callback).test(model, RING, verbose=False)
    return {name.removeprefix("test/"): value for name, value in figures.items()}, callback


def test_probabilities_and_accuracy_by_hand(make_trainer, tmp_path):
    model = Judges(far, by_place)
    figures, callback = measured(make_trainer, model, batch_size=40)  # 40 and 30 samples: 10 + 8 are near
    yes, no = torch.tensor([2.0, -1.0]).sigmoid().tolist()
    assert figures["probability_real_of_real"] == pytest.approx(yes)
    assert figures["probability_real_of_fake"] == pytest.approx((18 * yes + 52 * no) / 70)
    assert figures["discriminator_accuracy"] == pytest.approx((1 + 52 / 70) / 2)
    assert callback.protocols["test/discriminator_accuracy"] == "70 test examples and 70 samples; noise seed 0"
    assert set(callback.protocols) == {name for name in (f"test/{n}" for n in figures) if name != "test/loss"}
    (file,) = (tmp_path / "samples").iterdir()
    assert file.name.startswith("discriminator_confidence_") and file.stat().st_size > 5000
    assert set(model.seen) == {(False, False)}


def test_a_tie_is_half_a_right_call(make_trainer):
    figures, _ = measured(make_trainer, Judges(RING.sample, lambda x: 0 * x[:, 0]))
    assert figures["discriminator_accuracy"] == 0.5 == figures["probability_real_of_real"]


def test_raw_scores_where_there_is_no_probability(make_trainer):
    figures, _ = measured(make_trainer, Judges(far, lambda x: 10 + by_place(x), logits=False), batch_size=40)
    assert set(figures) == {"score_of_real", "score_of_fake"}
    assert figures["score_of_real"] == pytest.approx(12)
    assert figures["score_of_fake"] == pytest.approx((18 * 12 + 52 * 9) / 70)


def test_fewer_scores_than_examples(make_trainer):
    """A discriminator that judges two at once."""
    figures, _ = measured(make_trainer, Judges(RING.sample, lambda x: x[::2, 0] * 0 + 1.0))
    assert figures["probability_real_of_fake"] == pytest.approx(torch.tensor(1.0).sigmoid().item())


def test_every_nth_epoch_and_no_trace_in_training(make_trainer, tmp_path):
    def drawn(*callbacks):
        model, numbers = Judges(RING.sample, by_place), []
        model.training_step = lambda batch, batch_idx: numbers.append(torch.rand(())) or {"loss": model.shift}
        trainer = make_trainer(*callbacks, max_epochs=4, num_sanity_val_steps=1)
        trainer.fit(model, RING)
        return numbers, trainer.callback_metrics

    with_figures, metrics = drawn(DiscriminatorConfidence(every_n_epochs=2))
    assert with_figures == drawn()[0]
    assert "val/discriminator_accuracy" in metrics
    names = sorted(file.name for file in (tmp_path / "samples").iterdir())
    assert names == ["discriminator_confidence_0000004.png", "discriminator_confidence_0000008.png"]


def test_what_is_refused(make_trainer):
    for kwargs in ({"every_n_epochs": -1}, {"batch_size": 0}):
        with pytest.raises(UserError, match=next(iter(kwargs))):
            DiscriminatorConfidence(**kwargs)
    with pytest.raises(UserError, match=r"a Draws has no scores\(x\)"):
        make_trainer(DiscriminatorConfidence()).fit(Draws(RING.sample), RING)
