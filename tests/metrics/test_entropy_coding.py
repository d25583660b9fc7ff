import numpy as np
import pytest

from lit_gen.metrics.entropy_coding import pack, unpack


def entropy_bytes(column: np.ndarray) -> float:
    counts = np.bincount(column)
    share = counts[counts > 0] / len(column)
    return float(-(share * np.log2(share)).sum() * len(column) / 8)


@pytest.mark.parametrize("bits", [1, 4, 6, 8, 9, 12, 16])
@pytest.mark.parametrize("count", [1, 7, 1000])
def test_what_goes_in_comes_out(bits, count):
    indices = np.random.default_rng(bits).integers(0, 2**bits, (count, 5))
    indices[0] = [0, 2**bits - 1, 0, 1, 0]
    assert (unpack(pack(indices, bits), 5, bits) == indices).all()


def test_peaked_codes_take_their_entropy_and_little_more():
    rng = np.random.default_rng(0)
    # Each coordinate has a distribution of its own: one table for all takes a third more.
    columns = [np.clip(rng.normal(centre, width, 8000).round(), 0, 63) for centre, width in ((8, 1), (30, 4), (50, 9))]
    indices = np.stack(columns, axis=1).astype(np.int64)
    least = sum(entropy_bytes(column) for column in indices.T)
    assert least <= len(pack(indices, 6)) <= 1.05 * least


def test_noise_takes_its_bits():
    indices = np.random.default_rng(0).integers(0, 16, (4000, 4))
    assert 8000 <= len(pack(indices, 4)) <= 8300


def test_repetitions_take_next_to_nothing():
    assert len(pack(np.tile(np.arange(16), (1000, 4)), 4)) < 500
