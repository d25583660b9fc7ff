"""InMemoryData: splits, what each loader holds, what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image

from lit_gen.data.base import Arrays, InMemoryData, Part
from lit_gen.data.images import ImageData, resize
from lit_gen.errors import UserError


class Fake(ImageData):
    """Noise images that count how often they are read."""

    def __init__(
        self, num_train=40, num_test=11, image_shape=(1, 4, 4), num_validation=10, source=None, **kwargs
    ) -> None:
        kwargs = {"batch_size": 6, "eval_batch_size": 4, **kwargs}
        super().__init__(image_shape=image_shape, num_validation=num_validation, **kwargs)
        self.counts = num_train, num_test
        self.source = source
        self.times_read = 0

    def read(self) -> Arrays:
        self.times_read += 1
        if self.source is not None:
            return Arrays(self.source, self.source)
        generator = torch.Generator().manual_seed(0)
        return Arrays(
            *(
                Part(
                    torch.randint(0, 256, (n, 1, 4, 4), dtype=torch.uint8, generator=generator),
                    torch.arange(n) % 3,
                    "fake",
                )
                for n in self.counts
            )
        )


def attached(data: InMemoryData, rank: int, world_size: int, **kwargs) -> InMemoryData:
    """``data`` as if a trainer of several processes held it."""
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, strategy=strategy, **kwargs)
    return data


def pixels(loader) -> torch.Tensor:
    return torch.cat([batch.x for batch in loader])


def joint(make, split: str, world_size: int) -> torch.Tensor:
    """A split's pixels in order, gathered from all ranks."""
    parts = []
    for rank in range(world_size):
        loader = getattr(attached(make(), rank, world_size), f"{split}_dataloader")()
        parts += [(int(i), x) for batch in loader for i, x in zip(batch.index, batch.x, strict=True)]
    return torch.stack([x for _, x in sorted(parts, key=lambda part: part[0])])


def test_splits_are_disjoint_complete_and_fixed_by_their_own_seed(monkeypatch):
    data = Fake()
    assert [data.num_examples(s) for s in ("train", "val", "test")] == [30, 10, 11]
    assert data.num_classes == 3 and data.event_shape == data.image_shape == (1, 4, 4)
    train, val = data._rows["train"].tolist(), data._rows["val"].tolist()
    assert sorted(train + val) == list(range(40)) and val != list(range(10))
    monkeypatch.setenv("PL_GLOBAL_SEED", "99")
    again = Fake()
    assert again.fingerprint("val") == data.fingerprint("val")
    assert Fake(split_seed=1).fingerprint("val") != data.fingerprint("val")
    assert len({data.fingerprint(s) for s in ("train", "val", "test")}) == 3


