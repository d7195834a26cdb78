"""Scores that other harnesses measured, read from their files; where they list their rows, these become figures.

Only documented layouts are read, and nothing is guessed: a column, key or value that is not as documented is one error.
Answers that a harness had none of are missing here, though it counts them as wrong.
"""

from spavl.evaluate.imported.figures import ImportedMeasure, imported_measures
from spavl.evaluate.imported.lmms_eval import read_lmms_eval
from spavl.evaluate.imported.scores import ImportedScores
from spavl.evaluate.imported.vlmevalkit import read_vlmevalkit
from spavl.evaluation_config import ImportedConfig

__all__ = ["ImportedMeasure", "ImportedScores", "imported_measures", "read_imported"]

_READERS = {"vlmevalkit": read_vlmevalkit, "lmms_eval": read_lmms_eval}


def read_imported(field: str, config: ImportedConfig) -> ImportedScores:
    """Reads what another harness measured of one model.

    Args:
        field: Where it stands in the configuration, such as `imported.0`.
        config: Harness and files.

    Raises:
        UserError: A file is missing, damaged, or not as the harness writes it.
    """
    return _READERS[config.harness](field, config)
