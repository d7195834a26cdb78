"""Answers and scores are kept the moment they are there."""

from pathlib import Path

import pytest

from spavl.errors import RunError
from spavl.records import Failure
from spavl.train.rl.rollouts import Rollout, RolloutFiles

ROLLOUT = Rollout(
    prompt="prm-1", image_id="img-1", question="placeholder", harmful=True, tokens=(5, 0), text="é", ended=True
)


def refuse() -> list[Rollout]:
    raise AssertionError("asked again")


def test_what_is_kept_is_never_made_again(tmp_path: Path) -> None:
    files = RolloutFiles(tmp_path)
    assert files.rollouts(1, [lambda: [ROLLOUT]]) == [ROLLOUT]
    assert RolloutFiles(tmp_path).rollouts(1, [refuse]) == [ROLLOUT]
    scores = {"0_rules": [0.1, Failure(reason="unscored", message="no answer")]}
    assert files.scores(1, lambda: scores) == scores
    assert RolloutFiles(tmp_path).scores(1, lambda: {"": refuse()}) == scores  # type: ignore[dict-item]  # never called
    assert sorted(path.name for path in tmp_path.iterdir()) == ["round-00001-scores.json", "round-00001.json"]


def test_a_damaged_round_is_named(tmp_path: Path) -> None:
    (tmp_path / "round-00002.json").write_text("{")
    with pytest.raises(RunError, match=r"round-00002.json is damaged. Remove it"):
        RolloutFiles(tmp_path).rollouts(2, [refuse])


def test_a_round_that_is_broken_off_goes_on_with_the_parts_that_are_there(tmp_path: Path) -> None:
    """The second part fails at first; the third never was asked then."""
    other = ROLLOUT.model_copy(update={"text": "another"})
    with pytest.raises(AssertionError, match="asked again"):
        RolloutFiles(tmp_path).rollouts(3, [lambda: [ROLLOUT], refuse, refuse])
    assert [path.name for path in tmp_path.iterdir()] == ["round-00003-part-000.json"]
    found = RolloutFiles(tmp_path).rollouts(3, [refuse, lambda: [other], lambda: [ROLLOUT]])
    assert found == [ROLLOUT, other, ROLLOUT]
    assert [path.name for path in tmp_path.iterdir()] == ["round-00003.json"]
