"""The model that is trained: everything is frozen first, and then exactly the parts that the settings name are not.

Trained weights are float32 whatever precision is computed in, adapters too: an update is often smaller than what
bfloat16 can add to a weight. Nothing but adapters' dropout is in training mode.

The reference is this same model before its first step: adapters' products are zero then and the other weights are the
base's, so no second model is ever held, and the first loss is that of equal models to the last bit.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn import Parameter
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from spavl.config import LoraSettings, WeightSettings
from spavl.errors import RunError, UserError
from spavl.models.loading import Vlm
from spavl.train.families import Family
from spavl.train.lora_linear import join_adapters
from spavl.train.stored import StoredModel, live_names
from spavl.train.vision_cache import VisionTraining, vision_parameters

# peft 0.21 reads a name that transformers 5.23 deprecates; it is nothing a user can act on
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)

PARTS = ("language", "projector", "vision")
"""What can be trained, in the optimiser's order."""


@dataclass(frozen=True)
class Policy:
    """A model of which some parts are trained."""

    model: Any
    """The model itself; its linear layers hold the adapters."""
    peft: Any
    """PEFT's face of it, which switches the adapters; None without adapters."""
    parts: Mapping[str, Mapping[str, Parameter]]
    """Part -> live name -> trained parameter; matrices first, for they alone decay."""
    dtype: str
    """Precision of computing."""
    untouched: Mapping[str, int]
    """Live name -> version of the weights that training overwrites, as they were before it; adapters are not here."""

    def trainable(self) -> dict[str, Parameter]:
        """Returns live name -> parameter of what is trained, in the optimiser's order."""
        return {name: parameter for part in self.parts.values() for name, parameter in part.items()}

    def with_part(self, part: str, members: Mapping[str, Parameter]) -> "Policy":
        """Returns it with something more that is trained, at the language model's rate, behind what there is.

        Args:
            part: What it is called.
            members: Live name -> parameter.
        """
        return replace(self, parts={**self.parts, part: members})

    def parameter_groups(self, config: WeightSettings) -> list[dict[str, Any]]:
        """Returns AdamW's groups: a part's matrices, which decay, and its vectors, which do not.

        `initial_lr` is a group's highest rate; a step's rate is a share of it.
        """
        rates = {
            "language": config.learning_rate,
            "projector": config.projector_learning_rate or config.learning_rate,
            "vision": config.vision_learning_rate or config.learning_rate,
        }
        groups = []
        for part in self.parts:
            rate = rates.get(part, config.learning_rate)
            for decay, members in zip((config.weight_decay, 0.0), _matrices_and_vectors(self.parts[part]), strict=True):
                if members:
                    shared = {"part": part, "lr": rate, "initial_lr": rate, "weight_decay": decay}
                    groups.append({"params": list(members.values()), **shared})
        return groups

    def count_trainable(self) -> dict[str, int]:
        """Counts the trained parameters of each part."""
        return {part: sum(one.numel() for one in members.values()) for part, members in self.parts.items()}

    def numerics(self) -> str:
        """Returns what decides the rounding of a forward pass: its precision, and the parts with float32 weights.

        The reference is computed in the same way, so its fingerprint needs it.
        """
        wide = [part for part in PARTS if any(name in self.untouched for name in self.parts[part])]
        return " ".join([self.dtype, *wide])

    def precision(self) -> AbstractContextManager[Any]:
        """Returns the context for a forward pass: trained float32 weights compute in bfloat16 where that is wanted."""
        if self.dtype != "bfloat16":
            return nullcontext()
        return torch.autocast(self.model.device.type, dtype=torch.bfloat16)

    @contextmanager
    def as_reference(self) -> Iterator[Any]:
        """Yields the model as it was before training, without dropout and without gradients.

        With adapters alone that is possible at any time, and otherwise before a checkpoint is loaded or a step is done.

        Raises:
            RunError: Weights of the base are overwritten already.
        """
        now = self.trainable()
        if any(now[name]._version != version for name, version in self.untouched.items()):  # torch's own
            raise RunError("The reference was asked for after weights had been trained. This is a bug.")
        adapters_off = self.peft.disable_adapter() if self.peft is not None else nullcontext()
        with adapters_off, torch.no_grad(), self.precision():
            yield self.model


