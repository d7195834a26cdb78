"""The dataset: split by picture, written as Parquet that `datasets.load_dataset` opens, with a card; and read back."""

from spavl.dataset.build import DatasetRow, Material, benchmark_questions, build_dataset, write_files
from spavl.dataset.files import data_licence, find_split
from spavl.dataset.meta_files import meta_paths
from spavl.dataset.read import read_pairs, sample_pairs, stored_pictures
from spavl.dataset.splits import Split, Splits, assign_splits, note_splits, noted_splits

__all__ = [
    "DatasetRow",
    "Material",
    "Split",
    "Splits",
    "assign_splits",
    "benchmark_questions",
    "build_dataset",
    "data_licence",
    "find_split",
    "meta_paths",
    "note_splits",
    "noted_splits",
    "read_pairs",
    "sample_pairs",
    "stored_pictures",
    "write_files",
]
