"""DPO on a vision-language model: spavl's engine beside TRL's DPOTrainer, with equal losses or no figures.

Both train the same random weights on the same pairs in the same order with the same optimiser, the language model in
full (or LoRA on it), the tower frozen. First the losses of the first steps are compared; if they differ, this exits
with 1. Then every run has a process of its own, and the systems take turns, so that other work on the machine falls
on all of them. `trl_default` has TRL's defaults, `trl_tuned` no gradient checkpointing, and `trl_split` runs its pairs
one by one besides, which takes less memory and often less time. Answers are all 150 tokens long, which spares TRL its
padding; with `--spread` their lengths vary about that mean.

    python -m benchmarks.dpo_vs_trl                        three shapes on the CPU; about an hour
    python -m benchmarks.dpo_vs_trl --quick --json PATH    a small LLaVA; at most five minutes on two cores
    python -m benchmarks.dpo_vs_trl --dtype bfloat16       the same, computed as GPUs do; the proof stays in float32
    python -m benchmarks.dpo_vs_trl --device cuda          LLaVA-1.5-7B with random weights in bfloat16

It says nothing about what is learned: words are random.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from benchmarks.dpo_vs_trl.job import Job, marks_from_line
from benchmarks.dpo_vs_trl.meter import Mark
from benchmarks.dpo_vs_trl.report import (
    SYSTEMS,
    Figures,
    Measured,
    Ratio,
    Setting,
    figures,
    ratio,
    seconds_per_pair,
    table,
)
from benchmarks.dpo_vs_trl.shapes import SHAPES, save_model

TOLERANCE = 1e-4
"""Relative difference of the losses that is let pass, in float32."""
PROVEN_STEPS = 3
"""Optimiser steps whose losses are compared; the first is log 2 in any correct system, the others are not."""
STEP_PAIRS = 3
QUIET = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore"}


def main() -> None:
    """Proves, measures, prints the tables and writes the figures."""
    options = _options()
    settings: dict[Setting, dict[str, Figures]] = {}
    ratios: dict[Setting, dict[str, Ratio]] = {}
    for shape in options.shapes:
        with _weights(shape, options.quick, options.dtype, options.device) as folder:
            base = _job(shape, folder, options)
            for questions in options.questions:
                measured = _measure(base._replace(questions_per_image=questions), options.repeats, options)
                for epochs in options.epochs:
                    setting = Setting(shape, questions, epochs)
                    seconds = {name: seconds_per_pair(epochs, options.pairs, runs) for name, runs in measured.items()}
                    settings[setting] = {
                        name: figures(name, setting, options.pairs, runs) for name, runs in measured.items()
                    }
                    ratios[setting] = {name: ratio(seconds[name], seconds["spavl"]) for name in SYSTEMS[1:]}
    print(table(settings, ratios))
    if options.json:
        rows = [one._asdict() for systems in settings.values() for one in systems.values()]
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.dpo_vs_trl",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a smaller LLaVA, two rounds")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), help="by default all that fit the device")
    parser.add_argument("--questions", nargs="+", type=int, default=[1, 3], help="questions an image")
    parser.add_argument("--epochs", nargs="+", type=int, default=[1, 3])
    parser.add_argument("--pairs", type=int, default=STEP_PAIRS, help=f"pairs of an epoch, a multiple of {STEP_PAIRS}")
    parser.add_argument("--repeats", type=int, help="rounds")
    parser.add_argument("--lora", action="store_true", help="LoRA on the language model instead of full fine-tuning")
    parser.add_argument(
        "--spread", action="store_true", help="answers of varied lengths, as data have them; take more --pairs"
    )
    parser.add_argument("--flex", action="store_true", help="our attention by FlexAttention; with --device cuda")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="by default float32 on the CPU alone")
    options = parser.parse_args()
    on_cpu = options.device == "cpu"
    options.dtype = options.dtype or ("float32" if on_cpu else "bfloat16")
    if options.shapes is None:
        options.shapes = (
            (["llava15"] if options.quick else ["llava15", "smolvlm", "qwen25vl"]) if on_cpu else ["llava15_7b"]
        )

    options.repeats = options.repeats or (2 if options.quick else 3)
    if options.flex and on_cpu:
        parser.error("--flex goes with --device cuda: FlexAttention has no backward pass on the CPU")
    if options.pairs % STEP_PAIRS:
        parser.error(f"--pairs {options.pairs} is no multiple of {STEP_PAIRS}, the pairs of a step")
    return options


def _job(shape: str, folder: Path, options: argparse.Namespace) -> Job:
    return Job(
        system="",
        shape=shape,
        folder=str(folder),
        questions_per_image=1,
        epochs=max(options.epochs),
        pairs=options.pairs,
        step_pairs=STEP_PAIRS,
        quick=options.quick,
        layers=None,
        device=options.device,
        dtype=options.dtype,
        lora=options.lora,
        spread=options.spread,
        flex=options.flex,
        count_flops=False,
    )


def _measure(base: Job, repeats: int, options: argparse.Namespace) -> dict[str, Measured]:
    """Returns each system's runs, after the proof that their losses are equal."""
    counting = base._replace(count_flops=True)
    if options.dtype == "float32":
        counted = {system: _run(counting, system) for system in SYSTEMS}
        _prove(base, counted)
    else:  # bfloat16 proves nothing: two layers in float32 do
        with _weights(base.shape, base.quick, "float32", base.device, layers=2) as folder:
            proof = base._replace(folder=str(folder), dtype="float32", layers=2, epochs=PROVEN_STEPS)
            _prove(base, {system: _run(proof, system) for system in SYSTEMS})
        counted = {system: _run(counting, system) for system in SYSTEMS}
    timed: dict[str, list[list[Mark]]] = {system: [] for system in SYSTEMS}
    for number in range(repeats):
        for place in range(len(SYSTEMS)):
            system = SYSTEMS[(place + number) % len(SYSTEMS)]
            timed[system].append(_run(base, system))
    return {system: Measured(counted[system], timed[system]) for system in SYSTEMS}


