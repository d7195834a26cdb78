"""A model and how packed rows pass through it: whoever trains or scores asks here, for log-probabilities or scalars."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from spavl.train.families import Family
from spavl.train.logprobs import AnswerLogprobs, Pictures, predicting_places, tree_logprobs, tree_states
from spavl.train.parallel import ALONE, Processes
from spavl.train.render import Row
from spavl.train.scalar_head import ScalarHead, score_places
from spavl.train.tree import PackedTrees, pack_rows

T = TypeVar("T")


class Pass(Protocol):
    """Makes a pass through the model."""

    def __call__(self, run: Callable[[], T], /) -> T:
        """Returns what the pass returns."""


def _call(run: Callable[[], T]) -> T:
    return run()


class Engine(NamedTuple):
    """A model and how trees pass through it."""

    model: Any
    family: Family
    pictures: Pictures
    budget: int
    """Most tokens of a packed row."""
    precision: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Makes the context of a forward pass."""
    processes: Processes = ALONE
    """Who shares the work."""
    root: Pass = _call
    """Makes the pass; with weights that are cut up, the module that gathers them around it."""
    flex: bool = False
    """Whether FlexAttention computes attention (CUDA)."""

    def pack(self, rows: Sequence[Row], places: Sequence[int]) -> list[PackedTrees]:
        """Packs these rows.

        Raises:
            UserError: One of them alone is over the budget.
        """
        return pack_rows(rows, places, self.budget, frozenset({self.model.config.image_token_id}))

    def run(self, packed: PackedTrees) -> AnswerLogprobs:
        """Returns the log-probabilities of a packed row's answers."""
        with self.precision():
            return self.root(lambda: tree_logprobs(self.model, self.family, packed, self.pictures, flex=self.flex))

    def scores(self, packed: PackedTrees, head: ScalarHead) -> Tensor:
        """Returns the score of each answer, (A,), read at its last token."""
        return self.all_scores(packed, {"": head})[""]

    def all_scores(self, packed: PackedTrees, heads: Mapping[str, ScalarHead]) -> dict[str, Tensor]:
        """Returns the scores by several heads, (A,) each, of one pass."""
        return self._scalars(packed, heads, score_places(packed))

    def values(self, packed: PackedTrees, head: ScalarHead) -> tuple[Tensor, ...]:
        """Returns for each answer its tokens' values, (R,): token t's is read before it, where it is predicted."""
        values = self._scalars(packed, {"": head}, predicting_places(packed))[""]
        return torch.split(values, [len(answer.tokens) for answer in packed.answers])

    def _scalars(
        self, packed: PackedTrees, heads: Mapping[str, ScalarHead], places: Sequence[int]
    ) -> dict[str, Tensor]:
        def read() -> dict[str, Tensor]:
            states = tree_states(self.model, self.family, packed, self.pictures, places, flex=self.flex)
            return {name: head(states) for name, head in heads.items()}

        with self.precision():
            return self.root(read)
