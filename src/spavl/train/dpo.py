"""One optimisation step's worth of preference training: the pairs of a batch in, gradients and numbers to log out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spavl.config import TrainConfig
from spavl.records import PreferencePair
from spavl.train.families import Family
from spavl.train.logprobs import AnswerLogprobs, Pictures, pair_logprobs, row_logprobs, tree_logprobs
from spavl.train.loss_formulas import SAFE, UNKNOWN, UNSAFE, PairLengths, PairLogprobs, PairSafety
from spavl.train.losses import CorruptedImage, LossInputs, PairLosses, RewardShift, preference_losses
from spavl.train.parallel import ALONE, Processes
from spavl.train.reference_store import ReferenceStore
from spavl.train.render import Row
from spavl.train.tree import PackedTrees, deal_rows, pack_rows, row_tokens

LENGTH_BUCKETS = {"shorter": (0.0, 0.8), "alike": (0.8, 1.25), "longer": (1.25, float("inf"))}
"""Chosen tokens divided by rejected tokens: a margin that grows in one bucket alone has learnt length."""


def _call(run: Callable[[], AnswerLogprobs]) -> AnswerLogprobs:
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
    root: Callable[[Callable[[], AnswerLogprobs]], AnswerLogprobs] = _call
    """Makes the pass; with weights that are cut up, the module that gathers them around it."""

    def pack(self, rows: Sequence[Row], places: Sequence[int]) -> list[PackedTrees]:
        """Packs these rows.

        Raises:
            UserError: One of them alone is over the budget.
        """
        return pack_rows(rows, places, self.budget, frozenset({self.model.config.image_token_id}))

    def run(self, packed: PackedTrees) -> AnswerLogprobs:
        """Returns the log-probabilities of a packed row's answers."""
        with self.precision():
            return self.root(lambda: tree_logprobs(self.model, self.family, packed, self.pictures))


class TrainingPairs(NamedTuple):
    """What is trained on; all lists are in the same order, and the reference holds the pairs, then the twins."""

    records: Sequence[PreferencePair]
    rows: Sequence[Row]
    """The records, rendered."""
    safety: PairSafety
    reference: ReferenceStore | None
    """None where no loss reads it."""
    twins: Sequence[Row] = ()
    """The chosen answers under a corrupted picture, where a loss reads them."""


def safety_flags(pairs: Sequence[PreferencePair]) -> PairSafety:
    """Returns what the safety judge said of both answers of each pair."""
    codes: dict[str | None, int] = {"safe": SAFE, "unsafe": UNSAFE}
    return PairSafety(
        torch.tensor([codes.get(pair.chosen_verdict, UNKNOWN) for pair in pairs]),
        torch.tensor([codes.get(pair.rejected_verdict, UNKNOWN) for pair in pairs]),
    )


class BatchMetrics(NamedTuple):
    """Means over the pairs of a batch, before its update."""

    loss: float
    """The weighted sum of the losses."""
    terms: dict[str, float]
    """Kind -> the loss before its weight."""
    reward_margin: float
    """Chosen minus rejected reward, in nats times β."""
    margins_by_length: dict[str, float | None]
    """Chosen answer `shorter` than the rejected one, `alike` or `longer` -> reward margin; None without such pairs."""
    pairs_by_length: dict[str, int]
    """The same -> pairs of the batch."""
    accuracy: float
    """Share of pairs whose chosen reward is the greater one."""
    chosen_logprob: float
    """Nats an answer."""
    rejected_logprob: float
    """Nats an answer."""
    chosen_shift: float | None
    """Chosen log-probability minus the reference's: below zero, the preferred answers are becoming less likely."""
    tokens: int
    """Tokens that passed the language model."""
    row_tokens: int
    """Tokens that would have passed it with a row for every answer."""


def accumulate_gradients(
    engine: Engine, pairs: TrainingPairs, places: Sequence[int], config: TrainConfig, shift: RewardShift | None
) -> tuple[BatchMetrics, RewardShift | None]:
    """Runs a batch forward and backward, a packed row at a time; gradients add up in the parameters.

    The loss is the mean over the batch's pairs, however it is cut into packed rows and dealt to processes.

    Args:
        engine: The model.
        pairs: All pairs.
        places: Those of the batch.
        config: Losses.
        shift: BCO's state where a loss has one.

    Returns:
        The means, and BCO's state for the next step.
    """
    processes = engine.processes
    mine = list(_units(engine, pairs, deal_rows(pairs.rows, places, processes.number)[processes.rank]))
    turns = max(processes.gather(len(mine))) if processes.shards else len(mine)
    found = _Found.nothing(config, shift)
    for unit in mine:
        batch = _inputs(engine, pairs, unit)._replace(shift=found.shift)
        losses = preference_losses(batch, config)
        (losses.loss.sum() / len(places)).backward()  # type: ignore[no-untyped-call]  # untyped in torch
        found = found.plus(batch, losses, sum(len(packed.tokens) for packed in unit))
    _keep_step(engine, pairs, places, turns - len(mine))
    processes.sum_gradients(parameter for parameter in engine.model.parameters() if parameter.requires_grad)
    parts = processes.gather(found)
    metrics = _metrics(torch.cat([part.columns for part in parts], dim=1), _joined(part.terms for part in parts))
    unpacked = sum(row_tokens(rows[place]) for rows in (pairs.rows, pairs.twins) if rows for place in places)
    metrics = metrics._replace(tokens=sum(part.tokens for part in parts), row_tokens=unpacked)
    return metrics, shift.joined([part.shift for part in parts if part.shift]).stepped() if shift else None


