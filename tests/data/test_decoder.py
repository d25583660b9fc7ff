"""From files of pictures to pixels: transparency, depth, orientation, frames, formats."""

import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lit_gen.data.decoder import DEEP, FRAMES, INKS, TRANSPARENT, Decoder, is_deep, suffixes
from lit_gen.errors import UserError

NOISE = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)


def pixels(path, channels=3, **options) -> np.ndarray:
    return np.asarray(Decoder(channels, **options).read(path).image)


def in_front_of(colour, image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """alpha image + (1 - alpha) background, by itself."""
    share = alpha[..., None].astype(float) / 255
    return share * image + (1 - share) * np.array(colour)


@pytest.mark.parametrize(
    ("background", "colour"), [("white", (255,) * 3), ("black", (0,) * 3), ("teal", (0, 128, 128))]
)
def test_transparent_pixels_show_the_background(tmp_path, background, colour):
    Image.fromarray(NOISE, "RGBA").save(tmp_path / "rgba.png")
    Image.fromarray(NOISE[..., [0, 3]], "LA").save(tmp_path / "la.png")
    for name, image in (("rgba.png", NOISE[..., :3]), ("la.png", NOISE[..., [0, 0, 0]])):
        expected = in_front_of(colour, image, NOISE[..., 3])
        assert np.abs(pixels(tmp_path / name, background=background) - expected).max() <= 1
        assert Decoder(3, background).read(tmp_path / name).unusual == {TRANSPARENT}
    grey = pixels(tmp_path / "la.png", channels=1, background=background)
    assert grey.shape == (5, 7)


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_a_colour_that_is_declared_transparent_shows_the_background(tmp_path, mode):
    """Of palettes, and of PNGs that name one grey or colour."""
    image = Image.new(mode, (4, 4))
    if mode == "P":
        image.putpalette([200, 0, 0, 0, 0, 250])
    key = {"P": 0, "RGB": (0, 0, 0), "L": 0}[mode]
    image.putpixel((1, 1), {"P": 1, "RGB": (9, 8, 7), "L": 9}[mode])
    image.save(tmp_path / "key.png", transparency=key)
    found = pixels(tmp_path / "key.png", background="lime")
    assert found[0, 0].tolist() == [0, 255, 0]
    assert found[1, 1].tolist() == {"P": [0, 0, 250], "RGB": [9, 8, 7], "L": [9, 9, 9]}[mode]


def test_an_alpha_channel_that_hides_nothing_changes_nothing(tmp_path):
    opaque = NOISE.copy()
    opaque[..., 3] = 255
    Image.fromarray(opaque, "RGBA").save(tmp_path / "opaque.png")
    picture = Decoder(3).read(tmp_path / "opaque.png")
    assert np.array_equal(np.asarray(picture.image), opaque[..., :3]) and not picture.unusual


def test_bits_palettes_and_inks(tmp_path):
    bits = NOISE[..., 0] > 127
    Image.fromarray(bits).save(tmp_path / "bits.png")
    assert np.array_equal(pixels(tmp_path / "bits.png", channels=1), bits * 255)
    palette = Image.fromarray(NOISE[..., :3]).quantize(8)
    palette.save(tmp_path / "palette.png")
    assert np.array_equal(pixels(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))
    Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(tmp_path / "inks.tif")
    picture = Decoder(3).read(tmp_path / "inks.tif")
    assert picture.image.getpixel((0, 0)) == (255, 0, 0) and picture.unusual == {INKS}
    Image.fromarray(NOISE[..., :3]).convert("LAB").save(tmp_path / "lab.tif")
    assert pixels(tmp_path / "lab.tif", channels=1).shape == (5, 7)


def test_pictures_are_turned_upright(tmp_path):
    for name in ("turned.png", "turned.webp", "turned.tif"):
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was held on its side: turn clockwise by 90 degrees
        Image.fromarray(NOISE[..., :3]).save(
            tmp_path / name, exif=exif, **({"lossless": True} if "webp" in name else {})
        )
        assert np.array_equal(pixels(tmp_path / name), np.rot90(NOISE[..., :3], -1)), name


@pytest.mark.parametrize("suffix", ["gif", "webp", "tif", "apng"])
def test_the_first_of_several_frames_is_read_and_said(tmp_path, suffix):
    frames = [Image.fromarray(np.full((4, 4), level, np.uint8)) for level in (10, 120, 230)]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"film.{suffix}", save_all=True, append_images=frames[1:], **options)
    picture = Decoder(1).read(tmp_path / f"film.{suffix}")
    assert picture.unusual == {FRAMES} and set(np.asarray(picture.image).flat) == {10}


