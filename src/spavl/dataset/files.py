"""Where the rows of a preference dataset lie: a local folder in the hub's layout, or the snapshot of a hub id."""

from spavl.dataset.licences import CARD, card_licence
from spavl.recipe_config import DataConfig
from spavl.store.split_files import SplitFiles
from spavl.store.split_files import find_split as find_split_files

META_PARTS = ("image_info", "split", "prefer")
"""Folders of SPA-VL's meta files."""


def data_licence(config: DataConfig, files: SplitFiles) -> str | None:
    """Returns the licence of rows that name none, or None where nobody says it."""
    return config.licence or card_licence(files.folder)


def find_split(config: DataConfig) -> SplitFiles:
    """Finds the files of the split that is trained on, and how many of its rows are read.

    Raises:
        UserError: There is no such dataset or split, or its files are damaged or unlike.
    """
    extra = [f"{config.meta_files}/{part}/*.json" for part in META_PARTS] if config.meta_files is not None else []
    found = find_split_files("data", config.path, config.revision, config.split, [CARD, *extra])
    return found if config.limit is None else found._replace(rows=min(found.rows, config.limit))
