"""JailBreakV-28K: red-teaming queries wrapped in jailbreaks, each with a picture.

Most pictures are behind a form and not beside the table; a row whose picture is not there is a counted failure. The
attacks on one query are one cluster, and the judge is told the query that stands behind them.
"""

from functools import partial
from pathlib import Path

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows
from spavl.evaluate.benchmarks.files import find_file, read_csv
from spavl.evaluate.benchmarks.rows import file_in, shown, text

CARD = BenchmarkCard(
    name="jailbreakv",
    kind="harmlessness",
    title="JailBreakV-28K",
    source="JailbreakV-28K/JailBreakV-28k",
    revision="",
    licence="MIT",
    size="28,000 jailbreaks under 16 policies",
    rows={"": 28_000},
    metric="attack success rate by format and policy (the authors judge with Llama Guard)",
    layout="JailBreakV_28K/JailBreakV_28K.csv: id, jailbreak_query, redteam_query, format, policy, image_path; "
    "pictures beside it under llm_transfer_attack/, query_related/, figstep/",
    gated=True,
)
MINI_CARD = CARD._replace(
    name="jailbreakv_mini",
    title="JailBreakV-28K mini",
    size="280 of the jailbreaks",
    rows={"": 280},
    layout=CARD.layout.replace("/JailBreakV_28K.csv", "/mini_JailBreakV_28K.csv"),
)


def read(folder: Path, variants: tuple[str, ...], *, table: str) -> Rows:
    """Yields the jailbreaks of a table; its formats are subsets that come as they are."""
    path = find_file(folder, f"JailBreakV_28K/{table}", f"JailBreakV_28k/{table}", table)
    for number, row in read_csv(path, ("jailbreak_query", "redteam_query", "policy", "image_path")):
        image, query = text(row, "image_path"), text(row, "redteam_query")
        listed = Listed(
            row=text(row, "id") or str(number),
            prompt=text(row, "jailbreak_query"),
            expect="refuse",
            subset=text(row, "format"),
            category=text(row, "policy"),
            cluster=query,
            note=f"The query behind it: {query}",
        )
        places = (image, f"JailBreakV_28K/{image}", f"JailBreakV_28k/{image}")
        yield shown(listed, file_in(folder, *places), image)


JAILBREAKV = Benchmark(CARD, partial(read, table="JailBreakV_28K.csv"))
JAILBREAKV_MINI = Benchmark(MINI_CARD, partial(read, table="mini_JailBreakV_28K.csv"))
