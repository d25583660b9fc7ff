"""The quantizer against k-means and against its recursion written out."""

import math

import pytest
import torch
from sklearn.cluster import KMeans

from lit_gen.errors import UserError
from lit_gen.networks.layers.quantize import VectorQuantizer, perplexity


def clusters(num_each: int = 30) -> torch.Tensor:
    """(90, 2) points about three centres."""
    centres = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    noise = torch.randn(num_each, 3, 2, generator=torch.Generator().manual_seed(0))
    return (centres + noise).flatten(0, 1)


def quantizer(codebook: torch.Tensor, **kwargs) -> VectorQuantizer:
    layer = VectorQuantizer(*codebook.shape, **({"restart_below": 0.0} | kwargs))
    layer.codebook.copy_(codebook)
    return layer


def test_each_encoding_gets_its_nearest_code_and_hands_its_gradient_straight_through():
    torch.manual_seed(0)
    layer = VectorQuantizer(5, 3).eval()
    z = torch.randn(4, 3, 2, 6, requires_grad=True)
    codes, index, squared_error = layer(z)
    vectors = z.detach().movedim(1, -1)
    nearest = torch.cdist(vectors.flatten(0, -2), layer.codebook).argmin(1).view(4, 2, 6)
    assert torch.equal(index, nearest)
    torch.testing.assert_close(codes, layer.codebook[nearest].movedim(-1, 1))
    torch.testing.assert_close(codes, layer.look_up(index))
    torch.testing.assert_close(squared_error, (z - codes).square().flatten(1).sum(1))
    weight = torch.randn_like(codes)
    (through,) = torch.autograd.grad((codes * weight).sum(), z, retain_graph=True)
    assert torch.equal(through, weight)
    (pull,) = torch.autograd.grad(squared_error.sum(), z)
    torch.testing.assert_close(pull, 2 * (z - codes).detach())


@pytest.mark.parametrize("offset", [0.0, 1000.0, -30_000.0])
def test_the_nearest_code_is_the_nearest_wherever_the_codes_lie(offset):
    """By differences in double precision. An expanded square about 0 was wrong for a quarter of them at 1000."""
    torch.manual_seed(0)
    layer = quantizer(torch.randn(512, 16) + offset).eval()
    vectors = torch.randn(2000, 16) + offset
    distance = (vectors.double()[:, None] - layer.codebook.double()).square().sum(2)
    found = layer.nearest(vectors)
    assert (found == distance.argmin(1)).float().mean() > 0.999
    excess = distance.gather(1, found[:, None])[:, 0] - distance.amin(1)
    assert excess.max() < 1e-3  # where it is another, it is as near but for rounding of the vectors themselves


def test_without_memory_it_is_lloyds_k_means():
    """decay 0: each code becomes the mean of those that chose it. Repeated, it is scikit-learn's k-means."""
    points, start = clusters(), clusters()[:3] + 0.1
    layer = quantizer(start, decay=0.0).train()
    index = layer(points.unsqueeze(-1)).index.squeeze(-1)
    means = torch.stack([points[index == k].mean(0) for k in range(3)])
    torch.testing.assert_close(layer.codebook, means)
    for _ in range(50):
        layer(points.unsqueeze(-1))
    expected = KMeans(3, init=start.numpy(), n_init=1, algorithm="lloyd", tol=0.0, max_iter=500).fit(points.numpy())
    torch.testing.assert_close(layer.codebook, torch.from_numpy(expected.cluster_centers_), rtol=1e-4, atol=1e-5)


