"""NLL and FID take memory that doesn't grow with K or with the number of samples.

Counted, not timed: the peak of bytes in live tensors while a figure is measured, at a small and at a large count.
"""

import tempfile
import weakref
from collections.abc import Iterator

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.harness import Result, summarise
from lit_gen.callbacks.fid import FID
from lit_gen.callbacks.likelihood import estimate_log_px
from lit_gen.cli.lit_gen_cli import LitGenCLI
from lit_gen.metrics.features.lenet import LeNet

CONFIG = "conf/vaes/vae_digits.yaml"


class PeakBytes(TorchDispatchMode):
    """Counts the bytes of tensors that are born within the block and still alive; ``peak`` is their maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._live = 0
        self._known: set[int] = set()

    def _die(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._live -= size

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                key = storage._cdata
                if key not in self._known:
                    self._known.add(key)
                    self._live += storage.nbytes()
                    weakref.finalize(storage, self._die, key, storage.nbytes())
        self.peak = max(self.peak, self._live)
        return out


def _peak_of_likelihood(model, x: torch.Tensor, num_samples: int) -> int:
    with torch.no_grad(), PeakBytes() as bytes_:
        estimate_log_px(model, x, list(range(len(x))), num_samples, 500, seed=0)
    return bytes_.peak


def _peak_of_fid(cli: LitGenCLI, num_samples: int) -> int:
    fid = FID(LeNet(), num_samples=num_samples, every_n_epochs=1)
    fid.setup(cli.trainer, cli.model, "validate")
    fid._measure(cli.trainer, cli.model, "val")  # the reference's moments are cached from here on
    with PeakBytes() as bytes_:
        fid._measure(cli.trainer, cli.model, "val")
    return bytes_.peak


def results() -> Iterator[Result]:
    """Peaks at 10 times the count over peaks at the count."""
    with tempfile.TemporaryDirectory() as folder:
        cli = LitGenCLI("fit", ["--config", CONFIG, f"--runs={folder}", "--wandb=false"])
        cli.trainer.datamodule = cli.datamodule
        cli.datamodule.setup("fit")
        cli.model.eval()
        x = next(iter(cli.datamodule.reference_loader("test"))).x[:4]
        ratio = _peak_of_likelihood(cli.model, x, 20_000) / _peak_of_likelihood(cli.model, x, 2_000)
        yield summarise("memory_nll_k2000_to_k20000", [ratio], 1.01, "peak bytes in live tensors")
        ratio = _peak_of_fid(cli, 20_000) / _peak_of_fid(cli, 2_000)
        yield summarise("memory_fid_2k_to_20k", [ratio], 1.01, "peak bytes in live tensors")
        cli.record.close()
