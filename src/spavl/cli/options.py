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


def say(result: dict[str, Any], lines: list[str], as_json: bool) -> None:
    """Prints the result, as JSON or as lines for a person."""
    print(json.dumps(result, indent=2, ensure_ascii=False) if as_json else "\n".join(lines))


def training_line(facts: Mapping[str, Any]) -> str:
    """Returns for a person what the training stage's facts say of the pairs and the steps."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in facts["dropped"].items() if count)
    alarms = facts.get("alarms", "an unknown number of")  # older manifests do not say
    return (
        f"{'':<12}{facts['pairs']:>6} pairs trained on, {sum(facts['dropped'].values())} dropped"
        f"{f' ({reasons})' if reasons else ''}, {facts['benign_pairs_left_out']} benign ones left out; {alarms} steps "
        f"with the chosen answers falling; {facts['questions_with_broken_marks']} questions with broken marks"
    )


def counts_line(stage: str, counts: Mapping[str, Any], width: int = 12) -> str:
    """Returns a stage's counts for a person; stages' names are padded to `width`."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in counts["by_reason"].items())
    line = "{items:>6} items = {records} records + {failures} failures + {dropped} dropped".format(**counts)
    return f"{stage:<{width}}{line}{f' ({reasons})' if reasons else ''}"
