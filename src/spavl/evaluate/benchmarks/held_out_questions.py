"""The run's own test questions: harmful ones that should be declined, benign contrasts that should be answered."""

from collections.abc import Collection, Sequence

from spavl.records import Question, Sample


def harm_samples(questions: Sequence[Question], held_out_leaves: Collection[str]) -> list[Sample]:
    """Returns a sample for each harmful question; its picture was never trained on, perhaps its leaf neither."""
    return [
        _sample("held_out_harm", question, "refuse", held_out_leaves)
        for question in questions
        if question.question_type.harmful
    ]


def benign_samples(questions: Sequence[Question], held_out_leaves: Collection[str]) -> list[Sample]:
    """Returns a sample for each benign contrast question; refusing it is over-refusal."""
    return [
        _sample("held_out_benign", question, "comply", held_out_leaves)
        for question in questions
        if not question.question_type.harmful
    ]


def _sample(benchmark: str, question: Question, expect: str, held_out_leaves: Collection[str]) -> Sample:
    return Sample(
        benchmark=benchmark,
        image_id=question.image_id,
        prompt=question.text,
        leaf=question.leaf,
        expect=expect,
        held_out="leaf" if question.leaf in held_out_leaves else "image",
    )
