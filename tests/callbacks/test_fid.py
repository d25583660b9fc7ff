"""The FID callback, with an extractor whose distances can be worked out by hand."""

import csv
import math

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lit_gen.callbacks import fid as fid_room
from lit_gen.callbacks.fid import FID
from lit_gen.errors import UserError
from lit_gen.metrics.features.base import FeatureExtractor
from lit_gen.metrics.features.lenet import LeNet
from lit_gen.metrics.fid import FeatureMoments, FrechetDistance, frechet_distance
from lit_gen.protocols import Batch

SHAPE = (1, 2, 3)


class Pixels(FeatureExtractor):
    name = "pixels"
    num_features = math.prod(SHAPE)

    def __init__(self):
        super().__init__()
        self.seen = []
        self.freeze()

    def extract(self, x):
        self.seen.append(x.clone())
        return x.flatten(1)


class Noise(LightningModule):
    """Draws uniform pixels, brighter with ``power`` below 1."""

    def __init__(self, power: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.power = power
        self.modes = []

    def sample(self, num_samples: int) -> Tensor:
        self.modes.append((torch.is_grad_enabled(), self.training))
        return torch.rand(num_samples, *SHAPE) ** self.power + self.weight

    def training_step(self, batch, batch_idx):
        return self.weight.square()

    def validation_step(self, batch, batch_idx):
        pass

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Images(LightningDataModule):
    event_shape = SHAPE

    def __init__(self, seed: int = 0):
        super().__init__()
        self.seed = seed
        self.x = torch.rand(60, *SHAPE, generator=torch.Generator().manual_seed(seed))
        self.asked_for = []

    def train_dataloader(self):
        return DataLoader([Batch(x[None], None, torch.tensor([0])) for x in self.x[:4]], batch_size=None)

    val_dataloader = test_dataloader = train_dataloader

    def reference_loader(self, split):
        self.asked_for.append(split)
        return [Batch(x, None, i) for x, i in zip(self.x.split(7), torch.arange(60).split(7), strict=True)]

    def fingerprint(self, split):
        return f"{split} {self.seed}"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIT_GEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "moments"


@pytest.fixture
def trainer(tmp_path):
    def make(callback: FID, **options) -> Trainer:
        options = {"logger": False, "max_epochs": 1, **options}
        return Trainer(
            default_root_dir=tmp_path,
            accelerator="cpu",
            callbacks=[callback],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **options,
        )

    return make


def moments(x: Tensor):
    metric = FeatureMoments(x.flatten(1).shape[1])
    metric.update(x.flatten(1))
    return metric.compute()


def test_the_figure_is_the_distance_between_the_split_and_all_samples(trainer):
    data, model, extractor = Images(), Noise(power=0.5), Pixels()
    callback = FID(extractor, num_samples=103, batch_size=20, reference="val")
    (figures,) = trainer(callback).test(model, data, verbose=False)

    real, fake = torch.cat(extractor.seen[:9]), torch.cat(extractor.seen[9:])
    assert torch.equal(real, data.x)
    assert fake.shape == (103, *SHAPE)
    assert len(fake.flatten(1).unique(dim=0)) == 103  # no block repeats another's noise
    assert figures.keys() == {"test/fid_pixels_103"}
    expected = float(frechet_distance(moments(real), moments(fake)))
    assert figures["test/fid_pixels_103"] == pytest.approx(expected, rel=1e-6)
    assert data.asked_for == ["val"]
    assert callback.protocols == {
        "test/fid_pixels_103": f"pixels features (weights {extractor.fingerprint[:8]}); 103 samples against "
        "60 val examples; noise seed 0"
    }


def test_thousands_are_named_k(trainer):
    (figures,) = trainer(FID(Pixels(), num_samples=2000)).test(Noise(), Images(), verbose=False)
    assert figures.keys() == {"test/fid_pixels_2k"}


@pytest.mark.parametrize("world_size", [2, 3, 9])
def test_any_number_of_ranks_draws_the_same_samples(monkeypatch, world_size):
    def share(rank: int, of: int) -> tuple[FrechetDistance, list[Tensor]]:
        monkeypatch.setattr(fid_room, "rank", lambda: rank)
        monkeypatch.setattr(fid_room, "world_size", lambda: of)
        metric, extractor = FrechetDistance(6, real=moments(Images().x)), Pixels()
        FID(extractor, num_samples=75, batch_size=10)._add_samples(metric, Noise(), 75, torch.device("cpu"))
        return metric, extractor.seen

    whole, blocks = share(0, 1)
    joint, shares = FeatureMoments(6), []
    for rank in range(world_size):
        metric, seen = share(rank, world_size)
        joint.merge_state(metric.fake)
        shares += seen
    assert sorted(block.sum().item() for block in shares) == sorted(block.sum().item() for block in blocks)
    distance = frechet_distance(whole.known_real, joint.compute())
    torch.testing.assert_close(distance, whole.compute(), rtol=1e-6, atol=0)


def test_measures_in_evaluation_mode_and_leaves_no_trace():
    model = Noise().train()
    callback = FID(Pixels(), num_samples=20, batch_size=10)
    trainer = type("TrainerAlone", (), {"datamodule": Images(), "fast_dev_run": False})()
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    first = callback._measure(trainer, model, "val")
    assert torch.equal(torch.rand(2), expected)
    assert set(model.modes) == {(False, False)}
    assert model.training
    assert callback._measure(trainer, model, "val") == first  # the same noise at every measurement
    assert list(model.state_dict()) == ["weight"]


def test_real_moments_are_computed_once_and_kept_on_disk(trainer, cache):
    def measure(data, reference="train"):
        (figures,) = trainer(FID(Pixels(), num_samples=20, reference=reference)).test(Noise(), data, verbose=False)
        return figures, len(data.asked_for)

    first, reads = measure(Images())
    assert reads == 1
    assert measure(Images()) == (first, 0)
    assert measure(Images(), "test")[1] == 1
    other, reads = measure(Images(seed=5))
    assert (reads, len(list(cache.iterdir()))) == (1, 3)
    assert other != first

    for file in cache.iterdir():
        file.write_bytes(file.read_bytes()[:40])
    with pytest.warns(UserWarning, match="computed anew"):
        assert measure(Images()) == (first, 1)
    assert measure(Images()) == (first, 0)


def test_another_extractor_has_moments_of_its_own(trainer, cache):
    for extractor in (Pixels(), LeNet()):
        trainer(FID(extractor, num_samples=90)).test(Noise(), Images(), verbose=False)
    assert len(list(cache.iterdir())) == 2


def test_all_ranks_compute_where_one_lacks_the_file(monkeypatch):
    data, callback = Images(), FID(Pixels(), num_samples=20)
    trainer = type("TrainerAlone", (), {"datamodule": data, "fast_dev_run": False})()
    callback._measure(trainer, Noise(), "val")
    again = FID(Pixels(), num_samples=20)
    monkeypatch.setattr(fid_room, "world_size", lambda: 2)  # and the other votes 0: it has no such file
    again._measure(trainer, Noise(), "val")
    assert len(data.asked_for) == 2


@pytest.mark.parametrize(("every_n_epochs", "epochs"), [(1, [0, 1, 2, 3]), (2, [1, 3]), (0, [])])
def test_measures_at_the_validation_of_every_nth_epoch(trainer, every_n_epochs, epochs):
    measured = []

    class Noting(FID):
        def _measure(self, trainer, *args):
            assert not trainer.sanity_checking
            measured.append(trainer.current_epoch)
            return super()._measure(trainer, *args)

    run = trainer(Noting(Pixels(), num_samples=20, every_n_epochs=every_n_epochs), max_epochs=4)
    run.fit(Noise(), Images())
    assert measured == epochs
    assert ("val/fid_pixels_20" in run.callback_metrics) == bool(epochs)


def test_validate_measures_in_any_case(trainer):
    (figures,) = trainer(FID(Pixels(), num_samples=20, every_n_epochs=0)).validate(Noise(), Images(), verbose=False)
    assert figures.keys() == {"val/fid_pixels_20"}


def test_the_untrained_models_figure_is_logged_at_step_0(trainer, tmp_path):
    class Worsening(Noise):
        def on_train_epoch_end(self):
            self.power = 0.3

        def on_validation_start(self):
            self.power = 0.3 if not self.trainer.sanity_checking else 1.0

    callback = FID(Pixels(), num_samples=50, at_start=True)
    logger = CSVLogger(tmp_path)
    run = trainer(callback, logger=logger)
    run.fit(Worsening(), Images())
    with open(logger.experiment.metrics_file_path) as file:
        start, end = (row for row in csv.DictReader(file) if row["val/fid_pixels_50"])
    assert (start["step"], end["step"]) == ("0", "3")
    assert float(end["val/fid_pixels_50"]) > 2 * float(start["val/fid_pixels_50"])
    # What a checkpoint would be chosen by is the epoch's own figure, not the one from before it.
    assert run.callback_metrics["val/fid_pixels_50"].item() == pytest.approx(float(end["val/fid_pixels_50"]))
    assert len(callback.protocols) == 1


def test_says_so_where_there_are_fewer_examples_than_features(trainer):
    callback = FID(LeNet(), num_samples=84, reference="train")
    trainer(callback).test(Noise(), Images(), verbose=False)
    assert "fewer examples (60) than its 84 features + 1" in callback.protocols["test/fid_lenet_84"]


def test_a_trial_run_measures_little_and_keeps_nothing(trainer, cache):
    callback = FID(Pixels(), batch_size=8)
    run = trainer(callback, fast_dev_run=2)
    run.test(Noise(), Images(), verbose=False)
    assert "16 samples against 14 train examples" in callback.protocols["test/fid_pixels_16"]
    assert not cache.exists()


def test_samples_in_the_range_of_a_tanh_are_refused(trainer):
    class Tanh(Noise):
        def sample(self, num_samples):
            return 2 * super().sample(num_samples) - 1

    with pytest.raises(UserError, match="tanh"):
        trainer(FID(Pixels(), num_samples=20)).test(Tanh(), Images(), verbose=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 1}, "num_samples of at least 2"),
        ({"batch_size": 0}, "batch_size of at least 1"),
        ({"every_n_epochs": -1}, "every_n_epochs of at least 0"),
        ({"reference": "training"}, "train, val or test, not 'training'"),
    ],
)
def test_refuses_settings_out_of_range(options, message):
    with pytest.raises(UserError, match=message):
        FID(Pixels(), **options)


def test_refuses_models_and_data_that_it_cannot_compare(trainer):
    class Silent(LightningModule):
        def test_step(self, batch, batch_idx):
            pass

    points = Images()
    points.event_shape = (2,)
    with pytest.raises(UserError, match="a Silent: it has no sample"):
        trainer(FID(Pixels())).test(Silent(), Images())
    with pytest.raises(UserError, match=r"shape \(2,\)"):
        trainer(FID(Pixels())).test(Noise(), points)
    with pytest.raises(UserError, match="reference_loader"):
        trainer(FID(Pixels())).test(Noise(), Images().train_dataloader())
