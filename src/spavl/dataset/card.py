"""The dataset card: what is in it, counted, and how it was made; written from the records, never by hand."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from spavl.dataset.describe import Tally, table
from spavl.dataset.rows import Picture
from spavl.records import Caption, Failure, PreferencePair, Question, QuestionCheck, leaf_parts
from spavl.stats import cluster_bootstrap_rate
from spavl.store import Places

CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
{validation_files}- config_name: test
  data_files:
{test_files}task_categories:
- image-text-to-text
tags:
- preference
- safety
- dpo
---

# Safety preference dataset made by spavl

{pairs} preference pairs about {pictures} pictures, and {questions} test questions about pictures that no pair uses.
Each pair is a question about a picture with the preferred (`chosen`) and the other (`rejected`) response. A judge read
both orders; only pairs on which both orders agree are here. `chosen` is not guaranteed to be safe, `rejected` not to be
unsafe: the judge's labels are in `chosen_verdict` and `rejected_verdict`. `chosen_finish` and `rejected_finish` say how
an answer ended: `length` means that its token limit cut it.

The questions ask for harmful things on purpose. Use the data to make models safer.

## Pairs

{tables}
{lengths}
## Questions that do not need their picture

A question that can be understood with closed eyes teaches nothing about seeing.

{mentions}
{checks}## Pictures

{licences}
{captions}{datasheet}"""


def dataset_card(
    pairs: Mapping[str, Collection[PreferencePair]],
    questions: Mapping[str, Collection[Question]],
    pictures: Mapping[str, Picture],
    checks: Iterable[QuestionCheck] = (),
) -> str:
    """Returns the card's Markdown.

    Args:
        pairs: Split -> its pairs.
        questions: Test split (`harm`, `help`) -> its questions.
        pictures: Image id -> picture, of all that are used.
        checks: What was found about the questions.
    """
    tally, asked, counts, shown = Tally(), Places(), _Counts(), set[str]()
    for split, members in pairs.items():
        for pair in members:
            labels = _labels(pair, pictures) | {"judge": pair.judge}
            tally.add(split, pair.question, (pair.chosen, pair.rejected), pair.image_id, labels)
            counts.add(pair)
            asked.put(pair.question_id, 0)
            shown.add(pair.image_id)
    for split, members_ in questions.items():
        for one in members_:
            tally.add(split, one.text, None, one.image_id, _labels(one, pictures))
            asked.put(one.id, 0)
    validation = "  - split: validation\n    path: data/validation-*.parquet\n"
    return CARD.format(
        validation_files=validation if pairs.get("validation") else "",
        test_files="".join(f"  - split: {name}\n    path: data/{name}-*.parquet\n" for name in questions),
        pairs=tally.pairs,
        pictures=len(shown),
        questions=sum(len(members) for members in questions.values()),
        tables="\n".join([table("split", {split: len(members) for split, members in pairs.items()}), counts.tables()]),
        lengths=tally.lengths(),
        mentions=tally.mentions(),
        checks=_checks(check for check in checks if check.question_id in asked),
        captions=_captions(pictures),
        datasheet=tally.datasheet(),
        licences=table(
            "source, licence",
            Counter(f"{one.record.source}, {one.record.licence or 'unknown'}" for one in pictures.values()),
        ),
    )


class _Counts:
    """Counts pairs one after the other, for the card's tables."""

    def __init__(self) -> None:
        self._tables: dict[str, Counter[str]] = {}

    def add(self, pair: PreferencePair) -> None:
        """Counts a pair."""
        said = {
            "question type": str(pair.question_type),
            "domain": leaf_parts(pair.leaf)[0],
            "chosen, rejected": f"{pair.chosen_verdict}, {pair.rejected_verdict}",
            "chosen finish, rejected finish": f"{pair.chosen_finish}, {pair.rejected_finish}",
            "chosen responder": pair.chosen_responder,
            "rejected responder": pair.rejected_responder,
        }
        for heading, value in said.items():
            self._tables.setdefault(heading, Counter())[value] += 1

    def tables(self) -> str:
        """Returns the tables as Markdown."""
        return "\n".join(table(heading, counts) for heading, counts in self._tables.items())


def _labels(row: PreferencePair | Question, pictures: Mapping[str, Picture]) -> dict[str, str | None]:
    licence = pictures[row.image_id].record.licence
    return {"class1": leaf_parts(row.leaf)[0], "question_type": row.question_type, "licence": licence}


def _checks(checks: Iterable[QuestionCheck]) -> str:
    """Returns what judges found about the dataset's questions; nothing where none was asked."""
    unneeded: list[bool] = []
    about: list[str] = []
    unjudged: Counter[str] = Counter()
    for check in checks:
        unjudged.update(check.unjudged)
        if check.relevance is not None:
            unneeded.append(check.relevance != "needed")
            about.append(check.image_id)
    said = []
    if unneeded:
        rate = cluster_bootstrap_rate(unneeded, about)
        said.append(
            f"A judge read {rate.n} of the questions with their pictures: {rate.value:.1%} ({rate.low:.1%} to "
            f"{rate.high:.1%}) could be understood without them.\n"
        )
    if unjudged:
        said.append("Kept though a judge gave no verdict:\n\n" + table("reason", unjudged))
    return "".join(f"{one}\n" for one in said)


def _captions(pictures: Mapping[str, Picture]) -> str:
    """Returns who wrote the captions and where the sources' stand in; nothing where no model was asked."""
    written, leaves = 0, Counter[str]()
    for one in pictures.values():
        written += isinstance(one.written, Caption)
        if isinstance(one.written, Failure):
            leaves[leaf_parts(one.record.leaf)[2]] += 1
    if not written and not leaves:
        return ""
    said = (
        f"A model wrote captions (`model_caption`) for {written} of {written + leaves.total()} pictures. The "
        "questions about the others were written with the source's (`caption`); `caption_fallback` says why.\n"
    )
    return "\n".join([said, *([table("subcategory with sources' captions", leaves)] if leaves else []), ""])
