"""The features of the published Fréchet Inception Distance."""

import hashlib
import io
import pickle
import re
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

from lit_gen.cache import cache_folder
from lit_gen.errors import UserError
from lit_gen.metrics.features.base import FeatureExtractor
from lit_gen.randomness import seeded

WEIGHTS_FILE = URL_INCEPTION_V3.rpartition("/")[2]
# As torch.hub names its files: the first digits of the sha256 stand before the suffix.
SHA256_PREFIX = re.search(r"-([0-9a-f]{8,})\.pth$", WEIGHTS_FILE).group(1)


class InceptionV3(FeatureExtractor):
    """The 2048 pooled activations of the Inception v3 that the FID was defined with, as torch-fidelity ported it.

    Heusel et al. (2017), https://arxiv.org/abs/1706.08500; https://github.com/toshas/torch-fidelity. Pixels are rounded
    to 256 levels, resized to 299x299 as TensorFlow 1 does, and grey images repeated to three channels.

    Args:
        weights: local file of torch-fidelity's weights. None takes them from the cache folder (``$LIT_GEN_CACHE``, else
            ``~/.cache/lit_gen``) and fetches them there (91 MB) the first time.
        check_hash: refuse a file other than the published one. False is for tests with weights of their own.

    Raises:
        UserError: if the weights can neither be found nor fetched, or the file isn't the published one.
    """

    name = "inception"
    num_features = 2048

    def __init__(self, weights: Path | None = None, check_hash: bool = True) -> None:
        super().__init__()
        file = _fetched() if weights is None else Path(weights)
        self.network = _load_network(file, _read_state(file, check_hash))
        self.freeze()

    def extract(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, 2048)."""
        levels = (x.float() * 255).round().clamp(0, 255).to(torch.uint8)
        if levels.shape[1] == 1:
            levels = levels.expand(-1, 3, -1, -1)
        (features,) = self.network(levels)
        return features


def _fetched() -> Path:
    """The cached file of weights, downloaded if it isn't there."""
    file = cache_folder() / WEIGHTS_FILE
    if file.exists():
        return file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Writes beside the file and moves it there when the hash is right, so several processes may do so at once.
        torch.hub.download_url_to_file(URL_INCEPTION_V3, str(file), hash_prefix=SHA256_PREFIX)
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"The Inception weights couldn't be fetched ({error}): download {URL_INCEPTION_V3} on a machine with a "
            f"network and put the file at {file}, or name it as the extractor's 'weights'."
        ) from None
    return file


def _read_state(file: Path, check_hash: bool) -> dict[str, Tensor]:
    """The state dict in ``file``, read without running any code that it may carry."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(
            f"The Inception weights at {file} can't be read ({error.strerror}): put {WEIGHTS_FILE} there, from "
            f"{URL_INCEPTION_V3}."
        ) from None
    digest = hashlib.sha256(content).hexdigest()
    if check_hash and not digest.startswith(SHA256_PREFIX):
        raise UserError(
            f"{file} isn't the published {WEIGHTS_FILE}: its sha256 begins with {digest[:8]}, not {SHA256_PREFIX}; "
            "remove it, and it is fetched anew."
        )
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{file} isn't a file of weights ({reason}).") from None


def _load_network(file: Path, state: dict[str, Tensor]) -> FeatureExtractorInceptionV3:
    # torch-fidelity unpickles whatever it is given (weights_only=False), so it is given our own copy of the tensors.
    copy = io.BytesIO()
    torch.save(state, copy)
    copy.seek(0)
    try:
        # Its constructor draws initial weights; the model's must not depend on whether there is a metric.
        with seeded(0, torch.device("cpu")):
            return FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=copy)
    except (RuntimeError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{file} doesn't hold the weights of torch-fidelity's Inception v3 ({reason}).") from None
