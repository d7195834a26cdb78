"""An evaluation's page: models by benchmark, what may not be trusted, and made-up data said in every table."""

import re
from pathlib import Path

import pytest
from tests.evaluate.test_measures import RULES, sample, scores

from spavl.evaluate.benchmarks.xstest import CARD
from spavl.evaluate.figures import EvaluationFigures, Material, evaluation_figures
from spavl.evaluate.list_samples import Coverage
from spavl.evaluation_config import EvaluationConfig
from spavl.judges.base import JudgeCard
from spavl.pipeline.evaluation import Evaluated
from spavl.records import Answer
from spavl.report.evaluation import write_evaluation_report

SCRIPTED = "<script>alert(1)</script>"


@pytest.fixture
def page(tmp_path: Path) -> str:
    """Ten harmful and ten benign made-up questions; one of ten harmful ones is missing after alignment."""
    harmful = [sample(number, "ab"[number % 2]) for number in range(10)]
    benign = [sample(number, expect="comply") for number in range(10, 20)]
    samples = [*harmful, *benign]
    values: list[float | None] = [1.0] * 10 + [0.0] * 10
    readings = scores(samples, base=values, aligned=[None, *[0.0] * 19])
    card = JudgeCard(name="placeholder judge", version="1", description="reads", sees_image=False)
    coverage = Coverage(listed=20, asked=20, samples=20, pictures=0, skipped={}, fixture=True)
    material = Material(
        cards={"xstest": CARD},
        samples=samples,
        coverage={"xstest": coverage},
        ablations={},
        readings={"j": readings},
        judge_cards={"j": card},
        unfinished={},
        contests={},
        people={},
        box=None,
        met=None,
        imported=(),
        related=(),
    )
    figures: EvaluationFigures = evaluation_figures(material, ("base", "aligned"), RULES)
    answers = [
        Answer(sample_id=one.id, model=model, text=SCRIPTED, finish="stop")
        for one in samples
        for model in ("base", "aligned")
    ]
    config = EvaluationConfig.model_validate(
        {
            "run": tmp_path / "run",
            "models": {name: {"kind": "embedded"} for name in ("base", "aligned")},
            "benchmarks": [{"name": "xstest", "path": "nowhere"}],
        }
    )
    done = Evaluated(figures, {}, tmp_path / "results.json", material, tuple(answers), {})
    return write_evaluation_report(done, config).read_text()


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
    assert "Unsafe answers against over-refusal" in page and "Refused, xstest (%)" in page
