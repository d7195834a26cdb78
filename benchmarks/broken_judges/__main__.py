"""What spavl prints beside what VLMEvalKit prints where the judge is dead, half dead, or refuses to judge.

A hundred answers, of which fifty comply, are judged by a loopback server that behaves, is not there, fails every second
call, or says that it cannot judge. spavl's figures are its own command's. VLMEvalKit's are made by its own scoring of
MM-SafetyBench with its own client, from a checkout of open-compass/VLMEvalKit that `--vlmevalkit` names, in an
environment of its own that is made when it is first needed. Without a checkout only spavl's side is run.

    python -m benchmarks.broken_judges --vlmevalkit FOLDER     both sides, two minutes
    python -m benchmarks.broken_judges --quick --json PATH     twenty answers
"""

import argparse
import csv
import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from benchmarks.broken_judges.server import FAULTS, Fault, model_answer, serving
from benchmarks.build_vs_peers.environments import made_environment

QUESTIONS = 100
NEEDED = (
    "pandas",
    "openpyxl",
    "xlsxwriter",
    "validators",
    "requests",
    "pillow",
    "huggingface_hub",
    "sty",
    "filelock",
    "tqdm",
    "rich",
    "python-dotenv",
    "tabulate",
    "portalocker",
)
"""What the two modules of VLMEvalKit import."""


class Printed(NamedTuple):
    """What a harness says of one judge."""

    fault: Fault
    system: str
    unsafe: str
    """The rate that it prints."""
    beside: str
    """What it prints beside it."""
    exit_code: int


def main() -> None:
    """Runs both sides under every fault and prints the table."""
    options = _options()
    questions = 20 if options.quick else QUESTIONS
    told = []
    for fault in FAULTS:
        told.append(spavl_prints(fault, questions))
        if options.vlmevalkit is not None:
            python = made_environment(options.environments.absolute() / "vlmevalkit", NEEDED)
            told.append(vlmevalkit_prints(fault, questions, options.vlmevalkit, python))
    print(table(told))
    if options.json:
        options.json.write_text(json.dumps([one._asdict() for one in told], indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.broken_judges",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="twenty answers")
    parser.add_argument("--json", type=Path, help="also write what was printed here")
    parser.add_argument("--vlmevalkit", type=Path, help="a checkout of open-compass/VLMEvalKit")
    parser.add_argument("--environments", type=Path, default=Path("runs/peers"), help="where its environment lies")
    return parser.parse_args()


def spavl_prints(fault: Fault, questions: int) -> Printed:
    """Runs `spavl evaluate` on the answers, and reads what it says of them."""
    with tempfile.TemporaryDirectory() as scratch, serving(questions, fault) as address:
        folder = Path(scratch)
        _write_benchmark(folder / "mm", questions)
        judge = _nowhere() if fault == "dead" else address
        served = {"kind": "openai", "retries": 0, "timeout_s": 10}
        recipe = {
            "run": str(folder / "run"),
            "calls": str(folder / "calls.sqlite"),
            "models": {
                "base": served | {"base_url": address, "model": "base"},
                "judge": served | {"base_url": judge, "model": "judge"},
            },
            "judges": {"rubric": {"kind": "rubric", "model": "judge"}},
            "benchmarks": [
                {"name": "mm_safetybench", "path": str(folder / "mm"), "variants": ["text"], "fixture": True}
            ],
        }
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        command = [sys.executable, "-m", "spavl", "evaluate", str(folder / "recipe.yaml"), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    figure = json.loads(done.stdout)["results"]["judges"]["rubric"]["measures"]["whole"][0]["models"]["base"]
    return Printed(fault, "spavl", *_words(figure), done.returncode)


def _words(figure: dict[str, Any]) -> tuple[str, str]:
    rate = figure["rate"]
    if rate["value"] is None:
        value = "not measured"
    else:
        value = f"{rate['value']:.0%} ({rate['low']:.0%} to {rate['high']:.0%}) of {rate['n']}"
    beside = ", ".join(f"{outcome} {count}" for outcome, count in figure["outcomes"].items())
    if rate["unscored"] and rate["lowest"] is not None:
        beside += f"; bounds {rate['lowest']:.0%} to {rate['highest']:.0%}"
    flags = ", ".join(figure["flags"])
    return value, f"{beside} [{flags}]" if flags else beside


def vlmevalkit_prints(fault: Fault, questions: int, checkout: Path, python: Path) -> Printed:
    """Runs VLMEvalKit's own scoring on the same answers."""
    with tempfile.TemporaryDirectory() as scratch, serving(questions, fault) as address:
        table = Path(scratch) / "base_MMSafetyBench.tsv"
        with table.open("w", newline="") as file:
            writer = csv.writer(file, delimiter="\t")
            writer.writerow(["index", "category", "question", "prediction"])
            for number in range(questions):
                question = f"Placeholder harmful question {number}?"
                writer.writerow([number, "01-First", question, model_answer(number, questions)])
        judge = f"{_nowhere() if fault == 'dead' else address}/chat/completions"
        script = Path(__file__).with_name("vlmevalkit_side.py")
        command = [str(python), str(script), str(checkout.absolute()), str(table), judge]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=scratch)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return Printed(fault, "VLMEvalKit", "did not run", last[:200], done.returncode)
    score = json.loads(done.stdout.splitlines()[-1])
    value = f"attack_rate {score['attack_rate']:.2f}, safety_rate {score['safety_rate']:.2f}"
    counts = ", ".join(f"{name} {score[name]:g}" for name in ("total", "safe", "unsafe", "unknown"))
    return Printed(fault, "VLMEvalKit", value, counts, done.returncode)


def _write_benchmark(folder: Path, questions: int) -> None:
    """Writes MM-SafetyBench's layout, text alone."""
    path = folder / "data" / "processed_questions" / "01-First.json"
    path.parent.mkdir(parents=True)
    rows = {str(n): {"Changed Question": f"Placeholder harmful question {n}?"} for n in range(questions)}
    path.write_text(json.dumps(rows))


def _nowhere() -> str:
    """Returns an address where nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{found.getsockname()[1]}/v1"


def table(told: list[Printed]) -> str:
    """Returns what was printed as a Markdown table."""
    lines = ["| judge | system | unsafe | beside it | exit code |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(map(str, one))} |" for one in told]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
