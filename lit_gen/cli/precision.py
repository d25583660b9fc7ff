"""The precision that a run is in: what there is of it, and what is said of the rest before anything is built.

Mixed precision is Lightning's. For ``64-true`` the whole run, from the building of the parts to the last picture, has
torch's default type at float64, so that weights, data, noise and what is put together outside of a step agree;
Lightning alone would make only the weights and the steps double.
"""

import torch

from lit_gen.errors import UserError

_SHORT = {"64": "64-true", "32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}

TAKEN = ("32-true", "64-true", "bf16-mixed", "16-mixed")
"""Full names of what a run can be in, on one device or another."""

_HALF = (
    "would keep the weights themselves in 16 bits, in which likelihoods, averages of weights and small updates are "
    "lost; take bf16-mixed (or, on a GPU, 16-mixed), which keeps them in 32"
)
_REFUSED = {
    "16-true": _HALF,
    "bf16-true": _HALF,
    "transformer-engine": "replaces layers by those of another library, which lit-gen is not made for; take bf16-mixed",
}


def full_name(asked: str | int | None) -> str:
    """Lightning's full name of a precision, as ``32-true`` of ``32`` or of nothing."""
    return "32-true" if asked is None else _SHORT.get(str(asked), str(asked))


def check(asked: str | int | None) -> None:
    """Refuse a precision that no model can be trained in.

    Raises:
        UserError: says why, and what to take.
    """
    name = full_name(asked)
    for refused, reason in _REFUSED.items():
        if name.startswith(refused):
            raise UserError(f"trainer.precision={asked} {reason}")


def check_on(asked: str | int | None, device: torch.device) -> None:
    """Refuse a precision that a device has not.

    Raises:
        UserError: 16-mixed on a CPU, where Lightning would take bf16-mixed in its place; 64-true on MPS.
    """
    name = full_name(asked)
    if name == "16-mixed" and device.type == "cpu":
        raise UserError(f"trainer.precision={asked} needs a GPU, and this run is on a CPU; take bf16-mixed or 32-true")
    if name == "64-true" and device.type == "mps":
        raise UserError(f"trainer.precision={asked}: MPS has no float64; take 32-true, or trainer.accelerator=cpu")


def default_dtype_of(asked: str | int | None) -> torch.dtype:
    """Torch's default type in a run of that precision: that of its weights, data and noise."""
    return torch.float64 if full_name(asked) == "64-true" else torch.float32
