"""Photographs as files of rounded codes: how large, how true, and what PCA and JPEG make of as many bytes."""

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor

from lit_gen.callbacks.captions import with_lines_beneath
from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.pictures import save_picture
from lit_gen.data.frames import Photograph
from lit_gen.errors import UserError
from lit_gen.metrics.code_quantization import CodeRange, UniformQuantizer, check_bits
from lit_gen.metrics.frame_coder import FrameCoder, JPEGFile, LinearCode, jpeg_of_size
from lit_gen.metrics.principal_components import fit_principal_components
from lit_gen.metrics.psnr import psnr_db
from lit_gen.protocols import Batch, Codes


class Coded(NamedTuple):
    """An image that went through a file.

    Attributes:
        num_bytes: size of the file.
        image: (H, W) uint8, decoded from it.
        psnr_db: against the original.
    """

    num_bytes: int
    image: Tensor
    psnr_db: float


class Compression(Callback):
    """Codes whole photographs frame by frame, rounds the codes, writes them as bytes and decodes the bytes.

    Cottrell & Munro, Principal components analysis of images via back propagation (1988),
    https://doi.org/10.1117/12.969060. At the test, for each photograph of the data module and each number of bits b:

    - ``psnr_db_<b>bit_<photograph>`` of the image decoded from the file; ``bytes_<b>bit_<photograph>``, the size of the
      file: 5 bytes of header and the entropy-coded codes; ``bits_per_pixel_<b>bit_<photograph>``. What is the same for
      every image, the model and the range of its codes, is not in the file and not in these figures.
    - ``psnr_db_pca_…``, ``bytes_pca_…``: as many principal components of the training frames, each rounded to as many
      bits over its range among the training frames, by the same coder.
    - ``psnr_db_jpeg_…``, ``bytes_jpeg_…``: the best JPEG, headers and all, that is no longer than the model's file.
    - ``psnr_db_unrounded_<photograph>`` and ``psnr_db_pca_unrounded_<photograph>``: codes as they are.

    Pictures: ``samples/compression_<step>.png``, a row for each photograph: original, unrounded code, then each number
    of bits; ``samples/compression_<photograph>_<step>.png``, a row for each number of bits: original, model, PCA, JPEG.

    Rows and columns beyond the last whole frame are neither coded nor scored.

    Args:
        bits: bits a number of the code, each 1 to 16.
        code_range: least and greatest number of the model's codes, as [-1, 1] of tanh; None for each coordinate's range
            among the training frames, known to whoever decodes as the model is.

    Raises:
        UserError: on bits or a range that can't be; at setup, if the model has no codes or the data no photographs.
    """

    def __init__(self, bits: Sequence[int] = (6, 4), code_range: tuple[float, float] | None = None) -> None:
        if not bits:
            raise UserError("Compression needs at least one number of bits.")
        self.bits = [check_bits(number) for number in bits]
        if code_range is not None and not code_range[0] < code_range[1]:
            raise UserError(f"Compression's code_range must rise, but it is {list(code_range)}.")
        self.code_range = code_range
        self.protocols: dict[str, str] = {}
        """The line that states how each logged figure was measured, by the figure's name."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, Codes):
            raise UserError(
                f"Compression needs a model with encode(x) and decode(z), which a {type(pl_module).__name__} hasn't; "
                "take the callback out of the config."
            )
        if not hasattr(trainer.datamodule, "photographs"):
            raise UserError("Compression needs data with whole photographs to code: lit_gen.data.ImageFrames.")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        with eval_mode(pl_module):
            coders = self._coders(trainer, pl_module)
            overview, beside = [], {}
            for photograph in trainer.datamodule.photographs:
                original = whole_frames(photograph.pixels, coders.frame)
                row = [(original, photograph.name), self._unrounded(pl_module, coders, photograph.name, original)]
                beside[photograph.name] = []
                for bits in self.bits:
                    model, pca, jpeg = self._code(pl_module, coders, photograph, original, bits)
                    row.append((model.image, f"{bits} bits {model.psnr_db:.1f} dB"))
                    beside[photograph.name].append(_side_by_side(original, bits, model, pca, jpeg))
                overview.append(row)
        save_picture(trainer, "compression", captioned(overview), "photographs, decoded from their rounded codes")
        for name, rows in beside.items():
            title = f"{name}: the model's file, PCA's of as many numbers, and the best JPEG that is no longer"
            save_picture(trainer, f"compression_{name}", captioned(rows), title)

    def _coders(self, trainer: Trainer, pl_module: LightningModule) -> "_Coders":
        """What both codes are rounded over, measured on the training frames. A collective call."""
        shape = tuple(trainer.datamodule.image_shape)
        frames = self._training_frames(trainer, pl_module.device)
        first = frames[0].x
        codes = CodeRange(pl_module.encode(first[:1]).shape[1]).to(pl_module.device)
        num_components = min(len(codes.low), first[0].numel())
        principal = fit_principal_components(frames, num_components)
        linear = LinearCode(principal.mean, principal.components, shape)
        projections = CodeRange(num_components).to(pl_module.device)
        for batch in frames:
            codes.update(pl_module.encode(batch.x))
            projections.update(linear.encode(batch.x))
        low, high = codes.ends()
        if self.code_range is not None:
            low, high = (torch.full_like(low, end) for end in self.code_range)
        return _Coders(linear, shape[1:], pl_module.device, (low, high), projections.ends())

    def _training_frames(self, trainer: Trainer, device: torch.device) -> list[Batch]:
        # A fast_dev_run of n batches tries the road with n batches.
        limit = int(trainer.fast_dev_run) or None
        loader = trainer.datamodule.reference_loader("train")
        return [batch._replace(x=batch.x.to(device)) for batch in islice(loader, limit)]

    def _unrounded(self, pl_module, coders: "_Coders", name: str, original: Tensor) -> tuple[Tensor, str]:
        """The picture of the model's unrounded codes, and its caption."""
        rows = original.shape[0] // coders.frame[0]
        images = {}
        for who, model in (("", pl_module), ("pca_", coders.linear)):
            coder = FrameCoder(model, None, coders.frame, coders.device)
            images[who] = coder.picture(coder.codes(original), rows)
            protocol = f"{len(coders.code_ends[0])} numbers for {_by(coders.frame)} pixels, not rounded; no file"
            self._log(pl_module, f"psnr_db_{who}unrounded_{name}", psnr_db(images[who], original), protocol)
        return images[""], f"unrounded {psnr_db(images[''], original):.1f} dB"

    def _code(
        self, pl_module, coders: "_Coders", photograph: Photograph, original: Tensor, bits: int
    ) -> tuple[Coded, Coded, Coded]:
        """What the model, PCA and JPEG make of an image, logged."""
        model = through_file(coders.of(pl_module, coders.code_ends, bits), original)
        pca = through_file(coders.of(coders.linear, coders.projection_ends, bits), original)
        jpeg_file = jpeg_of_size(original, model.num_bytes)
        jpeg = Coded(len(jpeg_file.data), jpeg_file.image, psnr_db(jpeg_file.image, original))
        frames = "the image it is of" if photograph.trained else "other images"
        size = f"{original.shape[1]} x {original.shape[0]} grey pixels, {original.numel()} bytes"
        for who, coded, how in (
            ("", model, self._how(pl_module, coders, bits) + f"; trained on frames of {frames}; {size}"),
            ("pca_", pca, f"{len(coders.linear.components)} principal components, {bits} bits over training range"),
            ("jpeg_", jpeg, _how_jpeg(jpeg_file, model.num_bytes)),
        ):
            tail = f"{who}{bits}bit_{photograph.name}"
            self._log(pl_module, f"psnr_db_{tail}", coded.psnr_db, how)
            self._log(pl_module, f"bytes_{tail}", coded.num_bytes)
            self._log(pl_module, f"bits_per_pixel_{tail}", 8 * coded.num_bytes / original.numel())
        return model, pca, jpeg

    def _how(self, pl_module, coders: "_Coders", bits: int) -> str:
        ends = "their training range" if self.code_range is None else f"{list(self.code_range)}"
        num_weights = sum(value.numel() for value in pl_module.state_dict().values() if value.is_floating_point())
        return (
            f"{len(coders.code_ends[0])} codes a {_by(coders.frame)} frame, {bits} bits over {ends}, 5-byte header and "
            f"deflate; the model ({num_weights} weights) not counted"
        )

    def _log(self, pl_module: LightningModule, figure: str, value: float, protocol: str | None = None) -> None:
        name = f"test/{figure}"
        # Equal on all ranks already; sync_dist takes the mean of equal values and spares Lightning's warning.
        pl_module.log(name, float(value), sync_dist=True, batch_size=1)
        if protocol is not None:
            self.protocols[name] = protocol


