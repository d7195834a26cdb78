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
        section: Which section a name is of; items of two sections are in no group together.
    """

    def __init__(
        self,
        size: int,
        names: Callable[[], Iterator[str]],
        load: Callable[[str], T],
        section: Callable[[str], str] = lambda _: "",
    ) -> None:
        self._size, self._names, self._load = size, names, load
        self.section = section

    def __len__(self) -> int:
        """Returns how many items there are."""
        return self._size

    def __iter__(self) -> Iterator[str]:
        """Yields the names."""
        return self._names()

    def __getitem__(self, name: str) -> T:
        """Makes the item."""
        return self._load(name)
