"""What every model with several players is promised, tried on a GAN."""

import copy
from functools import partial

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau

from lit_gen.errors import UserError

X = torch.randn(24, 2, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("discriminator_steps", [1, 3])
def test_one_batch_is_one_global_step(tiny, discriminator_steps):
    seen = []

    class Count(Callback):
        def on_train_batch_end(self, trainer, *_):
            seen.append(trainer.global_step)

    gan = tiny.gan(discriminator_steps=discriminator_steps)
    trainer = tiny.trainer(max_steps=10, callbacks=[Count()])
    trainer.fit(gan, tiny.Loader(X, 6))  # 4 batches an epoch
    assert trainer.global_step == 10
    assert seen == list(range(1, 11))
    assert trainer.current_epoch == 3  # two whole epochs and a third that was begun


@pytest.mark.parametrize("discriminator_steps", [1, 2])
def test_checkpoint_intervals_count_batches(tiny, tmp_path, discriminator_steps):
    checkpoint = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=3, save_top_k=-1)
    trainer = tiny.trainer(max_steps=10, callbacks=[checkpoint])
    trainer.fit(tiny.gan(discriminator_steps=discriminator_steps), tiny.Loader(X, 6))
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == ["step=3.ckpt", "step=6.ckpt", "step=9.ckpt"]


@pytest.mark.parametrize("num_micro_batches", [2, 4, 5, 100])
def test_micro_batches_add_up_to_the_whole_batchs_gradient(tiny, num_micro_batches):
    """Slices of unequal size among them: 6 examples in 4 or 5 slices."""
    whole, sliced = tiny.Gradients(), tiny.Gradients()
    # SGD, because Adam's first step keeps only the sign of a gradient, so that any error would be all or nothing.
    sgd = {"generator_optimizer": partial(SGD, lr=0.1), "discriminator_optimizer": partial(SGD, lr=0.1)}
    first = tiny.gan(**sgd)
    second = tiny.gan(num_micro_batches=num_micro_batches, **sgd)
    tiny.trainer(max_steps=4, callbacks=[whole]).fit(first, tiny.Loader(X, 6))
    trainer = tiny.trainer(max_steps=4, callbacks=[sliced])
    trainer.fit(second, tiny.Loader(X, 6))
    assert [index for index, _ in whole.steps] == [index for index, _ in sliced.steps] == [0, 1] * 4
    for (_, a), (_, b) in zip(whole.steps, sliced.steps, strict=True):
        for one, other in zip(a, b, strict=True):
            torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-7)


def test_logged_terms_do_not_depend_on_micro_batches(tiny):
    rows = []
    for num in (1, 4):
        trainer = tiny.trainer(max_steps=1)
        trainer.fit(tiny.gan(num_micro_batches=num), tiny.Loader(X, 6))
        rows.append(trainer.callback_metrics)
    assert rows[0].keys() == rows[1].keys() >= {"train/discriminator_loss", "train/generator_loss", "train/real_score"}
    for name in rows[0]:
        torch.testing.assert_close(rows[1][name], rows[0][name])


def test_gradients_are_clipped_to_the_norm(tiny):
    """Seen in the step of plain gradient descent at learning rate 1."""
    limit = 0.01
    sgd = partial(SGD, lr=1.0)
    gan = tiny.gan(gradient_clip_norm=limit, generator_optimizer=sgd, discriminator_optimizer=sgd)
    before = copy.deepcopy(gan)
    gradients = tiny.Gradients()  # callbacks see them before they are clipped
    tiny.trainer(max_steps=1, callbacks=[gradients]).fit(gan, tiny.Loader(X, 6))
    for index, player in enumerate(("discriminator", "generator")):
        pairs = zip(getattr(gan, player).parameters(), getattr(before, player).parameters(), strict=True)
        steps = [(a - b).detach() for a, b in pairs]
        norm = torch.cat([step.flatten() for step in steps]).norm()
        assert norm.item() == pytest.approx(limit, rel=1e-4)
        raw = gradients.steps[index][1]
        scale = limit / torch.cat([g.flatten() for g in raw]).norm()
        for step, gradient in zip(steps, raw, strict=True):
            torch.testing.assert_close(step, -scale * gradient, rtol=1e-3, atol=1e-7)


