"""Runs one job in a process of its own: `python -m benchmarks.dpo_vs_trl.worker JOB`; the last line is the answer."""

import random
import sys
from pathlib import Path
from typing import Any

import torch
from benchmarks.dpo_vs_trl.job import Job, marks_to_line
from benchmarks.dpo_vs_trl.meter import Meter
from benchmarks.dpo_vs_trl.pairs import WordProcessor, make_pairs, make_rows
from benchmarks.dpo_vs_trl.shapes import SHAPES
from benchmarks.dpo_vs_trl.spavl_system import Material, train_spavl
from benchmarks.dpo_vs_trl.trl_system import train_trl
from transformers import AutoModelForImageTextToText
from transformers.utils import logging

from spavl.train.tree import plan_epoch


def main() -> None:
    """Trains and prints the marks."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    job = Job.from_line(sys.argv[1])
    shape = SHAPES[job.shape](job.quick, job.layers)
    processor = WordProcessor(shape)
    pairs = make_pairs(shape, job.pairs, job.questions_per_image, spread=job.spread)
    rows = make_rows(pairs, processor)
    steps = plan_epoch(rows, job.step_pairs, None, random.Random(0))
    model = load(job)
    losses_per_step = job.step_pairs // job.pairs_at_once if job.system != "spavl" else 1
    with Meter(job.device, job.count_flops, losses_per_step) as meter:
        if job.system == "spavl":
            train_spavl(job, model, processor, Material(rows, pairs, steps), meter)
        else:
            train_trl(job, model, processor, [pairs[place] for step in steps for place in step], meter)
    print(marks_to_line(meter.marks))


def load(job: Job) -> Any:  # noqa: ANN401  # any family
    """Loads the model with everything frozen but the language model and its head."""
    model = AutoModelForImageTextToText.from_pretrained(Path(job.folder), dtype=getattr(torch, job.dtype))
    model.to(job.device).requires_grad_(False)
    model.get_decoder().requires_grad_(True)
    model.get_output_embeddings().requires_grad_(True)
    return model


if __name__ == "__main__":
    main()
