"""The peer: TRL's RLOOTrainer as it is, tuned: no gradient checkpointing, no logging, no saving, no picture files.

Its optimiser, rates, clipping and the order of its prompts are those of the other side.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.dpo_vs_trl.job import LORA_TARGETS
from benchmarks.dpo_vs_trl.shapes import END, IMAGE
from benchmarks.rloo_vs_trl.job import (
    ADAM_EPSILON,
    BETA,
    LEARNING_RATE,
    MAX_GRADIENT_NORM,
    Found,
    Job,
    Meter,
    reward,
    seed_adapters,
)
from benchmarks.rloo_vs_trl.prompts import ChatProcessor, Question
from benchmarks.rloo_vs_trl.spavl_system import LORA, settings
from datasets import Dataset
from peft import LoraConfig
from safetensors.torch import save_file
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from trl import RLOOConfig, RLOOTrainer

from spavl.train.loop import schedule
from spavl.train.rl.prompts import round_prompts


class MeteredTrainer(RLOOTrainer):  # type: ignore[misc]  # untyped library
    """TRL's trainer, whose generation is timed and whose gradients' norms are kept."""

    meter: Meter
    norms: list[float]

    def _generate(self, prompts: Any) -> Any:  # noqa: ANN401  # the library's signature
        with self.meter.generation():
            return super()._generate(prompts)

    def _clip_grad_norm(self, model: Any) -> Any:  # noqa: ANN401  # the library's signature
        norm = super()._clip_grad_norm(model)
        self.norms.append(float(norm))
        return norm


def train_trl(job: Job, model: Any, processor: ChatProcessor, questions: Sequence[Question], output: Path) -> Found:  # noqa: ANN401
    """Trains."""
    meter = Meter(model.get_decoder())
    answers: dict[str, list[list[int]]] = defaultdict(list)

    def even(completion_ids: list[list[int]], name: list[str], **_: object) -> list[float]:
        meter.rewarded()
        for one, tokens in zip(name, completion_ids, strict=True):
            answers[one].append(tokens)
        return [reward(tokens) for tokens in completion_ids]

    config = settings(job)
    trainer: Any = MeteredTrainer(
        model=model,
        reward_funcs=even,
        args=_settings(job, output),
        train_dataset=_dataset(job, questions),
        processing_class=processor,
        peft_config=LoraConfig(r=LORA.rank, lora_alpha=LORA.alpha, target_modules=LORA_TARGETS),
    )
    seed_adapters(trainer.model)
    trainable = [one for one in trainer.model.parameters() if one.requires_grad]
    trainer.optimizer = AdamW(trainable, LEARNING_RATE, eps=ADAM_EPSILON, weight_decay=0.0, fused=True)
    trainer.lr_scheduler = LambdaLR(trainer.optimizer, lambda done: schedule(config, done + 1, job.steps))
    trainer.meter, trainer.norms = meter, []
    trainer.train()
    if job.proof:
        job.trained_on.write_text(json.dumps(answers))
        named = trainer.model.named_parameters()
        save_file({name: one.detach() for name, one in named if one.requires_grad}, job.adapters)
    return meter.found(trainer.norms)


def _settings(job: Job, output: Path) -> Any:  # noqa: ANN401  # untyped library
    rows = job.prompts * job.answers
    at_once = min(rows, job.rows_at_once)
    return RLOOConfig(
        output_dir=str(output),
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=rows // at_once,
        generation_batch_size=rows,
        num_generations=job.answers,
        max_completion_length=job.tokens,
        generation_kwargs={"suppress_tokens": [END, IMAGE]},
        shuffle_dataset=False,
        num_train_epochs=1,
        beta=BETA,
        max_grad_norm=MAX_GRADIENT_NORM,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def _dataset(job: Job, questions: Sequence[Question]) -> Any:  # noqa: ANN401  # untyped library
    """Wraps the prompts in the order of our rounds, without copying pictures: TRL would decode a file each time."""
    config = settings(job)
    order = [
        place for number in range(1, job.steps + 1) for place in round_prompts(config, len(questions), number, seed=0)
    ]

    def rows(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        asked = [questions[place] for place in batch["place"]]
        return {
            "images": [[one.picture] for one in asked],
            "prompt": [[{"role": "user", "content": one.prompt.question}] for one in asked],
            "name": [one.prompt.id for one in asked],
        }

    return Dataset.from_dict({"place": order}).with_transform(rows)
