"""The lean loop beside Lightning's own: the same hooks, figures, counters and weights, step for step."""

import pickle
from functools import partial

import lightning
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LambdaCallback, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.precision import Precision
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adam
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader

from lit_gen.cli.lean import LeanEpochLoop, LeanPrecision, NoProfiler, make_lean
from lit_gen.cli.step_hooks import STEP_HOOKS
from lit_gen.data.digits import Digits
from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.models.base import GenerativeModel
from lit_gen.models.gans.gan import GAN
from lit_gen.models.vaes.vae import VAE
from lit_gen.networks.mlp import MLP
from lit_gen.objectives.adversarial.non_saturating import NonSaturating

SHAPE = (1, 8, 8)


def schedule(optimizer) -> StepLR:
    return StepLR(optimizer, step_size=3, gamma=0.9)


def make_vae(kind: type[VAE] = VAE) -> VAE:
    torch.manual_seed(0)
    return kind(
        encoder=MLP(SHAPE, 3, [8], nn.Tanh, params_per_output=2),
        decoder=MLP(3, SHAPE, [8], nn.Tanh),
        posterior=NormalHead(),
        likelihood=BernoulliHead(),
        prior=StandardNormal(3),
        optimizer=Adam,
        scheduler=schedule,
    )


def make_gan() -> GAN:
    torch.manual_seed(0)
    return GAN(
        generator=nn.Sequential(MLP(3, SHAPE, [8]), nn.Sigmoid()),
        discriminator=MLP(SHAPE, (), [8]),
        prior=StandardNormal(3),
        objective=NonSaturating(),
        generator_scheduler=schedule,
        discriminator_scheduler=schedule,
        discriminator_steps=2,
    )


