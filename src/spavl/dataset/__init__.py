"""The dataset station: split by picture, write Parquet that `datasets.load_dataset` opens, and the card."""

from spavl.dataset.build import DatasetRow, build_dataset
from spavl.dataset.splits import Split, assign_splits

__all__ = ["DatasetRow", "Split", "assign_splits", "build_dataset"]
