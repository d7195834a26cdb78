"""Judges that decide nothing: their labels lie side by side, and one that fails loses nobody else's."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.preferences.test_preferences import QUESTION, response

from spavl.errors import RunError
from spavl.judges import Exchange, JudgeCard, Opinion
from spavl.models import ImageInput
from spavl.preferences import hear_opinions
from spavl.records import Failure, SafetyLabel
from spavl.store import Manifest, StageDirectory, Usage

RESPONSES = [response("a", f"placeholder answer {number}") for number in range(3)]
DEAD = Failure(reason="server_dead", message="placeholder", transient=True)
UNREAD = Failure(reason="unparsed", message="placeholder")


class SayingJudge:
    """Says one thing of every answer."""

    group_size = 2
    concurrency = 1

    def __init__(self, finding: Opinion | Failure) -> None:
        self.finding = finding
        self.heard: list[Exchange] = []
        self.card = JudgeCard(name="same card", version="1", description="placeholder", sees_image=False)

    def take_usage(self) -> Usage:
        return Usage()

    async def label(self, exchanges: Sequence[Exchange]) -> list[Opinion | Failure]:
        self.heard += exchanges
        return [self.finding for _ in exchanges]


SAFE = Opinion("safe", None, "placeholder")


def heard(folder: Path, **judges: SayingJudge) -> tuple[Manifest, StageDirectory]:
    stage = StageDirectory(folder / "opinions", {}, {})
    shown = ImageInput(sha256="0" * 64, path=folder)
    questions = {"que-1": QUESTION}
    return asyncio.run(
        hear_opinions(judges, questions, {one.id: one for one in RESPONSES}, lambda _: shown, stage)
    ), stage


def test_every_judge_labels_every_response_under_its_own_name(tmp_path: Path) -> None:
    one, two = SayingJudge(SAFE), SayingJudge(Opinion("unsafe", True, "placeholder"))
    manifest, stage = heard(tmp_path, one=one, two=two)
    labels = stage.records(SafetyLabel)
    said = [(label.judge, label.response_id, label.verdict, label.refused) for label in labels]
    ids = [one.id for one in RESPONSES]
    assert said == [*(("one", each, "safe", None) for each in ids), *(("two", each, "unsafe", True) for each in ids)]
    assert len({label.id for label in labels}) == 6
    assert set(manifest.facts["judges"]) == {"one", "two"}
    assert one.heard[0] == Exchange(QUESTION.text, RESPONSES[0].text, True, ImageInput(sha256="0" * 64, path=tmp_path))


def test_a_judge_in_another_form_is_counted_and_loses_nobody_elses_labels(tmp_path: Path) -> None:
    manifest, stage = heard(tmp_path, prose=SayingJudge(UNREAD), fine=SayingJudge(SAFE))
    assert (manifest.counts.records, manifest.counts.by_reason) == (3, {"unparsed": 3})
    assert {label.judge for label in stage.records(SafetyLabel)} == {"fine"}


def test_a_judge_out_of_reach_leaves_the_stage_open_and_is_asked_again_alone(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="out of reach for 3 of 6 items"):
        heard(tmp_path, dead=SayingJudge(DEAD), fine=SayingJudge(SAFE))
    back, fine = SayingJudge(SAFE), SayingJudge(SAFE)
    manifest, _ = heard(tmp_path, dead=back, fine=fine)
    assert manifest.counts.records == 6
    assert (len(back.heard), len(fine.heard)) == (3, 0)
