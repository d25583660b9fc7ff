"""Two gloo ranks against one process on the joint batch, for every objective and every regularizer of a game."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.distributed.ranks import logs_of, started

SCRIPT = Path(__file__).with_name("two_rank_objectives.py")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All games, played once by one process and once by two."""
    out = tmp_path_factory.mktemp("two_ranks")
    logs_of([*started(SCRIPT, out, 1), *started(SCRIPT, out, 2)])
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
