"""What data modules say of what they hold."""

import json

import numpy as np
import pytest
import torch

from lit_gen.data import ArrayFile, Dice, Digits, ImageFrames, Ring, Shapes, TextFolder
from lit_gen.data.description import WIDTH, Counted, DataDescription, Notes, Range, SplitSize, value_range

MEMBERS = {
    "digits": lambda folder: Digits(num_labels=100, binarization="dynamic"),
    "ring": lambda folder: Ring(num_train=100, num_test=50),
    "dice": lambda folder: Dice(num_train=100, num_test=50, num_validation=7),
    "shapes": lambda folder: Shapes(num_train=100, num_validation=10, num_test=10),
    "frames": lambda folder: ImageFrames(num_frames=200, num_validation=20),
    "documents": lambda folder: TextFolder(str(texts(folder)), vocabulary_size=5, remove_stop_words=False),
}


def texts(folder):
    for name in ("a", "b"):
        (folder / name).mkdir()
        for number in range(10):
            (folder / name / f"{number}.txt").write_text("one two three four five " + "two three " * number)
    return folder


@pytest.mark.parametrize("name", MEMBERS)
def test_a_description_is_what_the_loaders_hand_out(name, tmp_path):
    data = MEMBERS[name](tmp_path)
    description = data.description()
    seen = {split: list(data.reference_loader(split)) for split in ("train", "val", "test") if data.num_examples(split)}
    x = torch.cat([batch.x for batches in seen.values() for batch in batches])
    for split, batches in seen.items():
        size = description.splits[split]
        assert size.examples == sum(len(batch.x) for batch in batches)
        if batches[0].label is None:
            assert size.classes is None
        else:
            assert size.classes == len(torch.cat([batch.label for batch in batches]).unique())
    assert description.event_shape == tuple(x.shape[1:])
    assert description.values.least == pytest.approx(float(x.min()))
    assert description.values.greatest == pytest.approx(float(x.max()))
    assert description.binarization == data.binarization
    assert json.loads(json.dumps(description.as_dict())) == description.as_dict()
    lines = description.lines()
    assert 3 <= len(lines) <= 8 and all(len(line) <= WIDTH for line in lines)
    assert lines[0].startswith(type(data).__name__)


def test_lines_are_short_and_say_what_was_passed_over():
    notes = Notes()
    notes.pass_over("hidden", [".a", ".b", ".c", ".d"])
    notes.pass_over("without a suffix", [f"a file with quite a long name, number {number}.txt" for number in range(9)])
    notes.remark("transparency laid over white in 12 of 90 pictures")
    notes.remark("transparency laid over white in 12 of 90 pictures")
    sizes = {"train": SplitSize(81_000, 3), "val": SplitSize(0, 0), "test": SplitSize(9, 2)}
    description = DataDescription(
        "ImageFolder", "x" * 100, sizes, (3, 64, 64), Range(0, 1), "uint8", "none", notes.passed_over, notes.remarks
    )
    lines = description.lines()
    assert "train 81,000 (3 classes), test 9 (2 classes)" in lines
    assert "shape [3, 64, 64], uint8, values 0 to 1, binarization none" in lines
    assert "passed over: 4 hidden (.a, .b, .c, ...)" in lines
    assert any(line.startswith("passed over: 9 without a suffix (") for line in lines)
    assert lines.count("transparency laid over white in 12 of 90 pictures") == 1
    assert all(len(line) <= WIDTH for line in lines)
    assert description.as_dict()["passed_over"]["hidden"] == {"count": 4, "first": [".a", ".b", ".c"]}


def test_names_can_be_printed_and_written():
    counted = Counted()
    counted.add("a\udcff\n\x07ä.png")
    assert counted.first == ["a\\xff\n\\x07ä.png"]
    json.dumps(counted.first, ensure_ascii=False).encode("utf-8")


def test_the_range_of_bytes_is_found_without_looking_at_all_of_them():
    class Watched:
        """Rows of bytes that counts how many are taken."""

        dtype, taken = torch.uint8, 0

        def __len__(self) -> int:
            return 10**6

        def __getitem__(self, rows: slice) -> torch.Tensor:
            self.taken += rows.stop - rows.start
            return torch.tensor([[0, 255]], dtype=torch.uint8)

    x = torch.arange(3000).fmod(200).to(torch.uint8).view(-1, 1)
    assert value_range(x) == Range(0, 199)
    x[-1] = 255
    assert value_range(x) == Range(0, 255)
    watched = Watched()
    assert value_range(watched) == Range(0, 255) and watched.taken == 1000


def test_the_training_range_is_not_that_of_the_training_part_alone(tmp_path):
    images = np.full((20, 4, 4), 100, np.uint8)
    images[-1] = 200  # a test image
    np.savez(tmp_path / "x.npz", x=images, spare=images, y=np.arange(20) % 2 * 2)
    data = ArrayFile(str(tmp_path / "x.npz"), (1, 4, 4), labels_key="y")
    description = data.description()
    assert description.values == Range(100 / 255, 200 / 255) and description.stored_as == "uint8"
    assert description.passed_over["arrays not asked for"].first == ["spare"]
    assert description.remarks == ["1 of 3 classes have no examples (1)"]
    np.save(tmp_path / "same.npy", np.zeros((20, 4, 4), np.uint8))
    assert (
        "all values of all examples are the same"
        in ArrayFile(str(tmp_path / "same.npy"), (1, 4, 4)).description().remarks
    )
