"""Seconds and tokens of one DPO step: forward, backward and update, pictures cached, reference known.

    python -m benchmarks.dpo_step                       the tiny model of the tests
    python -m benchmarks.dpo_step --model FOLDER        any LLaVA in the hub's layout
    python -m benchmarks.dpo_step --quick --json PATH   three steps, figures to a file

Questions and answers are words of fixed lengths; no meaning is measured here.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tests.tiny_vlm import build_tiny_vlm
from torch.optim import AdamW

from spavl.config import TrainConfig
from spavl.models.loading import load_vlm
from spavl.train.checkpoint import TrainingState
from spavl.train.dpo import TrainingPairs, accumulate_gradients
from spavl.train.logprobs import pair_logprobs
from spavl.train.policy import add_adapters
from spavl.train.render import Renderer, Row
from spavl.train.vision import PictureFeatures

ANSWER_WORDS = (12, 40, 24, 60)
"""Words of the answers, in turn: refusals are short, other answers are not."""


def main() -> None:
    """Measures and prints one line a precision; the fastest step is the figure, the median shows the spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model folder; by default the tests' tiny model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=4, help="pairs of one step")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="three steps")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    steps = 3 if options.quick else options.steps
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.model or build_tiny_vlm(Path(scratch) / "tiny")
        results = []
        for dtype in ("float32", "bfloat16"):
            config = TrainConfig(model="benchmark", batch_size=options.batch_size, dtype=dtype, device=options.device)
            figures = measure(folder, config, steps, Path(scratch))
            results.append(figures)
            print(
                f"{dtype:>9}: {figures['seconds_per_step']:.3f} s a step (median {figures['median_seconds']:.3f}), "
                f"{figures['tokens_per_step']} tokens, {figures['tokens_per_second']:.0f} tokens/s"
            )
    if options.json:
        machine = {"processor": platform.processor(), "threads": torch.get_num_threads(), "torch": torch.__version__}
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


def measure(folder: Path, config: TrainConfig, steps: int, scratch: Path) -> dict[str, Any]:
    """Returns the figures of one precision; one step before the first measured one warms up."""
    vlm = load_vlm(folder, config.dtype, config.device)
    policy = add_adapters(vlm.model, config.lora, seed=0)
    picture = scratch / "grey.png"
    Image.new("RGB", (224, 224), "grey").save(picture)
    features = PictureFeatures(vlm, lambda _: picture)
    rows = make_rows(Renderer(vlm.processor, policy.stop_ids(), config.max_length), config.batch_size)
    with policy.as_reference() as model:
        reference = pair_logprobs(model, rows, features)
    state = TrainingState(policy.trainable(), AdamW(policy.trainable().values(), lr=config.learning_rate))
    seconds = []
    for _ in range(steps + 1):
        started = time.perf_counter()
        metrics = accumulate_gradients(policy, TrainingPairs(rows, reference, features), config)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        if config.device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    best = min(seconds[1:])
    return {
        "dtype": config.dtype,
        "pairs": config.batch_size,
        "steps": steps,
        "seconds_per_step": best,
        "median_seconds": statistics.median(seconds[1:]),
        "tokens_per_step": metrics.tokens,
        "tokens_per_second": metrics.tokens / best,
    }


def make_rows(renderer: Renderer, count: int) -> list[Row]:
    """Returns pairs that ask about one grey picture."""
    prompt = renderer.prompt("word " * 12, Image.new("RGB", (224, 224), "grey"))
    rows = []
    for number in range(count):
        chosen, rejected = (ANSWER_WORDS[(number + place) % len(ANSWER_WORDS)] for place in (0, 1))
        answers = renderer.answer("word " * chosen), renderer.answer("word " * rejected)
        rows.append(Row(f"pair-{number}", "grey", prompt, *answers))
    return rows


if __name__ == "__main__":
    main()
