"""Rollouts: the policy's answers of each round, kept on the disk the moment they are there, and then what they score.

A part of a round that was generated is never generated again, and a round that was scored is never scored again: a
training that goes on from a checkpoint reads them. The files stay, one pair a round, to be looked at.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict

from spavl.errors import RunError
from spavl.records import Failure
from spavl.store.files import write_atomically

T = TypeVar("T", bound=BaseModel)
Score = float | Failure
"""What an answer is worth, or why nobody can say."""


class Rollout(BaseModel):
    """One answer of the policy."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    prompt: str
    """Id of the prompt."""
    image_id: str
    question: str
    harmful: bool
    tokens: tuple[int, ...]
    """With the end token, if it ended."""
    text: str
    ended: bool
    """Whether it ended by itself, not at its limit."""


class _Answers(BaseModel):
    """What a round's first file holds; JSON has lists, so it is read as JSON."""

    model_config = ConfigDict(extra="forbid")

    rollouts: list[Rollout]


class _Scores(BaseModel):
    """What its second file holds."""

    model_config = ConfigDict(extra="forbid")

    scores: dict[str, list[float | Failure]]


class Answering(NamedTuple):
    """What a round asks of the policy."""

    answers: int
    """How many."""
    at_once: int
    """Of so many the answers are kept together."""
    answer: Callable[[int, int], Sequence[Rollout]]
    """Makes the answers from one place to another."""


class RolloutFiles:
    """The rounds of one training.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def rollouts(self, number: int, answering: Answering) -> list[Rollout]:
        """Returns a round's answers: those that are kept, and then part by part those that are not, each kept at once.

        Args:
            number: Which round.
            answering: What is to be answered.

        Raises:
            RunError: A kept file is damaged, or the disk is full.
        """
        whole = self._folder / f"round-{number:05}.json"
        if not whole.exists():
            found: list[Rollout] = []
            while len(found) < answering.answers:  # a part may be of an attempt that asked for more or fewer at once
                part = self._folder / f"round-{number:05}-from-{len(found):05}.json"
                if not part.exists():
                    stop = min(len(found) + answering.at_once, answering.answers)
                    _write(part, answering.answer(len(found), stop))
                found += _parse(part, _Answers).rollouts
            _write(whole, found)
        for part in self._folder.glob(f"round-{number:05}-from-*.json"):
            part.unlink()
        return _parse(whole, _Answers).rollouts

    def scores(self, number: int, score: Callable[[], Mapping[str, Sequence[Score]]]) -> dict[str, list[Score]]:
        """Returns what a round's answers score, name -> one an answer; kept in the same way.

        Raises:
            RunError: The kept file is damaged, or the disk is full.
        """
        path = self._folder / f"round-{number:05}-scores.json"
        if not path.exists():
            made = _Scores(scores={name: list(found) for name, found in score().items()})
            write_atomically(path, made.model_dump_json(indent=1).encode() + b"\n")
        return dict(_parse(path, _Scores).scores)


def _write(path: Path, rollouts: Sequence[Rollout]) -> None:
    write_atomically(path, _Answers(rollouts=list(rollouts)).model_dump_json(indent=1).encode() + b"\n")


def _parse(path: Path, kind: type[T]) -> T:
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValueError as error:
        raise RunError(
            f"{path} is damaged. Remove it, and it is made again; or start again with --restart-from train."
        ) from error
