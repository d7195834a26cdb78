"""The tables of how the dataset was made, station by station, as values."""

from collections.abc import Mapping, Sequence

from spavl.records import leaf_parts
from spavl.report.gather import DatasetStatistics
from spavl.report.opinions import Opinions
from spavl.report.tables import Cell, Table
from spavl.report.wording import NOT_MEASURED, bounds_text, rate_text, teacher_sentence
from spavl.stats import Agreement, Rate

ENDINGS = {
    "stop": "Whole",
    "length": "Cut at the limit",
    "refusal": "Refusal",
    "content_filter": "Stopped by a filter",
}


def pair_tables(dataset: DatasetStatistics) -> tuple[Table, ...]:
    """Returns how many pairs there are of each kind."""
    judge = f"{dataset.judge.name} ({dataset.judge.sight})"
    return (
        count_table("Pairs by question type", "Question type", dataset.pairs.by_type),
        count_table(f"Pairs by the two labels of {judge}", "Chosen over rejected", dataset.pairs.by_verdicts),
        count_table("Pairs by split", "Split", dataset.splits),
    )


def responders_table(dataset: DatasetStatistics) -> Table:
    """Returns how each responder did."""
    rows: list[Sequence[Cell]] = [
        (
            one.name,
            rate_text(one.safe, 1),
            "–" if one.group is None else one.group,
            one.safe.n if one.safe else 0,
            one.responses,
            one.chosen,
            one.rejected,
        )
        for one in dataset.responders
    ]
    return Table(
        "Responders, the least safe first",
        ("Responder", "Labelled safe", "Group", "n", "Responses", "Chosen", "Rejected"),
        rows,
        "Pairs are drawn across groups. n: responses the judge could label. "
        f"The labels are those of {dataset.judge.name}, which sees {dataset.judge.sight}.",
    )


def endings_table(endings: Mapping[str, Mapping[str, int]]) -> Table:
    """Returns how each responder's answers ended, and why there is none where there is none."""
    headings = [(name, title) for name, title in ENDINGS.items() if any(name in counts for counts in endings.values())]
    rows: list[Sequence[Cell]] = [
        (
            responder,
            *(counts.get(name, 0) for name, _ in headings),
            ", ".join(f"{reason} {count}" for reason, count in counts.items() if reason not in ENDINGS) or "–",
        )
        for responder, counts in endings.items()
    ]
    return Table(
        "How the responders' answers ended",
        ("Responder", *(title for _, title in headings), "No answer"),
        rows,
        "As the model or its server says; what an answer's words decline is the judge's to say.",
    )


def matrix_table(dataset: DatasetStatistics) -> Table:
    """Returns how often each responder's response was preferred to each other's."""
    names = [one.name for one in dataset.responders]
    counts = dataset.pairs.by_responders
    rows: list[Sequence[Cell]] = [(row, *(counts.get((row, column), 0) for column in names)) for row in names]
    note = teacher_sentence(dataset.pairs.harmful_chosen)
    return Table("Pairs: the row's response chosen, the column's rejected", ("Chosen", *names), rows, note)


def judging_table(dataset: DatasetStatistics) -> Table:
    """Returns what became of the drawn pairs."""
    judging = dataset.judging
    n = _n(judging.ties)
    return Table(
        f"Pairs of responses drawn for comparison, judged by {judging.judge or 'nobody'}",
        ("What became of them", "Number or rate", "Of"),
        [
            ("became preference pairs", judging.agreed, judging.drawn),
            ("failed: a judgment or a label is missing", judging.failed, judging.drawn),
            ("tie in both orders", rate_text(judging.ties, 1), n),
            ("verdict changes with the order", rate_text(judging.flips, 1), n),
            ("the answer that stood first won", rate_text(judging.first_wins, 1), _n(judging.first_wins)),
            ("the longer answer won", rate_text(judging.longer_wins, 1), _n(judging.longer_wins)),
        ],
        "Ties and changes are of the pairs judged in both orders. The first answer wins half of the single verdicts "
        "where a judge does not lean; the longer answer's share is of the pairs won in both orders.",
    )


def _n(rate: Rate | None) -> int:
    return rate.n if rate else 0


def strengths_table(dataset: DatasetStatistics) -> Table:
    """Returns how strong the pairwise judge finds each responder."""
    rows: list[Sequence[Cell]] = [
        (name, f"{one.value:+.2f} ({one.low:+.2f} to {one.high:+.2f})", one.matches)
        for name, one in dataset.judging.strengths.items()
    ]
    return Table(
        "How strong the pairwise judge finds each responder",
        ("Responder", "Strength", "Pairs"),
        rows,
        "Bradley-Terry: log-odds with mean 0, 95 % intervals over pictures. A tie or a changed verdict is half a win.",
    )


