"""One optimisation step's worth of preference training: the pairs of a batch in, gradients and numbers to log out.

What the numbers are stands in `batch_metrics`.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spavl.config import TrainConfig
from spavl.records import PreferencePair
from spavl.train.batch_metrics import BatchMetrics, StepFigures, batch_metrics
from spavl.train.checkpoint import TrainingState
from spavl.train.engine import Engine
from spavl.train.logprobs import pair_logprobs, row_logprobs
from spavl.train.loop import Task
from spavl.train.loss_formulas import PairLengths, PairLogprobs, PairSafety
from spavl.train.losses import CorruptedImage, LossInputs, RewardShift, preference_losses
from spavl.train.reference_store import ReferenceStore
from spavl.train.render import Row
from spavl.train.tree import PackedTrees, deal_rows, row_tokens


class TrainingPairs(NamedTuple):
    """What is trained on; all lists, and those of both references, are in the same order."""

    records: Sequence[PreferencePair]
    rows: Sequence[Row]
    """The records, rendered."""
    safety: PairSafety
    reference: ReferenceStore | None
    """None where no loss reads it."""
    twins: Sequence[Row] = ()
    """The chosen answers under a corrupted picture, where a loss reads them."""
    twins_reference: ReferenceStore | None = None
    """The reference of the twins; None where there are none."""


def preference_task(engine: Engine, pairs: TrainingPairs, config: TrainConfig, state: TrainingState) -> Task:
    """Returns the training of preferences, for the loop."""

    def accumulate(places: Sequence[int]) -> BatchMetrics:
        metrics, state.shift = accumulate_gradients(engine, pairs, places, config, state.shift)
        return metrics

    return Task(pairs.records, pairs.rows, engine.processes, accumulate)


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
    found = StepFigures.nothing(config, shift)
    for unit in mine:
        batch = _inputs(engine, pairs, unit)._replace(shift=found.shift)
        losses = preference_losses(batch, config)
        (losses.loss.sum() / len(places)).backward()  # type: ignore[no-untyped-call]  # untyped in torch
        found = found.plus(losses, sum(len(packed.tokens) for packed in unit))
    _keep_step(engine, pairs, places, turns - len(mine))
    processes.sum_gradients(parameter for parameter in engine.model.parameters() if parameter.requires_grad)
    parts = processes.gather(found)
    unpacked = sum(row_tokens(rows[place]) for rows in (pairs.rows, pairs.twins) if rows for place in places)
    return batch_metrics(parts, unpacked), shift.joined(
        [part.shift for part in parts if part.shift]
    ).stepped() if shift else None


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
    if pairs.twins_reference:
        corrupted = CorruptedImage(
            torch.stack([answers[count + place][0] for place in places]),
            torch.stack([pairs.twins_reference.answers(place)[0].sum() for place in places]).to(device),
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
