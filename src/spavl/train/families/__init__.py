"""The kinds of models that can be trained, one file each."""

import json
from pathlib import Path

from spavl.errors import UserError
from spavl.train.families.base import Encoded, Family, Model
from spavl.train.families.gemma3 import GEMMA3
from spavl.train.families.internvl import INTERNVL
from spavl.train.families.llava import LLAVA
from spavl.train.families.llava_next import LLAVA_NEXT
from spavl.train.families.qwen2_5_vl import QWEN2_5_VL
from spavl.train.families.qwen3_vl import QWEN3_VL
from spavl.train.families.smolvlm import IDEFICS3, SMOLVLM

__all__ = ["FAMILIES", "Encoded", "Family", "check_type", "family_of"]

FAMILIES = (
    LLAVA,
    LLAVA_NEXT,
    QWEN2_5_VL,
    QWEN3_VL,
    SMOLVLM,
    IDEFICS3,
    INTERNVL,
    GEMMA3,
)


def family_of(model: Model) -> Family:
    """Returns what is known of a model's kind.

    Raises:
        UserError: Its kind is unknown, or its settings are not those that are known.
    """
    family = _of_type(model.config.model_type)
    family.check(model)
    return family


def check_type(folder: Path) -> None:
    """Refuses a model folder of an unknown kind before anything is made of it, from its config.json alone.

    Raises:
        UserError: The file is missing or damaged, or the kind is unknown.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"path: {path} cannot be read ({error}). Get the model's folder again.") from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise UserError(f"path: {path} names no `model_type`, so it describes no model. Get the model's folder again.")
    _of_type(config["model_type"])


def _of_type(model_type: str) -> Family:
    family = next((family for family in FAMILIES if family.model_type == model_type), None)
    if family is None:
        raise UserError(
            f"train.model: a model of type '{model_type}' cannot be trained; allowed: "
            f"{', '.join(family.model_type for family in FAMILIES)}. Unknown mask and position rules are refused, not "
            "guessed; choose a model of one of these types."
        )
    return family
