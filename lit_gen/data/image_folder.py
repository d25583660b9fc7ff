"""Your own images, from a folder of image files or of one folder a class."""

from pathlib import Path

import torch

from lit_gen.data.array_file import check_fraction
from lit_gen.data.base import Arrays, Part
from lit_gen.data.decoded_files import Format, decoded
from lit_gen.data.decoder import Decoder, suffixes
from lit_gen.data.description import Notes
from lit_gen.data.images import ImageData
from lit_gen.data.places import data_root, find
from lit_gen.data.walk import walk
from lit_gen.errors import UserError
from lit_gen.randomness import make_generator


class ImageFolder(ImageData):
    """Image files, each cut to ``image_shape``'s proportions about its centre and resized with antialiasing.

    Files lie in ``path`` itself, or in one folder a class (at any depth), whose sorted names number the classes. Read
    are all formats that Pillow can decode, as ``decoder.Decoder`` does it; links are followed; names with a leading dot
    and files with other suffixes are passed over, and ``description`` says how many.

    Decoded images are kept in a file of the cache folder (the environment's LIT_GEN_CACHE, or else
    ``~/.cache/lit_gen``) and mapped into memory from there: only the first run decodes, and again after any file's
    name, size or time has changed. Grey images become colour, and colour ones grey, as ``image_shape`` asks.

    Args:
        path: the folder; relative to the working folder or else to the root.
        image_shape: (channels, height, width) with 1 or 3 channels.
        test_path: a folder of test images, with the same classes.
        test_fraction: share of ``path`` that is the test split where there is no ``test_path``, always the same files.
        background: the colour that transparent pixels show, by name or as ``rgb(128,128,128)``.
        max_value: the pixel value that is white, where that isn't 255: 1 for masks of 0 and 1, 65535 for 16 bits.
        root: None for the environment's LIT_GEN_DATA, or else ``data``.
        **kwargs: as in ``InMemoryData``.
    """

    def __init__(
        self,
        path: str,
        image_shape: tuple[int, int, int],
        test_path: str | None = None,
        test_fraction: float = 0.1,
        background: str = "white",
        max_value: float | None = None,
        root: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        check_fraction(test_fraction)
        self.path = path
        self.test_path = test_path
        self.test_fraction = test_fraction
        self.max_value = max_value
        self.form = Format(self.image_shape, Decoder(self.image_shape[0], background, max_value, adjustable=True))
        self.root = data_root(root)

    def prepare_data(self) -> None:
        """Decode into the cache, in one process; ``setup`` then maps what it finds there."""
        self.read()

    def read(self) -> Arrays:
        """Map the decoded images.

        Raises:
            UserError: a folder or an image cannot be read, or the cache cannot be written.
        """
        folder = find(self.path, self.root)
        files = list_images(folder, self.notes)
        classes = class_names(files, folder)
        if self.test_path is not None:
            test_folder = find(self.test_path, self.root)
            test_files = list_images(test_folder, self.notes)
            return Arrays(self._part(files, folder, classes), self._part(test_files, test_folder, classes))
        num_test = round(len(files) * self.test_fraction)
        if not 0 < num_test < len(files):
            raise UserError(
                f"{folder} holds {len(files)} images: test_fraction {self.test_fraction} "
                f"makes {num_test} of them the test split; name a test_path or another fraction."
            )
        # Test images are put last in the cached file, so that both splits are slices of it and nothing is copied.
        order = torch.randperm(len(files), generator=make_generator("test split of a folder"))
        rows = [*order[num_test:].sort().values, *order[:num_test].sort().values]
        whole = self._part([files[row] for row in rows], folder, classes)
        first, last = slice(None, -num_test), slice(-num_test, None)
        return Arrays(
            *(Part(whole.x[s], None if whole.label is None else whole.label[s], whole.origin) for s in (first, last))
        )

    def _part(self, files: list[Path], folder: Path, classes: list[str]) -> Part:
        names = class_names(files, folder)
        unknown = sorted(set(names) - set(classes))
        if unknown or bool(names) != bool(classes):
            found = f"has a class {unknown[0]!r}" if unknown else "has no class folders"
            raise UserError(f"{folder} {found}; the classes are: {', '.join(classes)[:150] or 'none'}.")
        number = {name: index for index, name in enumerate(classes)}
        label = torch.tensor([number[f.relative_to(folder).parts[0]] for f in files]) if classes else None
        return Part(torch.from_numpy(decoded(files, folder, self.form, self.notes)), label, str(folder))


def list_images(folder: Path, notes: Notes) -> list[Path]:
    """Image files under ``folder`` in sorted order; what else there is is counted in ``notes``.

    Raises:
        UserError: there are none, or both in the folder itself and in folders within it, or none in a class's folder;
            or as ``walk``.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder of images; ArrayFile reads .npy and .npz files.")
    there = walk(folder, notes)
    files = [file for file in there.files if file.suffix.lower() in suffixes()]
    others = [file.relative_to(folder) for file in there.files if file.suffix.lower() not in suffixes()]
    notes.pass_over("without a suffix of a picture that Pillow reads", others)
    if not files:
        found = f": it holds others, such as {others[0]}" if others else ""
        raise UserError(f"{folder} holds no images of a format that Pillow reads{found}.")
    if len({file.parent == folder for file in files}) > 1:
        beside, within = (next(f for f in files if (f.parent == folder) == flat) for flat in (True, False))
        raise UserError(
            f"{folder} holds images ({beside.name}) and also folders of images ({within.relative_to(folder)}): "
            "it must be one or the other."
        )
    if files[0].parent != folder:
        _check_classes(folder, there.folders, files)
    return files


def _check_classes(folder: Path, folders: list[Path], files: list[Path]) -> None:
    """Raise UserError where a class's folder holds no picture: its class would be missing, unremarked."""
    classes = set(class_names(files, folder))
    for empty in (path for path in folders if path.name not in classes):
        raise UserError(
            f"{empty} holds no image of a format that Pillow reads, though it is a class's folder: put images there, "
            "move it away, or put a dot before its name to hide it."
        )


def class_names(files: list[Path], folder: Path) -> list[str]:
    """Sorted names of the folders that ``files`` lie in; none where they lie in ``folder`` itself."""
    return sorted({file.relative_to(folder).parts[0] for file in files if file.parent != folder})