class _Coders(NamedTuple):
    """What the coders of a test share: PCA, the frame's sides, and the ends of both kinds of code, (Z,) each."""

    linear: LinearCode
    frame: tuple[int, int]
    device: torch.device
    code_ends: tuple[Tensor, Tensor]
    projection_ends: tuple[Tensor, Tensor]

    def of(self, model: Codes, ends: tuple[Tensor, Tensor], bits: int) -> FrameCoder:
        return FrameCoder(model, UniformQuantizer(*ends, bits), self.frame, self.device)


def through_file(coder: FrameCoder, original: Tensor) -> Coded:
    """An image, (H, W) uint8, written as bytes and read from them."""
    file = coder.compress(original)
    image = coder.decompress(file)
    return Coded(len(file), image, psnr_db(image, original))


def whole_frames(image: Tensor, frame: tuple[int, int]) -> Tensor:
    """(H, W) without the rows and columns that fill no frame."""
    return image[: image.shape[0] // frame[0] * frame[0], : image.shape[1] // frame[1] * frame[1]]


def captioned(rows: Sequence[Sequence[tuple[Tensor, str]]]) -> Image.Image:
    """Rows of grey images, (H, W) uint8, each with a line of text beneath it, on white."""
    return with_lines_beneath([[(Image.fromarray(image.cpu().numpy()), text) for image, text in row] for row in rows])


def _side_by_side(original: Tensor, bits: int, model: Coded, pca: Coded, jpeg: Coded) -> list[tuple[Tensor, str]]:
    named = ((f"{bits} bits", model), ("PCA", pca), ("JPEG", jpeg))
    coded = [(one.image, f"{name}: {one.psnr_db:.1f} dB, {one.num_bytes} bytes") for name, one in named]
    return [(original, "original"), *coded]


def _how_jpeg(file: JPEGFile, num_bytes: int) -> str:
    fitting = "the best no longer than" if len(file.data) <= num_bytes else "longer even so than"
    return f"JPEG quality {file.quality}, optimised Huffman tables, whole file: {fitting} the model's {num_bytes} bytes"


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
