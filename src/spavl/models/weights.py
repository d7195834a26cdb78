"""Where a local model's files lie, and the digest that identifies them. It opens no model and does not need torch."""

import functools
import hashlib
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from spavl.config import HfModelConfig
from spavl.errors import UserError

DECIDING_SUFFIXES = frozenset({".safetensors", ".json", ".jinja", ".model", ".txt"})
"""Weights, configurations, tokenizer, chat template: everything in a folder that can change an answer."""


def snapshot_folder(config: HfModelConfig) -> Path:
    """Returns the model's folder: the local one, or the downloaded snapshot of a hub id.

    Raises:
        UserError: There is no such folder, and no such model on the hub or in its cache.
    """
    folder = Path(config.path).expanduser()
    if folder.is_dir():
        return folder
    patterns = [f"*{suffix}" for suffix in sorted(DECIDING_SUFFIXES)] + ["*.py"] * config.trust_remote_code
    try:
        return Path(snapshot_download(config.path, revision=config.revision, allow_patterns=patterns))
    except HFValidationError as error:
        raise UserError(
            f"path: {config.path} is neither a folder nor like a hub id. Give a model's folder, or OWNER/NAME."
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"path: {config.path} is neither a folder nor a model that the hub gives ({_first_line(error)}). "
            "Give the folder of a model in the hub's layout, or a hub id and a connection."
        ) from error


def weights_digest(folder: Path) -> str:
    """Returns the SHA-256 over the names and contents of the files that decide a model's answers.

    A file is read once in a process, as long as its size and time stay the same.

    Raises:
        UserError: The folder holds no configuration or no safetensors.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix in DECIDING_SUFFIXES and path.is_file())
    if not (folder / "config.json").exists() or not any(path.suffix == ".safetensors" for path in files):
        raise UserError(
            f"path: {folder} is not a model's folder: it needs config.json and *.safetensors. "
            "Other weight formats can run programs when they are opened and are not read."
        )
    digest = hashlib.sha256()
    for path in files:
        state = path.stat()
        digest.update(f"{path.name}\0{_file_digest(path, state.st_size, state.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


@functools.lru_cache(maxsize=1024)
def _file_digest(path: Path, size: int, mtime_ns: int) -> str:
    """Size and time are not read here: they are what makes a changed file another entry of the cache."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
