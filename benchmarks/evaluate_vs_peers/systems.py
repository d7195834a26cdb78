"""How each system is told to evaluate, and what its figure is. Inspect's own reader opens its logs."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from inspect_ai.log import read_eval_log

from spavl.models.embedded import DTYPE

HERE = Path(__file__).parent
CONCURRENCY = 32
MAX_TOKENS = 16


class Job(NamedTuple):
    """One evaluation."""

    pope: Path
    """The benchmark's folder."""
    scratch: Path
    """A folder of the run's own."""
    base_url: str
    """The server; empty for the local model."""
    weights: Path | None
    """The local model's folder."""


class Run(NamedTuple):
    """How a system does it."""

    command: Callable[[str, Job], Sequence[str]]
    """(interpreter, job) -> command."""
    figure: Callable[[Job], tuple[float, int]]
    """Share of right answers, and how many were scored."""
    package: str = ""
    """What its own environment has; empty for the project's."""
    others: tuple[str, ...] = ()


def _spavl(python: str, job: Job) -> Sequence[str]:
    served = {"kind": "openai", "base_url": job.base_url, "model": "m", "concurrency": CONCURRENCY}
    recipe = {
        "run": str(job.scratch / "run"),
        "calls": str(job.scratch / "calls.sqlite"),
        "models": {"m": served if job.base_url else {"kind": "embedded"}},
        "judges": {"rules": {"kind": "rules"}},
        "benchmarks": [{"name": "pope", "path": str(job.pope), "variants": ["random"], "fixture": True}],
        "max_tokens": MAX_TOKENS,
    }
    path = job.scratch / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return [python, "-m", "spavl", "evaluate", str(path)]


def _spavl_figure(job: Job) -> tuple[float, int]:
    results = json.loads((job.scratch / "run" / "results.json").read_text())
    rate = results["judges"]["rules"]["measures"]["whole"][0]["models"]["m"]["rate"]
    return rate["value"] or 0.0, rate["n"]


def _inspect(options: Sequence[str]) -> Callable[[str, Job], Sequence[str]]:
    def command(python: str, job: Job) -> Sequence[str]:
        model = "openai-api/local/m" if job.base_url else "spavl/embedded"
        task = ["-T", f"folder={job.pope}", "-T", f"max_tokens={MAX_TOKENS}"]
        logs = ["--display", "none", "--log-dir", str(job.scratch), "--max-connections", str(CONCURRENCY)]
        file = f"{HERE / 'inspect_task.py'}@pope"
        return [python, "-m", "inspect_ai", "eval", file, "--model", model, *task, *logs, *options]

    return command


def _inspect_figure(job: Job) -> tuple[float, int]:
    log = read_eval_log(str(next(job.scratch.glob("*.eval"))), header_only=True)
    (score,) = log.results.scores if log.results else ()
    return float(score.metrics["accuracy"].value), score.scored_samples or 0


def _lmms(python: str, job: Job) -> Sequence[str]:
    rows = [json.loads(line) for line in (job.pope / "coco_pope_random.json").read_text().splitlines()]
    data = job.scratch / "pope.jsonl"
    data.write_text("".join(json.dumps(row | {"image": str(job.pope / row["image"])}) + "\n" for row in rows))
    shutil.copy(HERE / "lmms_functions.py", job.scratch / "lmms_functions.py")
    names = ("doc_to_visual", "doc_to_text", "process_results")
    functions = "".join(f"{name}: !function lmms_functions.{name}\n" for name in names)
    task = {
        "task": "pope_placeholder",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_target": "label",
        "generation_kwargs": {"max_new_tokens": MAX_TOKENS, "temperature": 0, "do_sample": False},
        "metric_list": [{"metric": "right", "aggregation": "mean", "higher_is_better": True}],
        "lmms_eval_specific_kwargs": {"default": {}},
    }
    (job.scratch / "pope_placeholder.yaml").write_text(yaml.safe_dump(task) + functions)
    served = f"model=m,base_url={job.base_url},api_key=none,num_concurrent={CONCURRENCY}"
    local = f"pretrained={job.weights},device=cpu,device_map=cpu,dtype={DTYPE}"
    name, arguments, batch = ("openai", served, CONCURRENCY) if job.base_url else ("llava_hf", local, 1)
    model = ["--model", name, "--model_args", arguments, "--batch_size", str(batch)]  # its llava_hf takes one at a time
    output = ["--log_samples", "--output_path", str(job.scratch / "logs")]
    tasks = ["--tasks", "pope_placeholder", "--include_path", str(job.scratch)]
    start = ["-m", "lmms_eval"] if job.base_url else [str(HERE / "lmms_local.py")]
    return [python, *start, *model, *tasks, *output]


def _lmms_figure(job: Job) -> tuple[float, int]:
    results = json.loads(next((job.scratch / "logs").rglob("*_results.json")).read_text())
    right: float = results["results"]["pope_placeholder"]["right,none"]
    return right, results["n-samples"]["pope_placeholder"]["effective"]


SYSTEMS: Mapping[str, Run] = {
    "spavl": Run(_spavl, _spavl_figure),
    "inspect": Run(_inspect(()), _inspect_figure, "inspect-ai==0.3.285", ("openai",)),
    "inspect, log at the end": Run(
        _inspect(("--no-log-realtime",)), _inspect_figure, "inspect-ai==0.3.285", ("openai",)
    ),
    "lmms-eval": Run(
        _lmms, _lmms_figure, "lmms-eval==0.7.3", ("filelock<4", "decord", "efficientnet-lite-pytorch==0.1.0")
    ),
}
PYTHON = sys.executable