def _prove(job: Job, counted: dict[str, list[Mark]]) -> None:
    """Exits with 1 if the systems' losses differ, or if they do not tell anything."""
    losses = {system: marks[-1].losses[:PROVEN_STEPS] for system, marks in counted.items()}
    ours = losses["spavl"]
    where = f"{job.shape}, {job.questions_per_image} question(s) an image"
    for system in SYSTEMS[1:]:
        apart = max(abs(one / other - 1) for one, other in zip(ours, losses[system], strict=True))
        print(f"{where}: losses of {len(ours)} steps differ from those of {system} by {apart:.1e} at most", flush=True)
        if apart > TOLERANCE:
            sys.exit(f"{where}: not equal, nothing is measured: spavl {ours}, {system} {losses[system]}")
    if len(ours) < 2 or abs(ours[-1] - math.log(2)) < 100 * TOLERANCE:
        sys.exit(f"{where}: {ours} prove nothing: too close to log 2, or one step only; take more --epochs or --pairs")


def _run(job: Job, system: str) -> list[Mark]:
    """Runs one job in a process of its own."""
    line = job._replace(system=system).to_line()
    command = [sys.executable, "-m", "benchmarks.dpo_vs_trl.worker", line]
    done = subprocess.run(command, env=os.environ | QUIET, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{system} failed on {line}:\n{done.stderr}")
    return marks_from_line(done.stdout.splitlines()[-1])


@contextmanager
def _weights(shape: str, quick: bool, dtype: str, device: str, layers: int | None = None) -> Iterator[Path]:
    """Writes a shape's random weights into a folder that lasts as long as the block."""
    with tempfile.TemporaryDirectory() as scratch:
        save_model(SHAPES[shape](quick, layers), Path(scratch), getattr(torch, dtype), device)
        yield Path(scratch)


if __name__ == "__main__":
    main()
