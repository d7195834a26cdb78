"""What evaluating costs besides the model: spavl beside Inspect and lmms-eval, on questions in POPE's layout.

Each system evaluates the same questions about the same pictures by its own command: against one loopback server that
answers at once, and with the embedded model. CPU is of the whole process and its children. Overhead a sample is what
further samples cost: the CPU of many less that of a quarter of them, so that starting stands apart. The peers get
environments of their own from the package index; one that cannot be installed or fails is said to be so. With the
embedded model Inspect runs in the project's environment by our provider, for its own takes no pictures; lmms-eval runs
it by its `llava_hf`.

    python -m benchmarks.evaluate_vs_peers                        server and local model, three rounds; an hour
    python -m benchmarks.evaluate_vs_peers --quick --json PATH    fewer questions, one round
    python -m benchmarks.evaluate_vs_peers --works server --systems spavl inspect
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.build_vs_peers.environments import NotInstalled, made_environment, surroundings
from benchmarks.build_vs_peers.server import Conditions, running
from benchmarks.evaluate_vs_peers.systems import PYTHON, SYSTEMS, Job
from benchmarks.evaluate_vs_peers.works import write_pope, yes_or_no

import spavl
from spavl.embedded.assembly import CACHE_VARIABLE, mini_vlm_folder

WORKS = ("server", "local")
QUESTIONS = {"server": 1000, "local": 96}
QUICK = {"server": 400, "local": 24}
PART = 4
"""A run of a quarter of the questions says what starting costs."""
PATIENCE_S = 1800
SOURCE = Path(spavl.__file__).parents[1]


class Measured(NamedTuple):
    """One run of one system."""

    work: str
    system: str
    questions: int
    cpu_s: float = 0.0
    """User and system seconds of the process and its children."""
    wall_s: float = 0.0
    right: float = 0.0
    """Share of right answers, as the system reports it."""
    scored: int = 0
    trouble: str = ""


def main() -> None:
    """Measures, prints the table and writes the figures."""
    options = _options()
    runs: list[Measured] = []
    with tempfile.TemporaryDirectory() as scratch, running(yes_or_no) as server:
        server.behave(Conditions(mean_s=0.0))
        weights = mini_vlm_folder() if "local" in options.works else None
        for work in options.works:
            whole = (QUICK if options.quick else QUESTIONS)[work]
            sizes = {size: write_pope(Path(scratch) / f"{work}{size}", size) for size in (whole // PART, whole)}
            for _ in range(options.rounds):
                for size, folder in sizes.items():
                    for system in options.systems:
                        with tempfile.TemporaryDirectory() as own:
                            base_url = server.base_url if work == "server" else ""
                            job = Job(folder, Path(own), base_url, weights)
                            runs.append(_run(Measured(work, system, size), job, options.environments))
                            print(runs[-1], flush=True)
    print(table(runs))
    if options.json:
        machine = {"python": platform.python_version(), "cpus": os.cpu_count()}
        body = {"machine": machine, "runs": [run._asdict() for run in runs]}
        options.json.write_text(json.dumps(body, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evaluate_vs_peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="fewer questions, one round")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--rounds", type=int, help="how often every system takes its turn")
    parser.add_argument(
        "--environments", type=Path, default=Path("runs/peers"), help="where the peers' environments lie"
    )
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def _run(asked: Measured, job: Job, environments: Path) -> Measured:
    """Runs one system once; whatever goes wrong is said in what it returns."""
    system = SYSTEMS[asked.system]
    ours = not system.package or (asked.work == "local" and asked.system.startswith("inspect"))
    try:
        home = environments.absolute() / asked.system.split(",")[0]
        python = Path(PYTHON) if ours else made_environment(home, (system.package, *system.others))
    except NotInstalled as trouble:
        return asked._replace(trouble=str(trouble))
    environment = surroundings(python, job.scratch)
    environment |= {"LOCAL_BASE_URL": job.base_url, "LOCAL_API_KEY": "none", "OPENAI_API_KEY": "none"}
    if (
        asked.work == "local" and job.weights
    ):  # assembled once, for all; in a home of its own each of our runs would assemble it again
        environment |= {CACHE_VARIABLE: str(job.weights.parent), "PYTHONPATH": str(SOURCE)}
    before, started = os.times(), time.monotonic()
    command = system.command(str(python), job)
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        return asked._replace(trouble=f"not finished after {PATIENCE_S} s")
    after, wall_s = os.times(), time.monotonic() - started
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    try:
        right, scored = system.figure(job)
    except (OSError, KeyError, ValueError, StopIteration):
        said = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
        return asked._replace(trouble=f"exit code {done.returncode}: {said[-1][:200]}")
    return asked._replace(cpu_s=cpu_s, wall_s=wall_s, right=right, scored=scored)


def table(runs: list[Measured]) -> str:
    """Returns medians as a Markdown table; overhead a sample is of many samples less a quarter of them."""
    lines = [
        "| work | system | CPU ms a further sample (range) | by ours | CPU s to start | samples/s | right, scored |",
        "|---|---|---|---|---|---|---|",
    ]
    for work in dict.fromkeys(run.work for run in runs):
        costs = {system: _costs(runs, work, system) for system in dict.fromkeys(run.system for run in runs)}
        ours = statistics.median(costs["spavl"]) if costs.get("spavl") else None
        for system, found in costs.items():
            mine = [run for run in runs if (run.work, run.system) == (work, system)]
            if not found:
                why = next((run.trouble for run in mine if run.trouble), "not run")
                lines.append(f"| {work} | {system} | did not run: {why} |")
                continue
            large = [run for run in mine if run.questions == max(run.questions for run in mine)]
            middle = statistics.median(found)
            start = statistics.median(run.cpu_s for run in large) - middle / 1000 * large[0].questions
            speed = statistics.median(run.questions / run.wall_s for run in large)
            cells = (
                f"{middle:.2f} ({min(found):.2f}–{max(found):.2f})",
                f"{middle / ours:.1f}" if ours else "",
                f"{start:.1f}",
                f"{speed:.1f}",
                f"{large[-1].right:.3f}, {large[-1].scored}",
            )
            lines.append(f"| {work} | {system} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _costs(runs: list[Measured], work: str, system: str) -> list[float]:
    """Returns the CPU milliseconds of a further sample, round by round."""
    mine = [run for run in runs if (run.work, run.system) == (work, system) and not run.trouble]
    least = min((run.questions for run in mine), default=0)
    small = [run for run in mine if run.questions == least]
    large = [run for run in mine if run.questions != least]
    return [
        (many.cpu_s - few.cpu_s) * 1000 / (many.questions - few.questions)
        for few, many in zip(small, large, strict=False)
    ]


if __name__ == "__main__":
    main()
