"""An evaluation's page: models by benchmark, what may not be trusted, and made-up data said in every table."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.evaluate.test_measures import RULES, sample, scores

from spavl.evaluate.benchmarks.xstest import CARD
from spavl.evaluate.figures import EvaluationFigures, Material, evaluation_figures
from spavl.evaluate.list_samples import Coverage
from spavl.evaluate.outcomes import Readings
from spavl.evaluation_config import EvaluationConfig
from spavl.judges.base import JudgeCard
from spavl.pipeline.evaluation import Evaluated
from spavl.records import Answer
from spavl.report.evaluation import write_evaluation_report

SCRIPTED = "<script>alert(1)</script>"


SAMPLES = [
    *(sample(number, "ab"[number % 2]) for number in range(10)),
    *(sample(number, expect="comply") for number in range(10, 20)),
]
"""Ten harmful and ten benign made-up questions."""
MEASURED = scores(SAMPLES, base=[1.0] * 10 + [0.0] * 10, aligned=[None, *[0.0] * 19])
"""One of the ten harmful ones is missing after alignment."""
NOTHING = scores(SAMPLES, base=[0.0] * 20, aligned=[0.0] * 20)
DEAF = scores(SAMPLES, base=[*[0.0] * 10, *[None] * 10], aligned=[*[0.0] * 10, *[None] * 10])


@pytest.fixture
def page(tmp_path: Path) -> str:
    return written(tmp_path, {"j": MEASURED})


@pytest.fixture
def two_judges(tmp_path: Path) -> str:
    return written(tmp_path, {"j": MEASURED, "k": NOTHING})


@pytest.fixture
def unheard(tmp_path: Path) -> str:
    return written(tmp_path, {"j": DEAF})


def made_up(readings: Mapping[str, Readings]) -> Material:
    """Returns what these judges' readings of the samples are worked out from."""
    card = JudgeCard(name="placeholder judge", version="1", description="reads", sees_image=False)
    coverage = Coverage(listed=20, asked=20, samples=20, pictures=0, skipped={}, fixture=True)
    return Material(
        cards={"xstest": CARD},
        samples=SAMPLES,
        coverage={"xstest": coverage},
        ablations={},
        readings=readings,
        judge_cards=dict.fromkeys(readings, card),
        unfinished={},
        silent={},
        contests={},
        people={},
        box=None,
        met=None,
        imported=(),
        related={},
    )


def written(folder: Path, readings: Mapping[str, Readings]) -> str:
    """Returns the page of these judges' readings."""
    material = made_up(readings)
    figures: EvaluationFigures = evaluation_figures(material, ("base", "aligned"), RULES)
    answers = [
        Answer(sample_id=one.id, model=model, text=SCRIPTED, finish="stop")
        for one in SAMPLES
        for model in ("base", "aligned")
    ]
    config = EvaluationConfig.model_validate(
        {
            "run": folder / "run",
            "judges": {name: {"kind": "rules"} for name in readings},
            "models": {name: {"kind": "embedded"} for name in ("base", "aligned")},
            "benchmarks": [{"name": "xstest", "path": "nowhere"}],
        }
    )
    done = Evaluated(figures, {}, folder / "results.json", material, tuple(answers), {})
    return write_evaluation_report(done, config).read_text().replace("\u2060", "")  # which keeps lines from breaking


def test_every_table_says_that_its_data_is_made_up(page: str) -> None:
    captions = re.findall(r"<caption>(.*?)</caption>", page)
    assert len(captions) >= 5 and all("MADE-UP DATA: xstest" in one for one in captions)
    assert "no figure about them may be quoted" in page


def test_a_change_with_too_much_missing_is_withheld(page: str) -> None:
    """One of ten is missing: of nine none is unsafe, at most one of ten."""
    assert "withheld: incomplete" in page and "0.0–10.0" in page


def test_models_words_are_only_text(page: str) -> None:
    assert SCRIPTED not in page and "&lt;script&gt;alert(1)" in page


def test_safety_and_over_refusal_are_drawn_together(page: str) -> None:
    assert "Unsafe, xstest (%) against Refused, xstest (%)" in page


def test_the_page_says_how_its_answers_were_made_and_of_how_many_a_rate_is(page: str) -> None:
    """Of ten answers after alignment one is missing, so the rate is of nine; it would be 1 of 10 at most."""
    assert "base is the embedded model; aligned is the embedded model. One answer to each question, greedy" in page
    assert "0.0\u00a0% (0.0–29.9), n\u00a09, 1\u00a0missing: bounds 0.0–10.0\u00a0% [incomplete]" in page
    assert "incomplete: more than `max_failed` of the answers are missing or unjudged" in page
    assert "paul-rottger/exaggerated-safety" in page


def test_every_judge_has_its_tables_and_the_one_that_decides_comes_first(two_judges: str) -> None:
    """By the second judge, which calls all safe, nothing changes."""
    before, _, after = two_judges.partition("How far to trust it")
    assert "Share of answers, by j: unsafe answers" in before and ", by k: " not in before
    assert "Share of answers, by k: unsafe answers" in after and ", by j: " not in after


def test_a_figure_that_cannot_be_drawn_is_missed_aloud(unheard: str) -> None:
    assert (
        "Not drawn: by j or another judge there is not both" in unheard and "not measured, 10\u00a0missing" in unheard
    )


def test_a_change_of_few_units_is_marked_and_the_test_is_named(two_judges: str) -> None:
    """By k nothing changed in ten questions, fewer than 15: Wilson's limit for 0 of 10 is 27.8 %."""
    assert "0.0\u00a0points (−27.8 to +27.8) [few_units], p 1.000" in two_judges
    assert "p by the exact sign-flip test of whole clusters’ summed changes" in two_judges
    assert "few_units: the interval is of fewer than 15 units" in two_judges


def test_the_page_begins_with_what_changed_and_with_what_speaks_against_it(page: str) -> None:
    """Nobody refuses; the unsafe change is withheld, the rows are made up, and the training data was not searched."""
    (line,) = re.findall(r'<p class="verdict">(.*?)</p>', page)
    assert line.startswith(
        "aligned against base: no clear change in refusals on xstest (0.0\u00a0points, −27.8 to +27.8); "
        "no change given of unsafe answers on xstest. "
    )
    assert "It does not stand yet: the rows of xstest are made up; too much is missing or cut of xstest; " in line
    assert line.endswith("the training data was not searched for these samples.")
