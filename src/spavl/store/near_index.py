"""Finds, of many 64-bit hashes to which more are added all the time, the one nearest to a new one.

Most hashes lie sorted by bands (`store/near.py` says why that suffices); the last ones wait in a list that every
look-up reads whole, and are sorted in when they have become many. So 10^6 hashes cost about 100 MB, and a look-up
among them reads some 20,000.
"""

import numpy as np

from spavl.store.near import HASH_BITS, band_value, band_width, sorted_band

WAITING = 8192
"""Hashes that may wait at least, and one for each `SHARE` of those sorted in."""
SHARE = 32


class NearIndex:
    """Hashes in the order in which they were added.

    Args:
        bits: Two hashes are near when they differ in at most this many bits.
    """

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._width = band_width(bits, 2**HASH_BITS)
        self._hashes = np.zeros(64, dtype=np.uint64)  # grows by doubling; the first `_count` count
        self._count = self._sorted = 0
        self._bands = [sorted_band(self._hashes[:0], band, self._width) for band in self._band_numbers()]

    def add(self, number: int) -> None:
        """Adds a hash; its place is the number of those added before."""
        if self._count == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.zeros_like(self._hashes)])
        self._hashes[self._count] = number
        self._count += 1
        if self._width and self._count - self._sorted >= max(WAITING, self._sorted // SHARE):
            self._sorted = self._count
            hashes = self._hashes[: self._count]
            self._bands = [sorted_band(hashes, band, self._width) for band in self._band_numbers()]

    def nearest(self, number: int) -> int | None:
        """Returns the place of the near hash that differs in the fewest bits, of equals the first; None without one."""
        alike = [band.of(band_value(number, place, self._width)) for place, band in enumerate(self._bands)]
        waiting = self._hashes[self._sorted : self._count]
        compared = np.concatenate([*(band.hashes[one] for band, one in zip(self._bands, alike, strict=True)), waiting])
        distances = np.bitwise_count(compared ^ np.uint64(number))
        near = distances <= self._bits
        if not near.any():
            return None
        last = np.arange(self._sorted, self._count)
        places = np.concatenate([*(band.places[one] for band, one in zip(self._bands, alike, strict=True)), last])
        return int(min(zip(distances[near].tolist(), places[near].tolist(), strict=True))[1])

    def _band_numbers(self) -> range:
        return range(self._bits + 1 if self._width else 0)
