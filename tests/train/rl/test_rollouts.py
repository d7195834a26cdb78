"""Answers and scores are kept the moment they are there."""

from pathlib import Path

import pytest

from spavl.errors import RunError
from spavl.records import Failure
from spavl.train.rl.rollouts import Answering, Rollout, RolloutFiles

ROLLOUT = Rollout(
    prompt="prm-1", image_id="img-1", question="placeholder", harmful=True, tokens=(5, 0), text="é", ended=True
)


def refuse(*_: int) -> list[Rollout]:
    raise AssertionError("asked again")


def test_what_is_kept_is_never_made_again(tmp_path: Path) -> None:
    files = RolloutFiles(tmp_path)
    assert files.rollouts(1, Answering(1, 16, lambda *_: [ROLLOUT])) == [ROLLOUT]
    assert RolloutFiles(tmp_path).rollouts(1, Answering(1, 16, refuse)) == [ROLLOUT]
    scores = {"0_rules": [0.1, Failure(reason="unscored", message="no answer")]}
    assert files.scores(1, lambda: scores) == scores
    assert RolloutFiles(tmp_path).scores(1, lambda: {"": refuse()}) == scores  # type: ignore[dict-item]  # never called
    assert sorted(path.name for path in tmp_path.iterdir()) == ["round-00001-scores.json", "round-00001.json"]


def test_a_damaged_round_is_named(tmp_path: Path) -> None:
    (tmp_path / "round-00002.json").write_text("{")
    with pytest.raises(RunError, match=r"round-00002.json is damaged. Remove it"):
        RolloutFiles(tmp_path).rollouts(2, Answering(1, 16, refuse))


def answers(start: int, stop: int) -> list[Rollout]:
    return [ROLLOUT.model_copy(update={"text": str(place)}) for place in range(start, stop)]


def test_a_round_that_is_broken_off_goes_on_behind_the_answers_that_are_there(tmp_path: Path) -> None:
    """Of 7 answers, 3 at once, the first 3 were there; then those from 3 on are asked for, 2 at once, and no others."""

    def fail_later(start: int, stop: int) -> list[Rollout]:
        return answers(start, stop) if start == 0 else refuse()

    with pytest.raises(AssertionError, match="asked again"):
        RolloutFiles(tmp_path).rollouts(3, Answering(7, 3, fail_later))
    assert [path.name for path in tmp_path.iterdir()] == ["round-00003-from-00000.json"]
    asked: list[tuple[int, int]] = []

    def note(start: int, stop: int) -> list[Rollout]:
        asked.append((start, stop))
        return answers(start, stop)

    found = RolloutFiles(tmp_path).rollouts(3, Answering(7, 2, note))
    assert asked == [(3, 5), (5, 7)]
    assert found == answers(0, 7)
    assert [path.name for path in tmp_path.iterdir()] == ["round-00003.json"]
