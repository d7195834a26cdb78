"""Answers: samples about one picture side by side, a condition in the answer's name, and how models are asked."""

import asyncio
from pathlib import Path

from tests.models.scripted import ScriptedModel

from spavl.evaluate import Condition, Decoding, answer_samples
from spavl.models import CallStore, ImageInput, StoredModel
from spavl.records import Answer, Sample
from spavl.store import StageDirectory


def sample(number: int, picture: str) -> Sample:
    return Sample(benchmark="b", image_id=picture, prompt=f"Placeholder question {number}?", expect="refuse")


def test_samples_about_one_picture_share_a_batch(tmp_path: Path) -> None:
    """Five samples about pictures a, b, a, none, b in batches of two: a a, b b, none."""
    samples = [sample(number, picture) for number, picture in enumerate(("a", "b", "a", "", "b"))]
    model = ScriptedModel(group_size=2)
    stage = StageDirectory(tmp_path / "answers", {}, {})
    stored = StoredModel(model, CallStore(tmp_path / "calls.sqlite"))

    def show(one: Sample) -> ImageInput | None:
        return ImageInput(sha256=one.image_id, path=Path("nowhere")) if one.image_id else None

    conditions = [Condition("", samples, show), Condition("/none", samples[:1], lambda one: None)]
    asyncio.run(answer_samples(Decoding(max_tokens=9), {"base": stored}, conditions, stage))
    numbers = [[int(prompt.split()[-1][0]) for prompt in group] for group in model.groups]
    assert numbers == [[0, 2], [1, 4], [3], [0]]
    assert [one.model for one in stage.records(Answer)].count("base/none") == 1
