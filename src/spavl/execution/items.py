"""A stage's items, made when they are needed: their names are cheap, what they name lies upstream."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")


class LazyItems(Mapping[str, T]):
    """Item name -> item, in a fixed order.

    Args:
        size: How many there are.
        names: Begins the names anew, in order.
        load: Makes the item of a name.
    """

    def __init__(self, size: int, names: Callable[[], Iterator[str]], load: Callable[[str], T]) -> None:
        self._size, self._names, self._load = size, names, load

    def __len__(self) -> int:
        """Returns how many items there are."""
        return self._size

    def __iter__(self) -> Iterator[str]:
        """Yields the names."""
        return self._names()

    def __getitem__(self, name: str) -> T:
        """Makes the item."""
        return self._load(name)
