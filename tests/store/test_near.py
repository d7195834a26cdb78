"""The search for near hashes agrees with looking at every pair, over the borders of its blocks too."""

import numpy as np
import pytest

from spavl.store.near import band_width, near_pairs, packed


@pytest.mark.parametrize(("bits", "by_bands"), [(0, True), (3, True), (12, False)])
def test_every_pair_within_the_bits_is_found_in_order_and_no_other(bits: int, by_bands: bool) -> None:
    """5,000 and 2,100 hashes, so that blocks and tasks end in the middle; 300 of the right ones are near copies.

    2,100 hashes are 32 blocks, so a band has at most 5 bits: 32 values pay for 1 or 4 bands, and not for 13.
    """
    assert bool(band_width(bits, 2100 // 64)) == by_bands
    rng = np.random.default_rng(0)
    left, right = (rng.integers(0, 2**64, size, dtype=np.uint64) for size in (5000, 2100))
    right[-300:] = left[rng.integers(0, 5000, 300)]
    for _ in range(bits):
        right[-300:] ^= np.uint64(1) << rng.integers(0, 64, 300, dtype=np.uint64)
    found = near_pairs(left, right, bits)
    distances = np.bitwise_count(left[:, None] ^ right[None])
    rows, columns = np.nonzero(distances <= bits)
    assert len(rows) >= 300
    assert found.left.tolist() == rows.tolist() and found.right.tolist() == columns.tolist()
    assert found.bits.tolist() == distances[rows, columns].tolist()


def test_nothing_is_near_nothing() -> None:
    none = packed([])
    assert len(near_pairs(none, packed(["ff"]), 64).left) == len(near_pairs(packed(["ff"]), none, 64).left) == 0
    assert near_pairs(packed(["ff" * 8]), packed(["00" * 8]), 64).bits.tolist() == [64]