def plain(value):
    """Tensors and what holds them as something that compares with ==, bit for bit."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value


class Rows(Logger):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = []

    name = version = "rows"

    def log_metrics(self, metrics, step=None) -> None:
        self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, *args, **kwargs) -> None:
        """Nothing."""


class Recorder(Callback):
    """Every step hook with the name Lightning notes for it, the step, and what the callbacks can read then."""

    def __init__(self) -> None:
        self.calls = []
        self.saved = []

    def note(self, hook: str, trainer, pl_module, *more) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        progress = trainer.fit_loop.epoch_loop.batch_progress.state_dict()
        self.calls.append((hook, pl_module._current_fx_name, trainer.global_step, figures, str(progress), *more))

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.note("on_train_batch_start", trainer, pl_module, batch_idx, plain(batch.x))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.note("on_train_batch_end", trainer, pl_module, batch_idx, plain(outputs))
        if batch_idx % 3 == 1:  # between the steps that reach the loggers
            self.log("seen", float(trainer.global_step))

    def on_before_zero_grad(self, trainer, pl_module, optimizer) -> None:
        self.note("on_before_zero_grad", trainer, pl_module, type(optimizer).__name__)

    def on_before_backward(self, trainer, pl_module, loss) -> None:
        self.note("on_before_backward", trainer, pl_module, plain(loss))

    def on_after_backward(self, trainer, pl_module) -> None:
        self.note("on_after_backward", trainer, pl_module)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        gradients = [plain(p.grad) for group in optimizer.param_groups for p in group["params"]]
        self.note("on_before_optimizer_step", trainer, pl_module, type(optimizer).__name__, gradients)

    def on_validation_start(self, trainer, pl_module) -> None:
        self.note("on_validation_start", trainer, pl_module)

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.note("on_train_epoch_end", trainer, pl_module)

    def on_save_checkpoint(self, trainer, pl_module, checkpoint) -> None:
        self.saved.append((checkpoint["global_step"], plain(checkpoint["loops"]), plain(checkpoint["lr_schedulers"])))


def quiet_trainer(**options) -> Trainer:
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(profiler=NoProfiler(), **(quiet | options))


def fit(model, folder, lean: bool, callbacks=(), **options) -> dict:
    """Everything that a run leaves, as plain values."""
    recorder, rows, by_lambda = Recorder(), Rows(), []
    on_the_instance = LambdaCallback(
        on_after_backward=lambda trainer, module: by_lambda.append(("backward", module._current_fx_name)),
        on_train_batch_end=lambda trainer, module, *more: by_lambda.append(("end", trainer.global_step)),
    )
    every_five = ModelCheckpoint(folder / f"lean-{lean}", every_n_train_steps=5, save_top_k=-1)
    settings = {
        "max_steps": 20,
        "val_check_interval": 4,
        "limit_val_batches": 2,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 3,
    }
    callbacks = [recorder, on_the_instance, every_five, *callbacks]
    trainer = quiet_trainer(callbacks=callbacks, logger=rows, **(settings | options))
    if lean:
        assert isinstance(make_lean(trainer).fit_loop.epoch_loop, LeanEpochLoop)
    trainer.fit(model, datamodule=Digits(batch_size=128))  # epochs of eight batches
    return {
        "calls": recorder.calls,
        "lambda": by_lambda,
        "saved": recorder.saved,
        "rows": rows.rows,
        "global_step": trainer.global_step,
        "epoch": trainer.current_epoch,
        "weights": plain(model.state_dict()),
        "optimizers": [plain(optimizer.state_dict()) for optimizer in trainer.optimizers],
        "loops": plain(trainer.fit_loop.state_dict()),
        "figures": plain(dict(trainer.callback_metrics)),
    }


def assert_lean_is_stock(make, folder, make_callbacks=list, **options) -> dict:
    stock = fit(make(), folder, False, make_callbacks(), **options)
    lean = fit(make(), folder, True, make_callbacks(), **options)
    for one, other in zip(lean["calls"], stock["calls"], strict=False):
        assert one[:5] == other[:5]
    for key, value in stock.items():
        assert lean[key] == value, key
    return stock


@pytest.fixture
def no_stock_steps(monkeypatch):
    """A step that the lean loop leaves to the stock one is an error."""
    from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop

    stock = _TrainingEpochLoop.advance

    def advance(self, data_fetcher):
        assert not isinstance(self, LeanEpochLoop), "left to the stock loop"
        return stock(self, data_fetcher)

    def pre_backward(self, tensor, module):
        assert not isinstance(self, LeanPrecision), "hooks looked up"
        return stock_pre_backward(self, tensor, module)

    stock_pre_backward = Precision.pre_backward
    monkeypatch.setattr(_TrainingEpochLoop, "advance", advance)
    monkeypatch.setattr(Precision, "pre_backward", pre_backward)


@pytest.mark.parametrize("make", [make_vae, make_gan])
def test_step_for_step_as_stock(make, tmp_path, no_stock_steps):
    left = assert_lean_is_stock(make, tmp_path)
    assert left["global_step"] == 20
    assert [step for step, *_ in left["saved"]] == [5, 10, 15, 20]
    seen = {call[0] for call in left["calls"]}
    assert seen >= set(STEP_HOOKS) - ({"on_before_zero_grad"} if make is make_gan else set())
    assert all(call[0] == call[1] for call in left["calls"])
    assert left["lambda"] and left["rows"]
    assert any(call[0] == "on_validation_start" for call in left["calls"])


def test_gradients_are_clipped_by_the_trainer(tmp_path, no_stock_steps):
    clipped = assert_lean_is_stock(make_vae, tmp_path, gradient_clip_val=0.01)
    assert clipped["weights"] != fit(make_vae(), tmp_path / "free", True)["weights"]


@pytest.mark.parametrize("options", [{"accumulate_grad_batches": 2}, {"precision": "64-true"}], ids=str)
def test_what_is_not_plain_equals_stock(options, tmp_path):
    assert_lean_is_stock(make_vae, tmp_path, **options)


def test_bfloat16_autocast(tmp_path, no_stock_steps):
    assert_lean_is_stock(make_vae, tmp_path, precision="bf16-mixed", max_steps=6)


class SkipsRest(VAE):
    def on_train_batch_start(self, batch, batch_idx):
        super().on_train_batch_start(batch, batch_idx)
        return -1 if batch_idx == 5 else None


def test_model_that_skips_the_rest_of_the_epoch(tmp_path, no_stock_steps):
    left = assert_lean_is_stock(lambda: make_vae(SkipsRest), tmp_path, max_steps=-1, max_epochs=3)
    assert left["global_step"] == 15


class MinusOne(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        return -1


def test_minus_one_of_a_callback_means_nothing(tmp_path, no_stock_steps):
    assert assert_lean_is_stock(make_vae, tmp_path, lambda: [MinusOne()])["global_step"] == 20


def make_vae_of_lbfgs() -> VAE:
    model = make_vae()
    model.optimizer = partial(LBFGS, max_iter=2)
    model.scheduler = None
    return model


def test_optimizer_that_evaluates_more_than_once(tmp_path, no_stock_steps):
    left = assert_lean_is_stock(make_vae_of_lbfgs, tmp_path, max_steps=6)
    backwards = [call for call in left["calls"] if call[0] == "on_after_backward"]
    assert len(backwards) > 6


def test_what_an_optimizer_does_before_its_step_comes_before_the_closure(tmp_path):
    seen = []

    def before(optimizer, args, kwargs) -> None:
        seen.append(optimizer.param_groups[0]["params"][0].grad is None)

    def make_watched_vae() -> VAE:
        model = make_vae()
        model.optimizer = lambda parameters: watched(Adam(parameters))
        return model

    def watched(optimizer: Adam) -> Adam:
        optimizer.register_step_pre_hook(before)
        return optimizer

    assert_lean_is_stock(make_watched_vae, tmp_path, max_steps=3)
    assert seen[:3] == seen[3:]
    assert len(seen) == 6


def test_a_trainer_can_be_copied_after_a_run(tmp_path):
    trainer = make_lean(quiet_trainer(max_steps=2, logger=False, enable_checkpointing=False))
    trainer.fit(make_vae(), datamodule=Digits(batch_size=128))
    pickle.dumps(trainer.fit_loop)


@pytest.mark.parametrize("limit", [3, 8])
def test_epochs_that_are_cut_short(limit, tmp_path, no_stock_steps):
    options = {"limit_train_batches": limit, "val_check_interval": 1.0}
    assert_lean_is_stock(make_vae, tmp_path, max_steps=-1, max_epochs=3, **options)


class OfTwoStreams(VAE):
    def train_dataloader(self):
        return [DataLoader(range(6)), DataLoader(range(4))]

    def training_step(self, batches, batch_idx):
        return {"loss": sum(batch.float().sum() for batch in batches) * next(self.parameters()).sum()}


def fit_streams(make_loop) -> list:
    rows = Rows()
    trainer = quiet_trainer(max_epochs=2, logger=rows, log_every_n_steps=1, enable_checkpointing=False)
    make_loop(trainer).fit(make_vae(OfTwoStreams))
    return [(step, {k: v for k, v in row.items() if k != "epoch"}) for step, row in rows.rows]


def test_several_loaders_go_through_their_tree(no_stock_steps):
    lean = fit_streams(make_lean)
    assert lean == fit_streams(lambda trainer: trainer)
    assert len(lean) == 12  # the longer stream's steps


class StepsItsOwnWay(VAE):
    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
        optimizer.step(closure=optimizer_closure)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(0.99)


def test_model_that_overrides_optimizer_step(tmp_path):
    own = assert_lean_is_stock(lambda: make_vae(StepsItsOwnWay), tmp_path)
    assert own["weights"] != fit(make_vae(), tmp_path / "usual", True)["weights"]


class CallsSuper(VAE):
    def on_after_backward(self):
        super().on_after_backward()
        self.backwards = getattr(self, "backwards", 0) + 1


def test_a_models_hook_may_call_the_base_classs(tmp_path, no_stock_steps):
    model = make_vae(CallsSuper)
    fit(model, tmp_path, True)
    assert model.backwards == 20


class Returns(GenerativeModel):
    """A line of regression whose ``training_step`` returns what it is told to."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.layer = what, nn.Linear(64, 1)

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch.x.flatten(1)).square().mean()
        if self.what == "sometimes" and batch_idx % 2:
            return None
        return loss if self.what in ("tensor", "sometimes") else {"loss": loss, "named": loss.detach()}

    def on_train_batch_end(self, outputs, batch, batch_idx):
        """Nothing: outputs of each kind are compared by the recorder."""

    def configure_optimizers(self):
        return SGD(self.parameters(), lr=0.1)


