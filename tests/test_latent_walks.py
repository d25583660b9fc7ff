"""Walks against their closed forms: exact ends, even pace, lengths of arcs."""

import math

import pytest
import torch

from lit_gen.latent_walks import lerp, path_length, slerp

T = torch.linspace(0, 1, 9)


def pairs(dim: int = 5, num: int = 40, dtype=torch.float64):
    return torch.randn(2, num, dim, generator=torch.Generator().manual_seed(dim), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("walk", [lerp, slerp])
@pytest.mark.parametrize("dim", [1, 2, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ends_are_the_latents_themselves(walk, dim, dtype):
    a, b = pairs(dim, dtype=dtype)
    points = walk(a, b, T)
    assert points.shape == (40, 9, dim) and points.dtype == dtype
    assert torch.equal(points[:, 0], a) and torch.equal(points[:, -1], b)


def test_lerp_is_straight():
    a, b = pairs()
    torch.testing.assert_close(lerp(a, b, T)[:, 2], 0.75 * a + 0.25 * b)
    torch.testing.assert_close(path_length(lerp(a, b, T)), (b - a).norm(dim=1))


def test_slerp_of_one_length_is_shoemakes_formula():
    a, b = pairs()
    b = b * (a.norm(dim=1) / b.norm(dim=1))[:, None]
    omega = torch.arccos(torch.cosine_similarity(a, b))[:, None]
    for number, t in enumerate(T.double().tolist()):
        expected = (((1 - t) * omega).sin() * a + (t * omega).sin() * b) / omega.sin()
        torch.testing.assert_close(slerp(a, b, T)[:, number], expected)


def test_slerp_turns_and_grows_at_an_even_pace():
    a, b = pairs(8)
    points = slerp(a, b, T)
    lengths = a.norm(dim=1)[:, None] * (1 - T.double()) + b.norm(dim=1)[:, None] * T.double()
    torch.testing.assert_close(points.norm(dim=2), lengths)
    turns = torch.arccos(torch.cosine_similarity(points[:, 1:], points[:, :-1], dim=2))
    torch.testing.assert_close(turns, turns.mean(1, keepdim=True).expand_as(turns))
    torch.testing.assert_close(turns.sum(1), torch.arccos(torch.cosine_similarity(a, b)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("nudge", [0.0, 1e-9, 1e-7, 1e-5, 1e-3])
def test_vectors_of_one_line_are_no_danger(dtype, nudge):
    """Parallel ones stay where they are; opposite ones go half around, at a constant distance from the origin."""
    a, other = pairs(6, dtype=dtype)
    aside = nudge * other
    for factor, turn in ((2.0, 0.0), (-1.0, math.pi), (-3.0, math.pi)):
        b = factor * a + aside
        points = slerp(a, b, T)
        assert torch.isfinite(points).all()
        pace = torch.lerp(a.norm(dim=1)[:, None], b.norm(dim=1)[:, None], T.to(dtype))
        torch.testing.assert_close(points.norm(dim=2), pace, rtol=1e-5, atol=1e-5)
        middle = torch.arccos(torch.cosine_similarity(a, points[:, 4]).clamp(-1, 1))
        torch.testing.assert_close(middle, torch.full_like(middle, turn / 2), rtol=0, atol=10 * nudge + 2e-3)


def test_without_an_arc_the_way_is_straight():
    a, b = pairs(3)
    zero = torch.zeros_like(a)
    torch.testing.assert_close(slerp(a, zero, T), lerp(a, zero, T))
    torch.testing.assert_close(slerp(zero, b, T), lerp(zero, b, T))
    assert torch.equal(slerp(zero, zero, T), torch.zeros(40, 9, 3, dtype=torch.float64))
    a, b = pairs(1)
    torch.testing.assert_close(slerp(a, b, T), lerp(a, b, T))


def test_the_length_of_an_arc_tends_to_its_own():
    a, b = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    steps = torch.linspace(0, 1, 2001)
    assert float(path_length(slerp(a, b, steps))) == pytest.approx(1.5 * math.pi, rel=1e-6)
    assert float(path_length(lerp(a, b, steps))) == pytest.approx(3 * math.sqrt(2), rel=1e-6)


def test_the_length_of_pictures_adds_up():
    x = torch.zeros(2, 3, 1, 2, 2)
    x[1, 1], x[1, 2, 0, 0, 0] = 1.0, 1.0  # 2 on the way there, then three of four pixels back
    assert path_length(x).tolist() == pytest.approx([0.0, 2.0 + math.sqrt(3)])
    assert path_length(x[:, :1]).tolist() == [0.0, 0.0]
