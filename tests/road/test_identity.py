"""What a changed caption, prompt or check pays for: exactly the calls that changed."""

import asyncio
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.road.conftest import CAPTIONS, Server, write_config

from spavl.config import load_config
from spavl.pipeline import build, open_road
from spavl.records import Caption, Question, QuestionCheck
from spavl.store import Manifest

FULL = (
    "captions.writer=served",
    "checks={near_duplicates: {}, harmfulness: {model: served}, relevance: {model: served}}",
    "models.served.concurrency=8",
)


class Built(NamedTuple):
    """A build's manifests and records."""

    manifests: dict[str, Manifest]
    captions: list[Caption]
    questions: list[Question]
    checks: list[QuestionCheck]

    @property
    def calls(self) -> dict[str, int]:
        """Stage -> calls that were made; those that made none are left out."""
        return {name: one.usage.calls for name, one in self.manifests.items() if one.usage.calls}


def make(config: Path, name: str, *overrides: str) -> Built:
    """Builds a run of that name; all share one store of calls."""
    loaded = load_config(config, (*FULL, f"run={config.parent / name}", *overrides))
    with open_road(loaded) as road:
        asyncio.run(build(road))
        stages = ("images", "captions", "questions", "checked_questions", "responses", "dataset")
        return Built(
            road.run.manifests(stages),
            road.records("captions", Caption),
            road.records("questions", Question),
            road.records("checked_questions", QuestionCheck),
        )


@pytest.mark.slow
def test_a_change_pays_for_what_it_changed_and_nothing_else(
    tmp_path: Path, server: Server, tiny_folder: Path, picture_folder: Path
) -> None:
    config = write_config(tmp_path / "run.yaml", server, tiny_folder, picture_folder)
    first = make(config, "first")
    pictures = first.manifests["images"].counts.records
    assert len(first.captions) < pictures <= len(CAPTIONS)
    assert first.manifests["captions"].counts.by_reason == {"refused": pictures - len(first.captions)}
    written = {one.id for one in first.questions}
    assert 0 < len(first.checks) < len(written)
    assert first.manifests["checked_questions"].counts.by_reason["picture_not_needed"] > 0
    assert first.calls["captions"] == pictures
    assert first.calls["questions"] == 4 * pictures
    arrived = server.requests()

    again = make(config, "again")
    assert again.calls == {} and again.manifests["dataset"].results_hash == first.manifests["dataset"].results_hash

    rejudged = make(config, "rejudged", "checks.relevance.max_tokens=99")
    relevance = first.manifests["checked_questions"].counts.items - sum(
        first.manifests["checked_questions"].counts.by_reason.get(reason, 0)
        for reason in ("duplicate", "near_duplicate", "not_harmful", "not_harmless")
    )
    assert rejudged.calls == {"checked_questions": relevance}
    assert len(server.requests()) == len(arrived) + relevance

    unchecked = make(config, "unchecked", "checks={}")
    assert set(unchecked.calls) == {"responses"}  # of the questions that the checks had left out
    assert unchecked.checks[0].relevance is None

    packaged = (resources.files("spavl.questions") / "prompt_files/small_v1.yaml").read_text(encoding="utf-8")
    own = tmp_path / "own.yaml"
    own.write_text(packaged.replace("Write one short", "Be brief. Write one short", 1), encoding="utf-8")
    reworded = make(config, "reworded", "checks={}", f"questions.prompts={own}")
    assert reworded.calls["questions"] == pictures
    others = {one.id for one in reworded.questions if one.question_type != "easy_question"}
    assert others == {one.id for one in first.questions if one.question_type != "easy_question"}
    asked = {one.id for one in reworded.questions} - {one.id for one in unchecked.questions}
    assert 0 < reworded.calls["responses"] <= 3 * len(asked)


@pytest.mark.slow
def test_another_caption_pays_for_captions_and_the_questions_that_rest_on_them(
    tmp_path: Path, server: Server, tiny_folder: Path, picture_folder: Path
) -> None:
    config = write_config(tmp_path / "run.yaml", server, tiny_folder, picture_folder)
    first = make(config, "first", "checks={}")
    other = make(config, "other", "checks={}", "captions.max_tokens=99")
    pictures = first.manifests["images"].counts.records
    assert first.manifests["images"].results_hash == other.manifests["images"].results_hash
    texts = [{one.image_id: one.text for one in some.captions} for some in (first, other)]
    moved = [image for image in {one.image_id for one in first.questions} if texts[0].get(image) != texts[1].get(image)]
    assert other.calls["captions"] == pictures and moved
    assert other.calls["questions"] == 4 * len(moved)