class ByHand(Returns):
    """Steps its optimizer by hand, as Lightning's documentation has it."""

    def __init__(self) -> None:
        super().__init__("mapping")
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, batch_idx)["loss"])
        optimizer.step()


@pytest.mark.parametrize("what", ["mapping", "tensor", "sometimes", "by hand"])
def test_what_training_step_may_return(what, tmp_path, no_stock_steps):
    def make():
        torch.manual_seed(0)
        return ByHand() if what == "by hand" else Returns(what)

    left = assert_lean_is_stock(make, tmp_path, limit_val_batches=0, val_check_interval=1.0)
    assert left["global_step"] == 20
    assert left["weights"] != plain(make().state_dict())


def test_nothing_stays_hidden_after_a_run(tmp_path):
    model, bare = make_vae(), Callback()
    during = []

    class Looks(Callback):
        def on_train_batch_end(self, trainer, pl_module, *more):
            during.append((pl_module.on_after_backward, bare.on_train_batch_start))

    fit(model, tmp_path, True, [bare, Looks()])
    assert set(during) == {(None, None)}
    for hook in STEP_HOOKS:
        assert hook not in vars(model) and hook not in vars(bare)
        assert callable(getattr(model, hook)) and callable(getattr(bare, hook))
    assert pickle.loads(pickle.dumps(bare)).on_train_batch_start is not None


def test_hooks_are_shown_again_after_an_error(tmp_path):
    class Fails(Callback):
        def on_train_batch_end(self, *more):
            raise ArithmeticError

    model = make_vae()
    with pytest.raises(ArithmeticError):
        fit(model, tmp_path, True, [Fails()])
    assert not set(STEP_HOOKS) & vars(model).keys()


def test_another_lightning_keeps_its_own_loop(monkeypatch, tmp_path):
    monkeypatch.setattr(lightning, "__version__", "2.7.0")
    trainer = make_lean(Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path))
    assert not isinstance(trainer.fit_loop.epoch_loop, LeanEpochLoop)
