"""One optimisation step's worth of a reward model's training: the pairs of a batch in, gradients and numbers out."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spavl.records import PreferencePair
from spavl.train.batch_metrics import margins_by_length
from spavl.train.engine import Engine
from spavl.train.loop import Task
from spavl.train.loss_formulas import PairSafety
from spavl.train.opening import Opened
from spavl.train.policy import Policy
from spavl.train.render import Row
from spavl.train.reward_losses import cost_losses, pair_margins, reward_losses
from spavl.train.safety import safety_flags
from spavl.train.scalar_head import ScalarHead
from spavl.train.tree import PackedTrees, deal_rows, row_tokens
from spavl.train_config import RewardModelConfig

REWARD, COST = "reward", "cost"
"""What heads are called."""


class RewardMetrics(NamedTuple):
    """Means over the pairs of a batch, before its update."""

    loss: float
    """All losses, weighted."""
    terms: dict[str, float]
    """`reward` and, where there is a cost head, `cost`: the losses before their weights."""
    reward_margin: float
    """Chosen minus rejected score."""
    margins_by_length: dict[str, float | None]
    """Chosen answer `shorter` than the rejected one, `alike` or `longer` -> reward margin; None without such pairs."""
    pairs_by_length: dict[str, int]
    """The same -> pairs of the batch."""
    accuracy: float
    """Share of pairs whose chosen answer has the greater score."""
    chosen_score: float
    rejected_score: float
    tokens: int
    """Tokens that passed the language model."""
    row_tokens: int
    """Tokens that would have passed it with a row for every answer."""


class RewardData(NamedTuple):
    """Pairs as a reward model learns from them; all lists are in the same order."""

    rows: Sequence[Row]
    safety: PairSafety
    strengths: Tensor  # (pairs,), how much better the chosen answer is said to be; NaN where nobody said


def reward_data(pairs: Sequence[PreferencePair], rows: Sequence[Row]) -> RewardData:
    """Returns pairs as a reward model learns from them.

    Args:
        pairs: The pairs.
        rows: The same, rendered.
    """
    strengths = [math.nan if pair.strength is None else pair.strength for pair in pairs]
    return RewardData(rows, safety_flags(pairs), torch.tensor(strengths))


class RewardModel(NamedTuple):
    """A model with heads, as it is trained."""

    engine: Engine
    heads: Mapping[str, ScalarHead]


class _Found(NamedTuple):
    """What one process found out about its pairs of a batch."""

    columns: Tensor  # (6, B): losses weighted, of reward and of cost, both scores, chosen over rejected length
    tokens: int


def add_heads(policy: Policy, config: RewardModelConfig, seed: int) -> tuple[Policy, dict[str, ScalarHead]]:
    """Puts the heads into a policy's model, so that whatever is done with its weights is done with theirs.

    Args:
        policy: What is trained beside them.
        config: Says which there are.
        seed: Decides their first weights.

    Returns:
        The policy with the part `head`, and the heads by name.
    """
    model = policy.model
    torch.manual_seed(seed)
    heads = {}
    for name in (REWARD, COST) if config.cost else (REWARD,):
        width = model.config.get_text_config().hidden_size
        heads[name] = ScalarHead(width, zero=config.zero_heads).to(model.device)
        model.add_module(f"{name}_head", heads[name])
    return policy.with_part("head", {f"{name}_head.weight": head.weight for name, head in heads.items()}), heads


def head_tensors(trained: Mapping[str, Tensor], names: Iterable[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Returns a checkpoint's heads by name, and by live name everything else that was trained."""
    live = {f"{name}_head.weight": name for name in names}
    heads = {name: trained[one] for one, name in live.items()}
    return heads, {one: tensor for one, tensor in trained.items() if one not in live}


