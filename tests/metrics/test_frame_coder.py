"""Files of images: the same on both sides, as long as they say, JPEG as good as the bytes allow."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from lit_gen.data.frames import ImageFrames
from lit_gen.metrics.code_quantization import UniformQuantizer
from lit_gen.metrics.entropy_coding import pack
from lit_gen.metrics.frame_coder import FrameCoder, LinearCode, jpeg_of_size
from lit_gen.metrics.psnr import psnr_db


@pytest.fixture(scope="module")
def photograph() -> torch.Tensor:
    return ImageFrames(num_frames=200, num_validation=10, side=64).photographs[0].pixels[:48, :40].contiguous()


def pixels_as_code(bits: int, frame: tuple[int, int] = (4, 8)) -> FrameCoder:
    """A code that is the frame itself."""
    size = frame[0] * frame[1]
    quantizer = UniformQuantizer(torch.zeros(size), torch.ones(size), bits)
    return FrameCoder(LinearCode(torch.zeros(size), torch.eye(size), (1, *frame)), quantizer, frame)


def test_a_file_decodes_to_the_rounded_codes(photograph):
    coder = pixels_as_code(bits=3)
    decoded = coder.decompress(coder.compress(photograph))
    cells = (photograph.double() / 255 * 8).floor().clamp(max=7)
    assert torch.equal(decoded, ((cells + 0.5) / 8 * 255).round().byte())


def test_enough_bits_give_the_image_back(photograph):
    coder = pixels_as_code(bits=12)
    assert torch.equal(coder.decompress(coder.compress(photograph)), photograph)


def test_the_file_is_header_and_packed_codes(photograph):
    coder = pixels_as_code(bits=4)
    indices = coder.quantizer.indices(coder.codes(photograph)).numpy()
    assert len(coder.compress(photograph)) == 5 + len(pack(indices, 4))


def test_more_bits_more_bytes_and_truer(photograph):
    coded = []
    for bits in (1, 2, 4, 6, 8):
        coder = pixels_as_code(bits)
        file = coder.compress(photograph)
        coded.append((len(file), psnr_db(coder.decompress(file), photograph)))
    assert coded == sorted(coded) and len(set(coded)) == 5


def test_projections_on_all_components_lose_nothing():
    x = torch.rand(20, 1, 2, 3, generator=torch.Generator().manual_seed(0))
    directions = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1)))[0]
    code = LinearCode(x.flatten(1).mean(0), directions, (1, 2, 3))
    assert torch.allclose(code.decode(code.encode(x)), x, atol=1e-5)
    few = LinearCode(x.flatten(1).mean(0), directions[:2], (1, 2, 3))
    residual = (x - few.decode(few.encode(x))).flatten(1)
    assert torch.allclose(residual @ directions[:2].T, torch.zeros(20, 2), atol=1e-5)


def test_jpeg_is_the_best_that_fits(photograph):
    file = jpeg_of_size(photograph, 900)
    assert len(file.data) <= 900 and 1 < file.quality < 95
    better = io.BytesIO()
    Image.fromarray(photograph.numpy()).save(better, "JPEG", quality=file.quality + 1, optimize=True)
    assert len(better.getvalue()) > 900
    assert (np.array(Image.open(io.BytesIO(file.data))) == file.image.numpy()).all()


def test_jpeg_of_too_few_bytes_is_the_smallest(photograph):
    assert jpeg_of_size(photograph, 10).quality == 1
    assert jpeg_of_size(photograph, 10**6).quality == 95
