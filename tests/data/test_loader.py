"""The two loaders: who sees which example, when, and whether a stream can be taken up again."""

import itertools
from dataclasses import replace

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from lit_gen.data.loader import EvaluationLoader, Examples, TrainingLoader
from lit_gen.errors import UserError


def examples(count: int, rows: torch.Tensor | None = None) -> Examples:
    """Examples that can be told apart by their only pixel."""
    return Examples(torch.arange(count, dtype=torch.uint8).view(-1, 1), torch.arange(count), rows)


def indices(loader) -> list[list[int]]:
    return [batch.index.tolist() for batch in loader]


@pytest.mark.parametrize(
    "count,batch_size,world_size", [c for c in itertools.product((1, 2, 5, 7, 16, 61), (1, 3, 8, 500), (1, 2, 3, 5))]
)
def test_evaluation_hands_out_each_example_once_in_equal_numbers_of_batches(count, batch_size, world_size):
    if count < world_size:
        with pytest.raises(UserError, match=f"{count} examples .* {world_size} processes"):
            EvaluationLoader(examples(count), batch_size, 0, world_size)
        return
    loaders = [EvaluationLoader(examples(count), batch_size, rank, world_size) for rank in range(world_size)]
    batches = [indices(loader) for loader in loaders]
    assert {len(b) for b in batches} == {len(loader) for loader in loaders} == {len(batches[0])}
    assert all(len(batch) >= 1 for b in batches for batch in b)
    assert sorted(itertools.chain(*itertools.chain(*batches))) == list(range(count))
    # Two where a batch of one could not be had without leaving some rank with nothing.
    assert max(len(batch) for b in batches for batch in b) <= max(batch_size, 2)


def test_evaluation_is_sequential_and_says_which_example_is_which():
    loader = EvaluationLoader(examples(9, rows=torch.tensor([3, 4, 8])), batch_size=2)
    assert indices(loader) == indices(loader) == [[0], [1, 2]]
    assert torch.cat([batch.x for batch in loader]).mul(255).round().flatten().tolist() == [3, 4, 8]
    assert torch.cat([batch.label for batch in loader]).tolist() == [3, 4, 8]


def test_bytes_become_exactly_their_share_of_255():
    x = torch.arange(256, dtype=torch.uint8).view(256, 1)
    batch = next(iter(EvaluationLoader(Examples(x), 256)))
    assert batch.x.dtype == torch.float32 and batch.label is None
    assert torch.equal(batch.x, x.double().div(255).float())
    points = torch.randn(4, 2)
    assert torch.equal(next(iter(EvaluationLoader(Examples(points), 4))).x, points)


@pytest.mark.parametrize("world_size", [2, 3, 6])
def test_the_joint_batch_of_all_ranks_is_that_of_one_process(world_size):
    rows = torch.arange(0, 100, 2)
    alone = [list(TrainingLoader(examples(100, rows), 6, seed=5))][0]
    shares = [
        list(TrainingLoader(examples(100, rows), 6, seed=5, rank=r, world_size=world_size)) for r in range(world_size)
    ]
    for batch, *parts in zip(alone, *shares, strict=True):
        for field in ("x", "label", "index"):
            joint = torch.stack([getattr(part, field) for part in parts], dim=1).flatten(0, 1)
            assert torch.equal(joint, getattr(batch, field))


def test_an_epoch_is_a_permutation_that_depends_on_the_seed_and_the_epoch():
    loader = TrainingLoader(examples(12), 4, seed=1)
    first, second, other, again = (
        list(itertools.chain(*indices(each)))
        for each in (
            loader,
            loader,
            TrainingLoader(examples(12), 4, seed=2),
            TrainingLoader(examples(12), 4, seed=1),
        )
    )
    assert sorted(first) == sorted(second) == list(range(12)) != first
    assert first == again and first != second and first != other


def test_the_last_partial_batch_of_an_epoch_is_dropped():
    loader = TrainingLoader(examples(11), 4)
    assert len(loader) == 2 and [len(batch) for batch in indices(loader)] == [4, 4]