def test_schedules_count_batches(tiny):
    """Both end their way at the same batch, though the generator steps at every third only."""
    rates = []

    class Rates(Callback):
        def on_train_batch_end(self, trainer, *_):
            rates.append([optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers])

    schedule = partial(LinearLR, start_factor=1.0, end_factor=0.5, total_iters=12)
    gan = tiny.gan(
        discriminator_steps=3,
        generator_optimizer=partial(Adam, lr=1.0),
        discriminator_optimizer=partial(Adam, lr=1.0),
        generator_scheduler=schedule,
        discriminator_scheduler=schedule,
    )
    tiny.trainer(max_steps=12, callbacks=[Rates()]).fit(gan, tiny.Loader(X, 6))
    assert [rate for rate, _ in rates] == pytest.approx([1 - 0.5 * n / 12 for n in range(1, 13)])
    assert [rate for _, rate in rates] == pytest.approx([1 - 0.5 * (n // 3 * 3) / 12 for n in range(1, 13)])


def test_one_player_may_have_a_schedule_alone(tiny):
    gan = tiny.gan(generator_scheduler=partial(LinearLR, start_factor=0.5, total_iters=2))
    trainer = tiny.trainer(max_steps=2)
    trainer.fit(gan, tiny.Loader(X, 6))
    assert [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers] == [1e-3, 1e-3]
    assert len(trainer.lr_scheduler_configs) == 1


def test_no_pending_warning_of_steps_in_the_wrong_order(tiny, recwarn):
    gan = tiny.gan(discriminator_steps=2, generator_scheduler=partial(LinearLR, total_iters=4))
    tiny.trainer(max_steps=4).fit(gan, tiny.Loader(X, 6))
    assert not [str(w.message) for w in recwarn if "lr_scheduler" in str(w.message)]


def test_a_schedule_that_watches_a_loss_is_refused(tiny):
    with pytest.raises(UserError, match="ReduceLROnPlateau"):
        tiny.trainer(max_steps=1).fit(tiny.gan(generator_scheduler=ReduceLROnPlateau), tiny.Loader(X, 6))


def test_brain_float_trains(tiny):
    gan = tiny.gan(gradient_clip_norm=1.0, num_micro_batches=2)
    before = copy.deepcopy(gan.state_dict())
    trainer = tiny.trainer(max_steps=4, precision="bf16-mixed")
    trainer.fit(gan, tiny.Loader(X, 6), tiny.Loader(X, 6))
    assert trainer.global_step == 4
    for name, value in gan.state_dict().items():
        assert value.dtype == torch.float32
        assert value.isfinite().all()
        assert not torch.equal(value, before[name]), name
    assert gan.sample(3).dtype == torch.float32


def test_a_loss_scaler_is_undone_before_gradients_are_seen_and_clipped(tiny):
    """16-mixed with its scaler, on the CPU: the step clips the gradient itself, not 2^16 times it."""
    limit, gradients, exact = 0.05, tiny.Gradients(), tiny.Gradients()
    sgd = partial(SGD, lr=1.0)
    make = partial(tiny.gan, gradient_clip_norm=limit, generator_optimizer=sgd, discriminator_optimizer=sgd)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    gan = make(num_micro_batches=2)
    before = copy.deepcopy(gan.discriminator)
    trainer = tiny.trainer(
        max_steps=1, callbacks=[gradients], plugins=[MixedPrecision("16-mixed", device="cpu", scaler=scaler)]
    )
    trainer.fit(gan, tiny.Loader(X, 6))
    tiny.trainer(max_steps=1, callbacks=[exact]).fit(make(), tiny.Loader(X, 6))
    for got, expected in zip(gradients.steps[0][1], exact.steps[0][1], strict=True):
        torch.testing.assert_close(got, expected, rtol=0.02, atol=1e-3)
    moved = [a - b for a, b in zip(gan.discriminator.parameters(), before.parameters(), strict=True)]
    assert torch.cat([step.detach().flatten() for step in moved]).norm().item() == pytest.approx(limit, rel=1e-3)


def test_overflown_half_precision_gradients_skip_the_step_and_lower_the_scale(tiny):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    gan = tiny.gan()
    before = copy.deepcopy(gan.state_dict())
    trainer = tiny.trainer(max_steps=1, plugins=[MixedPrecision("16-mixed", device="cpu", scaler=scaler)])
    trainer.fit(gan, tiny.Loader(X, 6))
    assert scaler.get_scale() < 2.0**40
    assert trainer.global_step == 1
    assert all(torch.equal(before[name], value) for name, value in gan.state_dict().items())


@pytest.mark.parametrize("wrong", [{"gradient_clip_norm": 0.0}, {"num_micro_batches": 0}])
def test_refuses_numbers_out_of_range(tiny, wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        tiny.gan(**wrong)