class _Found(NamedTuple):
    """What one process found out about its pairs of a batch."""

    columns: Tensor  # (7, B)
    terms: dict[str, Tensor]
    """Kind -> (B,), each loss before its weight."""
    tokens: int
    shift: RewardShift | None

    @classmethod
    def nothing(cls, config: TrainConfig, shift: RewardShift | None) -> "_Found":
        """Returns what is found before the first pass."""
        none = torch.empty(0, dtype=torch.float64)
        return cls(none.expand(7, 0), {loss.kind: none for loss in config.loss}, 0, shift.fresh() if shift else None)

    def plus(self, batch: LossInputs, losses: PairLosses, tokens: int) -> "_Found":
        """Returns it with the pairs of one more pass."""
        return _Found(
            columns=torch.cat([self.columns, _columns(batch, losses).double().cpu()], dim=1),
            terms=_joined([self.terms, {kind: term.double().cpu() for kind, term in losses.terms.items()}]),
            tokens=self.tokens + tokens,
            shift=losses.shift,
        )


def _joined(terms: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Joins the pairs of several parts, kind by kind."""
    parts = list(terms)
    return {kind: torch.cat([part[kind] for part in parts]) for kind in parts[0]}


def _keep_step(engine: Engine, pairs: TrainingPairs, places: Sequence[int], turns: int) -> None:
    """Runs passes that add nothing, while others run theirs: with weights that are cut up each is a meeting of all."""
    shortest = min(places, key=lambda place: row_tokens(pairs.rows[place]))
    for packed in engine.pack(pairs.rows, [shortest]) * turns:
        (engine.run(packed).per_token.sum() * 0.0).backward()  # type: ignore[no-untyped-call]  # untyped in torch


def _units(engine: Engine, pairs: TrainingPairs, places: Sequence[int]) -> Iterator[list[PackedTrees]]:
    """Yields what must pass before a backward: a packed row, or with twins all that belongs to one picture."""
    if not pairs.twins:
        yield from ([packed] for packed in engine.pack(pairs.rows, places))
        return
    everything = [*pairs.rows, *pairs.twins]
    for image_id in dict.fromkeys(pairs.rows[place].image_id for place in places):
        here = [place for place in places if pairs.rows[place].image_id == image_id]
        yield engine.pack(everything, [*here, *(len(pairs.rows) + place for place in here)])


def _inputs(engine: Engine, pairs: TrainingPairs, unit: Sequence[PackedTrees]) -> LossInputs:
    """Runs a unit, and puts together what the losses read."""
    answers: dict[int, tuple[Tensor, ...]] = {}
    for packed in unit:
        answers |= row_logprobs(engine.run(packed), packed)
    count = len(pairs.rows)
    places = sorted(place for place in answers if place < count)
    device = engine.model.device
    index = torch.tensor(places)
    reference = pairs.reference.pair_logprobs(places) if pairs.reference else None
    corrupted = None
    if pairs.twins and pairs.reference:
        twins = [count + place for place in places]
        corrupted = CorruptedImage(
            torch.stack([answers[twin][0] for twin in twins]),
            torch.stack([pairs.reference.answers(twin)[0].sum() for twin in twins]).to(device),
        )
    return LossInputs(
        policy=pair_logprobs(answers, places),
        lengths=PairLengths(
            *(
                torch.tensor([len(pairs.rows[place].answers[side]) for place in places], device=device)
                for side in (0, 1)
            )
        ),
        reference=PairLogprobs(*(side.to(device) for side in reference)) if reference else None,
        safety=PairSafety(*(side[index].to(device) for side in pairs.safety)),
        corrupted=corrupted,
    )


def _columns(batch: LossInputs, losses: PairLosses) -> Tensor:
    """Returns (7, B): loss, both rewards, both log-probabilities, the chosen shift, chosen over rejected length."""
    chosen, rejected = batch.policy
    shift = chosen - batch.reference.chosen if batch.reference else torch.full_like(chosen, torch.nan)
    ratio = batch.lengths.chosen / batch.lengths.rejected
    return torch.stack(
        [losses.loss, losses.chosen_reward, losses.rejected_reward, chosen, rejected, shift, ratio.to(chosen)]
    ).detach()


def _metrics(columns: Tensor, terms: Mapping[str, Tensor]) -> BatchMetrics:
    loss, chosen_reward, rejected_reward, chosen, rejected, shift, ratio = columns  # (B,) each
    margin = chosen_reward - rejected_reward
    by_length = {name: margin[(low <= ratio) & (ratio < high)] for name, (low, high) in LENGTH_BUCKETS.items()}
    return BatchMetrics(
        loss=float(loss.mean()),
        terms={kind: float(term.mean()) for kind, term in terms.items()},
        reward_margin=float(margin.mean()),
        margins_by_length={name: float(some.mean()) if len(some) else None for name, some in by_length.items()},
        pairs_by_length={name: len(some) for name, some in by_length.items()},
        accuracy=float((margin > 0).double().mean()),
        chosen_logprob=float(chosen.mean()),
        rejected_logprob=float(rejected.mean()),
        chosen_shift=None if shift.isnan().any() else float(shift.mean()),
        tokens=0,
        row_tokens=0,
    )