def reward_task(model: RewardModel, opened: Opened, config: RewardModelConfig) -> Task:
    """Returns the training of a reward model, for the loop."""
    data = reward_data(opened.pairs, opened.rows)

    def accumulate(places: Sequence[int]) -> RewardMetrics:
        return accumulate_gradients(model, data, places, config)

    return Task(opened.pairs, opened.rows, model.engine.processes, accumulate)


def accumulate_gradients(
    model: RewardModel, data: RewardData, places: Sequence[int], config: RewardModelConfig
) -> RewardMetrics:
    """Runs a batch forward and backward, a packed row at a time; gradients add up in the parameters.

    The loss is the mean over the batch's pairs, however it is cut into packed rows and dealt to processes.

    Args:
        model: What is trained.
        data: All pairs.
        places: Those of the batch.
        config: The losses.
    """
    engine, processes, rows = model.engine, model.engine.processes, data.rows
    mine = engine.pack(rows, deal_rows(rows, places, processes.number)[processes.rank])
    turns = max(processes.gather(len(mine))) if processes.shards else len(mine)
    found = _Found(torch.empty(6, 0, dtype=torch.float64), 0)
    for packed in mine:
        columns = _losses(model, data, packed, config)
        (columns[0].sum() / len(places)).backward()  # type: ignore[no-untyped-call]  # untyped in torch
        found = _Found(
            torch.cat([found.columns, columns.detach().double().cpu()], dim=1), found.tokens + len(packed.tokens)
        )
    shortest = min(places, key=lambda place: row_tokens(rows[place]))
    for packed in engine.pack(rows, [shortest]) * (turns - len(mine)):  # with weights cut up, a pass is a meeting
        nothing = torch.stack(list(engine.all_scores(packed, model.heads).values())).sum() * 0.0
        nothing.backward()  # type: ignore[no-untyped-call]  # untyped in torch
    processes.sum_gradients(one for one in engine.model.parameters() if one.requires_grad)
    return _metrics(processes.gather(found), sum(row_tokens(rows[place]) for place in places), config)


def _losses(model: RewardModel, data: RewardData, packed: PackedTrees, config: RewardModelConfig) -> Tensor:
    """Returns (6, B), the first row with a gradient; `_Found` says what they are."""
    here = list(packed.rows)
    scores = {}
    for name, found in model.engine.all_scores(packed, model.heads).items():
        by_row = packed.by_row(found.unbind())
        scores[name] = [torch.stack([by_row[row][side] for row in here]) for side in (0, 1)]
    chosen, rejected = scores[REWARD]
    index = torch.tensor(here)
    flags = PairSafety(*(side[index].to(chosen.device) for side in data.safety))
    margins = pair_margins(flags, data.strengths[index].to(chosen), config.safety_margin, config.strength_margin)
    reward = reward_losses(chosen, rejected, margins, config.centring)
    cost = torch.zeros_like(reward)
    if config.cost:
        cost = cost_losses(scores[COST][0], scores[COST][1], flags)
    loss = reward + (config.cost.weight if config.cost else 0.0) * cost
    ratio = torch.tensor([len(data.rows[row].chosen) / len(data.rows[row].rejected) for row in here]).to(chosen)
    return torch.stack([loss, reward, cost, chosen, rejected, ratio])


def _metrics(parts: Sequence[_Found], unpacked: int, config: RewardModelConfig) -> RewardMetrics:
    loss, reward, cost, chosen, rejected, ratio = torch.cat([part.columns for part in parts], dim=1)
    margin = chosen - rejected
    by_length, counts = margins_by_length(margin, ratio)
    return RewardMetrics(
        loss=float(loss.mean()),
        terms={REWARD: float(reward.mean()), **({COST: float(cost.mean())} if config.cost else {})},
        reward_margin=float(margin.mean()),
        margins_by_length=by_length,
        pairs_by_length=counts,
        accuracy=float((margin > 0).double().mean()),
        chosen_score=float(chosen.mean()),
        rejected_score=float(rejected.mean()),
        tokens=sum(part.tokens for part in parts),
        row_tokens=unpacked,
    )
