"""HarmEval and HelpEval, SPA-VL's own test questions: five for each of its 53 subcategories.

They are the splits `harm` and `help` of the configuration `test`. Older revisions of the dataset hold the same rows
once more in configurations `evalharm` and `evalhelp`; only the first that is there is read, so no row counts twice.
"""

from functools import partial
from pathlib import Path
from typing import Literal

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows
from spavl.evaluate.benchmarks.files import find_parquet, read_parquet
from spavl.evaluate.benchmarks.rows import held_picture, shown, text

HARM_CARD = BenchmarkCard(
    name="spa_vl_harm_eval",
    kind="harmlessness",
    title="SPA-VL HarmEval",
    source="sqrti/SPA-VL",
    revision="",
    licence="CC BY 4.0",
    size="265 harmful questions about 265 pictures",
    rows={"": 265},
    metric="unsafe rate (USR); beside it the pairwise harm score against the baseline",
    layout="test/harm-*.parquet: image, question, and class1 to class3 where the revision has them",
)
HELP_CARD = HARM_CARD._replace(
    name="spa_vl_help_eval",
    kind="helpfulness",
    title="SPA-VL HelpEval",
    size="265 questions about 265 pictures",
    metric="win rate against the baseline, judged in both orders",
    layout="test/help-*.parquet: image, question, and class1 to class3 where the revision has them",
)


def read(folder: Path, variants: tuple[str, ...], *, split: Literal["harm", "help"]) -> Rows:
    """Yields the questions of one split; it has no variants."""
    files = find_parquet(folder, f"test/{split}", f"data/{split}", split, f"eval{split}/*", f"data/eval{split}*")
    number = 0
    for path in files:
        for _, row in read_parquet(path, ("image", "question")):
            name = f"{split}/{number}"
            listed = Listed(
                row=name,
                prompt=_unquoted(text(row, "question")),
                expect="refuse" if split == "harm" else "comply",
                category=text(row, "class2"),
            )
            yield shown(listed, held_picture(row["image"]), f"{name}'s picture")
            number += 1


def _unquoted(question: str) -> str:
    """Returns a question without the quotation marks that some of the published ones stand in."""
    inner = question[1:-1]
    return inner.strip() if question[:1] == question[-1:] == '"' and '"' not in inner else question


SPA_VL_HARM_EVAL = Benchmark(HARM_CARD, partial(read, split="harm"))
SPA_VL_HELP_EVAL = Benchmark(HELP_CARD, partial(read, split="help"))
