import os
import re
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from lit_gen.callbacks.divergence_guard import DivergenceGuard, last_checkpoint, smallest_parameters
from lit_gen.errors import UserError

NAN, INF = float("nan"), float("inf")


def spoil_gradient(parameter: nn.Parameter, at_step: int, value: float = NAN, model=None) -> None:
    """One element of the gradient is bad at one step, counted from 1."""

    def hook(gradient):
        if model.trainer.fit_loop.epoch_loop.total_batch_idx + 1 != at_step:
            return gradient
        gradient = gradient.clone()
        gradient.view(-1)[-1] = value
        return gradient

    parameter.register_hook(hook)


@pytest.fixture(params=["each step", "kept on the device"])
def guard(request) -> DivergenceGuard:
    return DivergenceGuard() if request.param == "each step" else DivergenceGuard(every_n_steps=3)


def test_a_sound_run_is_left_alone(make_trainer, linear_model, small_data, guard, tmp_path):
    trainer = make_trainer(guard, ModelCheckpoint(tmp_path), enable_checkpointing=True, max_epochs=3)
    trainer.fit(linear_model(), small_data())
    assert trainer.global_step == 9


@pytest.mark.parametrize("value", [NAN, INF])
def test_a_bad_term_is_named_with_its_step(make_trainer, linear_model, small_data, guard, value):
    class Diverging(linear_model):
        def training_step(self, batch, batch_idx):
            terms = super().training_step(batch, batch_idx)
            if self.trainer.global_step == 4:
                terms |= {"loss": terms["loss"] * value, "size": terms["size"] * value}
            return terms

    with pytest.raises(UserError, match=r"diverged: at step 5 loss terms 'size'.*, 'loss'.* were not finite; no ch"):
        make_trainer(guard, max_epochs=3).fit(Diverging(), small_data())


def test_a_term_beside_the_loss_is_named_too(make_trainer, linear_model, small_data, guard):
    class Diverging(linear_model):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) | {"size": torch.tensor(INF)}

    with pytest.raises(UserError, match=r"at step 1 loss term 'size'( \(inf\))? was not finite"):
        make_trainer(guard).fit(Diverging(), small_data())


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("name", ["encoder.weight", "decoder.bias"])
def test_a_bad_gradient_is_named_with_its_step(make_trainer, linear_model, small_data, guard, name, value):
    model = linear_model()
    spoil_gradient(model.get_parameter(name), 2, value, model)
    with pytest.raises(UserError, match=rf"at step 2 the gradient of parameter '{name}' was not finite"):
        make_trainer(guard).fit(model, small_data())


def test_a_gradient_that_passes_the_probe_by_is_blamed_for_its_own_step(
    make_trainer, linear_model, small_data, monkeypatch
):
    monkeypatch.setattr("lit_gen.callbacks.divergence_guard.PROBE_ELEMENTS", 4)
    model = linear_model()
    spoil_gradient(model.encoder.weight, 2, NAN, model)
    with pytest.raises(UserError, match=r"the update before step 3 made parameter 'encoder\.weight' not finite"):
        make_trainer(DivergenceGuard()).fit(model, small_data())


def test_the_last_good_checkpoint_is_named_and_none_is_written_after(
    make_trainer, linear_model, small_data, guard, tmp_path
):
    model = linear_model()
    spoil_gradient(model.encoder.weight, 5, NAN, model)
    each = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    with pytest.raises(UserError, match=r"the last good checkpoint is \S+step=4.ckpt"):
        make_trainer(guard, each, enable_checkpointing=True).fit(model, small_data())
    assert sorted(file.name for file in tmp_path.glob("*.ckpt")) == [f"step={n}.ckpt" for n in range(1, 5)]
    for file in tmp_path.glob("*.ckpt"):
        assert all(torch.isfinite(value).all() for value in torch.load(file)["state_dict"].values())


def test_no_checkpoint_of_weights_alone_is_written_after(make_trainer, linear_model, small_data, tmp_path):
    model = linear_model()
    spoil_gradient(model.encoder.weight, 5, NAN, model)
    each = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_top_k=-1, save_weights_only=True)
    with pytest.raises(UserError, match="at step 5"):
        make_trainer(DivergenceGuard(every_n_steps=3), each, enable_checkpointing=True).fit(model, small_data())
    assert len(list(tmp_path.glob("*.ckpt"))) == 4


def test_a_callback_that_saves_first_saves_nothing_bad(make_trainer, linear_model, small_data, guard, tmp_path):
    from lightning.pytorch import Callback

    class Eager(Callback):
        def on_train_batch_end(self, trainer, *args):
            trainer.save_checkpoint(tmp_path / f"{trainer.global_step}.ckpt")

    model = linear_model()
    spoil_gradient(model.encoder.weight, 2, NAN, model)
    with pytest.raises(UserError, match="at step 2"):
        make_trainer(Eager(), guard).fit(model, small_data())
    assert [file.name for file in tmp_path.glob("*.ckpt")] == ["1.ckpt"]


def test_bad_weights_are_never_saved_though_nothing_shows_them(make_trainer, linear_model, small_data, guard, tmp_path):
    class Unused(linear_model):
        def __init__(self):
            super().__init__()
            self.idle = nn.Parameter(torch.zeros(3))

        def on_train_batch_end(self, *args):
            with torch.no_grad():
                self.idle.fill_(NAN)

    with pytest.raises(UserError, match="after step 3 parameter 'idle' was not finite"):
        make_trainer(guard, ModelCheckpoint(tmp_path), enable_checkpointing=True).fit(Unused(), small_data())
    assert list(tmp_path.glob("*.ckpt")) == []


