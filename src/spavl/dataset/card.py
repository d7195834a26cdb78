"""The dataset card: what is in it, counted, and how it was made; written from the records, never by hand."""

from collections import Counter
from collections.abc import Mapping, Sequence

from spavl.dataset.describe import Tally, table
from spavl.dataset.rows import Picture
from spavl.records import Caption, Failure, PreferencePair, Question, QuestionCheck, leaf_parts
from spavl.stats import cluster_bootstrap_rate

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
    pairs: Mapping[str, Sequence[PreferencePair]],
    questions: Mapping[str, Sequence[Question]],
    pictures: Mapping[str, Picture],
    checks: Sequence[QuestionCheck] = (),
) -> str:
    """Returns the card's Markdown.

    Args:
        pairs: Split -> its pairs.
        questions: Test split (`harm`, `help`) -> its questions.
        pictures: Image id -> picture, of all that are used.
        checks: What was found about the questions.
    """
    everything = [pair for split in pairs.values() for pair in split]
    tables = [
        table("split", {split: len(members) for split, members in pairs.items()}),
        table("question type", Counter(str(pair.question_type) for pair in everything)),
        table("domain", Counter(leaf_parts(pair.leaf)[0] for pair in everything)),
        table("chosen, rejected", Counter(f"{pair.chosen_verdict}, {pair.rejected_verdict}" for pair in everything)),
        table(
            "chosen finish, rejected finish",
            Counter(f"{pair.chosen_finish}, {pair.rejected_finish}" for pair in everything),
        ),
        table("chosen responder", Counter(pair.chosen_responder for pair in everything)),
        table("rejected responder", Counter(pair.rejected_responder for pair in everything)),
    ]
    tally = _tally(pairs, questions, pictures)
    asked = {pair.question_id for pair in everything} | {one.id for members in questions.values() for one in members}
    validation = "  - split: validation\n    path: data/validation-*.parquet\n"
    return CARD.format(
        validation_files=validation if pairs.get("validation") else "",
        test_files="".join(f"  - split: {name}\n    path: data/{name}-*.parquet\n" for name in questions),
        pairs=len(everything),
        pictures=len({pair.image_id for pair in everything}),
        questions=sum(len(members) for members in questions.values()),
        tables="\n".join(tables),
        lengths=tally.lengths(),
        mentions=tally.mentions(),
        checks=_checks([check for check in checks if check.question_id in asked]),
        captions=_captions(pictures),
        datasheet=tally.datasheet(),
        licences=table(
            "source, licence",
            Counter(f"{one.record.source}, {one.record.licence or 'unknown'}" for one in pictures.values()),
        ),
    )


def _tally(
    pairs: Mapping[str, Sequence[PreferencePair]],
    questions: Mapping[str, Sequence[Question]],
    pictures: Mapping[str, Picture],
) -> Tally:
    tally = Tally()
    for split, members in pairs.items():
        for pair in members:
            labels = _labels(pair, pictures) | {"judge": pair.judge}
            tally.add(split, pair.question, (pair.chosen, pair.rejected), pair.image_id, labels)
    for split, asked in questions.items():
        for one in asked:
            tally.add(split, one.text, None, one.image_id, _labels(one, pictures))
    return tally


def _labels(row: PreferencePair | Question, pictures: Mapping[str, Picture]) -> dict[str, str | None]:
    licence = pictures[row.image_id].record.licence
    return {"class1": leaf_parts(row.leaf)[0], "question_type": row.question_type, "licence": licence}


def _checks(checks: Sequence[QuestionCheck]) -> str:
    """Returns what judges found about the dataset's questions; nothing where none was asked."""
    judged = [check for check in checks if check.relevance is not None]
    said = []
    if judged:
        unneeded = [check.relevance != "needed" for check in judged]
        rate = cluster_bootstrap_rate(unneeded, [check.image_id for check in judged])
        said.append(
            f"A judge read {rate.n} of the questions with their pictures: {rate.value:.1%} ({rate.low:.1%} to "
            f"{rate.high:.1%}) could be understood without them.\n"
        )
    unjudged = Counter(reason for check in checks for reason in check.unjudged)
    if unjudged:
        said.append("Kept though a judge gave no verdict:\n\n" + table("reason", unjudged))
    return "".join(f"{one}\n" for one in said)


def _captions(pictures: Mapping[str, Picture]) -> str:
    """Returns who wrote the captions and where the sources' stand in; nothing where no model was asked."""
    written = [one for one in pictures.values() if isinstance(one.written, Caption)]
    failed = [one for one in pictures.values() if isinstance(one.written, Failure)]
    if not written and not failed:
        return ""
    said = (
        f"A model wrote captions (`model_caption`) for {len(written)} of {len(written) + len(failed)} pictures. The "
        "questions about the others were written with the source's (`caption`); `caption_fallback` says why.\n"
    )
    leaves = Counter(leaf_parts(one.record.leaf)[2] for one in failed)
    return "\n".join([said, *([table("subcategory with sources' captions", leaves)] if leaves else []), ""])
