"""Local models as models of Inspect (`--model spavl/embedded`, `--model spavl/hf -M path=FOLDER`), batched as ours are.

Inspect asks one question at a time, many side by side; those that wait together are answered as one batch. Its own
provider of transformers' models takes no pictures.
"""

import asyncio
from typing import Any

from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput, modelapi
from inspect_ai.tool import ToolChoice, ToolInfo
from pydantic import TypeAdapter

from spavl.config import ModelConfig
from spavl.errors import RunError
from spavl.interchange.inspect_messages import as_output, as_request
from spavl.models.base import Reply, Request
from spavl.models.opening import open_model
from spavl.records import Failure


class SpavlModel(ModelAPI):
    """A model of ours behind Inspect's interface.

    Args:
        model_name: Its kind, `embedded` or `hf`.
        base_url: Not used.
        api_key: Not used.
        config: How Inspect generates.
        model_args: What else the model's configuration has, such as `path`.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  # as Inspect's own providers; it is not changed
        **model_args: Any,  # noqa: ANN401  # what the command line says
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        kind = model_name.partition("/")[2] or model_name
        told: ModelConfig = TypeAdapter(ModelConfig).validate_python({"kind": kind, **model_args})
        self._model = open_model(told)
        self._waiting: list[tuple[Request, asyncio.Future[Reply]]] = []
        self._answering: asyncio.Task[None] | None = None

    def max_connections(self) -> int:
        """Returns how many questions Inspect asks side by side: a batch that is answered, and one that forms."""
        return 2 * self._model.group_size * self._model.concurrency

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """Answers one question.

        Raises:
            UserError: It is none that a local model answers.
            RunError: The model could not answer it.
        """
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((as_request(input, config), future))
        if self._answering is None or self._answering.done():
            self._answering = asyncio.create_task(self._answer())
        reply = await future
        if isinstance(reply, Failure):
            raise RunError(reply.message)
        return as_output(self.model_name, reply)

    async def _answer(self) -> None:
        """Answers what waits, a batch at a time; what is asked meanwhile waits for the next."""
        while self._waiting:
            await asyncio.sleep(0)
            group = self._waiting[: self._model.group_size]
            del self._waiting[: len(group)]
            try:
                replies = await self._model.generate([request for request, _ in group])
            except Exception as error:  # whoever waits is told, whatever it was
                for _, future in group:
                    future.set_exception(error)
                continue
            for (_, future), reply in zip(group, replies, strict=True):
                future.set_result(reply)


@modelapi(name="spavl")
def spavl_models() -> type[ModelAPI]:
    """Returns the provider of our local models."""
    return SpavlModel
