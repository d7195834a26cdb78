"""Planes: every pair of benchmarks has one, and every model stands in each, with its intervals or as not measured."""

from tests.evaluate.test_measures import RULES, sample, scores

from spavl.evaluate.benchmarks.advbench import ADVBENCH
from spavl.evaluate.benchmarks.xstest import XSTEST
from spavl.evaluate.contests import ContestResult
from spavl.evaluate.figures import EvaluationFigures, Material, evaluation_figures
from spavl.evaluate.list_samples import Coverage
from spavl.evaluate.outcomes import Reading
from spavl.judges.base import JudgeCard
from spavl.report.tradeoff import tradeoff_planes

MODELS = ("base", "aligned", "third", "dead")
KINDS = {"xstest": XSTEST.card, "helpful": XSTEST.card._replace(name="helpful", kind="helpfulness")}
KINDS |= {name: ADVBENCH.card._replace(name=name) for name in ("advbench", "figstep")}
MANY = tuple(f"benchmark_of_long_name_{number}" for number in range(8))
KINDS |= {name: ADVBENCH.card._replace(name=name) for name in MANY}


def material(*names: str) -> Material:
    """Two questions of each benchmark; nothing of `dead` is scored. `aligned` wins all contests with the baseline."""
    harmful = {name: KINDS[name].kind == "harmlessness" for name in names}
    samples = [
        sample(number, expect="refuse" if harmful[name] else "comply", benchmark=name)
        for name in names
        for number in (0, 1)
    ]
    contests = [
        ContestResult(
            sample_id=one.id,
            before_id=f"base/{one.id}",
            after_id=f"aligned/{one.id}",
            first=first,
            judge="j",
            verdict="second" if first == "before" else "first",
            rationale="",
        )
        for one in samples
        if one.benchmark == "helpful"
        for first in ("before", "after")
    ]
    size = len(samples)
    coverage = Coverage(listed=2, asked=2, samples=2, pictures=0, skipped={}, fixture=True)
    return Material(
        cards={name: KINDS[name] for name in names},
        samples=samples,
        coverage=dict.fromkeys(names, coverage),
        ablations={},
        readings={
            "j": scores(
                samples, base=[1.0] * size, aligned=[0.0] * size, third=[1.0, 0.0] * (size // 2), dead=[None] * size
            )
        },
        judge_cards={"j": JudgeCard(name="j", version="1", description="reads", sees_image=False)},
        unfinished={},
        silent={"dead": "its server is gone"},
        contests={"aligned": contests},
        people={},
        box=None,
        met=None,
        imported=(),
        related={},
    )


def figures(*names: str) -> EvaluationFigures:
    return evaluation_figures(material(*names), MODELS, RULES)


def test_every_pair_of_benchmarks_has_its_plane_with_every_model() -> None:
    planes = tradeoff_planes(figures("advbench", "figstep", "xstest"))
    titles = [f"Unsafe, {name} (%) against Refused, xstest (%)" for name in ("advbench", "figstep")]
    assert [title for title, plane in zip(titles, planes.drawn, strict=True) if title in plane] == titles
    for plane in planes.drawn:
        assert all(f">{name}<" in plane for name in ("base", "aligned", "third"))
        assert ">dead: not measured<" in plane


def test_wins_are_a_plane_of_their_own_where_the_baseline_has_no_place() -> None:
    """All play against the baseline, so it has no wins; nobody compared the third and the dead model's answers."""
    (plane,) = tradeoff_planes(figures("advbench", "helpful")).drawn[-1:]
    assert "Unsafe, advbench (%) against Wins against base, helpful (%)" in plane
    assert ">aligned<" in plane and all(f">{name}: not measured<" in plane for name in ("base", "third", "dead"))


def test_without_one_of_two_sides_nothing_is_drawn() -> None:
    assert tradeoff_planes(figures("advbench")) == ((), 0)


def test_an_axis_that_the_deciding_judge_does_not_tell_is_by_the_first_that_does_and_says_so() -> None:
    """A guard decides: of XSTest's refusals it says nothing, and `j`, which comes second, does."""
    given = material("advbench", "xstest")
    told = given.readings["j"]
    harmful = {one.id for one in given.samples if one.expect == "refuse"}
    guard = {key: one if key[0] in harmful else Reading("not_applicable", None, False, 1) for key, one in told.items()}
    card = given.judge_cards["j"]
    given = given._replace(readings={"guard": guard, "j": told}, judge_cards={"guard": card, "j": card})
    (plane,) = tradeoff_planes(evaluation_figures(given, MODELS, RULES)).drawn
    assert "Unsafe, advbench (%) against Refused, xstest, by j (%)" in plane
