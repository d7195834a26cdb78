"""`spavl train --plan`: says what a training will do and need, before it does it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from spavl.cli.options import say
from spavl.config import TrainConfig

if TYPE_CHECKING:
    from spavl.train.plan import TrainingPlan

Plan = Annotated[bool, typer.Option("--plan", help="Say what would be trained and what it needs, and stop.")]
GIB, TERA = 2**30, 1e12


def say_plan(plan: "TrainingPlan", train: TrainConfig, as_json: bool) -> None:
    """Prints a plan."""
    say(as_dict(plan), plan_lines(plan, train), as_json)


def as_dict(plan: "TrainingPlan") -> dict[str, Any]:
    """Returns the plan as JSON takes it."""
    parts, memory = [one._asdict() for one in plan.parts], [one._asdict() for one in plan.memory]
    return plan._asdict() | {"parts": parts, "memory": memory, "peak_bytes": plan.peak_bytes}


def plan_lines(plan: "TrainingPlan", train: TrainConfig) -> list[str]:
    """Returns the plan for a person; formulas stand beside the figures."""
    lora = f"LoRA of rank {train.lora.rank}" if train.lora else "all weights"
    lines = [f"trains       {train.model}, language by {lora}, in {train.dtype} on {train.device}"]
    for part in plan.parts:
        what = f"{part.trained:,} in {part.tensors} tensors" if part.trained else "frozen"
        lines.append(f"  {part.name:<11}{what}, of {part.parameters:,} parameters")
    lengths = f"measured on {plan.measured_pairs} pairs" if plan.measured_pairs else "assumed: there are no pairs yet"
    steps = "unknown until there is a dataset"
    if plan.steps is not None:
        steps = f"{plan.steps:,} = {train.epochs} x ceil({plan.pairs:,} pairs / {train.batch_size})"
    rows_per_tree = plan.row_tokens_per_step / plan.tokens_per_step
    lines += [
        f"steps        {steps}",
        f"tokens       {plan.tokens_per_step:,.0f} a step, {plan.row_tokens_per_step:,.0f} with a row for every answer "
        f"({rows_per_tree:.2f} x); {lengths}",
        f"  longest row{plan.longest_row:>7,} of {train.tokens_per_forward:,}",
        f"memory       about {plan.peak_bytes / GIB:.2f} GiB at the most",
        *(f"  {line.name:<11}{line.bytes / GIB:>8.3f} GiB  {line.formula}" for line in plan.memory),
        f"work         {plan.flops_per_pair / TERA:.4g} TFLOP a pair, {plan.row_flops_per_pair / TERA:.4g} with a row "
        f"for every answer ({plan.row_flops_per_pair / plan.flops_per_pair:.2f} x)",
        "  a token 2 N, a visible query-key pair 4 x layers x heads' width; backward "
        f"{'2 x, weights and inputs' if train.lora is None else '1 x, inputs alone'}; "
        "reference and frozen pictures once for all epochs",
    ]
    return lines
