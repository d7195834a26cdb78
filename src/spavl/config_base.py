"""What every configuration is made of: the frozen, strict base class, and a path that a file system can have."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

MAX_NAME_BYTES = 255
"""Longest name of a file or folder that Linux's file systems take."""


def _nameable(path: Path) -> Path:
    for name in path.parts:
        if len(os.fsencode(name)) > MAX_NAME_BYTES:
            raise ValueError(
                f"the name {name[:20]}... is too long; a file or folder's has {MAX_NAME_BYTES} bytes at most"
            )
    return path


NamedPath = Annotated[Path, AfterValidator(_nameable)]
"""A path that a file system can have."""


class Config(BaseModel):
    """Base of every configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