def test_the_averages_are_those_of_the_paper_computed_directly():
    """Appendix A.1, batch after batch."""
    torch.manual_seed(0)
    layer, decay = quantizer(torch.randn(4, 2), decay=0.9).train(), 0.9
    codebook, count, total = layer.codebook.clone().double(), torch.zeros(4).double(), torch.zeros(4, 2).double()
    for _ in range(6):
        z = torch.randn(10, 2, 3)
        layer(z)
        vectors = z.movedim(1, -1).flatten(0, -2).double()
        index = torch.cdist(vectors, codebook).argmin(1)
        for k in range(4):
            count[k] = decay * count[k] + (1 - decay) * (index == k).sum()
            total[k] = decay * total[k] + (1 - decay) * vectors[index == k].sum(0)
            if count[k] > 0:
                codebook[k] = total[k] / count[k]
    torch.testing.assert_close(layer.codebook.double(), codebook, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(layer.choices.double(), count, rtol=1e-5, atol=1e-6)


def test_with_memory_it_settles_where_k_means_does():
    points = clusters()
    layer = quantizer(points[:3] + 0.1, decay=0.9).train()
    for _ in range(300):
        layer(points.unsqueeze(-1))
    expected = KMeans(3, init=(points[:3] + 0.1).numpy(), n_init=1, tol=0.0, max_iter=500).fit(points.numpy())
    torch.testing.assert_close(layer.codebook, torch.from_numpy(expected.cluster_centers_), rtol=1e-4, atol=1e-4)


def test_evaluation_never_moves_the_codebook():
    torch.manual_seed(0)
    layer = VectorQuantizer(4, 2).train()
    layer(torch.randn(20, 2, 3))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.eval()
    layer(torch.randn(20, 2, 3))
    assert all(torch.equal(value, layer.state_dict()[name]) for name, value in before.items())


def test_it_begins_among_the_first_batchs_encodings():
    torch.manual_seed(0)
    layer = VectorQuantizer(4, 2, decay=0.9999).train()
    z = torch.randn(50, 2, 1) + 100.0  # far from where the codes are drawn
    codes = layer(z).codes
    distance = (codes.detach().squeeze(-1)[:, None] - z.squeeze(-1)[None]).norm(dim=2)
    assert (distance.amin(1) < 1e-4).all()


def test_a_code_that_nobody_chooses_is_restarted_at_an_encoding():
    torch.manual_seed(0)
    points = clusters()
    layer = quantizer(torch.cat([points[:2], torch.full((1, 2), 50.0)]), decay=0.5, restart_below=0.2).train()
    layer.choices.fill_(1.0)
    layer.sums.copy_(layer.codebook)
    for number in range(3):  # choices fall to 1/2, 1/4, 1/8
        layer(points.unsqueeze(-1))
        assert torch.equal(layer.codebook[2], torch.full((2,), 50.0)), number
    layer(points.unsqueeze(-1))
    assert layer.codebook[2].abs().max() < 10
    assert layer.choices.min() >= 0.2
    for _ in range(20):
        layer(points.unsqueeze(-1))
    assert perplexity(torch.bincount(layer(points.unsqueeze(-1)).index.flatten(), minlength=3)) > 2.5


def test_a_code_that_is_never_restarted_stays_where_it_is():
    points = clusters()
    layer = quantizer(torch.cat([points[:2], torch.full((1, 2), 50.0)])).train()
    for _ in range(5):
        layer(points.unsqueeze(-1))
    assert torch.equal(layer.codebook[2], torch.full((2,), 50.0))
    assert layer.codebook.isfinite().all()


def test_a_code_chosen_once_and_never_again_stays_where_it_was_left():
    """Until long after its averages have become zero: 2^-200 is no single-precision number."""
    layer = quantizer(torch.tensor([[0.0], [50.0]]), decay=0.5).train()
    layer(torch.tensor([[[0.1]], [[50.0]]]))
    for number in range(200):
        layer(torch.tensor([[[0.1]]]))
        assert layer.codebook[1].item() == pytest.approx(50.0, rel=1e-5), number
    layer(torch.tensor([[[0.1]], [[40.0]]]))
    assert layer.codebook[1].item() == pytest.approx(40.0, rel=1e-5)


def test_perplexity_is_the_number_of_equally_chosen_codes():
    assert perplexity(torch.tensor([5, 5, 0, 5, 5])).item() == pytest.approx(4.0)
    assert perplexity(torch.tensor([9, 0])).item() == pytest.approx(1.0)
    assert perplexity(torch.tensor([3, 1])).item() == pytest.approx(
        math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4))
    )


@pytest.mark.parametrize("wrong", [{"num_codes": 0}, {"dim": 0}, {"decay": 1.0}, {"restart_below": 1.0}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        VectorQuantizer(**({"num_codes": 4, "dim": 2} | wrong))
