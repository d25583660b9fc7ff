"""Few labels: balanced, nested, drawn by a seed, and only from the training split."""

import pytest
import torch

from lit_gen.cli.main import main
from lit_gen.data.digits import Digits
from lit_gen.data.labelled_subset import labelled_subset
from lit_gen.errors import UserError

LABEL = torch.arange(200) % 5


def test_as_many_of_each_class():
    rows = labelled_subset(LABEL, None, 20, seed=0, origin="it")
    assert LABEL[rows].bincount().tolist() == [4] * 5
    assert len(rows.unique()) == 20 and torch.equal(rows, rows.sort().values)
    uneven = LABEL[labelled_subset(LABEL, None, 23, seed=0, origin="it")].bincount().tolist()
    assert sum(uneven) == 23 and set(uneven) == {4, 5}


def test_only_from_the_rows_there_are():
    rows = torch.arange(100, 200)
    assert set(labelled_subset(LABEL, rows, 50, seed=0, origin="it").tolist()) <= set(rows.tolist())


def test_more_labels_hold_the_fewer_ones():
    small, medium, large = (set(labelled_subset(LABEL, None, n, 3, "it").tolist()) for n in (7, 23, 100))
    assert small < medium < large


def test_the_seed_decides():
    first, again, other = (labelled_subset(LABEL, None, 20, seed, "it") for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize(
    ("label", "count", "message"),
    [
        (LABEL, 4, "num_labels 4 is fewer than the 5 classes of it"),
        (None, 10, "it has no labels"),
        (LABEL, 400, "80 examples of class 0, of which it has 40"),
    ],
)
def test_what_cannot_be_had_is_said(label, count, message):
    with pytest.raises(UserError, match=message):
        labelled_subset(label, None, count, seed=0, origin="it")


def test_validation_and_test_stay_whole():
    whole, few = Digits(), Digits(num_labels=50, batch_size=10)
    assert [few.num_examples(s) for s in ("train", "val", "test")] == [50, 197, 500]
    assert few.fingerprint("val") == whole.fingerprint("val") and few.fingerprint("test") == whole.fingerprint("test")
    label = torch.cat([b.label for b in few.reference_loader("train")])
    assert label.bincount().tolist() == [5] * 10
    images = {bytes(x.mul(255).byte().numpy()) for b in whole.reference_loader("train") for x in b.x}
    assert {bytes(x.mul(255).byte().numpy()) for b in few.reference_loader("train") for x in b.x} <= images


def test_also_where_nothing_is_held_out():
    data = Digits(num_validation=0, num_labels=20, batch_size=8)
    assert torch.cat([b.label for b in data.reference_loader("train")]).bincount().tolist() == [2] * 10


def test_fewer_labels_than_classes_on_the_command_line(tmp_path, capsys):
    arguments = ["fit", "--config", "conf/vaes/vae_digits.yaml", f"--runs={tmp_path}", "--wandb=false"]
    assert main([*arguments, "--data.num_labels=9", "--data.batch_size=3", "--trainer.max_steps=1"]) == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("lit-gen: error: ") and "\n" not in told
    assert "num_labels 9 is fewer than the 10 classes" in told