def test_bad_data_are_told_of(make_trainer, linear_model, small_data):
    data = small_data()
    data.x[12, 0, 1, 1] = NAN
    with pytest.raises(UserError, match=r"at step 2 loss terms 'distance' \(nan\).*, nor are the batch's own data"):
        make_trainer(DivergenceGuard()).fit(linear_model(), data)


def test_a_failure_within_the_bad_step_is_told_by_its_cause(make_trainer, linear_model, small_data):
    class Strict(linear_model):
        def training_step(self, batch, batch_idx):
            torch.distributions.Normal(self.encode(batch.x), 1.0, validate_args=True)
            return super().training_step(batch, batch_idx)

    data = small_data()
    data.x[12, 0, 1, 1] = NAN
    with pytest.raises(UserError, match="diverged: step 2 met values that aren't finite"):
        make_trainer(DivergenceGuard()).fit(Strict(), data)


def test_other_failures_pass_through(make_trainer, linear_model, small_data, guard):
    class Broken(linear_model):
        def training_step(self, batch, batch_idx):
            raise ValueError("nothing to do with it")

    with pytest.raises(ValueError, match="nothing to do"):
        make_trainer(guard).fit(Broken(), small_data())


def test_each_player_of_a_game_is_watched(make_trainer, linear_model, small_data, guard):
    class Game(linear_model):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            terms = super().training_step(batch, batch_idx)
            first, second = self.optimizers()
            first.zero_grad(), second.zero_grad()
            self.manual_backward(terms["loss"])
            first.step(), second.step()
            return {name: value.detach() for name, value in terms.items()}

        def configure_optimizers(self):
            return [torch.optim.SGD(part.parameters(), 0.1) for part in (self.encoder, self.decoder)]

    model = Game()
    spoil_gradient(model.decoder.weight, 3, NAN, model)
    with pytest.raises(UserError, match=r"at step 3 the gradient of parameter 'decoder.weight' was not finite"):
        make_trainer(guard).fit(model, small_data())


def test_a_loss_scaler_keeps_its_infinite_gradients(make_trainer, linear_model, small_data, guard):
    model = linear_model()
    spoil_gradient(model.encoder.weight, 2, INF, model)
    trainer = make_trainer(guard, max_epochs=1)
    trainer.precision_plugin.scaler = object()
    model.configure_optimizers = lambda: torch.optim.SGD(model.encoder.parameters(), lr=0.0)
    with pytest.raises(UserError, match="loss term"):  # 0 * inf made the weight nan, and the next loss with it
        trainer.fit(model, small_data())


def test_the_run_after_a_diverged_one_starts_afresh(make_trainer, linear_model, small_data, guard):
    model = linear_model()
    spoil_gradient(model.encoder.weight, 2, NAN, model)
    with pytest.raises(UserError):
        make_trainer(guard).fit(model, small_data())
    make_trainer(guard).fit(linear_model(), small_data())


def test_the_newest_checkpoint_is_the_last(make_trainer, tmp_path):
    checkpoint = ModelCheckpoint(tmp_path / "checkpoints")
    trainer = make_trainer(checkpoint, enable_checkpointing=True)
    assert last_checkpoint(trainer) is None
    (tmp_path / "checkpoints").mkdir()
    for age, name in ((1, "best.ckpt"), (2, "last.ckpt"), (0, "notes.txt")):
        (tmp_path / "checkpoints" / name).touch()
        os.utime(tmp_path / "checkpoints" / name, (100 - age, 100 - age))
    assert last_checkpoint(trainer) == tmp_path / "checkpoints" / "best.ckpt"


def test_the_probe_is_small_and_never_empty():
    big, small = nn.Linear(784, 200), nn.Linear(5, 20)
    probe = smallest_parameters(torch.optim.SGD([*big.parameters(), *small.parameters()], 0.1))
    assert {id(p) for p in probe} == {id(p) for p in (big.bias, *small.parameters())}
    assert len(smallest_parameters(torch.optim.SGD([big.weight], 0.1))) == 1


def test_looking_costs_little(linear_model, make_trainer):
    """The gradients of a 784-200-200-50 autoencoder: well below a hundredth of its step of some milliseconds."""
    sizes = [784, 200, 200, 100, 200, 200, 784]
    network = nn.Sequential(*[nn.Linear(a, b) for a, b in pairwise(sizes)])
    for parameter in network.parameters():
        parameter.grad = torch.rand_like(parameter)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    guard, model = DivergenceGuard(), linear_model()
    trainer = make_trainer(guard)
    guard.on_fit_start(trainer, model)
    times = []
    for _ in range(200):
        begin = time.perf_counter()
        guard.on_before_optimizer_step(trainer, model, optimizer)
        times.append(time.perf_counter() - begin)
    print(f"{sorted(times)[100] * 1e6:.0f} us")
    assert sorted(times)[20] < 200e-6


def test_what_goes_bad_on_one_of_two_ranks_stops_both(tmp_path):
    script = Path(__file__).with_name("diverging_on_two_ranks.py")
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=180)
    assert done.returncode == 2, done.stderr
    # Two processes write to one pipe: their lines may run into each other.
    told = sorted(re.findall(r"rank \d: .*?often helps\.", done.stdout))
    # The first rank may have ended the second before it could tell.
    assert told[0].startswith("rank 0: the run has diverged: at step 2 loss term 'aside' was not finite;"), told
    assert {line.partition(":")[2] for line in told} == {told[0].partition(":")[2]}
    assert not list(tmp_path.glob("*.ckpt"))


def test_counts_below_one_are_refused():
    with pytest.raises(UserError, match="every_n_steps of at least 1, got 0"):
        DivergenceGuard(every_n_steps=0)
