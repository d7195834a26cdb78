"""`spavl train --plan`: says what a training will do and need, before it does it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from spavl.cli.options import say
from spavl.config import RewardModelConfig, TrainConfig

if TYPE_CHECKING:
    from spavl.train.memory import MemoryLine
    from spavl.train.plan import TrainingPlan

Plan = Annotated[bool, typer.Option("--plan", help="Say what would be trained and what it needs, and stop.")]
ProcessCount = Annotated[
    int, typer.Option("--processes", envvar="WORLD_SIZE", min=1, help="For --plan: how many processes train together.")
]
TERA = 1e12


def say_plan(plan: "TrainingPlan", train: TrainConfig | RewardModelConfig, as_json: bool) -> None:
    """Prints a plan; of several processes only the main one does."""
    from spavl.train import is_follower  # torch loads here, and not for `--help`

    if is_follower():
        return
    say(as_dict(plan), plan_lines(plan, train), as_json)


def as_dict(plan: "TrainingPlan") -> dict[str, Any]:
    """Returns the plan as JSON takes it."""
    lists = {name: [one._asdict() for one in getattr(plan, name)] for name in ("parts", "memory", "disk")}
    sums = {"saving": plan.saving._asdict(), "peak_bytes": plan.peak_bytes, "disk_bytes": plan.disk_bytes}
    return plan._asdict() | lists | sums


def plan_lines(plan: "TrainingPlan", train: TrainConfig | RewardModelConfig) -> list[str]:
    """Returns the plan for a person; formulas stand beside the figures."""
    from spavl.store.files import size_text  # numpy loads here, and not for `--help`

    lora = f"LoRA of rank {train.lora.rank}" if train.lora else "all weights"
    lines = [f"trains       {train.model}, language by {lora}, in {train.dtype} on {train.device}"]
    for part in plan.parts:
        what = f"{part.trained:,} in {part.tensors} tensors" if part.trained else "frozen"
        lines.append(f"  {part.name:<11}{what}, of {part.parameters:,} parameters")
    steps = "unknown until there are pairs"
    if plan.steps is not None:
        about = "" if plan.pairs_exact else "about "
        steps = f"{about}{plan.steps:,} = {train.epochs} x ceil({about}{plan.pairs:,} pairs / {train.batch_size})"
    losses = train.loss if isinstance(train, TrainConfig) else ()
    kept = "reference and frozen pictures" if any("reference" in loss.needs for loss in losses) else "frozen pictures"
    rows_per_tree = plan.row_tokens_per_step / plan.tokens_per_step
    lines += [
        f"steps        {steps}",
        f"tokens       {plan.tokens_per_step:,.0f} a step, {plan.row_tokens_per_step:,.0f} with a row for every answer "
        f"({rows_per_tree:.2f} x); {plan.lengths}",
        f"  longest row{plan.longest_row:>7,} of {train.tokens_per_forward:,}",
        f"memory       about {size_text(plan.peak_bytes)} at the most{_devices(plan, train)}",
        *map(_need, plan.memory),
        _need(plan.saving),
        f"disk         about {size_text(plan.disk_bytes)}{_unknown(plan)}",
        *map(_need, plan.disk),
        f"work         {plan.flops_per_pair / TERA:.4g} TFLOP a pair, {plan.row_flops_per_pair / TERA:.4g} with a row "
        f"for every answer ({plan.row_flops_per_pair / plan.flops_per_pair:.2f} x)",
        "  a token 2 N, a visible query-key pair 4 x layers x heads' width; backward "
        f"{'2 x, weights and inputs' if train.lora is None else '1 x, inputs alone'}; "
        f"{kept} once for all epochs",
    ]
    return lines


def _need(line: "MemoryLine") -> str:
    from spavl.store.files import size_text

    return f"  {line.name:<11}{size_text(line.bytes):>12}  {line.formula}"


def _devices(plan: "TrainingPlan", train: TrainConfig | RewardModelConfig) -> str:
    return f" on each of {plan.processes} devices ({train.parallel})" if plan.processes > 1 else ""


def _unknown(plan: "TrainingPlan") -> str:
    return "" if plan.pairs is not None else ", and what is kept of pictures, unknown until there are pairs"
