import torch

from lit_gen.tensor import at_least_single, mean_over_batch, sum_except_batch


def test_sums_keep_the_batch():
    x = torch.arange(24.0).view(2, 3, 4)
    assert sum_except_batch(x).tolist() == [66.0, 210.0]
    assert sum_except_batch(x[0, 0]).tolist() == [0.0, 1.0, 2.0, 3.0]


def test_half_precision_is_raised_and_the_others_are_kept():
    kept = {dtype: at_least_single(torch.ones(1, dtype=dtype)).dtype for dtype in (torch.float32, torch.float64)}
    assert kept == {torch.float32: torch.float32, torch.float64: torch.float64}
    assert at_least_single(torch.ones(1, dtype=torch.bfloat16)).dtype == torch.float32


def test_a_mean_of_a_mean_is_itself():
    mean = mean_over_batch(torch.tensor([1.0, 2.0, 6.0]))
    assert mean.item() == 3.0
    assert mean_over_batch(mean) is mean
