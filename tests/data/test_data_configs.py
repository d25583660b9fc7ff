"""Every file under conf/data names a data module and arguments that it takes."""

from importlib import import_module
from pathlib import Path

import pytest
import yaml

from lit_gen.data.base import InMemoryData

FILES = sorted((Path(__file__).parents[2] / "conf" / "data").glob("*.yaml"))
SHAPES = {
    "digits": (1, 8, 8),
    "mnist": (1, 28, 28),
    "fashion_mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "olivetti": (1, 64, 64),
    "faces_25": (1, 25, 25),
    "frey_faces": (1, 28, 20),
    "lfw": (3, 64, 64),
    "celeba": (3, 64, 64),
    "ring": (2,),
    "grid": (2,),
    "two_moons": (2,),
    "shapes": (1, 32, 32),
}


def test_there_is_a_file_for_each():
    assert set(SHAPES) <= {file.stem for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_data_files_make_data_modules(file):
    config = yaml.safe_load(file.read_text())
    assert set(config) <= {"class_path", "init_args"}
    module, name = config["class_path"].rsplit(".", 1)
    data = getattr(import_module(module), name)(**config.get("init_args", {}))
    assert isinstance(data, InMemoryData)
    assert data.event_shape == SHAPES.get(file.stem, data.event_shape)
