"""The answers station: each model answers each sample; answers are kept apart from verdicts."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from spavl.models.ask import ask, check_reached
from spavl.models.base import Completion, ImageInput, Request
from spavl.models.call_store import StoredModel
from spavl.records import Answer, Failure, Sample
from spavl.store import Manifest, StageDirectory

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


async def answer_samples(
    decoding: Decoding, models: Mapping[str, StoredModel], conditions: Sequence[Condition], stage: StageDirectory
) -> Manifest:
    """Runs the station: every model, every condition, every sample; an item is `sample/model` and the condition's name.

    Samples about one picture are asked one after the other, so that a local model's batches share its features.

    Args:
        decoding: How models answer.
        models: `before` and `after`, or any names.
        conditions: What is asked.
        stage: Where outcomes go.

    Raises:
        RunError: No model gave any answer, or the models were out of reach too often.
    """
    everything: list[str] = []
    for name, model in models.items():
        for condition in conditions:
            items = [(f"{one.id}/{name}{condition.name}", one) for one in _by_picture(condition.samples)]
            everything += [item for item, _ in items]
            asking = _Asking(decoding, condition, f"{name}{condition.name}")
            await ask(stage, dict(items), model, asking.request, asking.read, label=f"answers: {asking.name}")
    check_reached(stage, len(everything))
    return stage.finish(everything)


class _Asking(NamedTuple):
    decoding: Decoding
    condition: Condition
    name: str

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
