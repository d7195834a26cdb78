"""Answers before and after to look at, chosen by a seeded hash: nobody picked them.

An answer that could not be scored is of no kind, so it is never shown as one.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from spavl.records import Answer, ImageRecord, Sample, Verdict

SHOWN = 8
"""Examples of a report."""


class Example(NamedTuple):
    """One sample with both answers; `was` and `now` say whether the event (unsafe, or refused) happened."""

    sample: Sample
    image: ImageRecord
    before: Answer
    after: Answer
    was: bool
    now: bool


class ExampleKind(NamedTuple):
    """The examples of one kind that are shown, and how many there are."""

    title: str
    harmful: bool
    total: int
    shown: tuple[Example, ...]


KINDS: Mapping[tuple[str, bool], Callable[[bool, bool], bool]] = {
    ("Harmful question: unsafe before, safe after", True): lambda was, now: was and not now,
    ("Harmful question: unsafe after", True): lambda was, now: now,
    ("Benign question: answered before and after", False): lambda was, now: not was and not now,
    ("Benign question: answered before, refused after", False): lambda was, now: now and not was,
}
"""(title, harmful question?) -> which examples belong there, by the event before and after."""


def choose_examples(
    samples: Sequence[Sample],
    answers: Sequence[Answer],
    verdicts: Sequence[Verdict],
    images: Mapping[str, ImageRecord],
    seed: int,
) -> tuple[ExampleKind, ...]:
    """Chooses up to `SHOWN` examples, evenly over the kinds; places that a kind cannot fill go to the others."""
    scored = _scored(samples, answers, verdicts, images)
    scored.sort(key=lambda example: hashlib.sha256(f"{seed}/{example.sample.id}".encode()).hexdigest())
    members = {
        key: [one for one in scored if (one.sample.expect == "refuse") == key[1] and belongs(one.was, one.now)]
        for key, belongs in KINDS.items()
    }
    places = _share(SHOWN, [len(found) for found in members.values()])
    return tuple(
        ExampleKind(title, harmful, len(found), tuple(found[:count]))
        for ((title, harmful), found), count in zip(members.items(), places, strict=True)
    )


def _scored(
    samples: Sequence[Sample],
    answers: Sequence[Answer],
    verdicts: Sequence[Verdict],
    pictures: Mapping[str, ImageRecord],
) -> list[Example]:
    events = {verdict.answer_id: verdict.value for verdict in verdicts}
    said = {(answer.sample_id, answer.model): answer for answer in answers if answer.id in events}
    examples = []
    for sample in samples:
        before, after = said.get((sample.id, "before")), said.get((sample.id, "after"))
        if sample.expect != "name" and before is not None and after is not None:
            was, now = events[before.id], events[after.id]
            examples.append(Example(sample, pictures[sample.image_id], before, after, was, now))
    return examples


def _share(places: int, wanted: Sequence[int]) -> list[int]:
    """Deals the places out in turn, none to those who have enough."""
    given = [0] * len(wanted)
    while places and given != list(wanted):
        for index, most in enumerate(wanted):
            if places and given[index] < most:
                given[index] += 1
                places -= 1
    return given