def open_policy(vlm: Vlm, family: Family, config: WeightSettings, seed: int, folder: Path | None = None) -> Policy:
    """Freezes a model, thaws the parts that are trained and puts the adapters in.

    Args:
        vlm: The model as it was loaded.
        family: What is known of its kind.
        config: What is trained.
        seed: Decides the adapters' first weights.
        folder: The model's folder: trained weights are read from it once more, unrounded.

    Raises:
        UserError: The model has no such layers or blocks.
    """
    model = vlm.model.eval().requires_grad_(False)
    own = own_weights(model, family, config)
    _widen({**_beside(model, family, own), **own["language"]}, model, folder)
    torch.manual_seed(seed)
    peft = None if config.lora is None else _with_adapters(model, family, config.lora, mixed=config.dtype != "float32")
    names = {name for part in own.values() for name in part}
    for name, parameter in model.named_parameters():
        if name in names:
            parameter.requires_grad_(True)
    if config.gradient_checkpointing:
        _checkpoint([family.language(model), *([family.vision(model)] if own["vision"] else [])])
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    parts = {part: {name: trained.pop(name) for name in own[part]} for part in PARTS}
    if config.lora is not None:
        parts["language"] = {name: trained.pop(name) for name in list(trained) if ".lora_" in name}
    policy = Policy(
        model=model,
        peft=peft,
        parts={part: _matrices_first(parts[part]) for part in PARTS},
        dtype=config.dtype,
        untouched={name: parameter._version for part in own.values() for name, parameter in part.items()},
    )
    _check_parts(policy, config, trained)
    return policy


def own_weights(model: Any, family: Family, config: WeightSettings) -> dict[str, dict[str, Parameter]]:  # noqa: ANN401
    """Returns for each part live name -> those of the model's own weights that are trained; adapters are not here.

    Raises:
        UserError: The tower has fewer blocks than are asked for.
    """
    vision = vision_parameters(model, family, VisionTraining(config.projector, config.vision_blocks))
    chosen: dict[str, dict[str, Parameter]] = {part: {} for part in PARTS}
    for name, parameter in model.named_parameters():
        part = family.part(name) or "language"  # the head stands outside every part
        if name in vision or (part == "language" and config.lora is None):
            chosen[part][name] = parameter
    path = family.blocks_path(model)
    while path and chosen["vision"] and not (name := next(reversed(chosen["vision"]))).startswith(f"{path}."):
        del chosen["vision"][name]  # what stands behind the blocks is mostly read by nobody (CLIP's post_layernorm)
    return chosen


def lora_layers(model: Any, family: Family, settings: LoraSettings) -> list[str]:  # noqa: ANN401  # untyped library
    """Returns the live names of the language model's linear layers that get an adapter.

    Raises:
        UserError: A target is the ending of no layer's name.
    """
    inside = {id(module) for module in family.language(model).modules() if isinstance(module, nn.Linear)}
    layers = [name for name, module in model.named_modules() if id(module) in inside]
    if settings.targets == "all_linear":
        return layers
    for target in settings.targets:
        if not any(f".{layer}".endswith(f".{target}") for layer in layers):
            known = ", ".join(sorted({layer.rpartition(".")[2] for layer in layers}))
            raise UserError(
                f"train.lora.targets: '{target}' is the end of no linear layer's name in this language model, which "
                f"has {known}. Choose among these, or write all_linear."
            )
    return [layer for layer in layers if f".{layer}".endswith(tuple(f".{target}" for target in settings.targets))]


