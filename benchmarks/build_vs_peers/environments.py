"""The peers' environments: one of its own for each, made by pip from the package index when it is first needed."""

import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

PACKAGES = {"curator": "bespokelabs-curator==0.1.31", "datadesigner": "data-designer==0.9.6"}
"""System -> what pip installs; what these need is what pip finds on that day."""
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "NEMO_TELEMETRY_ENABLED": "false",
    "TELEMETRY_ENABLED": "false",
    "PYTHONWARNINGS": "ignore",
}


class NotInstalled(Exception):
    """A peer that cannot be had, and why."""


def interpreter(system: str, folder: Path) -> Path:
    """Returns the interpreter that runs a system, after making its environment where it has none.

    Args:
        system: `spavl`, `bare` or a peer.
        folder: Where the peers' environments lie.

    Raises:
        NotInstalled: pip failed; its last words are the message.
    """
    if system not in PACKAGES:
        return Path(sys.executable)
    return made_environment(folder / system, (PACKAGES[system],))


def made_environment(home: Path, requirements: Sequence[str]) -> Path:
    """Returns the interpreter of an environment with these packages, after making it where it is not there.

    Raises:
        NotInstalled: pip failed; its last words are the message.
    """
    stamp = home / requirements[0]
    if not stamp.exists():
        venv.create(home, with_pip=True, clear=True)
        command = [str(home / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *requirements]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotInstalled(f"pip install {requirements[0]}: {done.stderr.strip().splitlines()[-1]}")
        stamp.touch()
    return home / "bin" / "python"


def surroundings(python: Path, home: Path) -> dict[str, str]:
    """Returns the environment variables of a run: no telemetry, no network, a home of its own.

    curator fetches a tokenizer when it starts; the copy that lies in a package of its environment spares it that.
    """
    ours = os.environ | QUIET | {"HOME": str(home)}
    if python == Path(sys.executable):
        return ours
    theirs = ours | {"PYTHONPATH": "."}
    for tokenizers in python.parent.parent.glob("lib/*/site-packages/litellm/litellm_core_utils/tokenizers"):
        theirs["TIKTOKEN_CACHE_DIR"] = str(tokenizers)
    return theirs
