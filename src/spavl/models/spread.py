"""Models whose copies answer in workers, with the face of the model they stand for.

The store of calls, budgets and stages stay with the process that runs the build: a worker is handed requests and hands
replies back, so nothing of a run is written in two places.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from spavl.config import ModelConfig, OpenAIModelConfig
from spavl.errors import UserError
from spavl.models.base import Model, Reply, Request


class Copy(NamedTuple):
    """What a worker makes its copy of a model from."""

    config: ModelConfig
    fingerprint: str
    """Whose answers they must be, as JSON."""

    def opened(self, open_here: Callable[[ModelConfig], Model]) -> Model:
        """Opens the copy.

        Raises:
            UserError: It is another model than the one whose answers are asked for.
        """
        model = open_here(self.config)
        if _as_text(model.fingerprint) != self.fingerprint:
            raise UserError(
                f"A worker found another model than this process ({_as_text(model.fingerprint)}, not "
                f"{self.fingerprint}). Put the model where every machine finds the same files under the same path."
            )
        return model


class Workers(Protocol):
    """Where copies answer."""

    async def ask(self, key: Copy, requests: Sequence[Request], /) -> list[Reply]:
        """Has requests answered by one of the copies."""

    async def free(self, key: Copy, /) -> None:
        """Has every copy give its connections and memory back."""


class SpreadModel:
    """A model that is asked in workers.

    Args:
        model: The model as this process opens it; it says what it is and is never asked.
        config: Its configuration.
        workers: Where its copies answer.
        count: How many of them there are.
    """

    def __init__(self, model: Model, config: ModelConfig, workers: Workers, count: int) -> None:
        self._model = model
        self._config = config
        self._workers = workers
        self._count = count

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The model's own."""
        return self._model.fingerprint

    @property
    def group_size(self) -> int:
        """The model's own, so that groups are those of a run without workers."""
        return self._model.group_size

    @property
    def concurrency(self) -> int:
        """A server's own; of a local model every copy answers a group at a time."""
        served = isinstance(self._config, OpenAIModelConfig)
        return self._model.concurrency if served else self._model.concurrency * self._count

    async def generate(self, requests: Sequence[Request]) -> list[Reply]:
        """Answers the requests as one group.

        Raises:
            UserError: As the model, or the workers cannot be had.
            NoUseError: The workers died of it again and again.
        """
        return await self._workers.ask(self._copy(), list(requests))

    async def close(self) -> None:
        """Gives connections and memory back, everywhere."""
        await self._workers.free(self._copy())
        await self._model.close()

    def _copy(self) -> Copy:
        return Copy(shared_out(self._config, self._count), _as_text(self.fingerprint))


def shared_out(config: ModelConfig, count: int) -> ModelConfig:
    """Returns a model's configuration for one of so many workers: each has its part of a server's limits."""
    if not isinstance(config, OpenAIModelConfig):
        return config
    per_minute = {
        field: limit / count
        for field in ("requests_per_minute", "tokens_per_minute")
        if (limit := getattr(config, field)) is not None
    }
    return config.model_copy(update={"concurrency": -(-config.concurrency // count)} | per_minute)


def _as_text(fingerprint: dict[str, Any]) -> str:
    return json.dumps(fingerprint, sort_keys=True)
