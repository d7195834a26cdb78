"""What is read of one pass through a set of weights: log-probabilities, values and scores together.

Whatever shares its weights shares a pass: a value head on the policy's states, several heads of one reward model. Each
pass costs the language model once, and reading it a product with the positions that are asked for.
Shapes: A answers, R tokens of an answer, H hidden.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from spavl.train.engine import Engine
from spavl.train.head import target_logprobs
from spavl.train.logprobs import predicting_places, tree_states
from spavl.train.scalar_head import ScalarHead, score_places
from spavl.train.tree import PackedTrees

Heads = Mapping[str, ScalarHead]
NO_HEADS: Heads = MappingProxyType({})


class Body(NamedTuple):
    """A set of weights: a model, and the adapter that is in use while it is this body."""

    engine: Engine
    active: Callable[[], AbstractContextManager[None]] = nullcontext


class Wanted(NamedTuple):
    """What is to be read of a pass."""

    logprobs: bool = False
    temperature: float = 1.0
    """Log-probabilities are those of sampling at it."""
    values: Heads = NO_HEADS
    """Read before each token, where it is predicted."""
    scores: Heads = NO_HEADS
    """Read at each answer's last token."""


class Reading(NamedTuple):
    """What was read; lists have one entry an answer of the packed row."""

    logprobs: Sequence[Tensor]  # (R,) each
    values: Mapping[str, Sequence[Tensor]]  # (R,) each
    scores: Mapping[str, Tensor]  # (A,)


def read(body: Body, packed: PackedTrees, wanted: Wanted) -> Reading:
    """Passes a packed row through the model once, and reads what is wanted.

    Call it, and the backward pass that follows, with the body active: layers that run again must run the same.
    """
    engine = body.engine
    predicting, last = predicting_places(packed), score_places(packed)
    with engine.precision():
        return engine.root(lambda: _read(engine, packed, wanted, predicting, last))


def _read(
    engine: Engine, packed: PackedTrees, wanted: Wanted, predicting: Sequence[int], last: Sequence[int]
) -> Reading:
    states = tree_states(engine.model, engine.family, packed, engine.pictures, [*predicting, *last], flex=engine.flex)
    before, ends = states[: len(predicting)], states[len(predicting) :]  # (N, H), (A, H)
    lengths = [len(answer.tokens) for answer in packed.answers]
    logprobs: Sequence[Tensor] = ()
    if wanted.logprobs:
        targets = torch.tensor([token for answer in packed.answers for token in answer.tokens], device=states.device)
        head = engine.model.get_output_embeddings().weight
        logprobs = torch.split(target_logprobs(before / wanted.temperature, head, targets), lengths)
    values = {name: torch.split(head(before), lengths) for name, head in wanted.values.items()}
    return Reading(logprobs, values, {name: head(ends) for name, head in wanted.scores.items()})


@contextmanager
def adapter_active(peft: Any, name: str | None) -> Iterator[None]:  # noqa: ANN401  # untyped library
    """Lets an adapter alone be in use while the block lasts; None lets the model be its base.

    PEFT's own switch also decides what is trained, and would freeze the policy whenever the critic is asked.
    """
    layers = [module for module in peft.modules() if isinstance(module, BaseTunerLayer)]
    before = [(layer._active_adapter, layer._disable_adapters) for layer in layers]  # PEFT's own
    for layer in layers:
        layer._active_adapter, layer._disable_adapters = name or "default", name is None
    try:
        yield
    finally:
        for layer, (active, disabled) in zip(layers, before, strict=True):
            layer._active_adapter, layer._disable_adapters = active, disabled
