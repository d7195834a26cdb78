"""Vectors that point the same way, found block by block."""

import numpy as np
import pytest

from spavl.store import near_vectors as module
from spavl.store.near_vectors import near_vectors


def test_every_pair_from_the_least_cosine_on_is_found_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """(1, 0) and (0.8, 0.6) have the cosine 0.8, (0.8, 0.6) and (0.6, 0.8) 0.96; zeros are near none. A row a block."""
    monkeypatch.setattr(module, "ROWS_OF_A_BLOCK", 1)
    left = np.array([[1, 0], [0, 0], [0.8, 0.6]], dtype=np.float32)
    right = np.array([[0.6, 0.8], [1, 0]], dtype=np.float32)
    found = near_vectors(left, right, 0.79)
    pairs = list(zip(found.left.tolist(), found.right.tolist(), found.cosines.round(2).tolist(), strict=True))
    assert pairs == [(0, 1, 1.0), (2, 0, pytest.approx(0.96)), (2, 1, pytest.approx(0.8))]
    assert len(near_vectors(left[:0], right, 0.5).left) == 0
