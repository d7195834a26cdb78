"""Samples a second of the local model, several questions of each picture, beside transformers' `generate` row by row.

The embedded model in float32, greedy, on pictures of installed packages. Systems take turns: `one by one` is a call of
`generate` for each question, `one batch` a call of it for as many left-padded rows as ours has, and `spavl` is the
local model as stations ask it, every picture read once. Answers are compared token by token with those of `one by one`;
where one differs, the odds of its two tokens at that place are printed, so that a tie is known from an error. One
thread; CPU seconds are what compares on a machine that does other work as well.

    python -m benchmarks.local_generation [--quick] [--json PATH]
"""

import argparse
import asyncio
import hashlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image

from spavl.config import HfModelConfig
from spavl.embedded.assembly import mini_vlm_folder
from spavl.embedded.pictures import packaged_pictures
from spavl.models import Completion, ImageInput, Request
from spavl.models.hf import HfModel
from spavl.models.loading import Vlm, load_vlm, render_prompt

QUESTIONS = (
    "What is in this picture?",
    "Describe the picture in one sentence.",
    "Which colours can be seen?",
    "Is there an animal? Say which one, or that there is none.",
)
MAX_TOKENS = 32
BATCH = 16


def work(pictures: int) -> list[Request]:
    """Returns every question about each picture, those about one picture side by side."""
    listed = [one.path for one in packaged_pictures()][:pictures]
    shown = [ImageInput(sha256=hashlib.sha256(path.read_bytes()).hexdigest(), path=path) for path in listed]
    return [Request(prompt=one, image=image, max_tokens=MAX_TOKENS) for image in shown for one in QUESTIONS]


def one_by_one(vlm: Vlm, requests: Sequence[Request]) -> list[str]:
    """One call of `generate` for each question."""
    return [text for request in requests for text in _generate(vlm, [request])]


def one_batch(vlm: Vlm, requests: Sequence[Request]) -> list[str]:
    """One call of `generate` for as many questions as our batches have."""
    return [text for at in range(0, len(requests), BATCH) for text in _generate(vlm, requests[at : at + BATCH])]


def _inputs(vlm: Vlm, requests: Sequence[Request]) -> Any:  # noqa: ANN401  # untyped library
    texts = [render_prompt(vlm.processor, one.prompt, has_image=True) for one in requests]
    images = [[Image.open(one.image.path).convert("RGB")] for one in requests if one.image]
    return vlm.processor(
        text=texts, images=images, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
    )


def _generate(vlm: Vlm, requests: Sequence[Request]) -> list[str]:
    inputs = _inputs(vlm, requests)
    rows = vlm.model.generate(
        **inputs,
        max_new_tokens=MAX_TOKENS,
        do_sample=False,
        suppress_tokens=[vlm.model.config.image_token_id],
        pad_token_id=vlm.processor.tokenizer.pad_token_id,
    )
    begun = inputs["input_ids"].shape[1]
    return [one.strip() for one in vlm.processor.tokenizer.batch_decode(rows[:, begun:], skip_special_tokens=True)]


def spavl(model: HfModel, requests: Sequence[Request]) -> list[str]:
    """The local model, a batch after the other, as stations ask it."""

    async def ask() -> list[str]:
        replies = [await model.generate(requests[at : at + BATCH]) for at in range(0, len(requests), BATCH)]
        return [one.text if isinstance(one, Completion) else "" for group in replies for one in group]

    return asyncio.run(ask())


@torch.inference_mode()
def odds_where_they_part(vlm: Vlm, request: Request, expected: str, found: str) -> str:
    """Returns the text before two answers part, and the logits of the two likeliest tokens there."""
    tokenizer = vlm.processor.tokenizer
    inputs = _inputs(vlm, [request])
    ids = tokenizer(expected, add_special_tokens=False)["input_ids"]
    alike = next(n for n in range(len(ids), -1, -1) if found.startswith(tokenizer.decode(ids[:n])))
    written = torch.tensor([ids[:alike]], dtype=torch.long)
    whole = torch.cat([inputs["input_ids"], written], dim=1)
    top = vlm.model(input_ids=whole, pixel_values=inputs["pixel_values"]).logits[0, -1].topk(2)
    odds = ", ".join(f"{tokenizer.decode([int(at)])!r} {float(value):.6f}" for value, at in zip(*top, strict=True))
    return f"after {tokenizer.decode(ids[:alike])!r}: {odds}"


def opened(folder: Path) -> HfModel:
    """Returns our model with its weights loaded, and no picture known."""
    model = HfModel(HfModelConfig(kind="hf", path=str(folder), dtype="float32", batch_size=BATCH))
    asyncio.run(model.generate([Request(prompt="hello", max_tokens=1)]))
    return model


def compare(requests: Sequence[Request], rounds: int) -> dict[str, Any]:
    """Measures the systems in turns, after one picture of each that warms up."""
    folder = mini_vlm_folder()
    vlm = load_vlm(folder)
    systems: dict[str, Callable[[Any, Sequence[Request]], list[str]]]
    systems = {"one by one": one_by_one, "one batch": one_batch, "spavl": spavl}
    answers: dict[str, list[str]] = {}
    cpu: dict[str, list[float]] = {name: [] for name in systems}
    wall: dict[str, list[float]] = {name: [] for name in systems}
    for turn in range(rounds + 1):
        for name, system in systems.items():
            model = opened(folder) if name == "spavl" else vlm
            begun, begun_cpu = time.perf_counter(), time.process_time()
            answers[name] = system(model, requests if turn else requests[:4])
            if turn:
                cpu[name].append(time.process_time() - begun_cpu)
                wall[name].append(time.perf_counter() - begun)
    rows = list(zip(requests, answers["one by one"], answers["spavl"], strict=True))
    return {
        "samples": len(requests),
        "samples_per_cpu_s": {name: [len(requests) / one for one in listed] for name, listed in cpu.items()},
        "samples_per_s": {name: [len(requests) / one for one in listed] for name, listed in wall.items()},
        "by_one_by_one": {
            name: [a / b for a, b in zip(cpu["one by one"], listed, strict=True)] for name, listed in cpu.items()
        },
        "differing": [odds_where_they_part(vlm, *row) for row in rows if row[1] != row[2]],
    }


def main() -> None:
    """Measures, prints a table, and writes the JSON file where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="4 pictures in one round instead of up to 24 in three")
    parser.add_argument("--json", type=Path, help="where the measurements go")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pictures, rounds = (4, 1) if arguments.quick else (24, 3)
    requests = work(pictures)
    results = compare(requests, rounds)
    shown = f"{len(requests) // len(QUESTIONS)} pictures, {len(QUESTIONS)} questions of each"
    print(f"{shown}, {MAX_TOKENS} tokens at most, {rounds} rounds\n")
    print(f"{'system':<14}{'samples a CPU second':<28}{'a second':<28}CPU by `one by one`")
    for name, rate in results["samples_per_cpu_s"].items():
        print(
            f"{name:<14}{_spread(rate):<28}{_spread(results['samples_per_s'][name]):<28}"
            f"{_spread(results['by_one_by_one'][name])}"
        )
    print(f"\nanswers unlike `one by one`: {len(results['differing'])} of {results['samples']}")
    print("\n".join(results["differing"]))
    if arguments.json:
        machine = {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "threads": torch.get_num_threads(),
            "cpus": os.cpu_count(),
        }
        arguments.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
