"""The model that is trained: a frozen vision-language model with low-rank adapters in its language model.

The reference is the same weights with the adapters off, so no second model is held. The frozen part stays in
evaluation mode; only the adapters' dropout follows training.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn import Parameter

from spavl.config import LoraSettings
from spavl.errors import RunError, UserError

# peft 0.21 reads a name that transformers 5.23 deprecates; it is nothing a user can act on
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)

SUPPORTED_FAMILIES = ("llava",)
"""Model types whose attention mask and positions are known to be plain causal ones; others are refused, not guessed."""

PARTS = {"language": "language_model", "projector": "multi_modal_projector", "vision": "vision_tower"}
"""Part -> the module of the base model that holds it."""


class Policy(NamedTuple):
    """A model with adapters in it."""

    model: Any
    """The model itself; its linear layers hold the adapters."""
    peft: Any
    """PEFT's face of it, which switches and saves the adapters."""

    def trainable(self) -> dict[str, Parameter]:
        """Returns live name -> parameter of what is trained, in the model's order."""
        return {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}

    @contextmanager
    def as_reference(self) -> Iterator[Any]:
        """Yields the model as it was before training, without dropout and without gradients."""
        with self.peft.disable_adapter(), torch.no_grad():
            yield self.model

    def stop_ids(self) -> tuple[int, ...]:
        """Returns the ids at which the model's generation stops."""
        stop = self.model.generation_config.eos_token_id
        return tuple(stop) if isinstance(stop, list) else (() if stop is None else (stop,))

    def count_trainable(self) -> dict[str, int]:
        """Counts the trainable parameters of each part.

        Raises:
            RunError: Something outside the language model would be trained, or nothing would be.
        """
        counts = dict.fromkeys(PARTS, 0)
        for name, parameter in self.trainable().items():
            part = next((part for part, module in PARTS.items() if f".{module}." in f".{name}"), None)
            if part is None:
                raise RunError(f"The parameter {name} would be trained and belongs to no known part. This is a bug.")
            counts[part] += parameter.numel()
        if not counts["language"] or counts["projector"] or counts["vision"]:
            raise RunError(f"The adapters must lie in the language model alone; they count {counts}. This is a bug.")
        return counts


def add_adapters(model: Any, settings: LoraSettings, seed: int) -> Policy:  # noqa: ANN401  # untyped library
    """Freezes the model and puts an adapter on every linear layer of its language model, the head left out.

    Raises:
        UserError: The model's family is not one whose masks and positions are known.
    """
    family = model.config.model_type
    if family not in SUPPORTED_FAMILIES:
        raise UserError(
            f"train.model: a model of type '{family}' cannot be trained yet; allowed: {', '.join(SUPPORTED_FAMILIES)}. "
            "Choose a model of one of these types."
        )
    torch.manual_seed(seed)
    model.eval().requires_grad_(False)
    lora = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=_language_linears(model),
        bias="none",
    )
    peft = get_peft_model(model, lora)  # the adapters are float32, whatever the frozen weights are
    for name, module in peft.named_modules():
        module.training = "lora_dropout" in name
    return Policy(model, peft)


def _language_linears(model: nn.Module) -> str:
    """Returns a pattern that matches the linear layers of the language model and nothing of the tower."""
    inside = re.compile(rf"(?:.*\.)?{PARTS['language']}\..*")
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and inside.fullmatch(name)]
    leaves = sorted({name.rpartition(".")[2] for name in names})
    return rf"(?:.*\.)?{PARTS['language']}\..*\.(?:{'|'.join(leaves)})"
