"""What is noted of a training in its folder, `train.json`: what it is, and once it is finished, what it made.

A folder with a checkpoint or a model of other settings or data is refused; one in which nothing was made yet binds
nobody.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from spavl.errors import RunError, UserError
from spavl.models.weights import weights_digest
from spavl.records import PreferencePair
from spavl.store.files import write_atomically
from spavl.train.checkpoint import checkpoint_steps
from spavl.train_config import NOT_IDENTITY, WeightSettings

F = TypeVar("F", bound=BaseModel)


class _Noted(BaseModel):
    """What `train.json` holds."""

    model_config = ConfigDict(strict=True, extra="forbid")

    identity: dict[str, Any]
    result: dict[str, Any] | None


def identity_of(
    config: WeightSettings, pairs: Sequence[PreferencePair], model_folder: Path, seed: int
) -> dict[str, Any]:
    """Returns what makes a training the same training.

    Args:
        config: Settings; `model` is only a name there, and the weights' digest stands for it.
        pairs: What it learns from.
        model_folder: The model it starts from.
        seed: Its seed.
    """
    return settings_identity(config) | {
        "pairs": pairs_digest(pairs),
        "weights": weights_digest(model_folder),
        "seed": seed,
    }


def settings_identity(config: WeightSettings) -> dict[str, Any]:
    """Returns the settings that make a training the same training; the cut is one where it decides what is dropped."""
    left_out = set(NOT_IDENTITY) - ({"tokens_per_forward"} if config.too_long == "drop" else set())
    return config.model_dump(mode="json", exclude=left_out | {"model"})


def pairs_digest(pairs: Sequence[PreferencePair]) -> str:
    """Returns the SHA-256 of what is learnt from pairs."""
    texts = [
        (pair.id, pair.image_id, pair.question, pair.chosen, pair.rejected, pair.chosen_finish, pair.rejected_finish)
        for pair in pairs
    ]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def open_attempt(output: Path, identity: dict[str, Any], kind: type[F]) -> F | None:
    """Returns what a finished training noted, or None after noting what is trained here.

    Args:
        output: The training's folder.
        identity: What is trained.
        kind: What such a training notes at its end.

    Raises:
        UserError: The folder was begun with something else.
        RunError: `train.json` is damaged.
    """
    path = output / "train.json"
    known = _read(path, kind) if path.exists() else _Noted(identity={}, result=None)
    if known.result is None and not checkpoint_steps(output / "checkpoints"):  # what made nothing binds nobody
        note_attempt(output, identity)
        return None
    for field in sorted({*known.identity, *identity}):
        before, now = known.identity.get(field), identity.get(field)
        if before != now:
            raise UserError(
                f"{output} has checkpoints or a model made with other settings: `{field}` was {before} and is now "
                f"{now}. Put it back, give the run another name (`run=runs/NAME`), or make this stage and those after "
                f"it again with `--restart-from {output.name}`."
            )
    finished = known.result is not None and (output / "model").is_dir()
    return kind.model_validate(known.result) if finished else None


def note_attempt(output: Path, identity: dict[str, Any], result: BaseModel | None = None) -> None:
    """Notes what is trained, and what came out.

    Raises:
        RunError: The disk is full.
    """
    noted = _Noted(identity=identity, result=None if result is None else result.model_dump())
    write_atomically(output / "train.json", json.dumps(noted.model_dump(), indent=2).encode() + b"\n")


def _read(path: Path, kind: type[BaseModel]) -> _Noted:
    try:
        noted = _Noted.model_validate(json.loads(path.read_bytes()))
        if noted.result is not None:
            kind.model_validate(noted.result)
    except ValueError as error:
        again = f"--restart-from {path.parent.name}"
        raise RunError(f"{path} is damaged. Restore it, or start again with {again}.") from error
    return noted
