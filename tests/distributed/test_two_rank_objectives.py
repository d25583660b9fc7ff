"""Two gloo ranks against one process on the joint batch, for every objective and every regularizer of a game."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

SCRIPT = Path(__file__).with_name("two_rank_objectives.py")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def started(out: Path, num_ranks: int) -> list[subprocess.Popen]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "PL_"))}
    environment |= {"OMP_NUM_THREADS": "1", "RANKS": str(num_ranks)}
    if num_ranks > 1:
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(num_ranks)}
    return [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(out)],
            env=environment | ({"LOCAL_RANK": str(rank), "NODE_RANK": "0"} if num_ranks > 1 else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(num_ranks)
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All games, played once by one process and once by two."""
    out = tmp_path_factory.mktemp("two_ranks")
    processes = [*started(out, 1), *started(out, 2)]
    try:
        logs = [process.communicate(timeout=400)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, log in zip(processes, logs, strict=True):
        assert process.returncode == 0, log[-4000:]
    load = lambda name: torch.load(out / f"{name}.pt")  # noqa: E731
    return SimpleNamespace(
        names=sorted(path.name.removesuffix("_0_of_1.pt") for path in out.glob("*_0_of_1.pt")),
        one=lambda case: load(f"{case}_0_of_1"),
        two=lambda case: [load(f"{case}_{rank}_of_2") for rank in (0, 1)],
    )


def relative_error(got, expected) -> float:
    got, expected = (torch.cat([value.flatten() for value in values]) for values in (got, expected))
    return ((got - expected).norm() / expected.norm()).item()


def test_every_objective_and_regularizer_is_played(runs):
    import lit_gen.objectives.adversarial as objectives
    import lit_gen.regularizers.adversarial as regularizers

    members = [
        value.__name__ for room in (objectives, regularizers) for value in vars(room).values() if type(value) is type
    ]
    assert {name.split("-")[-1] for name in runs.names} >= set(members) - {"FDivergence"}


def test_two_ranks_step_with_the_gradients_of_one_process(runs):
    """To 1e-5 relative in the first batch, of both players; later ones start from weights that differ by rounding."""
    for name in runs.names:
        one = runs.one(name)["gradients"]
        assert len(one) == 6
        for rank in runs.two(name):
            errors = [relative_error(got, expected) for got, expected in zip(rank["gradients"], one, strict=True)]
            assert max(errors[:2]) < 1e-5, (name, errors)
            assert max(errors) < 1e-3, (name, errors)


def test_ranks_stay_in_step_to_the_bit(runs):
    """Weights, the objective's and the regularizers' state."""
    for name in runs.names:
        first, second = (rank["state"] for rank in runs.two(name))
        one = runs.one(name)["state"]
        for key, value in first.items():
            assert torch.equal(value, second[key]), (name, key)
            torch.testing.assert_close(value, one[key], rtol=1e-3, atol=1e-5, msg=f"{name}: {key}")
