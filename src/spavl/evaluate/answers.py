"""The answers station: each model answers each sample; answers are kept apart from verdicts."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from spavl.errors import NoUseError, SpavlError, UserError
from spavl.models.ask import ask, check_reached, owe
from spavl.models.base import Completion, ImageInput, Request
from spavl.models.call_store import StoredModel
from spavl.records import Answer, Failure, Sample
from spavl.store import Manifest, StageDirectory

_log = logging.getLogger(__name__)
NAME_TOKENS = 16
"""Tokens of an answer that names a picture; only its first sentence counts."""


class Decoding(NamedTuple):
    """How models answer."""

    max_tokens: int
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    seed: int = 0


class Condition(NamedTuple):
    """Some samples, and what is shown with each."""

    name: str
    """What an answer's model is called besides its name: `/blank` and the like; empty for the samples as they are."""
    samples: Sequence[Sample]
    show: Callable[[Sample], ImageInput | None]


class Asked(NamedTuple):
    """What became of asking several models."""

    items: Sequence[str]
    """Every item of the stage, in order."""
    troubles: Mapping[str, SpavlError]
    """Model that was of no use -> why; what it owes has failed for a passing reason."""


async def answer_samples(
    decoding: Decoding, models: Mapping[str, StoredModel], conditions: Sequence[Condition], stage: StageDirectory
) -> Manifest:
    """Runs the station: every model, every condition, every sample; an item is `sample/model` and the condition's name.

    Args:
        decoding: How models answer.
        models: `before` and `after`, or any names.
        conditions: What is asked.
        stage: Where outcomes go.

    Raises:
        UserError: A model cannot be opened, or its server refuses it; the others have answered all the same.
        NoUseError: A model gave no answer, or was out of reach too often; the others have answered all the same.
    """
    asked = await ask_models(decoding, models, conditions, stage)
    for trouble in asked.troubles.values():
        raise trouble
    return stage.finish(asked.items)


async def ask_models(
    decoding: Decoding, models: Mapping[str, StoredModel], conditions: Sequence[Condition], stage: StageDirectory
) -> Asked:
    """Asks one model after the other; one that is of no use ends nothing, and each is closed when it is through.

    Samples about one picture are asked one after the other, so that a local model's batches share its features.

    Raises:
        RunError: The disk is full.
    """
    everything: list[str] = []
    troubles: dict[str, SpavlError] = {}
    for name, model in models.items():
        parts = [_Asking(decoding, condition, f"{name}{condition.name}") for condition in conditions]
        items = {item: None for part in parts for item in part.items()}
        everything += items
        try:
            for part in parts:
                await ask(stage, part.items(), model, part.request, part.read, label=f"answers: {part.name}")
            check_reached(stage, len(items), items.keys())
        except (UserError, NoUseError) as error:
            _log.warning("%s: %s What it owes is counted as failed.", name, error)
            owe(stage, items.keys(), error)
            troubles[name] = error
        finally:
            await model.close()  # the next one may need its memory
    return Asked(everything, troubles)


class _Asking(NamedTuple):
    decoding: Decoding
    condition: Condition
    name: str

    def items(self) -> dict[str, Sample]:
        return {f"{one.id}/{self.name}": one for one in _by_picture(self.condition.samples)}

    def request(self, sample: Sample) -> Request:
        decoding = self.decoding
        if sample.expect == "name":
            decoding = decoding._replace(max_tokens=NAME_TOKENS)
        return Request(prompt=sample.prompt, image=self.condition.show(sample), **decoding._asdict())

    def read(self, sample: Sample, completion: Completion) -> Answer | Failure:
        return Answer(sample_id=sample.id, model=self.name, text=completion.text.strip(), finish=completion.finish)


def _by_picture(samples: Sequence[Sample]) -> list[Sample]:
    """Returns the samples with those about one picture side by side, pictures in the order of their first sample."""
    place: dict[str, int] = {}
    for sample in samples:
        place.setdefault(sample.image_id or sample.id, len(place))
    return sorted(samples, key=lambda one: place[one.image_id or one.id])
