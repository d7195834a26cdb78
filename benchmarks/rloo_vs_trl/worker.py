"""Runs one job in a process of its own: `python -m benchmarks.rloo_vs_trl.worker JOB`; the last line is the answer."""

import sys
import tempfile
from pathlib import Path

import torch
from benchmarks.dpo_vs_trl.shapes import llava15
from benchmarks.rloo_vs_trl.job import Job
from benchmarks.rloo_vs_trl.prompts import ChatProcessor, make_questions
from benchmarks.rloo_vs_trl.spavl_system import train_spavl
from benchmarks.rloo_vs_trl.trl_system import train_trl
from transformers import AutoModelForImageTextToText
from transformers.utils import logging


def main() -> None:
    """Trains and prints what was found."""
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    job = Job.from_line(sys.argv[1])
    shape = llava15(job.quick)
    questions = make_questions(shape, job.steps * job.prompts, Path(job.folder))
    model = AutoModelForImageTextToText.from_pretrained(Path(job.folder), dtype=torch.float32)
    train = train_spavl if job.system == "spavl" else train_trl
    with tempfile.TemporaryDirectory() as output:
        found = train(job, model, ChatProcessor(shape), questions, Path(output))
    print(found.to_line())


if __name__ == "__main__":
    main()
