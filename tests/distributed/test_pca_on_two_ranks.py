"""PCA on two gloo ranks under plain ``ddp``, equal to scikit-learn's on all the data."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from lit_gen.data.digits import Digits

SCRIPT = Path(__file__).with_name("pca_on_two_ranks.py")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    out = tmp_path_factory.mktemp("pca")
    np.save(out / "x.npy", load_digits().data / 16)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "PL_"))}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "NODE_RANK": "0"}
    environment |= {"OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(out)],
            env=environment | {"LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        logs = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], logs
    return [torch.load(out / f"found_{rank}.pt") for rank in (0, 1)]


def assert_close_to_scikit_learn(found, x):
    reference = PCA(20, svd_solver="full").fit(x)
    np.testing.assert_allclose(found["components"], reference.components_, atol=1e-5)
    np.testing.assert_allclose(found["eigenvalues"][:20], reference.explained_variance_, rtol=1e-5)
    np.testing.assert_allclose(found["mean"], reference.mean_, atol=1e-5)
    return reference


def test_fit_finds_what_scikit_learn_does(ranks):
    data = Digits()
    data.setup()
    x, held_out = (
        torch.cat([batch.x for batch in data.reference_loader(split)]).flatten(1).double().numpy()
        for split in ("train", "val")
    )
    found = ranks[0]["whole"]
    reference = assert_close_to_scikit_learn(found, x)
    assert found["num_examples"] == len(x)
    # 197 validation examples: they don't divide by two.
    errors = ((held_out - reference.inverse_transform(reference.transform(held_out))) ** 2).sum(1)
    variances = ((held_out - reference.mean_) ** 2).sum(1)
    figures = ranks[0]["figures"]
    np.testing.assert_allclose(figures["val/squared_error"], errors.mean(), rtol=1e-5)
    np.testing.assert_allclose(figures["val/variance"], variances.mean(), rtol=1e-5)
    ratio = figures["val/explained_variance_ratio"]
    np.testing.assert_allclose(ratio, 1 - errors.sum() / variances.sum(), rtol=1e-5)


def test_resumed_within_the_pass_it_has_the_bits_of_the_unbroken_run(ranks):
    for found in ranks:
        for name, value in found["whole"].items():
            assert torch.equal(value, found["resumed"][name]), name


def test_unequal_shares_of_unequal_means_count_by_their_examples(ranks):
    x = load_digits().data / 16  # not shuffled
    assert_close_to_scikit_learn(ranks[0]["unequal"], x)
    assert ranks[0]["first"]["count"] == 500
    np.testing.assert_allclose(ranks[0]["first"]["covariance"], np.cov(x[:500].T), atol=1e-6)


def test_ranks_agree_to_the_bit(ranks):
    one, other = ranks
    for part in one:
        for name, value in one[part].items():
            assert torch.equal(value, other[part][name]), f"{part} {name}"