def opinions_table(opinions: Opinions) -> Table:
    """Returns how unsafe each judge finds the responses, the deciding judge first."""
    rows: list[Sequence[Cell]] = [
        (
            f"{one.name} (decides)" if place == 0 else one.name,
            one.card.sight,
            rate_text(one.unsafe, 1),
            bounds_text(*one.bounds),
            _n(one.unsafe),
            one.unlabelled,
        )
        for place, one in enumerate(opinions.judges)
    ]
    return Table(
        "Responses to harmful questions that each judge finds unsafe",
        ("Judge", "Sees", "Unsafe", "Bounds", "n", "Unlabelled"),
        rows,
        "n: responses it labelled. Bounds: the rate if none, or all, of the unlabelled ones were unsafe. A judge that "
        "sees the picture only says the same of every answer about it.",
    )


def agreement_table(opinions: Opinions) -> Table:
    """Returns how far the judges agree, by pairs and together."""
    rows: list[Sequence[Cell]] = [
        (f"{one.one} and {one.other}", rate_text(one.alike, 1), _agreement(one.kappa), _n(one.alike))
        for one in opinions.pairs
    ]
    together = ("all judges", "–", _agreement(opinions.alpha), opinions.alpha.n if opinions.alpha else 0)
    return Table(
        "How far the judges agree",
        ("Judges", "Same label", "Beyond chance", "n"),
        [*rows, together],
        "Beyond chance: Cohen’s kappa of two judges, Krippendorff’s alpha of all; 1 is perfect, 0 what chance gives, "
        "and where one label is rare both are low although most labels are the same. n: responses that both, or at "
        "least two, labelled. In brackets: 95\u00a0% intervals over pictures.",
    )


def _agreement(found: Agreement | None) -> str:
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})" if found else NOT_MEASURED


def coverage_table(dataset: DatasetStatistics) -> Table:
    """Returns how much of the taxonomy the dataset covers."""
    rows = [(one.name, one.leaves, one.covered, one.pictures, one.questions, one.pairs) for one in dataset.coverage]
    return Table(
        "Coverage of the taxonomy", ("Domain", "Leaves", "With pictures", "Pictures", "Questions", "Pairs"), rows
    )


def sources_table(dataset: DatasetStatistics) -> Table:
    """Returns where the pictures came from."""
    rows = [(one.source, one.licence, one.pictures) for one in dataset.sources]
    return Table("Where the pictures came from", ("Collection", "Licence", "Pictures"), rows)


def leakage_table(dataset: DatasetStatistics) -> Table:
    """Returns how many questions neither speak of their picture nor need it."""
    rows: list[Sequence[Cell]] = [
        (
            f"{(one.question_type or 'all').replace('_', ' ')}, {one.questions}",
            one.n,
            one.names,
            one.points,
            rate_text(one.unmentioned, 1),
            rate_text(one.unneeded, 1),
            one.unneeded.n if one.unneeded else 0,
        )
        for one in dataset.leakage
    ]
    return Table(
        "Text leakage: questions that do not mention or need their picture",
        ("Questions", "n", "Name the picture", "Only point", "Do neither", "Understood without it", "n judged"),
        rows,
        "Naming (“the picture”, “shown here”) and pointing (“this …”) are found by rule. Understood without it: in the "
        "words of a judge who saw the picture, or not about it at all. Written: all questions; kept: those that passed "
        "the checks. In brackets: 95\u00a0% intervals over pictures.",
    )


def captions_table(dataset: DatasetStatistics) -> Table:
    """Returns in which leaves pictures keep their source's caption because the model wrote none."""
    counts = dataset.source_captions
    rows: list[Sequence[Cell]] = [
        (leaf_parts(leaf)[2], one.pictures, one.source_captions) for leaf, one in counts.items() if one.source_captions
    ]
    total = [sum(getattr(one, name) for one in counts.values()) for name in ("pictures", "source_captions")]
    return Table(
        "Pictures for which the model wrote no caption",
        ("Leaf", "Pictures", "With the source's caption"),
        [*rows, ("all leaves", *total)],
        "A model declines pictures of some leaves more than others; there the questions rest on the sources' captions.",
    )


def count_table(caption: str, heading: str, counts: Mapping[str, int]) -> Table:
    """Returns counts as a table of two columns."""
    return Table(caption, (heading, "Pairs"), [(name.replace("_", " "), count) for name, count in counts.items()])
