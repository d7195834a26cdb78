"""The growing index agrees with looking at every hash, whatever lies sorted in bands and whatever still waits."""

import numpy as np
import pytest

from spavl.store import near_index
from spavl.store.near_index import NearIndex


@pytest.mark.parametrize("bits", [0, 4, 8, 20])
def test_it_finds_what_looking_at_every_hash_finds(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 hashes, sorted in at each hundredth; every other one is a copy with 0 to `bits` + 1 bits flipped."""
    monkeypatch.setattr(near_index, "WAITING", 100)
    rng = np.random.default_rng(bits)
    index, hashes, found = NearIndex(bits), np.zeros(0, np.uint64), 0
    for number in range(1000):
        new = int(rng.integers(0, 2**64, dtype=np.uint64))
        if number % 2:
            new = int(hashes[rng.integers(number)])
            for bit in rng.choice(64, rng.integers(bits + 2), replace=False):
                new ^= 1 << int(bit)
        distances = np.bitwise_count(hashes ^ np.uint64(new))
        expected = int(distances.argmin()) if number and distances.min() <= bits else None
        assert index.nearest(new) == expected
        found += expected is not None
        index.add(new)
        hashes = np.append(hashes, np.uint64(new))
    assert found > 200, "the comparison would be empty"
