"""The peer: TRL's DPOTrainer as it is, with its defaults or tuned.

`trl_default` keeps TRL's defaults, gradient checkpointing above all. `trl_tuned` switches that off; `trl_split` too,
and runs its pairs one by one. In all, whatever would only cost TRL time is off: logging, saving, decoding of picture
files. The order of the pairs, the optimiser, its constant rate and the clipping are those of the other side.
"""

import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks.dpo_vs_trl.adapters import lora_config, seed_adapters
from benchmarks.dpo_vs_trl.job import BETA, MAX_GRADIENT_NORM, Job
from benchmarks.dpo_vs_trl.meter import Meter
from benchmarks.dpo_vs_trl.pairs import Pair, WordProcessor
from datasets import Dataset
from torch import Tensor
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer


class MeteredTrainer(DPOTrainer):  # type: ignore[misc]  # untyped library; the loss is nowhere else to be had unrounded
    """TRL's trainer, whose losses are kept."""

    meter: Meter

    def compute_loss(self, *inputs: Any, **options: Any) -> Tensor:  # noqa: ANN401  # the library's signature
        """Computes the loss as TRL does."""
        loss: Tensor = super().compute_loss(*inputs, **options)
        self.meter.add_loss(loss)
        return loss


class EpochMarks(TrainerCallback):  # type: ignore[misc]  # untyped library
    """Starts the meter and has it mark the epochs."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def on_train_begin(self, *_: object, **__: object) -> None:
        """Everything is loaded."""
        self._meter.start()

    def on_epoch_end(self, *_: object, **__: object) -> None:
        """An epoch is over."""
        self._meter.mark()


def train_trl(job: Job, model: Any, processor: WordProcessor, pairs: Sequence[Pair], meter: Meter) -> None:  # noqa: ANN401
    """Trains; `pairs` come in the order of the steps."""
    with tempfile.TemporaryDirectory() as scratch:
        trainer: Any = MeteredTrainer(
            model=model,
            args=_settings(job, scratch),
            train_dataset=_dataset(pairs),
            processing_class=processor,
            peft_config=lora_config() if job.lora else None,
            callbacks=[EpochMarks(meter)],
        )
        trainer.meter = meter
        if job.lora:
            seed_adapters(trainer.model)
        else:
            meter.count_tokens(trainer.ref_model.get_decoder())
        meter.count_tokens(model.get_decoder())
        if not job.count_flops:
            _warm_up(trainer)
        trainer.train()


def _settings(job: Job, scratch: str) -> Any:  # noqa: ANN401  # untyped library
    is_cuda = job.device != "cpu"
    tuning: dict[str, Any] = {"gradient_checkpointing": False, "dataloader_num_workers": 4 if is_cuda else 0}
    return DPOConfig(
        output_dir=scratch,
        per_device_train_batch_size=job.pairs_at_once,
        gradient_accumulation_steps=job.step_pairs // job.pairs_at_once,
        num_train_epochs=job.epochs,
        train_sampling_strategy="sequential",
        learning_rate=job.learning_rate,
        lr_scheduler_type="constant",
        max_grad_norm=MAX_GRADIENT_NORM,
        beta=BETA,
        remove_unused_columns=False,  # the only column is the place
        max_length=None,  # the default of 1,024 would cut Qwen's picture
        bf16=job.dtype == "bfloat16",
        use_cpu=not is_cuda,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=is_cuda,
        **(tuning if job.system != "trl_default" else {}),
    )


def _dataset(pairs: Sequence[Pair]) -> Any:  # noqa: ANN401  # untyped library
    """Wraps the pairs without copying them: TRL would otherwise decode a picture file each time."""

    def rows(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        asked = [pairs[place] for place in batch["place"]]
        return {
            "images": [[pair.picture] for pair in asked],
            "prompt": [pair.prompt for pair in asked],
            "chosen": [pair.chosen for pair in asked],
            "rejected": [pair.rejected for pair in asked],
        }

    return Dataset.from_dict({"place": list(range(len(pairs)))}).with_transform(rows)


def _warm_up(trainer: Any) -> None:  # noqa: ANN401  # untyped library
    """Runs one pair forward and backward, so that nothing is timed that happens once."""
    inputs = trainer.data_collator([trainer.train_dataset[0]])
    inputs = {name: tensor.to(trainer.args.device) for name, tensor in inputs.items()}
    trainer.compute_loss(trainer.model.train(), inputs).backward()
    trainer.model.zero_grad(set_to_none=True)
