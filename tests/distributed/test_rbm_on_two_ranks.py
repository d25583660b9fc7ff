"""Two gloo ranks under plain ``ddp``: one gradient, noise of their own, and persistent chains that all of them hold."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("rbm_on_two_ranks.py")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    out = tmp_path_factory.mktemp("rbm")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "PL_"))}
    environment |= {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(out)],
            env=environment | {"LOCAL_RANK": str(rank), "NODE_RANK": "0"},
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
    for process, log in zip(processes, logs, strict=True):
        assert process.returncode == 0, log[-4000:]
    return lambda case: [torch.load(out / f"{case}_{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("case", ["cd", "pcd"])
def test_each_steps_gradient_is_the_mean_of_the_ranks_own(ranks, case):
    first, second = ranks(case)
    assert len(first["own"]) == len(second["own"]) == 6
    for step in range(6):
        for rank in (first, second):
            for got, a, b in zip(rank["averaged"][step], first["own"][step], second["own"][step], strict=True):
                torch.testing.assert_close(got, (a + b) / 2)
        # The same examples and weights, but noise of their own.
        assert any(not torch.equal(a, b) for a, b in zip(first["own"][step], second["own"][step], strict=True))


@pytest.mark.parametrize("case", ["cd", "pcd"])
def test_the_ranks_hold_one_model_chains_and_all(ranks, case):
    first, second = (rank["state"] for rank in ranks(case))
    assert first.keys() == second.keys()
    assert ("chains" in first) == (case == "pcd")
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_each_rank_moves_its_share_of_the_chains_by_its_own_noise(ranks):
    pair = ranks("pcd")
    for step in range(6):
        chains = pair[0]["chains"][step]
        assert torch.equal(chains, pair[1]["chains"][step])
        for rank in (0, 1):
            assert torch.equal(chains[rank::2], pair[rank]["states"][step])
        assert not torch.equal(chains[0::2], chains[1::2])


def test_chains_go_on_from_step_to_step_through_an_evaluation(ranks):
    """Neither DDP's broadcast of buffers nor the one before an evaluation gives a rank the other's chains."""
    for rank in ranks("pcd"):
        assert [done for done, _ in rank["at_validation"][2:]] == [3, 3, 3, 6, 6, 6]  # after the sanity check's two
        for done, chains in rank["at_validation"][2:]:
            assert torch.equal(chains, rank["chains"][done - 1])


def test_a_number_of_chains_that_cannot_be_shared_is_refused(ranks):
    for rank in ranks("odd"):
        assert "5 is no multiple of 2" in rank["refusal"]
