"""Two gloo ranks under plain ``ddp`` hold one codebook: that of one process on the joint batch."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

SCRIPT = Path(__file__).with_name("vq_on_two_ranks.py")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    out = tmp_path_factory.mktemp("vq")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "PL_"))}
    environment |= {"OMP_NUM_THREADS": "1", "RANKS": "1"}
    two = {"RANKS": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(out)],
            env=environment | own,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for own in ({}, two | {"LOCAL_RANK": "0"}, two | {"LOCAL_RANK": "1"})
    ]
    try:
        logs = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, log in zip(processes, logs, strict=True):
        assert process.returncode == 0, log[-4000:]
    load = lambda name: torch.load(out / f"{name}.pt")  # noqa: E731
    return SimpleNamespace(
        one=lambda case: load(f"{case}_0_of_1"),
        two=lambda case: [load(f"{case}_{rank}_of_2") for rank in (0, 1)],
    )


@pytest.mark.parametrize("case", ["follows", "restarts"])
def test_the_ranks_hold_one_codebook_after_every_step(runs, case):
    first, second = (rank["states"] for rank in runs.two(case))
    assert len(first) == len(second) == 8
    for a, b in zip(first, second, strict=True):
        assert a.keys() == {"codebook", "choices", "sums"}
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(first[0]["codebook"], first[-1]["codebook"])


def test_it_is_the_codebook_of_one_process_on_the_joint_batch(runs):
    one, (two, _) = runs.one("follows"), runs.two("follows")
    for a, b in zip(one["states"], two["states"], strict=True):
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-5)
    for a, b in zip(one["gradients"], two["gradients"], strict=True):
        for got, want in zip(b, a, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_both_ranks_encodings_are_restarted_at(runs):
    """Codes 0, 2, 4 start at encodings of rank 0, the others at rank 1's: at the first batch all of them anew."""
    before = runs.two("follows")[0]["states"][0]["codebook"]
    after = runs.two("restarts")[0]["states"][0]["codebook"]
    assert ((before - after).abs().amax(1) > 1e-3).all()
    assert len(after.unique(dim=0)) > 3


@pytest.mark.parametrize("case", ["follows", "restarts"])
def test_evaluation_agrees_on_every_rank_and_perplexity_is_the_splits(runs, case):
    first, second = (rank["metrics"] for rank in runs.two(case))
    assert first == second
    assert "val/perplexity" in first
    if case == "follows":
        one = runs.one(case)["metrics"]
        for name, value in one.items():
            torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-5)
