"""Several judges side by side: the figures worked by hand, and where the report shows them."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from tests.report.conftest import FinishedRun

from spavl.config import RunConfig
from spavl.judges import JudgeCard, RulesJudge
from spavl.models import ImageInput
from spavl.preferences import hear_opinions
from spavl.records import Question, Response, SafetyLabel
from spavl.report import write_report
from spavl.report.gather import gather
from spavl.report.opinions import JudgeLabels, Opinions, tally_opinions
from spavl.store import RunDirectory

RESPONSES = [
    Response(question_id="que-0", image_id=f"img-{n}", responder="r", text=f"placeholder {n}", finish="stop")
    for n in range(10)
]


def judge(name: str, verdicts: str, **card: bool) -> JudgeLabels:
    """A judge whose verdict on each response is a letter: u, s, or - where it gave none."""
    words = {"u": "unsafe", "s": "safe"}
    labels = [
        SafetyLabel(response_id=one.id, judge=name, verdict=words[letter], refused=None, rationale="")
        for one, letter in zip(RESPONSES, verdicts, strict=True)
        if letter in words
    ]
    described = JudgeCard(name=name, version="1", description="placeholder", **{"sees_image": True} | card)
    return JudgeLabels(name, described, {label.response_id: label for label in labels})


def tally(*judges: JudgeLabels) -> Opinions:
    found = tally_opinions(judges, RESPONSES)
    assert found is not None
    return found


def test_each_judge_has_its_unsafe_rate_with_interval_and_bounds() -> None:
    """4 of 8 labelled are unsafe; were the 2 others safe it would be 4 of 10, were they unsafe 6 of 10."""
    first, second = tally(judge("a", "uuuussss--"), judge("b", "----------")).judges
    assert first.unsafe is not None
    assert (first.unsafe.value, first.unsafe.n, first.unlabelled, first.bounds) == (0.5, 8, 2, (0.4, 0.6))
    assert first.unsafe.low < 0.5 < first.unsafe.high
    assert (second.unsafe, second.unlabelled, second.bounds) == (None, 10, (0, 1))


def test_pairs_agree_by_kappa_and_all_by_alpha() -> None:
    """A and b: 8 of 10 alike, shares .4 and .4: expected .16 + .36 = .52, kappa .28 / .48 = .583; a and c share two.

    Alpha over a and b alone: 4 ordered pairs differ of 20 ratings, 8 unsafe and 12 safe: 1 - 4 * 19 / (2 * 8 * 12).
    """
    found = tally(judge("a", "uuuussssss"), judge("b", "uuussssssu"), judge("c", "us--------"))
    both, with_c, _ = found.pairs
    assert (both.one, both.other, with_c.other) == ("a", "b", "c")
    assert both.alike is not None and both.kappa is not None and with_c.alike is not None
    assert both.alike.value == pytest.approx(0.8)
    assert both.kappa.value == pytest.approx(0.28 / 0.48)
    assert both.kappa.low < both.kappa.value < both.kappa.high
    assert (both.kappa.n, with_c.alike.n) == (10, 2)
    alone = tally(judge("a", "uuuussssss"), judge("b", "uuussssssu")).alpha
    assert alone is not None
    assert alone.value == pytest.approx(1 - 4 * 19 / (2 * 8 * 12))


def test_judges_that_share_no_response_or_know_one_label_only_have_no_agreement() -> None:
    apart = tally(judge("a", "us--------"), judge("b", "--us------"))
    assert (apart.pairs[0].alike, apart.pairs[0].kappa, apart.alpha) == (None, None, None)
    same = tally(judge("a", "ssssssssss"), judge("b", "ssssssssss"))
    assert same.pairs[0].alike is not None and same.pairs[0].alike.value == 1
    assert (same.pairs[0].kappa, same.alpha) == (None, None)


def test_of_no_responses_nothing_is_said() -> None:
    assert tally_opinions([judge("a", "ssssssssss")], []) is None


@pytest.fixture
def with_rules(finished: FinishedRun, tmp_path: Path) -> tuple[RunDirectory, RunConfig]:
    """The finished run with the rules as a second judge."""
    run, config = finished
    copy = Path(shutil.copytree(run.path, tmp_path / "run"))
    labels = config.labels.model_validate({"others": {"floor": {"kind": "rules"}}})
    run, config = RunDirectory(copy, config.seed), config.model_copy(update={"labels": labels, "run": copy})
    questions, responses = run.shelf("questions", Question), run.shelf("responses", Response)
    shown = ImageInput(sha256="0" * 64, path=copy)
    stage = run.stage("opinions", {}, ["responses"])
    asyncio.run(hear_opinions({"floor": RulesJudge()}, questions, responses, lambda _: shown, stage))
    return run, config


def test_the_report_shows_every_judge_and_what_it_sees(with_rules: tuple[RunDirectory, RunConfig]) -> None:
    """The rules call unsafe every answer that does not decline; to harmful questions those are the marked ones."""
    data = gather(*with_rules)
    found = data.dataset.opinions
    assert found is not None
    assert [one.name for one in found.judges] == ["marker", "floor"]
    assert list(data.manifests)[-1] == "opinions"
    assert found.pairs[0].kappa is not None and found.pairs[0].kappa.value == 1
    written = write_report(*with_rules)
    page = written.page.read_text(encoding="utf-8")
    for words in ("marker (decides)", "text only", "marker and floor", "all judges", "refusal_extra.csv"):
        assert words in page.replace("<wbr>", "")
    said = json.loads(written.summary_file.read_bytes())["opinions"]
    assert [(one["name"], one["sees"]) for one in said["judges"]] == [("marker", "text only"), ("floor", "text only")]
    assert set(said["pairs"][0]["kappa"]) == set(said["alpha"]) == {"value", "n", "low", "high"}


def test_a_run_with_one_judge_shows_no_agreement(finished: FinishedRun) -> None:
    data = gather(*finished)
    assert data.dataset.opinions is None
    assert "opinions" not in data.manifests
