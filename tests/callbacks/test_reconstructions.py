import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA

from lit_gen.callbacks.pictures import image_grid
from lit_gen.callbacks.reconstructions import Reconstructions
from lit_gen.errors import UserError
from lit_gen.models.base import GenerativeModel
from tests.callbacks.shown import grid_in, shows


def test_examples_above_and_reconstructions_below(make_trainer, linear_model, small_data, tmp_path):
    model, data = linear_model(), small_data(batch_size=3)
    make_trainer(Reconstructions(num_examples=5), max_epochs=1).fit(model, data)
    model.eval()
    with torch.no_grad():
        expected = image_grid(torch.cat([data.x[:5], model.decode(model.encode(data.x[:5]))]), 5)
    assert shows(tmp_path / "samples" / "reconstructions_0000008.png", expected)


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
    side = 4 * 16 + 4
    grid = grid_in(tmp_path / "samples" / "reconstructions_0000001.png", 7 * side, 2 * side)
    assert (grid[::side] == 255).all() and (grid[:, ::side] == 255).all()


def test_points_are_drawn_beside_their_examples(make_trainer, linear_model, small_data, tmp_path):
    make_trainer(Reconstructions(num_examples=20), max_epochs=1).fit(linear_model((2,)), small_data((2,)))
    width, height = Image.open(tmp_path / "samples" / "reconstructions_0000003.png").size
    assert width == 1200 and height > 620


def test_a_model_without_codes_is_refused_at_once(make_trainer, linear_model, small_data):
    class Plain(GenerativeModel):
        configure_optimizers = linear_model.configure_optimizers
        training_step = linear_model.training_step

    with pytest.raises(UserError, match=r"encode\(x\) and decode\(z\)"):
        make_trainer(Reconstructions()).fit(Plain(), small_data())


def test_third_row_is_pca_of_the_training_images_found_once(make_trainer, linear_model, small_data, tmp_path):
    model, data = linear_model(), small_data(batch_size=5)
    splits = []

    def reference_loader(split):
        splits.append(split)
        return data._batches()

    data.reference_loader = reference_loader
    make_trainer(Reconstructions(num_examples=4, pca_components=3), max_epochs=2).fit(model, data)
    assert splits == ["train"]
    x = data.x.flatten(1).double().numpy()
    pca = PCA(3, svd_solver="full").fit(x)
    reconstructed = torch.from_numpy(pca.inverse_transform(pca.transform(x[:4]))).clamp(0, 1).view(4, 1, 4, 4)
    model.eval()
    with torch.no_grad():
        rows = torch.cat([data.x[:4], model.decode(model.encode(data.x[:4])), reconstructed.float()])
    picture = tmp_path / "samples" / "reconstructions_0000010.png"
    assert shows(picture, image_grid(rows, 4), tolerance=1)  # of 255: rounding


@pytest.mark.parametrize(
    ("shape", "components", "told"),
    [
        ((1, 4, 4), 17, "can't have 17 components of examples of 16 dimensions"),
        ((1, 4, 4), 0, "at least 1 component, got 0"),
        ((2,), 1, "take pca_components out"),
    ],
)
def test_pca_that_cannot_be_is_refused_at_once(make_trainer, linear_model, small_data, shape, components, told):
    with pytest.raises(UserError, match=told):
        make_trainer(Reconstructions(pca_components=components)).fit(linear_model(shape), small_data(shape))


def test_more_components_than_training_examples_are_refused_at_once(make_trainer, linear_model, small_data):
    data = small_data(num=4)
    data.num_examples = lambda split: 4
    with pytest.raises(UserError, match="4 components of 4 examples: at most 3"):
        make_trainer(Reconstructions(pca_components=4)).fit(linear_model(), data)
