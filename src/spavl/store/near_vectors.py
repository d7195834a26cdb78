"""Finds the vectors that point the same way: every pair of two lists, block by block."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
ROWS_OF_A_BLOCK = 4096


class NearVectors(NamedTuple):
    """Pairs (P,) of rows of two lists of unit vectors, in order."""

    left: NDArray[np.intp]
    right: NDArray[np.intp]
    cosines: NDArray[np.float32]


def near_vectors(left: Vectors, right: Vectors, least: float) -> NearVectors:
    """Returns every pair whose cosine is `least` or more.

    Args:
        left: Unit vectors (N, D); a row of zeros is near none.
        right: Unit vectors (M, D).
        least: Above 0, at most 1.
    """
    rows, columns, cosines = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)], [np.zeros(0, np.float32)]
    for row in range(0, len(left), ROWS_OF_A_BLOCK):
        for column in range(0, len(right), ROWS_OF_A_BLOCK):
            products = left[row : row + ROWS_OF_A_BLOCK] @ right[column : column + ROWS_OF_A_BLOCK].T
            one, other = np.nonzero(products >= least)
            rows.append(one + row)
            columns.append(other + column)
            cosines.append(products[one, other])
    found = NearVectors(np.concatenate(rows), np.concatenate(columns), np.concatenate(cosines))
    order = np.lexsort((found.right, found.left))
    return NearVectors(found.left[order], found.right[order], found.cosines[order])
