"""ScienceQA, MMBench, SEED-Bench and MMMU by one reader: a picture, a question, and choices of which one is right.

MMBench asks every question once for each order of its choices that a rotation gives, and counts it right where all
are (circular evaluation): the variant `published` is the order in the file, `rotated` the others, and all of a
question's are one cluster.
"""

from functools import partial
from pathlib import Path
from string import ascii_uppercase

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows, Unusable
from spavl.evaluate.benchmarks.rows import shown, text
from spavl.evaluate.benchmarks.tables import TableRow, read_table
from spavl.records import Failure

REQUEST = "Answer with the option's letter from the given choices directly."
"""As LLaVA-1.5 asks."""
COPIES_FROM = 1_000_000
"""In MMBench's files an index of this or more is a rotated copy; they are made here instead."""

SCIENCEQA_CARD = BenchmarkCard(
    name="scienceqa",
    kind="capability",
    title="ScienceQA, test questions with a picture",
    source="VLMEvalKit, ScienceQA_TEST.tsv",
    revision="MD5 e42e9e00",
    licence="not stated by the copies at hand",
    size="2,017 questions",
    rows={"": 2_017},
    metric="accuracy; an answer that is neither a choice's letter nor its text is unscored",
    layout="ScienceQA_TEST.tsv or ScienceQA_VAL.tsv: index, question, hint, A, B, ..., answer, image, category",
    scoring="choice",
)
MMBENCH_CARD = SCIENCEQA_CARD._replace(
    name="mmbench",
    title="MMBench, English, development part",
    source="VLMEvalKit, MMBench_DEV_EN.tsv",
    revision="MD5 b6caf113",
    size="about 1,160 questions in up to four orders",
    rows={},
    metric="circular accuracy (a question is right where it is right in every order of its choices), and beside it the "
    "accuracy of the copies, each order by itself; an answer that is neither letter nor text is unscored",
    layout="MMBench_DEV_EN.tsv or MMBench_DEV_EN_V11.tsv: index, question, hint, A, B, ..., answer, image, category",
    variants=("published", "rotated"),
    circular=True,
)
SEED_BENCH_CARD = SCIENCEQA_CARD._replace(
    name="seed_bench",
    title="SEED-Bench, pictures",
    source="VLMEvalKit, SEEDBench_IMG.tsv",
    revision="MD5 68017231",
    size="about 14,000 questions",
    rows={},
    layout="SEEDBench_IMG.tsv: index, question, A, B, C, D, answer, image, category",
)
MMMU_CARD = SCIENCEQA_CARD._replace(
    name="mmmu",
    title="MMMU, development and validation parts",
    source="VLMEvalKit, MMMU_DEV_VAL.tsv",
    revision="MD5 585e8ad7",
    size="900 validation questions, and the development part",
    rows={},
    metric="accuracy of the choice questions with one picture; the others are counted as unusable",
    layout="MMMU_DEV_VAL.tsv: index, question, A, B, ..., answer, image, category, split",
)


def read(folder: Path, variants: tuple[str, ...], *, tables: tuple[str, ...]) -> Rows:
    """Yields the questions; with variants, in every order asked for."""
    for row in read_table(folder, tables, ("question", "answer", "A", "B")):
        name = row.cells["index"]
        choices = _choices(row)
        answer = row.cells["answer"]
        right = ascii_uppercase.find(answer) if len(answer) == 1 else -1
        if variants and name.isdecimal() and int(name) >= COPIES_FROM:
            yield Unusable(name, Failure(reason="rotated_copy", message="made here instead", dropped=True))
        elif len(choices) < 2:
            yield Unusable(name, Failure(reason="no_choices", message="an open question"))
        elif not 0 <= right < len(choices):
            message = f"its answer is '{answer}', not a letter of {len(choices)} choices"
            yield Unusable(name, Failure(reason="no_answer", message=message))
        elif not variants:
            yield _ask(row, name, choices, right, text(row.cells, "split"))
        else:
            for turn in range(len(choices)):
                variant = "rotated" if turn else "published"
                if variant in variants:
                    turned = (*choices[turn:], *choices[:turn])
                    yield _ask(row, f"{name}/{turn}", turned, (right - turn) % len(choices), variant, name)


def _choices(row: TableRow) -> tuple[str, ...]:
    """Returns the filled choices from A on, up to the first empty one."""
    cells = [row.cells.get(letter, "") for letter in ascii_uppercase]
    return tuple(cells[: cells.index("")] if "" in cells else cells)


def _ask(
    row: TableRow, name: str, choices: tuple[str, ...], right: int, subset: str, cluster: str = ""
) -> Listed | Unusable:
    question = row.cells["question"]
    offered = [f"{letter}. {choice}" for letter, choice in zip(ascii_uppercase, choices, strict=False)]
    lines = [text(row.cells, "hint"), question, *offered, REQUEST]
    listed = Listed(
        row=name,
        prompt="\n".join(line for line in lines if line) if question else "",
        expect="choose",
        subset=subset,
        category=text(row.cells, "category"),
        cluster=cluster,
        references=(ascii_uppercase[right],),
        choices=choices,
    )
    return shown(listed, row.picture, f"{name}'s picture")


SCIENCEQA = Benchmark(SCIENCEQA_CARD, partial(read, tables=("ScienceQA_TEST", "ScienceQA_VAL")))
MMBENCH = Benchmark(MMBENCH_CARD, partial(read, tables=("MMBench_DEV_EN", "MMBench_DEV_EN_V11")))
SEED_BENCH = Benchmark(SEED_BENCH_CARD, partial(read, tables=("SEEDBench_IMG",)))
MMMU = Benchmark(MMMU_CARD, partial(read, tables=("MMMU_DEV_VAL",)))
