"""Publishing: a finished dataset's folder becomes a dataset repository on the hub, in one commit.

Before anything is sent, every file is compared with the digests that the dataset was finished with, and the rows with
no known licence are counted. What is sent is the card, the Croissant file, the Parquet files and what is known of the
pictures (`meta_files/`), nothing else; such files of an earlier push that are no longer there go in the same commit,
though the repository's history keeps them.
The hub's own client does the talking: `HF_ENDPOINT` names another hub, and `HF_HUB_DISABLE_XET=1` sends large files by
plain HTTP instead of its xet protocol.
"""

import json
import os
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.errors import HTTPError as ClientError  # type: ignore[attr-defined]  # of the client's own httpx

from spavl.dataset.licences import said_licence
from spavl.errors import RunError, UserError
from spavl.store.manifest import hash_file, read_manifest

CARD_FILES = ("README.md", "croissant.json")
META_FILES = "meta_files"
LICENCE = "licence"
TOKEN_ENV = "HF_TOKEN"
AGAIN = "Make the dataset again (`--restart-from dataset`), or export it again"


class Upload(NamedTuple):
    """What is, or would be, sent."""

    folder: Path
    files: dict[str, int]
    """Path in the repository -> bytes."""
    rows: int
    unknown_licence: int
    """Rows whose picture's licence nobody says."""

    @property
    def total_bytes(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())


class Pushed(NamedTuple):
    """What the hub made of it."""

    url: str
    commit: str
    deleted: tuple[str, ...]
    """Files of an earlier push that are not part of the dataset any more."""


def prepare(folder: Path) -> Upload:
    """Checks a dataset and lists what would be sent; nothing is sent.

    Args:
        folder: A run's directory, its dataset's, or an exported one.

    Raises:
        UserError: There is no finished dataset, or a file is not what it was when the dataset was finished.
        RunError: The results of the dataset's stage were changed.
    """
    place = folder / "dataset" if (folder / "dataset" / "croissant.json").exists() else folder
    tables = sorted(place.rglob("*.parquet"))
    if not tables or not all((place / name).is_file() for name in CARD_FILES):
        raise UserError(
            f"{folder} holds no finished dataset: it needs *.parquet, {' and '.join(CARD_FILES)}. Give a run's "
            "directory, or the folder of a dataset that `spavl build` or `spavl export` made."
        )
    if (place / "identity.json").exists() and read_manifest(place) is None:
        raise UserError(f"{place} is not finished. Run `spavl build` first.")
    data = [*tables, *sorted(place.glob(f"{META_FILES}/**/*.json"))]
    _check_digests(place, data)
    counts = [_licences(path) for path in tables]
    paths = [*(place / name for name in CARD_FILES), *data]
    return Upload(
        place,
        {path.relative_to(place).as_posix(): path.stat().st_size for path in paths},
        sum(rows for rows, _ in counts),
        sum(unknown for _, unknown in counts),
    )


def push(upload: Upload, repository: str, *, private: bool, token_env: str | None = None) -> Pushed:
    """Sends a dataset to the hub in one commit; the repository is made if it is not there.

    Args:
        upload: What is sent.
        repository: `OWNER/NAME`.
        private: Whether the repository has to be private.
        token_env: Environment variable with the key; None takes `HF_TOKEN`, or the client's own login.

    Raises:
        UserError: The key is missing or refused, the name is none, or the repository is public and should not be.
        RunError: The hub cannot be reached, or fails.
    """
    token = os.environ.get(token_env or TOKEN_ENV, "").strip() or None
    if token is None and token_env is not None:
        raise UserError(f"--token-env: the environment variable {token_env} is not set. Set it to your key of the hub.")
    api = HfApi(token=token)
    try:
        api.create_repo(repository, repo_type="dataset", private=True if private else None, exist_ok=True)
        known = api.dataset_info(repository)
        if private and not known.private:
            raise UserError(
                f"--private: {repository} is there already and public. Make it private in its settings, or give "
                "another name."
            )
        stale = _stale([one.rfilename for one in known.siblings or ()], upload)
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *(CommitOperationAdd(name, upload.folder / name) for name in upload.files),
            *(CommitOperationDelete(name) for name in stale),
        ]
        message = f"{upload.rows} rows by spavl"
        commit = api.create_commit(repository, operations, commit_message=message, repo_type="dataset")
    except HFValidationError as error:
        raise UserError(f"{repository} is no name of a repository: {_said(error, token)} Give OWNER/NAME.") from error
    except HfHubHTTPError as error:
        raise _refused(error, repository, token) from error
    except (ClientError, OSError, ValueError, LookupError, RuntimeError) as error:
        raise RunError(
            f"{repository}: the hub {api.endpoint} did not take it ({_said(error, token)}). Check the connection and "
            "HF_ENDPOINT, and run the same command again; where the client's xet transfer is at fault, set "
            "HF_HUB_DISABLE_XET=1."
        ) from error
    return Pushed(f"{api.endpoint}/datasets/{repository}", commit.oid, tuple(stale))


def _check_digests(folder: Path, files: Sequence[Path]) -> None:
    try:
        listed = json.loads((folder / "croissant.json").read_bytes())["distribution"]
        known = {one["contentUrl"]: one["sha256"] for one in listed}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / 'croissant.json'} is damaged. {AGAIN}.") from error
    found = {path.relative_to(folder).as_posix(): path for path in files}
    for name in sorted({*known, *found}):
        if name not in found or name not in known or hash_file(found[name]) != known[name]:
            why = "is gone" if name not in found else "is not part of it" if name not in known else "was changed"
            raise UserError(f"{folder}: {name} {why} since the dataset was finished. {AGAIN}.")


def _licences(path: Path) -> tuple[int, int]:
    """Returns a file's rows, and how many of them name no licence."""
    try:
        with pq.ParquetFile(path) as file:
            rows = file.metadata.num_rows
            if LICENCE not in file.schema_arrow.names:
                return rows, rows
            said = file.read(columns=[LICENCE])[LICENCE].to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())[:200]}). {AGAIN}.") from error
    return rows, sum(said_licence(one) is None for one in said)


def _stale(there: Sequence[str], upload: Upload) -> list[str]:
    ours = (name for name in there if name.endswith(".parquet") or name.startswith(f"{META_FILES}/"))
    return sorted(name for name in ours if name not in upload.files)


def _refused(error: HfHubHTTPError, repository: str, token: str | None) -> UserError | RunError:
    status = error.response.status_code
    said = f"HTTP {status}, {_said(error, token)}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return UserError(
            f"{repository}: the key is missing, wrong, or may not write there ({said}). Set {TOKEN_ENV}, or name the "
            "variable that holds the key with --token-env."
        )
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return UserError(f"{repository}: the hub refuses it ({said}). Check OWNER and NAME.")
    return RunError(f"{repository}: the hub failed ({said}). Run the same command again later.")


def _said(error: Exception, token: str | None) -> str:
    """Returns an error in one line, without the key, which a server may repeat."""
    text = " ".join(str(error).split())[:300]
    return text.replace(token, "***") if token else text
