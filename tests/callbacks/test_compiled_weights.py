"""Likelihoods in compiled code are those of the uncompiled model, noise and all."""

import os
import pickle
import subprocess
import sys

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch._dynamo.utils import counters

from lit_gen.callbacks.compiled_weights import compiled_weights
from lit_gen.callbacks.likelihood import Likelihood, estimate_log_px
from lit_gen.data.digits import Digits
from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.models.vaes.vae import VAE
from lit_gen.networks.layers.tanh import Tanh
from lit_gen.networks.mlp import MLP
from lit_gen.randomness import seeded

IMAGE = (1, 8, 8)


def build(scale: float = 1.0) -> VAE:
    """``scale`` multiplies the logits."""
    seed_everything(0)
    encoder = MLP(IMAGE, 3, [20], Tanh, params_per_output=2)
    model = VAE(encoder, MLP(3, IMAGE, [20], Tanh), NormalHead(), BernoulliHead(), StandardNormal(3)).eval()
    for parameter in model.decoder.layers[-1].parameters():
        parameter.data.mul_(scale)
    return model


@torch.no_grad()
def estimate(weights, x):
    with seeded(0, x.device):
        return estimate_log_px(weights, x, range(len(x)), num_samples=600, chunk_size=250, seed=0)


# Logits in the thousands: no product of 16 sigmoids is above 0 in single precision.
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_the_figures_are_the_same(scale):
    model = build(scale)
    grey = torch.rand(3, *IMAGE)
    torch.compiler.reset()
    counters.clear()
    compiled = compiled_weights(model, grey.device)
    assert compiled is not model
    for x in (grey.round(), grey):
        ours, uncompiled = estimate(compiled, x), estimate(model, x)
        for mine, theirs in zip(ours, uncompiled, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=2e-5, atol=1e-4)
    assert counters["stats"]["unique_graphs"] >= 2  # of the probe and of the weights
    assert not counters["graph_break"]  # each would cost what compiling saves


def test_the_callback_computes_by_them(tmp_path, monkeypatch):
    figures = {}
    compiled, compiler = [], torch.compile

    def watched(function, **options):
        compiled.append(function.__name__)
        return compiler(function, **options)

    monkeypatch.setattr(torch, "compile", watched)
    for flag in (False, True):
        callback = Likelihood(num_samples=50, compiled=flag)
        trainer = Trainer(
            accelerator="cpu",
            logger=False,
            callbacks=[callback],
            default_root_dir=tmp_path,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        (figures[flag],) = trainer.test(build(), Digits(image_shape=IMAGE, binarization="dynamic"), verbose=False)
        assert ("log_importance_weights" in compiled) == flag
        pickle.dumps(callback)  # as a strategy that spawns processes does
    assert figures[True]["test/nll_nats_k50"] == pytest.approx(figures[False]["test/nll_nats_k50"], abs=1e-4)


def test_without_a_compiler_there_is_a_warning_and_the_figure(tmp_path):
    script = """
import torch
from lit_gen.callbacks.compiled_weights import compiled_weights
model = object()
assert compiled_weights(model, torch.device("cpu")) is model
"""
    nowhere = {"CXX": "/nonexistent/c++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, **nowhere})
    assert done.returncode == 0, done.stderr
    assert "computed uncompiled" in done.stderr
    assert "/nonexistent/c++" in done.stderr
