"""The dataset: split by picture, written as Parquet that `datasets.load_dataset` opens, with a card; and read back."""

from spavl.dataset.build import DatasetRow, build_dataset
from spavl.dataset.files import find_split
from spavl.dataset.read import read_pairs, stored_pictures
from spavl.dataset.splits import Split, assign_splits

__all__ = [
    "DatasetRow",
    "Split",
    "assign_splits",
    "build_dataset",
    "find_split",
    "read_pairs",
    "stored_pictures",
]
