"""The options that verbs share, and how a verb says what it found."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

ConfigPath = Annotated[Path, typer.Argument(help="YAML file of the run; `spavl demo --print-config` prints one.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="key.path=value, for example train.epochs=2.")]
RestartFrom = Annotated[str | None, typer.Option(help="Make this stage and those after it again.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

READ = ("unscored", "planted_verdict", "judge_refusal", "judge_content_filter", "judge_length")
KEPT = (*READ, "not_applicable", "removed")
"""Reasons why a judge's items have no record that come back as they were: the reply was read, or nobody is asked."""


FALLING = "steps with the chosen answers falling"
"""What the alarm counts."""


def say(result: dict[str, Any], lines: list[str], as_json: bool) -> None:
    """Prints the result, as JSON or as lines for a person."""
    print(json.dumps(result, indent=2, ensure_ascii=False) if as_json else "\n".join(lines))


def training_lines(facts: Mapping[str, Any]) -> list[str]:
    """Returns for a person what a training stage's facts say, whatever was trained."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in facts["dropped"].items() if count)
    dropped = f"{sum(facts['dropped'].values())} dropped{f' ({reasons})' if reasons else ''}"
    if "rounds" in facts:
        alarms = ", ".join(f"{name} {count}" for name, count in facts["alarms"].items() if count) or "none"
        return [f"{'':<12}{facts['rounds']:>6} rounds on {facts['prompts']} prompts, {dropped}; alarms: {alarms}"]
    left_out = f"{facts['benign_pairs_left_out']} benign ones left out"
    line = f"{'':<12}{facts['pairs']:>6} pairs trained on, {dropped}, {left_out}; "
    marks = f"{facts['questions_with_broken_marks']} questions with broken marks"
    if "held_out" in facts:
        return [line + marks, f"{'':<12}{_held_out(facts['held_out'])}"]
    steps = facts.get("alarms")
    falling = "whether the chosen answers fall not measured" if steps is None else f"{steps} {FALLING}"
    return [f"{line}{falling}; {marks}{_processes(facts)}"]


def _processes(facts: Mapping[str, Any]) -> str:
    number = facts.get("processes", 1)  # older manifests do not say
    return f"; {number} processes" if number > 1 else ""


def _held_out(figures: Mapping[str, Any] | None) -> str:
    if figures is None:
        return "reward model not measured: nothing was held out"
    right = figures["accuracy"]
    return (
        f"reward model right in {100 * right['value']:.1f} % [{100 * right['low']:.1f}, {100 * right['high']:.1f}] of "
        f"{right['n']} held-out pairs about {figures['pictures']} pictures; calibration error "
        f"{figures['calibration_error']:.3f}"
    )


def asked_again(counts: Mapping[str, Mapping[str, Any]], verb: Mapping[str, str]) -> list[str]:
    """Returns for a person which judges' failures another command asks about again; empty where there are none.

    Args:
        counts: Stage -> its counts.
        verb: Judging stage -> the verb that makes it.
    """
    lines = []
    for stage, found in counts.items():
        passing = {reason: n for reason, n in found["by_reason"].items() if reason not in KEPT}
        if stage in verb and passing:
            reasons = ", ".join(f"{reason} {count}" for reason, count in passing.items())
            lines.append(
                f"{stage}: {sum(passing.values())} of {found['items']} items failed ({reasons}); `spavl {verb[stage]} "
                f"CONFIG --restart-from {stage}` asks about these again, and about nothing that was answered."
            )
    return lines


def counts_line(stage: str, counts: Mapping[str, Any], width: int = 12) -> str:
    """Returns a stage's counts for a person; stages' names are padded to `width`."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in counts["by_reason"].items())
    line = "{items:>6} items = {records} records + {failures} failures + {dropped} dropped".format(**counts)
    return f"{stage:<{width}}{line}{f' ({reasons})' if reasons else ''}"
