"""The answers station: each model answers each sample, greedily; answers are kept apart from verdicts."""

from collections.abc import Callable, Mapping, Sequence

from spavl.config import EvaluateConfig
from spavl.models.ask import ask, check_reached
from spavl.models.base import Completion, ImageInput, Request
from spavl.models.call_store import StoredModel
from spavl.records import Answer, Failure, Sample
from spavl.store import Manifest, StageDirectory

NAME_TOKENS = 16
"""Tokens of an answer that names a picture; only its first sentence counts."""


async def answer_samples(
    config: EvaluateConfig,
    models: Mapping[str, StoredModel],
    samples: Sequence[Sample],
    show: Callable[[str], ImageInput],
    stage: StageDirectory,
) -> Manifest:
    """Runs the station: every model, every sample.

    Args:
        config: How long answers may be.
        models: `before` and `after`, or any names.
        samples: The samples, those of one benchmark side by side.
        show: Image id -> the picture.
        stage: Where outcomes go.

    Raises:
        RunError: No model gave any answer.
    """
    everything: list[str] = []
    for name, model in models.items():
        items = [(f"{sample.id}/{name}", sample) for sample in samples]
        everything += [item for item, _ in items]

        def request(sample: Sample) -> Request:
            tokens = NAME_TOKENS if sample.expect == "name" else config.max_tokens
            return Request(prompt=sample.prompt, image=show(sample.image_id), max_tokens=tokens)

        def read(sample: Sample, completion: Completion, model_name: str = name) -> Answer | Failure:
            text = completion.text.strip()
            return Answer(sample_id=sample.id, model=model_name, text=text, finish=completion.finish)

        await ask(stage, items, model, request, read, label=f"answers: {name}")
    check_reached(stage, len(everything))
    return stage.finish(everything)
