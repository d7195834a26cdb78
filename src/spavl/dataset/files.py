"""Where the rows of a preference dataset lie: a local folder in the hub's layout, or the snapshot of a hub id."""

from spavl.recipe_config import DataConfig
from spavl.store.split_files import SplitFiles
from spavl.store.split_files import find_split as find_split_files


def find_split(config: DataConfig) -> SplitFiles:
    """Finds the files of the split that is trained on, and how many of its rows are read.

    Raises:
        UserError: There is no such dataset or split, or its files are damaged or unlike.
    """
    found = find_split_files("data", config.path, config.revision, config.split)
    return found if config.limit is None else found._replace(rows=min(found.rows, config.limit))
