"""What tests of the embedded models share with those of the store: a disk that is too small."""

from tests.store.conftest import small_disk

__all__ = ["small_disk"]
