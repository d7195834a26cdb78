"""Which answers a run begins for its models, and whether their servers can go on from there.

A local model always can. A server that does not know `continue_final_message` may take the beginning for a turn of its
own and answer that, which looks like an answer; so it has to be said that a server knows it.
"""

from collections.abc import Iterator
from typing import NamedTuple

from spavl.config import OpenAIModelConfig, RunConfig
from spavl.errors import UserError

MEANING = "if its server continues a begun answer (vLLM, SGLang: `continue_final_message`)"


class Begun(NamedTuple):
    """A place of the configuration that begins a model's answers."""

    field: str
    model: str
    otherwise: str
    """What to do where the server cannot go on."""


def check_prefill(config: RunConfig, *, openings: bool) -> None:
    """Refuses a configuration that begins answers for a server which is not said to continue them.

    Args:
        config: The run's configuration.
        openings: Whether the questions' prompts have openings for the writer to complete.

    Raises:
        UserError: A server's model has no `prefill: true` and needs it.
    """
    for begun in _begun(config, openings):
        model = config.models[begun.model]
        if isinstance(model, OpenAIModelConfig) and not model.prefill:
            raise UserError(
                f"{begun.field}: it begins answers of `{begun.model}`, which has no `prefill: true`. Set "
                f"models.{begun.model}.prefill=true {MEANING}; otherwise {begun.otherwise}."
            )


def _begun(config: RunConfig, openings: bool) -> Iterator[Begun]:
    if openings:
        another = "take another writer, or questions.prompts=standard_v2"
        yield Begun(f"questions.prompts {config.questions.prompts}", config.questions.writer, another)
    for name, responder in config.responses.responders.items():
        if responder.answer_prefix:
            field = f"responses.responders.{name}.answer_prefix"
            yield Begun(field, responder.model, "leave the field out, or take another model")
