"""Learning curves of PPO, RLOO and GRPO on a task whose best is known, and of the same with the pictures taken away.

The task is the one of `tests/train/rl/known_task.py`: a tiny VLM with random weights is paid for a token of the half of
the vocabulary that the picture asks for. Without looking at the picture 1/2 is the most that can be had; 1 is the best.

    python -m benchmarks.known_task [--quick] [--json PATH]
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.tiny_vlm import build_tiny_vlm
from tests.train.material import write_pictures
from tests.train.rl.known_task import PICTURES, ROUNDS, Picture, learning_curve

METHODS = ("ppo", "rloo", "grpo")
SEEDS = 5
SHOWN = (0, 2, 4, 8, 12, 16, 20, ROUNDS - 1)
"""Rounds that stand in the table."""


class Curve(NamedTuple):
    """Mean reward of each round's sampled answers."""

    method: str
    seed: int
    pictures: str
    """`own`, or `one for both`."""
    rewards: list[float]


def main() -> None:
    """Trains every method with every seed, and once without pictures to tell apart, and prints the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed of each method instead of five")
    parser.add_argument("--json", type=Path, help="write the curves to this file")
    options = parser.parse_args()
    print("| method, seed, pictures | " + " | ".join(f"round {number + 1}" for number in SHOWN) + " |")
    print("|---" * (len(SHOWN) + 1) + "|")
    curves = []
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        model, picture = build_tiny_vlm(root / "tiny"), write_pictures(root / "pictures")
        for method in METHODS:
            for seed in range(1 if options.quick else SEEDS):
                curves.append(_curve(model, picture, root, method, seed))
            curves.append(_curve(model, picture, root, method, 0, pictures="one for both"))
    if options.json:
        options.json.write_text(json.dumps([curve._asdict() for curve in curves], indent=1) + "\n")


def _curve(model: Path, picture: Picture, root: Path, method: str, seed: int, pictures: str = "own") -> Curve:
    output = root / f"{method}-{seed}-{pictures}"
    output.mkdir()
    show = picture if pictures == "own" else lambda _: picture(PICTURES[0])
    curve = Curve(method, seed, pictures, learning_curve(model, show, output, seed, method=method))
    cells = " | ".join(f"{curve.rewards[number]:.2f}" for number in SHOWN)
    print(f"| {method}, {seed}, {pictures} | {cells} |", flush=True)
    return curve


if __name__ == "__main__":
    main()
