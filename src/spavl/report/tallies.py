"""Counts and rates of the dataset's making: coverage of the taxonomy, responders, pairs, and pictures.

Pure functions of records. A rate is of items that share pictures, so its interval draws whole pictures; a rate of
nothing is `None`.
"""

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from spavl.records import ImageRecord, PreferencePair, Question, Response, SafetyLabel, leaf_parts
from spavl.report.judging import picture_rate
from spavl.stats import Rate
from spavl.taxonomy import Taxonomy

UNKNOWN = "unknown"
"""What is shown where nobody says the licence."""


class DomainCoverage(NamedTuple):
    """How much of one domain of the taxonomy the dataset covers."""

    name: str
    leaves: int
    covered: int
    """Leaves with at least one picture."""
    pictures: int
    questions: int
    pairs: int


class Responder(NamedTuple):
    """How one responder did."""

    name: str
    responses: int
    safe: Rate | None
    """Share of its labelled responses that are safe."""
    group: int | None
    """Safety group, 0 the least safe; None where no response could be labelled."""
    chosen: int
    rejected: int


class PairTallies(NamedTuple):
    """What the preference pairs are, counted in four ways."""

    total: int
    by_type: Mapping[str, int]
    by_verdicts: Mapping[str, int]
    """`chosen over rejected`, such as `safe over unsafe`."""
    by_responders: Mapping[tuple[str, str], int]
    """(chosen responder, rejected responder) -> pairs."""
    harmful_chosen: Mapping[str, int]
    """Responder -> pairs about a harmful question whose chosen answer is its own, the most frequent first."""


class PictureSource(NamedTuple):
    """Pictures of one collection under one licence."""

    source: str
    licence: str
    pictures: int


def tally_coverage(
    taxonomy: Taxonomy,
    images: Collection[ImageRecord],
    questions: Iterable[Question],
    pairs: Iterable[PreferencePair],
) -> tuple[DomainCoverage, ...]:
    """Counts leaves, pictures, questions and pairs of each domain, in the taxonomy's order."""
    pictures, asked, kept = (
        Counter(leaf_parts(record.leaf)[0] for record in records) for records in (images, questions, pairs)
    )
    covered = Counter(leaf_parts(leaf)[0] for leaf in {image.leaf for image in images})
    leaves = Counter(leaf.domain for leaf in taxonomy.leaves)
    return tuple(
        DomainCoverage(
            name=domain.name,
            leaves=leaves[domain.label],
            covered=covered[domain.label],
            pictures=pictures[domain.label],
            questions=asked[domain.label],
            pairs=kept[domain.label],
        )
        for domain in taxonomy.domains
    )


def tally_responders(
    responses: Iterable[Response],
    labels: Mapping[str, SafetyLabel],
    groups: Mapping[str, int],
    pairs: Iterable[PreferencePair],
) -> tuple[Responder, ...]:
    """Returns the responders, the least safe first; those without a labelled response stand at the end.

    Args:
        responses: All responses.
        labels: Response id -> label.
        groups: Responder -> safety group.
        pairs: The preference pairs.
    """
    chosen, rejected, given = Counter[str](), Counter[str](), Counter[str]()
    for pair in pairs:
        chosen[pair.chosen_responder] += 1
        rejected[pair.rejected_responder] += 1
    safe: dict[str, tuple[list[bool], list[str]]] = {}
    for response in responses:
        given[response.responder] += 1
        events, pictures = safe.setdefault(response.responder, ([], []))
        label = labels.get(response.id)
        if label is not None:
            events.append(label.verdict == "safe")
            pictures.append(sys.intern(response.image_id))
    responders = [
        Responder(
            name=name,
            responses=count,
            safe=picture_rate(*safe[name]),
            group=groups.get(name),
            chosen=chosen[name],
            rejected=rejected[name],
        )
        for name, count in given.items()
    ]
    return tuple(sorted(responders, key=lambda one: (one.safe is None, one.safe.value if one.safe else 0, one.name)))


def tally_pairs(pairs: Collection[PreferencePair]) -> PairTallies:
    """Counts the preference pairs by question type, by the two labels, and by the responders."""
    return PairTallies(
        total=len(pairs),
        by_type=_counted(str(pair.question_type) for pair in pairs),
        by_verdicts=_counted(f"{pair.chosen_verdict} over {pair.rejected_verdict}" for pair in pairs),
        by_responders=dict(Counter((pair.chosen_responder, pair.rejected_responder) for pair in pairs)),
        harmful_chosen=_counted(
            pair.chosen_responder for pair in pairs if pair.question_type and pair.question_type.harmful
        ),
    )


def tally_sources(images: Iterable[ImageRecord]) -> tuple[PictureSource, ...]:
    """Counts the pictures by collection and licence."""
    counts = Counter((image.source, image.licence or UNKNOWN) for image in images)
    return tuple(PictureSource(source, licence, count) for (source, licence), count in sorted(counts.items()))


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))
