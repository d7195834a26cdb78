"""Knows the pictures that were kept, and finds those a new one is a copy of.

Equal pictures have equal perceptual hashes, so one look-up finds exact copies and near ones. Of two copies the one
that comes first is kept: what is kept follows from the order of the pictures, and from nothing else.
"""

from spavl.store.near_index import NearIndex


class KeptPictures:
    """The kept pictures' 64-bit hashes.

    Args:
        duplicate_bits: Pictures are copies of each other when their hashes differ in at most this many bits.
    """

    def __init__(self, duplicate_bits: int) -> None:
        self._names: list[str] = []
        self._index = NearIndex(duplicate_bits)

    def add(self, name: str, perceptual_hash: str) -> None:
        """Notes a picture that is kept."""
        self._index.add(int(perceptual_hash, 16))
        self._names.append(name)

    def twin(self, perceptual_hash: str) -> str | None:
        """Returns the name of the kept picture that is most like this one, of equals the first, if it is a copy."""
        place = self._index.nearest(int(perceptual_hash, 16))
        return None if place is None else self._names[place]
