"""CIFAR-10's loader and PixelCNN++ on photographs in its files: the first of the set itself where they are at hand."""

import json

import numpy as np
import torch

from lit_gen.cli.main import main
from lit_gen.data.cifar10 import CIFAR10


def test_the_loader_hands_out_every_pixel_as_it_was(cifar10_root, photographs):
    data = CIFAR10(root=str(cifar10_root), download=False, num_validation=200, eval_batch_size=100)
    data.setup()
    assert [data.num_examples(split) for split in ("train", "val", "test")] == [3400, 200, 400]
    batches = list(data.test_dataloader())
    x, label, index = (torch.cat(parts) for parts in zip(*batches, strict=True))
    expected = torch.from_numpy(photographs.x[-400:])[index].permute(0, 3, 1, 2)
    assert torch.equal(x, expected / 255)
    assert torch.equal(label, torch.from_numpy(photographs.label[-400:]).long()[index])
    held_out = {image.numpy().tobytes() for batch in data.val_dataloader() for image in (batch.x * 255).round().byte()}
    assert held_out <= {image.tobytes() for image in photographs.x[:-400].transpose(0, 3, 1, 2)}


def test_pixelcnnpp_is_trained_and_scored_on_them(cifar10_root, monkeypatch, tmp_path):
    """The paper's network but for its filters, 16 of 160: two batches of everything."""
    monkeypatch.setenv("LIT_GEN_DATA", str(cifar10_root))
    options = ["--model.network.num_filters=16", "--data.num_validation=200", "--data.batch_size=4"]
    options += ["--data.eval_batch_size=4", "--data.download=false", "--trainer.accelerator=cpu"]
    runs = tmp_path / "runs"
    fit = ["fit", "--config", "conf/autoregressive/pixelcnnpp_cifar10.yaml", "--trainer.fast_dev_run=2", *options]
    assert main([*fit, f"--runs={runs}"]) == 0
    (summary,) = runs.glob("*/*/summary.json")
    figures = json.loads(summary.read_text())["figures"]
    assert 0 < figures["test/bits_per_dim"] < 20
    assert np.isclose(figures["test/bits_per_dim"], figures["test/nll_nats_exact"] / (3072 * np.log(2)), rtol=1e-4)
