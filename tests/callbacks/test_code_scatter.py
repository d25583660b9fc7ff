import pytest
import torch
from PIL import Image

from lit_gen.callbacks.code_scatter import CodeScatter
from lit_gen.callbacks.scatter import scatter
from lit_gen.errors import UserError
from tests.callbacks.shown import shows


def test_pictures_of_the_test_split_and_of_validation(make_trainer, labelled_data, linear_model, tmp_path):
    trainer = make_trainer(CodeScatter(every_n_epochs=2), max_epochs=4)
    model, data = linear_model(), labelled_data()
    data.class_names = ["a", "b", "c"]
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [
        "codes_test_0000012.png",
        "codes_val_0000006.png",
        "codes_val_0000012.png",
    ]
    with torch.no_grad():
        expected = scatter(
            model.eval().encode(data.x), label=data.label, names=data.class_names, title="24 test examples", axis="z"
        )
    assert shows(tmp_path / "samples" / "codes_test_0000012.png", expected)


def test_a_few_points_of_many(make_trainer, labelled_data, linear_model, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "lit_gen.callbacks.code_scatter.scatter",
        lambda points, label, names, title, axis: seen.append((points, label, title)) or Image.new("RGB", (1, 1)),
    )
    model, data = linear_model(), labelled_data()
    make_trainer(CodeScatter(num_points=10)).test(model, data, verbose=False)
    ((points, label, title),) = seen
    rows = [row for row in range(24) if (row + 1) * 10 // 24 > row * 10 // 24]
    with torch.no_grad():
        torch.testing.assert_close(points, model.eval().encode(data.x[rows]))
    assert label.tolist() == data.label[rows].tolist() and title == "10 test examples"


def test_codes_of_other_dimensions_are_refused_before_the_first_step(make_trainer, labelled_data, linear_model):
    model, data = linear_model(dim=3), labelled_data()
    trainer = make_trainer(CodeScatter())
    with pytest.raises(UserError, match="2 dimensions, not of 3"):
        trainer.fit(model, data)
    assert trainer.global_step == 0
    for kwargs in ({"num_points": 0}, {"every_n_epochs": -1}):
        with pytest.raises(UserError, match="of at least"):
            CodeScatter(**kwargs)
