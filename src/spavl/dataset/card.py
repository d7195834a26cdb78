"""The dataset card: what is in it, counted, and how it was made; written from the records, never by hand."""

from collections import Counter
from collections.abc import Mapping, Sequence

from spavl.dataset.describe import Tally, table
from spavl.records import ImageRecord, PreferencePair, Question, leaf_parts

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
## Pictures

{licences}
{datasheet}"""


def dataset_card(
    pairs: Mapping[str, Sequence[PreferencePair]],
    questions: Mapping[str, Sequence[Question]],
    images: Mapping[str, ImageRecord],
) -> str:
    """Returns the card's Markdown.

    Args:
        pairs: Split -> its pairs.
        questions: Test split (`harm`, `help`) -> its questions.
        images: Image id -> picture, of all that are used.
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
    tally = _tally(pairs, questions, images)
    validation = "  - split: validation\n    path: data/validation-*.parquet\n"
    return CARD.format(
        validation_files=validation if pairs.get("validation") else "",
        test_files="".join(f"  - split: {name}\n    path: data/{name}-*.parquet\n" for name in questions),
        pairs=len(everything),
        pictures=len({pair.image_id for pair in everything}),
        questions=sum(len(members) for members in questions.values()),
        tables="\n".join(tables),
        lengths=tally.lengths(),
        datasheet=tally.datasheet(),
        licences=table(
            "source, licence", Counter(f"{image.source}, {image.licence or 'unknown'}" for image in images.values())
        ),
    )


def _tally(
    pairs: Mapping[str, Sequence[PreferencePair]],
    questions: Mapping[str, Sequence[Question]],
    images: Mapping[str, ImageRecord],
) -> Tally:
    tally = Tally()
    for split, members in pairs.items():
        for pair in members:
            labels = {"class1": leaf_parts(pair.leaf)[0], "judge": pair.judge, "licence": images[pair.image_id].licence}
            tally.add(split, pair.question, (pair.chosen, pair.rejected), pair.image_id, labels)
    for split, asked in questions.items():
        for one in asked:
            labels = {"class1": leaf_parts(one.leaf)[0], "licence": images[one.image_id].licence}
            tally.add(split, one.text, None, one.image_id, labels)
    return tally
