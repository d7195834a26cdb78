"""A reward model on the disk: a model's folder with its heads beside it, which plain transformers and safetensors read.

    model/      the model in the hub's layout, scalar_heads.safetensors (head -> w, (H,) float32), reward_model.json
    adapter/    the same as adapters over the base, where there are adapters

`docs/reward_model.md` has the lines that score an answer without spavl. A reward model reads the ids that a policy
wrote, so it has to have the policy's family, vocabulary and chat template: another one is refused.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from spavl.errors import UserError
from spavl.models.loading import Vlm
from spavl.models.weights import weights_digest
from spavl.store.files import write_atomically
from spavl.train.export import LORA_A, LORA_B, export_adapter, export_model
from spavl.train.reward import head_tensors
from spavl.train.stored import write_tensors
from spavl.train_config import LoraSettings

HEADS_FILE, CARD_FILE = "scalar_heads.safetensors", "reward_model.json"


class RewardCard(BaseModel):
    """What `reward_model.json` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = 1
    heads: tuple[str, ...]
    """`reward`, and where there is one `cost`."""
    model_type: str
    """The family."""
    vocabulary_sha256: str
    template_sha256: str
    """Of the chat template."""
    end_id: int
    """What an answer that was not cut short ends in."""
    base_sha256: str
    """The weights it was made from."""
    answer_tokens: int | None = None
    """How many of an answer's first tokens it has learnt from; None where from whole answers."""
    lora: LoraSettings | None
    """Its adapters; None where all of the language model was trained."""
    adapters_alone: bool
    """Whether nothing but adapters and heads was trained, so that over the base's weights they are the whole model."""


class SavedRewardModel(NamedTuple):
    """A reward model's files, read."""

    model: Path
    """The merged model."""
    heads: Mapping[str, Tensor]  # (H,) each
    card: RewardCard
    adapter: Mapping[str, Tensor] | None
    """Live name -> tensor of the adapters; None where they alone are not the model, or are not there."""


def reading_card(vlm: Vlm, end_id: int) -> dict[str, Any]:
    """Returns what a card says of how a model reads: family, vocabulary, chat template and end token."""
    processor = vlm.processor
    vocabulary = json.dumps(sorted(processor.tokenizer.get_vocab().items()))
    template = processor.chat_template or processor.tokenizer.chat_template or ""
    return {
        "model_type": vlm.model.config.model_type,
        "vocabulary_sha256": hashlib.sha256(vocabulary.encode()).hexdigest(),
        "template_sha256": hashlib.sha256(json.dumps(template).encode()).hexdigest(),
        "end_id": end_id,
    }


def export_reward_model(base: Path, trained: Mapping[str, Tensor], card: RewardCard, output: Path) -> None:
    """Writes `model/` and, with adapters, `adapter/`; each appears whole or not at all.

    Args:
        base: The model's folder as it was before.
        trained: Live name -> trained tensor, as a checkpoint holds them, heads among them.
        card: What it is.
        output: The training's folder.

    Raises:
        UserError: The base cannot be read.
        RunError: A trained tensor belongs to nothing in the base, or the disk is full.
    """
    heads, body = head_tensors(trained, card.heads)

    def write_heads(folder: Path) -> None:
        write_tensors(folder / HEADS_FILE, heads)
        write_atomically(folder / CARD_FILE, card.model_dump_json(indent=2).encode() + b"\n")

    if card.lora is not None:
        export_adapter(base, body, card.lora, output / "adapter", write_heads)
    export_model(base, body, card.lora, output / "model", write_heads)


def read_reward_model(path: Path, field: str) -> SavedRewardModel:
    """Reads a reward model's card, heads and adapters; its weights stay on the disk.

    Args:
        path: What a reward training wrote, or the folder `model` in it.
        field: What names it in the configuration, for errors.

    Raises:
        UserError: There is none, or it is damaged.
    """
    folder = path / "model" if (path / "model").is_dir() else path
    try:
        card = RewardCard.model_validate(json.loads((folder / CARD_FILE).read_bytes()))
        heads = load_file(folder / HEADS_FILE)
        adapters = folder.parent / "adapter" / "adapter_model.safetensors"
        adapter = None
        if card.adapters_alone and adapters.exists():
            adapter = {_live(name): tensor for name, tensor in load_file(adapters).items()}
        weights_digest(folder)
        if sorted(heads) != sorted(card.heads):
            raise ValueError(f"{HEADS_FILE} has {sorted(heads)}")
    except (OSError, ValueError, SafetensorError) as error:
        said = " ".join(str(error).split())[:200]
        raise UserError(
            f"{field}: {path} is no reward model that can be read ({said}). Give the folder that a training with "
            "`train.method: reward` wrote."
        ) from error
    return SavedRewardModel(folder, heads, card, adapter)


def check_reads_alike(saved: SavedRewardModel, vlm: Vlm, end_id: int, field: str) -> None:
    """Refuses a reward model that would read a policy's ids as something else.

    Args:
        saved: The reward model.
        vlm: The policy.
        end_id: What the policy's answers end in.
        field: What names the reward model in the configuration.

    Raises:
        UserError: It is of another family, or has another vocabulary, chat template or end token.
    """
    said = {
        "model_type": "family",
        "vocabulary_sha256": "vocabulary",
        "template_sha256": "chat template",
        "end_id": "end token",
    }
    for name, policys in reading_card(vlm, end_id).items():
        own = getattr(saved.card, name)
        if own != policys:
            raise UserError(
                f"{field}: the reward model {saved.model} has another {said[name]} than the model that is trained "
                f"({_short(own)}, there {_short(policys)}), so it would misread its answers. Train a reward model "
                "from this model, with `train.method: reward`."
            )


def _live(name: str) -> str:
    """Returns the live name of an adapter's tensor from PEFT's name in a file."""
    bare = name.removeprefix("base_model.model.")
    for ending, live in ((".lora_A.weight", LORA_A), (".lora_B.weight", LORA_B)):
        bare = bare.removesuffix(ending) + live if bare.endswith(ending) else bare
    return bare


def _short(value: object) -> str:
    return str(value)[:12]