def test_training_order_follows_the_run_seed(monkeypatch):
    streams = []
    for seed in ("1", "1", "2"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        streams.append(pixels(Fake().train_dataloader()))
    assert torch.equal(streams[0], streams[1]) and not torch.equal(streams[0], streams[2])


def test_data_are_read_once():
    data = Fake()
    data.setup("fit")
    data.setup("test")
    data.train_dataloader(), data.val_dataloader(), data.test_dataloader(), data.fingerprint("val")
    assert data.times_read == 1


@pytest.mark.parametrize("binarization", ["none", "threshold", "fixed", "dynamic"])
def test_evaluation_draws_do_not_depend_on_batch_or_world_size(binarization):
    for split in ("val", "test"):
        alone = pixels(getattr(Fake(binarization=binarization), f"{split}_dataloader")())
        for world_size, eval_batch_size in ((1, 3), (2, 4), (3, 100)):
            make = lambda size=eval_batch_size: Fake(binarization=binarization, eval_batch_size=size)  # noqa: E731
            assert torch.equal(joint(make, split, world_size), alone)
        other_seed = pixels(getattr(Fake(binarization=binarization, binarization_seed=1), f"{split}_dataloader")())
        assert torch.equal(alone, other_seed) == (binarization in ("none", "threshold"))
        assert (binarization == "none") != (set(alone.unique().tolist()) == {0.0, 1.0})


def test_fixed_pixels_stay_and_dynamic_ones_change_from_epoch_to_epoch():
    for binarization, stays in (("fixed", True), ("dynamic", False), ("threshold", True)):
        loader = Fake(binarization=binarization, batch_size=30).train_dataloader()
        first, second = ((b := next(iter(loader))).x[b.index.argsort()] for _ in range(2))
        assert set(first.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(first, second) == stays


def test_a_pixel_drawn_once_does_not_depend_on_the_split():
    """Split differently, the same image has the same fixed pixels."""
    a, b = Fake(binarization="fixed"), Fake(binarization="fixed", split_seed=5)
    whole = []
    for data in (a, b):
        x = torch.cat([pixels(data._evaluation_loader(split, "fixed")) for split in ("train", "val")])
        whole.append(x[torch.cat([data._rows["train"], data._rows["val"]]).argsort()])
    assert torch.equal(*whole)


@pytest.mark.parametrize("binarization", ["none", "dynamic"])
def test_reference_pixels_are_grey_and_shared_among_the_ranks(binarization):
    data = Fake(binarization=binarization)
    grey = pixels(data.reference_loader("test"))
    assert torch.equal(grey, data._arrays.test.x / 255)
    loaders = [attached(Fake(binarization=binarization), rank, 2).reference_loader("test") for rank in range(2)]
    assert len(loaders[0]) == len(loaders[1])
    assert torch.equal(torch.cat([*map(pixels, loaders)]).sort(0).values, grey.sort(0).values)
    assert len(pixels(data.reference_loader("train"))) == 30
    assert Fake(binarization=binarization).fingerprint("test") == Fake().fingerprint("test")


def test_overfitting_repeats_the_same_few_batches():
    loader = attached(Fake(), 0, 1, overfit_batches=2).train_dataloader()
    first, second = (sorted(i for batch in loader for i in batch.index.tolist()) for _ in range(2))
    assert len(loader) == 2 and first == second and len(set(first)) == 12


@pytest.mark.filterwarnings("ignore")
def test_lightning_runs_with_and_without_a_validation_split(tmp_path):
    class Model(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))
            self.seen = {"val": 0, "test": 0, "predict": 0}

        def training_step(self, batch, batch_idx):
            assert batch.x.shape == (6, 1, 4, 4)
            return self.weight * batch.x.mean()

        def validation_step(self, batch, batch_idx):
            self.seen["val"] += len(batch.x)

        def test_step(self, batch, batch_idx):
            self.seen["test"] += len(batch.x)

        def predict_step(self, batch, batch_idx):
            self.seen["predict"] += len(batch.x)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    for num_validation in (10, 0):
        model, data = Model(), Fake(num_validation=num_validation)
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=1,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(model, datamodule=data)
        trainer.test(model, datamodule=data, verbose=False)
        trainer.predict(model, datamodule=data)
        assert model.seen == {"val": num_validation, "test": 11, "predict": 11}
        assert data.times_read == 1


def test_images_are_resized_with_antialiasing_and_rounded():
    data = Fake(image_shape=(1, 2, 2))
    x = data.test_dataloader().examples.x
    assert x.shape == (11, 1, 2, 2) and x.dtype == torch.uint8
    flat = torch.full((2, 3, 5, 7), 200, dtype=torch.uint8)
    assert torch.equal(resize(flat, 4, 9), torch.full((2, 3, 4, 9), 200, dtype=torch.uint8))
    noise = torch.randint(0, 256, (1, 1, 23, 17), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for height, width in ((5, 4), (40, 30)):
        # Pillow's bilinear filter antialiases too; it rounds once a direction.
        reference = Image.fromarray(noise[0, 0].numpy()).resize((width, height), Image.Resampling.BILINEAR)
        difference = resize(noise, height, width)[0, 0].int() - torch.from_numpy(np.array(reference)).int()
        assert difference.abs().max() <= 1


def test_what_is_wrong_with_the_data_is_named():
    def source(x, label=None):
        return Fake(source=Part(x, label, "file.npy"))

    grey = torch.rand(20, 1, 4, 4)
    spoilt = grey.clone()
    spoilt[3, 0, 1, 1:3] = float("nan")
    spoilt[4, 0, 0, 0] = float("inf")
    for data, message in (
        (source(spoilt), "file.npy holds 3 values that are NaN or infinite"),
        (source(grey * 3), r"file.npy holds values from .*in \[0, 1\]"),
        (source(grey.repeat(1, 3, 1, 1)), r"\[3, 4, 4\].*asks for 1 channels"),
        (source(grey[:0]), "file.npy holds no examples"),
        (source(grey, torch.arange(19)), "file.npy holds 20 examples"),
        (source(grey, torch.arange(20) - 1), "file.npy holds 20 examples"),
        (Fake(num_validation=40), "num_validation 40 leaves nothing to train on: fake holds 40"),
    ):
        with pytest.raises(UserError, match=message):
            data.setup()
    with pytest.raises(UserError, match="no split 'valid'"):
        Fake().reference_loader("valid")
    with pytest.raises(UserError, match="val split is empty"):
        Fake(num_validation=0).reference_loader("val")
    for name in ("batch_size", "eval_batch_size", "num_validation"):
        with pytest.raises(UserError, match=f"{name} must be at least"):
            Fake(**{name: -1})
    with pytest.raises(UserError, match=r"'fixd'.*'fixed'"):
        Fake(binarization="fixd")


def test_points_of_another_shape_are_refused():
    class Points(InMemoryData):
        def read(self):
            part = Part(torch.zeros(4, 3), None, "points")
            return Arrays(part, part)

    with pytest.raises(UserError, match=r"points holds examples of shape \[3\], but \[2\]"):
        Points(event_shape=(2,)).setup()
