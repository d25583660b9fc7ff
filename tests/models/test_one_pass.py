import warnings

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_gen.errors import UserError
from lit_gen.models.one_pass import OnePassModel


class Mean(OnePassModel):
    """The mean of the examples, and how often it was concluded."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(2))
        self.total, self.count, self.num_conclusions = torch.zeros(2), 0, 0

    def gather(self, batch):
        self.total, self.count = self.total + batch.x.sum(0), self.count + len(batch.x)
        return {"size": batch.x.square().mean()}

    def conclude(self):
        self.num_conclusions += 1
        self.mean.copy_(self.total / self.count)

    def forget(self):
        self.total = None

    def validation_step(self, batch, batch_idx):
        return {"distance": (batch.x - self.mean).square().sum(1)}


X = torch.rand(24, 2, generator=torch.Generator().manual_seed(0))


class Watch(Callback):
    """What pictures and figures of the epoch would see."""

    def __init__(self):
        self.at_validation, self.at_epoch_end = [], []

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self.at_validation.append(pl_module.mean.clone())

    def on_train_epoch_end(self, trainer, pl_module):
        self.at_epoch_end.append(pl_module.mean.clone())


def test_one_pass_is_one_epoch_and_a_batch_is_a_step(tiny):
    model, watch = Mean(), Watch()
    trainer = tiny.trainer(max_epochs=1, callbacks=[watch])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", message=".*(num_workers|workers|logging interval).*")
        trainer.fit(model, datamodule=tiny.TensorData(X, 8))
    assert trainer.global_step == 3
    assert model.num_conclusions == 1
    assert model.total is None
    for seen in [*watch.at_validation, *watch.at_epoch_end]:
        torch.testing.assert_close(seen, X.mean(0))
    assert len(watch.at_validation) == 3
    assert trainer.callback_metrics["val/distance"].item() == pytest.approx((X - X.mean(0)).square().sum(1).mean())
    assert "train/size" in trainer.callback_metrics


def test_without_validation_pictures_and_the_last_steps_checkpoint_have_the_model(tiny, tmp_path):
    model, watch = Mean(), Watch()
    checkpoint = ModelCheckpoint(tmp_path, filename="step", every_n_train_steps=3)
    trainer = tiny.trainer(max_epochs=1, callbacks=[watch, checkpoint], limit_val_batches=0)
    trainer.fit(model, datamodule=tiny.TensorData(X, 8))
    torch.testing.assert_close(watch.at_epoch_end, [X.mean(0)])
    torch.testing.assert_close(torch.load(tmp_path / "step.ckpt")["state_dict"]["mean"], X.mean(0))


def test_a_validation_in_the_middle_sees_what_there_is_so_far(tiny):
    model, watch = Mean(), Watch()
    tiny.trainer(max_epochs=1, callbacks=[watch], val_check_interval=1, limit_val_batches=1).fit(
        model, datamodule=tiny.TensorData(X, 8)
    )
    assert model.num_conclusions == 3
    for number, seen in enumerate(watch.at_validation, 1):
        torch.testing.assert_close(seen, X[: 8 * number].mean(0))


def test_a_pass_cut_short_ends_with_what_it_has_seen(tiny, tmp_path):
    model, watch = Mean(), Watch()
    checkpoint = ModelCheckpoint(tmp_path, filename="step", every_n_train_steps=2)
    tiny.trainer(max_epochs=1, max_steps=2, callbacks=[watch, checkpoint]).fit(model, datamodule=tiny.TensorData(X, 8))
    expected = X[:16].mean(0)
    torch.testing.assert_close(model.mean, expected)
    torch.testing.assert_close(watch.at_epoch_end[0], expected)
    content = torch.load(tmp_path / "step.ckpt", weights_only=True)
    torch.testing.assert_close(content["state_dict"]["mean"], expected)
    assert content["optimizer_states"] == []


@pytest.mark.parametrize(("max_epochs", "told"), [(3, "3"), (-1, "no limit")])
def test_more_epochs_are_refused_before_anything_is_read(tiny, max_epochs, told):
    with pytest.raises(UserError, match=f"Mean is found in one pass .* set trainer.max_epochs to 1, not to {told}$"):
        tiny.trainer(max_epochs=max_epochs, max_steps=5).fit(Mean(), datamodule=tiny.TensorData(X, 8))


def test_a_batch_that_the_pass_drops_is_told(tiny):
    data = tiny.TensorData(X, 8)
    data.batch_size, data.num_examples = 7, lambda split: 24
    with pytest.warns(UserWarning, match="3 whole batches and leaves the last 3 of 24 training examples out"):
        tiny.trainer(max_epochs=1).fit(Mean(), datamodule=data)


def test_other_strategies_for_several_processes_are_refused(tiny):
    model = Mean()
    trainer = tiny.trainer(max_epochs=1)
    model.trainer = trainer
    trainer.strategy.__class__ = type("Sharded", (type(trainer.strategy),), {"world_size": 2})
    trainer.__class__ = type("Two", (type(trainer),), {"world_size": 2})
    with pytest.raises(UserError, match="strategy=ddp, not with Sharded"):
        model.setup("fit")