def _beside(model: Any, family: Family, own: Mapping[str, Mapping[str, Parameter]]) -> dict[str, Parameter]:  # noqa: ANN401
    """Returns the weights outside the language model that must be float32, trained or not.

    What stands behind a trained weight gets float32 states, which a norm in bfloat16 does not take. SmolVLM makes its
    pictures what its first weight is, and puts them among the embeddings, so these must be of one kind.
    """
    trained = own["vision"].keys() | own["projector"].keys()
    named = [(name, one) for name, one in model.named_parameters() if family.part(name) in ("vision", "projector")]
    first = next((place for place, (name, _) in enumerate(named) if name in trained), len(named))
    embeddings = {id(one) for one in model.get_input_embeddings().parameters()} if first == 0 else set()
    named += [(name, one) for name, one in model.named_parameters() if id(one) in embeddings]
    return dict(named if own["language"] else named[first:])


def _widen(weights: Mapping[str, Parameter], model: Any, folder: Path | None) -> None:  # noqa: ANN401
    """Makes weights float32, as they are stored and not as they were rounded when they were loaded."""
    stored = None if folder is None else StoredModel(folder)
    sources = {} if stored is None else {live: name for name, live in live_names(model, stored.files).items()}
    for name, parameter in weights.items():
        exact = parameter.data if stored is None or name not in sources else stored.tensor(sources[name])
        parameter.data = exact.to(parameter.device, torch.promote_types(parameter.dtype, torch.float32))


def _with_adapters(model: Any, family: Family, settings: LoraSettings, *, mixed: bool) -> Any:  # noqa: ANN401
    lora = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=lora_layers(model, family, settings),
        bias="none",
    )
    peft = get_peft_model(model, lora)  # the adapters are float32, whatever the frozen weights are
    for name, module in peft.named_modules():
        module.training = "lora_dropout" in name
        if mixed and hasattr(module, "lora_A"):
            module.cast_input_dtype_enabled = False  # autocast does it, and leaves no float32 copy of the activations
    join_adapters(peft)
    return peft


def _checkpoint(modules: Sequence[nn.Module]) -> None:
    """Lets layers run again in the backward pass; transformers asks their training mode, which means nothing else."""
    for module in modules:
        again = partial(checkpoint, use_reentrant=False, context_fn=partial(_same_attention, module.config))
        for layer in module.modules():
            if isinstance(layer, GradientCheckpointingLayer):
                layer.gradient_checkpointing = layer.training = True
                layer._gradient_checkpointing_func = again  # transformers' own switch


def _same_attention(config: Any) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:  # noqa: ANN401
    """Returns the contexts of a layer's two runs: the second is given the attention that the first one has."""
    return nullcontext(), _attention(config, config._attn_implementation)  # transformers' own switch


@contextmanager
def _attention(config: Any, name: str) -> Iterator[None]:  # noqa: ANN401  # every family has its own class
    before, config._attn_implementation = config._attn_implementation, name
    try:
        yield
    finally:
        config._attn_implementation = before


def _matrices_and_vectors(part: Mapping[str, Parameter]) -> tuple[dict[str, Parameter], dict[str, Parameter]]:
    matrices = {name: parameter for name, parameter in part.items() if parameter.dim() > 1}
    return matrices, {name: parameter for name, parameter in part.items() if name not in matrices}


def _matrices_first(part: Mapping[str, Parameter]) -> dict[str, Parameter]:
    matrices, vectors = _matrices_and_vectors(part)
    return {**matrices, **vectors}


def _check_parts(policy: Policy, config: WeightSettings, others: Mapping[str, Parameter]) -> None:
    asked = {"language": True, "projector": config.projector, "vision": config.vision_blocks != 0}
    counts = policy.count_trainable()
    narrow = [
        name for name, parameter in policy.trainable().items() if parameter.dtype.itemsize < torch.float32.itemsize
    ]
    if others or narrow or any((counts[part] > 0) != wanted for part, wanted in asked.items()):
        raise RunError(
            f"What is trained is not what was asked for: {counts}, beside it {list(others)[:3]}, not in float32 "
            f"{narrow[:3]}. This is a bug."
        )