def png(path, colour_type: int, channels: int, value: int) -> None:
    """A PNG of 16 bits a channel, which Pillow doesn't write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    row = b"\0" + np.full(4 * channels, value, ">u2").tobytes()
    header = struct.pack(">IIBBBBB", 4, 4, 16, colour_type, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 4)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def deep_files(folder) -> dict:
    """Pictures of more than 8 bits a channel by name, all of the value 0x8000."""
    for name, colour_type, channels in (("grey", 0, 1), ("colour", 2, 3)):
        png(folder / f"{name}.png", colour_type, channels, 0x8000)
    Image.fromarray(np.full((4, 4), 0x8000, np.uint16)).save(folder / "grey.tif")
    Image.fromarray(np.full((4, 4), 0x8000, np.int32)).save(folder / "long.tif")
    Image.fromarray(np.full((4, 4), 0x8000, np.float32)).save(folder / "float.tif")
    (folder / "colour.ppm").write_bytes(b"P6 4 4 65535\n" + np.full(48, 0x8000, ">u2").tobytes())
    (folder / "colour.sgi").write_bytes(
        struct.pack(">hBBHHHHii", 474, 0, 2, 3, 4, 4, 3, 0, 65535).ljust(512, b"\0")
        + np.full(48, 0x8000, ">u2").tobytes()
    )
    return {file.name: file for file in folder.iterdir()}


def test_more_than_8_bits_are_refused_or_scaled_as_the_config_says(tmp_path):
    files = deep_files(tmp_path)
    assert len(files) == 7
    for name, file in files.items():
        for channels in (1, 3):
            with pytest.raises(UserError, match=rf"{name} has more than 8 bits a channel .*max_value") as caught:
                Decoder(channels, adjustable=True).read(file)
            assert "\n" not in str(caught.value)
        picture = Decoder(3, max_value=65535).read(file)
        assert picture.unusual == {DEEP}
        assert set(np.asarray(picture.image).flat) == {128}, name  # 0x8000 / 0xffff * 255 = 127.5
    assert set(pixels(files["grey.png"], max_value=0x8000).flat) == {255}
    with pytest.raises(UserError, match=r"16 bits a channel in colour.* must be 65535"):
        pixels(files["colour.png"], max_value=4095)
    with pytest.raises(UserError, match="holds values from 32768 to 32768: with max_value 4095"):
        pixels(files["grey.png"], max_value=4095)


def test_depths_that_pillow_hides_are_seen(tmp_path):
    """JPEG 2000 in colour is handed out at 8 bits, whatever it has: only its header says it."""
    Image.fromarray(NOISE[..., :3]).save(tmp_path / "colour.jp2")
    content = bytearray((tmp_path / "colour.jp2").read_bytes())
    assert pixels(tmp_path / "colour.jp2").shape == (5, 7, 3)
    at = content.index(b"\xff\x51") + 40
    assert content[at : at + 9 : 3] == bytes([7, 7, 7]), "bits - 1 of each channel"
    content[at : at + 9 : 3] = bytes([11, 11, 11])
    (tmp_path / "colour.jp2").write_bytes(content)
    with pytest.raises(UserError, match="more than 8 bits"):
        pixels(tmp_path / "colour.jp2")


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_the_depth_of_avif_is_read_from_its_header(tmp_path, bits):
    """Pillow writes 8 bits alone, and opens no file whose header contradicts its content: so the header by itself."""
    Image.fromarray(NOISE[..., :3]).save(tmp_path / "colour.avif")
    content = bytearray((tmp_path / "colour.avif").read_bytes())
    at = content.index(b"pixi") + 8
    assert content[at : at + 4] == bytes([3, 8, 8, 8])
    content[at + 1 : at + 4] = bytes([bits] * 3)
    (tmp_path / "colour.avif").write_bytes(content)
    assert is_deep(SimpleNamespace(mode="RGB", format="AVIF", tile=[]), tmp_path / "colour.avif") == (bits > 8)


def test_a_value_below_255_can_be_white(tmp_path):
    mask = (NOISE[..., 0] % 2).astype(np.uint8)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert np.array_equal(pixels(tmp_path / "mask.png", channels=1, max_value=1), mask * 255)
    assert np.array_equal(pixels(tmp_path / "mask.png", channels=1), mask), "255 is white unless something else is said"
    with pytest.raises(UserError, match=r"holds values from 0 to 1: with max_value 0\.5"):
        pixels(tmp_path / "mask.png", max_value=0.5)
    with pytest.raises(UserError, match="8 bits a channel, which don't reach max_value 65535"):
        pixels(tmp_path / "mask.png", max_value=65535)
    Image.fromarray(NOISE, "RGBA").save(tmp_path / "rgba.png")
    with pytest.raises(UserError, match="transparent in part, which max_value doesn't go with"):
        pixels(tmp_path / "rgba.png", max_value=1)


def test_every_suffix_that_pillow_decodes_is_read(tmp_path):
    assert {".jfif", ".tga", ".jpe", ".dib", ".webp", ".apng", ".pcx", ".ico", ".qoi", ".mpo", ".tif"} <= suffixes()
    assert not {".pdf", ".h5", ".mpg", ".grib", ".txt", ".npy", ""} & suffixes()
    written = 0
    for suffix in sorted(suffixes()):
        try:
            Image.fromarray(NOISE[..., :3]).save(tmp_path / f"picture{suffix}")
        except (KeyError, OSError, ValueError):  # a format that is read only, or not in colour
            continue
        written += 1
        assert pixels(tmp_path / f"picture{suffix}").ndim == 3, suffix
    assert written >= 20


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n", b"GIF89a\0\0\0\0", b"P6 4 4 255\n12"])
def test_what_is_no_picture_is_said_in_one_line(tmp_path, content):
    (tmp_path / "odd.png").write_bytes(content)
    with pytest.raises(UserError, match=r"odd.png (cannot be read as an image|is empty \(0 bytes\))") as caught:
        Decoder(3).read(tmp_path / "odd.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 2}, "1 or 3 channels, not the 2"),
        ({"channels": 3, "background": "whit"}, "'whit' is no colour"),
        ({"channels": 3, "background": None}, "None is no colour"),
        ({"channels": 3, "background": "#ffffff00"}, "transparent itself"),
        ({"channels": 3, "max_value": 0}, "must be positive and finite, not 0"),
        ({"channels": 3, "max_value": float("nan")}, "must be positive and finite, not nan"),
    ],
)
def test_what_cannot_be_meant(options, message):
    with pytest.raises(UserError, match=message):
        Decoder(**options)