@pytest.mark.parametrize("drawn", range(8))
def test_a_stream_taken_up_again_goes_on_as_the_unbroken_one(drawn):
    unbroken = TrainingLoader(examples(12), 4, seed=3)
    stream = [batch for _ in range(4) for batch in indices(unbroken)]
    first = TrainingLoader(examples(12), 4, seed=3)
    iterator = iter(first)
    for _ in range(drawn):
        try:
            next(iterator)
        except StopIteration:
            iterator = iter(first)
            next(iterator)
    resumed = TrainingLoader(examples(12), 4, seed=3)
    resumed.load_state_dict(first.state_dict())
    assert first.state_dict() == {"epoch": drawn // 3, "batch": drawn % 3, "batch_size": 4}
    assert indices(resumed) == stream[drawn : drawn + 3]
    assert resumed.state_dict() == {"epoch": drawn // 3 + 1, "batch": drawn % 3, "batch_size": 4}


@pytest.mark.parametrize("rows", [None, torch.arange(60).flip(0)], ids=["all", "rows"])
@pytest.mark.parametrize("labelled", [True, False])
def test_an_epoch_laid_out_at_once_is_what_its_batches_would_be(labelled, rows, monkeypatch):
    def spoil(x, place):
        drawn = x.clone()
        x.zero_()  # a transform may overwrite what it is given
        return drawn

    def batches(limit: int) -> list:
        monkeypatch.setattr("lit_gen.data.loader.GATHERED_BYTES", limit)
        given = Examples(torch.randn(60, 3, generator=torch.Generator().manual_seed(0)), torch.arange(60), rows)
        loader = TrainingLoader(given if labelled else replace(given, label=None), 8, transform=spoil)
        drawn = list(loader)
        loader.load_state_dict({"epoch": 0, "batch": 2, "batch_size": 8})
        drawn += loader
        assert (loader._gathered is None) == (limit == 0)
        return drawn

    for one, other in zip(batches(2**20), batches(0), strict=True):
        assert one.index.equal(other.index)
        assert one.x.equal(other.x)
        assert one.x.any()
        assert (one.label is None and other.label is None) or one.label.equal(other.label)


def test_creating_iterators_changes_nothing():
    loader = TrainingLoader(examples(12), 4)
    iter(loader)
    iterator = iter(iter(loader))
    assert loader.state_dict() == {"epoch": 0, "batch": 0, "batch_size": loader.batch_size}
    assert next(iterator).index.tolist() == indices(TrainingLoader(examples(12), 4))[0]


def test_what_cannot_be_shared_out_is_refused():
    with pytest.raises(UserError, match=r"multiple.*128 is not one of 3; 129 would be"):
        TrainingLoader(examples(200), 128, world_size=3)
    with pytest.raises(UserError, match=r"batch_size 8 is more than the 5"):
        TrainingLoader(examples(5), 8)
    with pytest.raises(UserError, match="at least 1"):
        EvaluationLoader(examples(5), 0)
    with pytest.raises(UserError, match="batch 7 of an epoch that has 3"):
        TrainingLoader(examples(12), 4).load_state_dict({"epoch": 1, "batch": 7})


def test_another_batch_size_is_taken_up_only_between_epochs():
    amid, between = TrainingLoader(examples(12), 4), TrainingLoader(examples(12), 4)
    next(iter(amid))
    list(between)
    with pytest.raises(UserError, match=r"amid an epoch of batches of 4 with batches of 3: .*batch_size=4"):
        TrainingLoader(examples(12), 3).load_state_dict(amid.state_dict())
    other = TrainingLoader(examples(12), 3)
    other.load_state_dict(between.state_dict())
    assert (other.epoch, other.batch) == (1, 0)


class Recorder(LightningModule):
    """Trains one number and remembers which examples it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch.index.tolist())
        return self.weight * batch.x.mean()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Data(LightningDataModule):
    def train_dataloader(self):
        return TrainingLoader(examples(12), 4, seed=9)

    def val_dataloader(self):
        return EvaluationLoader(examples(5), 2)


class SaveAfter(Callback):
    """Saves a checkpoint after so many training batches, as a periodic ModelCheckpoint would."""

    def __init__(self, step: int, path: str) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def fit(tmp_path, callbacks=(), ckpt_path=None, **kwargs) -> list[list[int]]:
    model = Recorder()
    trainer = Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **kwargs,
    )
    trainer.fit(model, datamodule=Data(), ckpt_path=ckpt_path)
    return model.seen


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("saved_after", [1, 2, 3, 4])
def test_lightning_resumes_the_stream_in_mid_epoch_and_at_its_border(tmp_path, saved_after):
    path = str(tmp_path / "saved.ckpt")
    unbroken = fit(tmp_path, [SaveAfter(saved_after, path)], max_epochs=3)
    assert len(unbroken) == 9
    assert unbroken == [batch for _, batch in zip(range(9), _stream(), strict=False)]
    assert fit(tmp_path, ckpt_path=path, max_epochs=3) == unbroken[saved_after:]


@pytest.mark.filterwarnings("ignore")
def test_lightning_passes_cut_short_continue_the_stream(tmp_path):
    seen = fit(tmp_path, max_epochs=4, limit_train_batches=2)
    assert seen == [batch for _, batch in zip(range(8), _stream(), strict=False)]


def _stream():
    loader = TrainingLoader(examples(12), 4, seed=9)
    while True:
        yield from indices(loader)
