"""Moments of real examples, kept between runs."""

import hashlib
import warnings
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from lit_gen.atomic_file import replacing
from lit_gen.cache import cache_folder
from lit_gen.metrics.fid import Moments


def moments_file(data_fingerprint: str, extractor_fingerprint: str) -> Path:
    """Where the moments of these data under this extractor are kept; the file need not exist yet."""
    key = hashlib.sha256(f"{data_fingerprint} {extractor_fingerprint}".encode()).hexdigest()
    return cache_folder() / "moments" / f"{key[:32]}.safetensors"


def _digest(moments: Moments) -> str:
    digest = hashlib.sha256(str(moments.count).encode())
    for value in (moments.mean, moments.covariance):
        digest.update(value.cpu().contiguous().numpy())
    return digest.hexdigest()


def read_moments(file: Path, num_features: int) -> Moments | None:
    """The moments in ``file``, on the CPU; None if there is no file, or a damaged one."""
    try:
        with safe_open(file, framework="pt") as content:
            header = content.metadata() or {}
            moments = Moments(content.get_tensor("mean"), content.get_tensor("covariance"), int(header["count"]))
            intact = header["sha256"] == _digest(moments) and moments.covariance.shape == (num_features, num_features)
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, KeyError, ValueError):
        intact = False
    if not intact:
        warnings.warn(f"{file} is damaged: its moments are computed anew.", stacklevel=2)
        return None
    return moments


def write_moments(file: Path, moments: Moments) -> None:
    """Keep ``moments`` in ``file``, whole or not at all; a folder that can't be written to costs time, not the run."""
    moments = Moments(moments.mean.cpu().contiguous(), moments.covariance.cpu().contiguous(), moments.count)
    tensors = {"mean": moments.mean, "covariance": moments.covariance}
    try:
        with replacing(file) as part:
            part.write_bytes(save(tensors, {"count": str(moments.count), "sha256": _digest(moments)}))
    except (OSError, SafetensorError) as error:
        warnings.warn(f"The moments couldn't be kept in {file} ({error}).", stacklevel=2)
