"""RLOO on a vision-language model: spavl's rounds beside TRL's RLOOTrainer, with equal steps or no figures.

Both train the same random weights (LLaVA-1.5's proportions, LoRA on the language model, float32) on the same prompts
and pictures in the same order: k sampled answers of 150 tokens to each prompt, none of which may end earlier, one
reward function, β on the divergence from the base, one optimiser step a round. A step is whole: generation, scoring by
policy and reference, update. TRL is tuned: no gradient checkpointing, no logging, no saving, pictures in memory; spavl
reads picture files, and writes its answers, log and checkpoint.

First the steps are proven equal: spavl learns from the very answers that TRL sampled, three steps on, and the norms of
the gradients and the adapters at the end are compared; if they differ, this exits with 1. (The losses tell nothing:
advantages of a prompt's answers add up to 0, and so does the loss before each step. TRL clips the ratio of a whole
answer and spavl a token's; with one update a round both are 1.) Then each run has a process of its own with one thread,
and the systems take turns. Seconds are CPU seconds of the process, so that other work on the machine counts little.

    python -m benchmarks.rloo_vs_trl                        k = 4 and 8
    python -m benchmarks.rloo_vs_trl --quick --json PATH    a smaller model and shorter answers

align-anything, whose text-image PPO would be the nearer peer, is not on PyPI: what is there under its name is version
0.0.1b0, 1.4 kB, "A small example package".
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from benchmarks.dpo_vs_trl.shapes import llava15, save_model
from benchmarks.rloo_vs_trl.job import Found, Job
from safetensors.torch import load_file

TOLERANCE = 1e-3
"""Relative difference of norms and adapters that is let pass, in float32."""
PROVEN_STEPS = 3
QUIET = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}


class Row(NamedTuple):
    """One line of the table: a system's medians over all steps of all its runs."""

    system: str
    answers: int
    seconds: float
    generating: float
    tokens: int
    megabytes: float
    least: float
    most: float
    """The range of the steps' seconds."""


def main() -> None:
    """Proves, measures, prints the table and writes the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rloo_vs_trl",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a smaller model, answers of 32 tokens")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--answers", nargs="+", type=int, default=[4, 8], help="k, answers to a prompt")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each system")
    parser.add_argument("--rows-at-once", type=int, default=4, help="answers that TRL scores and updates at once")
    options = parser.parse_args()
    rows = []
    for answers in options.answers:
        with tempfile.TemporaryDirectory() as scratch:
            save_model(llava15(options.quick), Path(scratch), torch.float32, "cpu")
            job = Job(
                "", scratch, options.quick, 2, answers, 32 if options.quick else 150, 4, options.rows_at_once, None
            )
            prove(job._replace(steps=PROVEN_STEPS, proof=scratch))
            rows += measure(job, options.repeats)
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([row._asdict() for row in rows], indent=2) + "\n")


def prove(job: Job) -> None:
    """Exits with 1 if the systems' steps from the same answers differ, or tell nothing."""
    theirs, ours = (job._replace(system=name) for name in ("trl", "spavl"))
    norms = [run(one).norms for one in (theirs, ours)]
    apart = max(abs(one / other - 1) for one, other in zip(*reversed(norms), strict=True))
    adapters = [load_file(one.adapters) for one in (theirs, ours)]
    named = [{name.removeprefix("base_model.model."): one for name, one in each.items()} for each in adapters]
    if named[0].keys() != named[1].keys():
        sys.exit(f"the adapters are not the same: {sorted(named[0].keys() ^ named[1].keys())[:3]} ...")
    whole = [torch.cat([each[name].flatten() for name in sorted(each)]).double() for each in named]
    gap = float((whole[0] - whole[1]).norm() / whole[0].norm())
    print(f"k = {job.answers}: norms of {len(norms[0])} gradients differ by {apart:.1e} at most, adapters by {gap:.1e}")
    if max(apart, gap) > TOLERANCE or min(norms[0]) == 0:
        sys.exit(f"not equal, nothing is measured: norms {norms[0]} (TRL) and {norms[1]} (spavl)")


def measure(job: Job, repeats: int) -> list[Row]:
    """Returns each system's figures; they take turns."""
    found: dict[str, list[Found]] = {"spavl": [], "trl": []}
    for _ in range(repeats):
        for system, runs in found.items():
            runs.append(run(job._replace(system=system)))
    return [_row(system, job.answers, runs) for system, runs in found.items()]


def _row(system: str, answers: int, runs: list[Found]) -> Row:
    seconds, generating, tokens = (
        [one for each in runs for one in getattr(each, name)] for name in ("seconds", "generating", "tokens")
    )
    return Row(
        system=system,
        answers=answers,
        seconds=round(statistics.median(seconds), 2),
        generating=round(statistics.median(generating), 2),
        tokens=round(statistics.median(tokens)),
        megabytes=round(max(one.peak_bytes for one in runs) / 1e6),
        least=round(min(seconds), 2),
        most=round(max(seconds), 2),
    )


def run(job: Job) -> Found:
    """Runs one job in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.rloo_vs_trl.worker", job.to_line()]
    done = subprocess.run(command, env=os.environ | QUIET, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{job.system} failed on {job.to_line()}:\n{done.stderr}")
    return Found.from_line(done.stdout.splitlines()[-1])


def table(rows: list[Row]) -> str:
    """Returns the figures as Markdown, and how many times those of spavl the others are."""
    lines = [
        "| k | system | s a step | range | of it generating | tokens a step | peak MB |",
        "|---|---|---|---|---|---|---|",
    ]
    ours = {row.answers: row for row in rows if row.system == "spavl"}
    for row in rows:
        own = ours[row.answers]
        times = [one / other for one, other in zip(row[2:6], own[2:6], strict=True)]
        shown = ["" if row is own else f" ({one:.2f} x)" for one in times]
        lines.append(
            f"| {row.answers} | {row.system} | {row.seconds}{shown[0]} | {row.least} to {row.most} | "
            f"{row.generating}{shown[1]} | {row.tokens:,}{shown[2]} | {row.megabytes:,}{shown[3]} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
