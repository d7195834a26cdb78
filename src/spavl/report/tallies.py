"""Counts and rates of the dataset's making: coverage of the taxonomy, responders, judging, pairs, and pictures.

Pure functions of records. A rate is of items that share pictures, so its interval draws whole pictures; a rate of
nothing is `None`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from spavl.records import ImageRecord, Judgment, PreferencePair, Question, Response, SafetyLabel, leaf_parts
from spavl.stats import NotMeasured, Rate, cluster_bootstrap_rate, outcome_of_orders
from spavl.store import Counts
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


class Judging(NamedTuple):
    """What became of the pairs of responses that were drawn for comparison."""

    drawn: int
    agreed: int
    """Pairs that both orders agree on and that became preference pairs."""
    failed: int
    """Pairs without two judgments, or without a label."""
    ties: Rate | None
    """Among the pairs judged in both orders."""
    flips: Rate | None
    """Among the pairs judged in both orders."""


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
    taxonomy: Taxonomy, images: Sequence[ImageRecord], questions: Sequence[Question], pairs: Sequence[PreferencePair]
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
    responses: Sequence[Response],
    labels: Sequence[SafetyLabel],
    groups: Mapping[str, int],
    pairs: Sequence[PreferencePair],
) -> tuple[Responder, ...]:
    """Returns the responders, the least safe first; those without a labelled response stand at the end."""
    verdicts = {label.response_id: label.verdict for label in labels}
    chosen = Counter(pair.chosen_responder for pair in pairs)
    rejected = Counter(pair.rejected_responder for pair in pairs)
    responders = []
    for name in {response.responder for response in responses}:
        own = [response for response in responses if response.responder == name]
        labelled = [response for response in own if response.id in verdicts]
        responders.append(
            Responder(
                name=name,
                responses=len(own),
                safe=_rate([verdicts[one.id] == "safe" for one in labelled], [one.image_id for one in labelled]),
                group=groups.get(name),
                chosen=chosen[name],
                rejected=rejected[name],
            )
        )
    return tuple(sorted(responders, key=lambda one: (one.safe is None, one.safe.value if one.safe else 0, one.name)))


def tally_judging(judgments: Sequence[Judgment], responses: Sequence[Response], counts: Counts) -> Judging:
    """Reads both orders of each pair of responses.

    Args:
        judgments: Every judgment.
        responses: The responses that were compared.
        counts: What became of the pairs of responses that were drawn; a tie and a flip are drops.
    """
    image = {response.id: response.image_id for response in responses}
    orders: dict[tuple[str, str], list[Judgment]] = {}
    for judgment in judgments:
        low, high = sorted((judgment.first_id, judgment.second_id))
        orders.setdefault((low, high), []).append(judgment)
    both = [pair for pair in orders.values() if len(pair) == 2]
    outcomes = [outcome_of_orders(one.verdict, other.verdict) for one, other in both]
    pictures = [image[pair[0].first_id] for pair in both]
    return Judging(
        drawn=counts.items,
        agreed=counts.records,
        failed=counts.failures,
        ties=_rate([outcome == "tie" for outcome in outcomes], pictures),
        flips=_rate([outcome == "inconsistent" for outcome in outcomes], pictures),
    )


def tally_pairs(pairs: Sequence[PreferencePair]) -> PairTallies:
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


def tally_sources(images: Sequence[ImageRecord]) -> tuple[PictureSource, ...]:
    """Counts the pictures by collection and licence."""
    counts = Counter((image.source, image.licence or UNKNOWN) for image in images)
    return tuple(PictureSource(source, licence, count) for (source, licence), count in sorted(counts.items()))


def _rate(events: Sequence[bool], clusters: Sequence[str]) -> Rate | None:
    try:
        return cluster_bootstrap_rate(events, clusters)
    except NotMeasured:
        return None


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))
