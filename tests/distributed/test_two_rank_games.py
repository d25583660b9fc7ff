"""Two gloo ranks under plain ``ddp`` against one process on the joint batch, for automatic and manual optimization."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.distributed.ranks import logs_of, started

SCRIPT = Path(__file__).with_name("two_rank_games.py")
REPLAYED = ["vae", "vae_free_bits", "gan", "gan_clipped_in_micro_batches", "dcgan", "autoencoder", "autoregressive"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    out = tmp_path_factory.mktemp("two_ranks")
    always = {"PYTHONWARNINGS": "always"}
    logs = logs_of([*started(SCRIPT, out, 1, **always), *started(SCRIPT, out, 2, **always)])
    load = lambda name: torch.load(out / f"{name}.pt")  # noqa: E731
    return SimpleNamespace(
        one=lambda case: load(f"{case}_0_of_1"),
        two=lambda case: [load(f"{case}_{rank}_of_2") for rank in (0, 1)],
        logs=logs,
    )


def relative_error(got, expected):
    got, expected = (torch.cat([value.flatten() for value in values]) for values in (got, expected))
    return ((got - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("case", REPLAYED)
def test_two_ranks_step_with_the_gradient_of_one_process_on_the_joint_batch(runs, case):
    """Every step of every player: to 1e-5 relative in the first batch; later ones start from weights that differ by
    rounding."""
    one = runs.one(case)["gradients"]
    for rank in runs.two(case):
        assert len(rank["gradients"]) == len(one) >= 6
        errors = [relative_error(got, expected) for got, expected in zip(rank["gradients"], one, strict=True)]
        assert max(errors[: 2 if case in ("gan", "gan_clipped_in_micro_batches") else 1]) < 1e-5, errors
        assert max(errors) < 1e-3, errors


@pytest.mark.parametrize("case", REPLAYED)
def test_weights_and_buffers_stay_in_step(runs, case):
    """To the bit between the ranks (running statistics and the generator's average among them), and close to one
    process's."""
    first, second = (rank["state"] for rank in runs.two(case))
    one = runs.one(case)["state"]
    assert first.keys() == second.keys() == one.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
        torch.testing.assert_close(value, one[name], rtol=1e-3, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("case", ["vae_draws", "factor_vae_draws", "gan_draws"])
def test_ranks_and_steps_draw_different_noise(runs, case):
    draws = [rank["draws"] for rank in runs.two(case)]
    rows = torch.cat([value for rank in draws for value in rank])
    assert len(draws[0]) == len(draws[1]) >= 6
    assert len(rows) >= 6 * 12
    assert len(rows.unique(dim=0)) == len(rows)


@pytest.mark.parametrize("case", ["vae_draws", "factor_vae_draws", "gan_draws"])
def test_with_their_own_noise_the_ranks_still_hold_one_model(runs, case):
    first, second = (rank["state"] for rank in runs.two(case))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_no_warning_of_unused_parameters(runs):
    for log in runs.logs:
        assert "find_unused" not in log
        assert "unused parameters" not in log


def test_validation_agrees_on_every_rank(runs):
    for case in REPLAYED:
        first, second = (rank["metrics"] for rank in runs.two(case))
        assert first
        assert first == second


def test_an_evaluation_is_of_one_model_even_where_ranks_keep_statistics_of_their_own(runs):
    """torch's batch norm tells each rank its own running statistics; all ranks evaluate with those of rank 0."""
    case = "gan_norm_by_rank"
    first, second = (rank["evaluated_buffers"] for rank in runs.two(case))
    name = "generator.1.running_mean"
    assert len(first) >= 2
    assert any((buffers[name] != 0).any() for buffers in first)
    for a, b in zip(first, second, strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)
    ends = [rank["state"][name] for rank in runs.two(case)]
    assert not torch.equal(*ends)  # two batches after the last evaluation they have parted again
