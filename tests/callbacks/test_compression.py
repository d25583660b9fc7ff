"""Photographs through files: the figures are those of the files, PCA beside itself is itself."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lit_gen.callbacks.compression import Compression, captioned, through_file, whole_frames
from lit_gen.cli.main import main
from lit_gen.data.frames import ImageFrames
from lit_gen.errors import UserError
from lit_gen.metrics.code_quantization import UniformQuantizer
from lit_gen.metrics.frame_coder import FrameCoder, jpeg_of_size
from lit_gen.metrics.psnr import psnr_db
from lit_gen.models.autoencoders.pca import PCA
from tests.callbacks.shown import place_of

CONFIG = Path("conf/autoencoders/compression_photograph.yaml")


@pytest.fixture
def frames() -> ImageFrames:
    """Two photographs of 44 x 44 pixels, of which 40 x 40 are whole frames."""
    return ImageFrames(side=44, num_frames=600, num_validation=50, batch_size=50)


class Halves(nn.Module):
    """A code in (-1, 1) of 16 numbers, the means of 2 x 2 pixels."""

    def encode(self, x):
        return nn.functional.avg_pool2d(x, 2).flatten(1) * 2 - 1

    def decode(self, z):
        return nn.functional.interpolate((z / 2 + 0.5).view(-1, 1, 4, 4), scale_factor=2)


@pytest.fixture
def model(linear_model):
    made = linear_model((1, 8, 8), dim=16)
    made.encode, made.decode = Halves().encode, Halves().decode
    return made


def test_figures_are_those_of_the_files(make_trainer, model, frames):
    callback = Compression(bits=[5, 3], code_range=(-1.0, 1.0))
    trainer = make_trainer(callback)
    trainer.test(model, frames, verbose=False)
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    for photograph in frames.photographs:
        original = photograph.pixels[:40, :40]
        for bits in (5, 3):
            quantizer = UniformQuantizer(-torch.ones(16), torch.ones(16), bits)
            coder = FrameCoder(Halves(), quantizer, (8, 8))
            file = coder.compress(original)
            tail = f"{bits}bit_{photograph.name}"
            assert figures[f"test/bytes_{tail}"] == len(file)
            assert figures[f"test/bits_per_pixel_{tail}"] == pytest.approx(len(file) * 8 / 1600)
            assert figures[f"test/psnr_db_{tail}"] == pytest.approx(psnr_db(coder.decompress(file), original), abs=1e-4)
            fits = figures[f"test/bytes_jpeg_{tail}"] <= len(file)  # of so small an image JPEG's headers may not
            assert ("the best no longer" in callback.protocols[f"test/psnr_db_jpeg_{tail}"]) == fits
        coder = FrameCoder(Halves(), None, (8, 8))
        unrounded = psnr_db(coder.picture(coder.codes(original), 5), original)
        assert figures[f"test/psnr_db_unrounded_{photograph.name}"] == pytest.approx(unrounded, abs=1e-4)
    assert "5 bits over [-1.0, 1.0], 5-byte header" in callback.protocols["test/psnr_db_5bit_china"]
    assert "trained on frames of the image it is of" in callback.protocols["test/psnr_db_5bit_china"]
    assert "trained on frames of other images" in callback.protocols["test/psnr_db_5bit_flower"]


def test_jpeg_is_given_the_models_bytes(make_trainer, model):
    """Where JPEG's headers fit; PCA's file is of another length."""
    frames = ImageFrames(side=128, num_frames=600, num_validation=50, batch_size=50)
    trainer = make_trainer(Compression(bits=[6], code_range=(-4.0, 4.0)))
    trainer.test(model, frames, verbose=False)
    for photograph in frames.photographs:
        model_bytes, pca_bytes, jpeg_bytes = (
            int(trainer.callback_metrics[f"test/bytes_{who}6bit_{photograph.name}"]) for who in ("", "pca_", "jpeg_")
        )
        jpeg = jpeg_of_size(photograph.pixels, model_bytes)
        assert jpeg_bytes == len(jpeg.data)
        assert jpeg_bytes <= model_bytes
        assert jpeg_bytes != len(jpeg_of_size(photograph.pixels, pca_bytes).data)
        told = float(trainer.callback_metrics[f"test/psnr_db_jpeg_6bit_{photograph.name}"])
        assert told == pytest.approx(psnr_db(jpeg.image, photograph.pixels), abs=1e-4)


def test_pca_beside_itself_is_itself(make_trainer, frames, tmp_path):
    model = PCA(in_shape=(1, 8, 8), num_components=6)
    trainer = make_trainer(Compression(bits=[6, 4]), max_epochs=1)
    trainer.fit(model, frames)
    trainer.test(model, frames, verbose=False)
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    for name in ("china", "flower"):
        assert figures[f"test/psnr_db_unrounded_{name}"] == pytest.approx(
            figures[f"test/psnr_db_pca_unrounded_{name}"], abs=0.05
        )
        for bits in (6, 4):
            # 50 of the 550 training frames fill no batch of the model's pass, but count for the one beside it.
            assert figures[f"test/psnr_db_{bits}bit_{name}"] == pytest.approx(
                figures[f"test/psnr_db_pca_{bits}bit_{name}"], abs=0.2
            )
    assert figures["test/psnr_db_4bit_china"] < figures["test/psnr_db_6bit_china"]
    assert figures["test/psnr_db_6bit_china"] < figures["test/psnr_db_unrounded_china"]


def test_the_pictures_are_there(make_trainer, model, frames, tmp_path):
    make_trainer(Compression(bits=[4])).test(model, frames, verbose=False)
    written = {path.name.rsplit("_", 1)[0]: path for path in (tmp_path / "samples").iterdir()}
    assert set(written) == {"compression", "compression_china", "compression_flower"}
    overview = np.asarray(Image.open(written["compression"]))
    first, second = (whole_frames(p.pixels, (8, 8)).numpy() for p in frames.photographs)
    decoded = through_file(_coder_of_training_range(model, frames, 4), frames.photographs[1].pixels[:40, :40]).image
    of_first, of_second, of_decoded = (place_of(overview, patch) for patch in (first, second, decoded.numpy()))
    assert of_first[1] == of_second[1] < of_decoded[1] and of_first[0] < of_second[0] == of_decoded[0]


def _coder_of_training_range(model, frames, bits) -> FrameCoder:
    z = torch.cat([model.encode(batch.x) for batch in frames.reference_loader("train")])
    return FrameCoder(model, UniformQuantizer(z.amin(0), z.amax(0), bits), (8, 8))


def test_two_processes_agree_with_one(tmp_path):
    script = Path(__file__).with_name("compression_of_one_rank.py")
    processes = [
        subprocess.Popen([sys.executable, script, str(rank), str(size), tmp_path / "meeting"], stdout=subprocess.PIPE)
        for rank, size in ((0, 1), (0, 2), (1, 2))
    ]
    answers = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    alone, *pair = (json.loads(answer) for answer in answers)
    assert pair[0] == pair[1] and len(alone) == 2 * (2 + 9)
    assert pair[0] == pytest.approx(alone, rel=1e-3)  # a code on the border of two cells may be rounded either way


def test_captions_leave_the_pictures_as_they_are():
    small, large = torch.full((10, 12), 7, dtype=torch.uint8), torch.full((20, 30), 9, dtype=torch.uint8)
    picture = np.asarray(captioned([[(small, "a"), (large, "b")], [(large, "c"), (small, "d")]]))
    assert (picture == 7).sum() >= 2 * small.numel() and place_of(picture, large.numpy())[1] > 12


def test_what_it_cannot_do_is_said_at_once(make_trainer, linear_model, small_data, frames):
    for options, message in (
        ({"bits": [6, 0]}, "1 to 16 bits a number, not 0"),
        ({"bits": []}, "at least one number of bits"),
        ({"code_range": (1.0, -1.0)}, "code_range must rise"),
    ):
        with pytest.raises(UserError, match=message):
            Compression(**options)
    with pytest.raises(UserError, match="photographs"):
        make_trainer(Compression()).test(linear_model(), small_data(), verbose=False)
    with pytest.raises(UserError, match=r"encode\(x\) and decode\(z\)"):
        Compression().setup(make_trainer(), nn.Linear(1, 1), "test")


def test_no_bits_on_the_command_line(tmp_path, capsys):
    config = tmp_path / "compression.yaml"
    config.write_text(CONFIG.read_text().replace("bits: [6, 4]", "bits: [6, 0]"))
    assert main(["fit", "--config", str(config), f"--runs={tmp_path / 'runs'}", "--wandb=false"]) == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("lit-gen: error: ") and "\n" not in told
    assert "1 to 16 bits a number, not 0" in told
