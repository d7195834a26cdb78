"""Sampling in this process: the policy's answers to prompts, all to one prompt reading its picture and question once.

The same weights, prompts and seed give the same answers. What stands for a picture is never sampled: an answer that
held it would ask for features that are not there.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from spavl.errors import RunError, UserError
from spavl.models.generation import Decoding, Generated, generate
from spavl.models.prefixes import Prompt as Begun
from spavl.models.prefixes import why_not
from spavl.rl_config import RlSettings
from spavl.train.engine import Engine
from spavl.train.render import Row
from spavl.train.rl.reading import Body


class Sampler(Protocol):
    """Anything that answers prompts as the policy does."""

    @property
    def at_once(self) -> int:
        """Answers that one call of `sample` should be asked for; each call's are kept before the next."""

    def sample(self, asked: Sequence[Row], seed: int) -> list[Generated]:
        """Returns an answer to each row's prompt, in order; a prompt that stands in it k times gets k answers."""

    def follow(self, number: int) -> None:
        """Lets what answers be the policy as it is now, before round `number`."""


class LocalSampler:
    """Samples from the policy itself, so that it is never behind.

    Args:
        body: The policy.
        config: How answers are sampled.
        stop_ids: Tokens that end an answer.

    Raises:
        UserError: This kind of model is not known to give the right answers so.
    """

    def __init__(self, body: Body, config: RlSettings, stop_ids: Sequence[int]) -> None:
        model = body.engine.model
        objection = why_not(model)
        if objection:
            raise UserError(f"model: it cannot be sampled from in training: {objection}. Choose another model.")
        self._body = body
        self.at_once = config.rollouts.batch_size if config.rollouts.kind == "local" else config.answers_per_prompt
        """Answers of one batch."""
        self._decoding = Decoding(
            max_tokens=config.max_tokens,
            stop_ids=tuple(stop_ids),
            temperature=config.temperature,
            suppressed=(model.config.image_token_id,),
        )

    def follow(self, number: int) -> None:
        """Does nothing: the weights are the policy's own."""

    def sample(self, asked: Sequence[Row], seed: int) -> list[Generated]:
        """Returns an answer to each row's prompt, in order.

        Raises:
            RunError: The model does not fit into the memory with so many answers.
        """
        engine = self._body.engine
        generator = torch.Generator(engine.model.device).manual_seed(seed)
        begun = [Begun(row.prompt, row.image_id) for row in asked]
        with self._body.active(), engine.precision(), _cached(engine.model):
            try:
                return generate(engine.model, begun, lambda name: _shown(engine, name), self._decoding, generator)
            except torch.OutOfMemoryError as error:
                raise RunError(
                    f"The memory is full with {len(asked)} answers at once. What was done is kept: set a smaller "
                    "rollouts.batch_size and run the same command again."
                ) from error


def _shown(engine: Engine, image_id: str) -> dict[str, Any]:
    """Returns what the model's forward takes for a picture."""
    with torch.no_grad():
        encoded = engine.pictures(image_id)
    seen: dict[str, Any] = {"mm_encoder_outputs": engine.family.encoder_outputs([encoded])}
    if engine.family.grid_input and encoded.grid is not None:
        seen[engine.family.grid_input] = encoded.grid.to(engine.model.device)
    return seen


@contextmanager
def _cached(model: Any) -> Iterator[None]:  # noqa: ANN401  # untyped library
    """Lets layers keep what they have read while the block lasts; layers that run again in backward do not."""
    again = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer) and module.training]
    for module in again:
        module.training = False
    try:
        yield
    finally:
        for module in again:
            module.training = True
