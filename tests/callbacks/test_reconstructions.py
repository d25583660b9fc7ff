import numpy as np
import pytest
import torch
from PIL import Image

from lit_gen.callbacks.pictures import image_grid
from lit_gen.callbacks.reconstructions import Reconstructions
from lit_gen.errors import UserError
from lit_gen.models.base import GenerativeModel


def test_examples_above_and_reconstructions_below(make_trainer, linear_model, small_data, tmp_path):
    model, data = linear_model(), small_data(batch_size=3)
    make_trainer(Reconstructions(num_examples=5), max_epochs=1).fit(model, data)
    model.eval()
    with torch.no_grad():
        expected = image_grid(torch.cat([data.x[:5], model.decode(model.encode(data.x[:5]))]), 5)
    picture = Image.open(tmp_path / "samples" / "reconstructions_0000008.png")
    assert (np.asarray(picture) == np.asarray(expected)).all()


def test_a_picture_every_nth_epoch_and_none_outside_training(make_trainer, linear_model, small_data, tmp_path):
    trainer = make_trainer(Reconstructions(every_n_epochs=2), max_epochs=4, num_sanity_val_steps=1)
    model, data = linear_model(), small_data()
    trainer.fit(model, data)
    trainer.validate(model, data)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [
        "reconstructions_0000006.png",
        "reconstructions_0000012.png",
    ]
    assert model.training is False or model.dropout.training  # as Lightning left it


def test_fewer_examples_than_asked_are_shown_all(make_trainer, linear_model, small_data, tmp_path):
    make_trainer(Reconstructions(num_examples=50), max_epochs=1).fit(linear_model(), small_data(num=7))
    side = 4 * 8 + 4
    assert Image.open(tmp_path / "samples" / "reconstructions_0000001.png").size == (7 * side, 2 * side)


def test_points_are_drawn_beside_their_examples(make_trainer, linear_model, small_data, tmp_path):
    make_trainer(Reconstructions(num_examples=20), max_epochs=1).fit(linear_model((2,)), small_data((2,)))
    assert Image.open(tmp_path / "samples" / "reconstructions_0000003.png").size == (800, 430)


def test_a_model_without_codes_is_refused_at_once(make_trainer, linear_model, small_data):
    class Plain(GenerativeModel):
        configure_optimizers = linear_model.configure_optimizers
        training_step = linear_model.training_step

    with pytest.raises(UserError, match=r"encode\(x\) and decode\(z\)"):
        make_trainer(Reconstructions()).fit(Plain(), small_data())
