"""The search for near hashes agrees with looking at every pair, over the borders of its blocks too."""

import numpy as np

from spavl.store.near import near_pairs, packed


def test_every_pair_within_the_bits_is_found_in_order_and_no_other() -> None:
    """5,000 and 2,100 hashes, so that blocks and tasks end in the middle; 300 of the right ones are near copies."""
    rng = np.random.default_rng(0)
    left, right = (rng.integers(0, 2**63, size, dtype=np.uint64) for size in (5000, 2100))
    flips = np.uint64(1) << rng.integers(0, 64, (300, 3), dtype=np.uint64)
    right[-300:] = left[rng.integers(0, 5000, 300)] ^ flips[:, 0] ^ flips[:, 1] ^ flips[:, 2]
    found = near_pairs(left, right, 3)
    distances = np.bitwise_count(left[:, None] ^ right[None])
    rows, columns = np.nonzero(distances <= 3)
    assert len(rows) >= 300
    assert found.left.tolist() == rows.tolist() and found.right.tolist() == columns.tolist()
    assert found.bits.tolist() == distances[rows, columns].tolist()


def test_nothing_is_near_nothing() -> None:
    none = packed([])
    assert len(near_pairs(none, packed(["ff"]), 64).left) == len(near_pairs(packed(["ff"]), none, 64).left) == 0
    assert near_pairs(packed(["ff" * 8]), packed(["00" * 8]), 64).bits.tolist() == [64]
