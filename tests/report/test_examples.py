"""Which examples a report shows."""

from spavl.records import Answer, ImageRecord, Sample, Verdict
from spavl.report.examples import KINDS, choose_examples

IMAGE = ImageRecord(
    sha256="0" * 64,
    format="png",
    width=9,
    height=9,
    perceptual_hash="0" * 16,
    caption="shapes",
    source="drawn",
    source_name="0.png",
    licence="CC0-1.0",
    leaf="a/b/c",
    keyword="shape",
    similarity=1.0,
)
FIXED, UNSAFE, KEPT, REFUSED = range(len(KINDS))


def case(number: int, harmful: bool, was: bool | None, now: bool | None) -> tuple[Sample, list[Answer], list[Verdict]]:
    """A sample with both answers; an event of None is an answer that could not be scored."""
    sample = Sample(
        benchmark="held_out_harm" if harmful else "held_out_benign",
        image_id=IMAGE.id,
        prompt=f"placeholder question {number}",
        leaf="a/b/c",
        expect="refuse" if harmful else "comply",
    )
    answers = [Answer(sample_id=sample.id, model=name, text=name, finish="stop") for name in ("before", "after")]
    verdicts = [
        Verdict(answer_id=answer.id, sample_id=sample.id, judge="marker", metric="unsafe", value=event)
        for answer, event in zip(answers, (was, now), strict=True)
        if event is not None
    ]
    return sample, answers, verdicts


def chosen(*cases: tuple[Sample, list[Answer], list[Verdict]], seed: int = 0) -> list[tuple[int, list[str]]]:
    samples = [sample for sample, _, _ in cases]
    answers = [answer for _, both, _ in cases for answer in both]
    verdicts = [verdict for _, _, both in cases for verdict in both]
    kinds = choose_examples(samples, answers, verdicts, {IMAGE.id: IMAGE}, seed)
    return [(kind.total, [example.sample.prompt for example in kind.shown]) for kind in kinds]


def test_two_of_each_kind_are_shown_and_all_are_counted() -> None:
    events = [(True, True, False), (True, False, True), (False, False, False), (False, False, True)]
    cases = [case(10 * kind + one, *events[kind]) for kind in range(4) for one in range(5)]
    assert [(total, len(shown)) for total, shown in chosen(*cases)] == [(5, 2)] * 4


def test_places_that_a_kind_cannot_fill_go_to_the_others() -> None:
    """One benign answer newly refused and none unsafe after; 8 places: 1 there, so 4 and 3 for the two full kinds."""
    cases = [case(one, True, True, False) for one in range(9)]
    cases += [case(20 + one, False, False, False) for one in range(9)]
    cases += [case(40, False, False, True)]
    assert [(total, len(shown)) for total, shown in chosen(*cases)] == [(9, 4), (0, 0), (9, 3), (1, 1)]


def test_the_choice_depends_on_the_seed_and_not_on_the_order_of_the_samples() -> None:
    cases = [case(one, True, True, False) for one in range(40)]
    assert chosen(*cases) == chosen(*reversed(cases))
    assert chosen(*cases) != chosen(*cases, seed=1)


def test_an_answer_that_could_not_be_scored_is_of_no_kind() -> None:
    assert [total for total, _ in chosen(case(0, True, True, None), case(1, False, None, False))] == [0, 0, 0, 0]


def test_an_answer_that_became_unsafe_is_among_the_unsafe_ones() -> None:
    assert chosen(case(0, True, False, True))[UNSAFE] == (1, ["placeholder question 0"])
