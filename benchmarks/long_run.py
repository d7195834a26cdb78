"""The embedded model trained for 2,000 optimiser steps, once in peace and once with a kill -9 on the way.

Both runs are processes of their own with one thread each, side by side; a step is one pair, with dropout on. The
killed one is started again by the same command. Exits with 1 where the trained weights, the exported model or the
losses differ in one bit.

    python -m benchmarks.long_run [--quick] [--json PATH]
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from spavl.config import LoraSettings, TrainConfig
from spavl.embedded import mini_vlm_folder
from spavl.records import PreferencePair
from spavl.train import train_dpo

PAIRS, PICTURES = 40, 10
SEED = 7
ALONE = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
"""One thread each: with two, two processes on two cores wait for each other."""


def main() -> None:
    """Trains twice, kills once, compares and says what was seen."""
    options = _options()
    if options.train:
        _train(options.train, options.steps)
        return
    steps = 120 if options.quick else options.steps
    with tempfile.TemporaryDirectory() as scratch:
        mini_vlm_folder()  # before two processes want to assemble it
        whole, killed = Path(scratch) / "whole", Path(scratch) / "killed"
        started = time.monotonic()
        peaceful = _start(whole, steps)
        at = _kill_on_the_way(_start(killed, steps), killed, random.Random(SEED).randint(steps // 4, 3 * steps // 4))
        saved = _newest_checkpoint(killed)
        again = _start(killed, steps)
        for process in (peaceful, again):
            if process.wait():
                sys.exit("a training ended with an error; it is printed above")
        found = {
            "steps": steps,
            "killed_at_step": at,
            "went_on_from_step": saved,
            "minutes": round((time.monotonic() - started) / 60, 1),
            "equal": _fingerprints(whole, steps) == _fingerprints(killed, steps),
            "trained_sha256": _fingerprints(whole, steps)["trained.safetensors"],
        }
    print(json.dumps(found, indent=2))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    if not found["equal"]:
        sys.exit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.long_run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="120 steps")
    parser.add_argument("--json", type=Path, help="also write what was seen here")
    parser.add_argument("--steps", type=int, default=2000, help=f"a multiple of {PAIRS}")
    parser.add_argument("--train", type=Path, help="train into this folder; what this command calls itself with")
    options = parser.parse_args()
    if options.steps % PAIRS:
        parser.error(f"--steps {options.steps} is no multiple of {PAIRS}, the pairs of an epoch")
    return options


def _start(folder: Path, steps: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.long_run", "--train", str(folder), "--steps", str(steps)]
    return subprocess.Popen(command, env=os.environ | ALONE, stdout=subprocess.DEVNULL)


def _train(folder: Path, steps: int) -> None:
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for number in range(PICTURES):
        picture = Image.new("RGB", (224, 224), (25 * number, 120, 250 - 25 * number))
        picture.paste("white", (20 * number, 30, 20 * number + 40, 190))
        picture.save(pictures / f"img-{number}.png")
    config = TrainConfig(
        model="mini",
        lora=LoraSettings(rank=16, alpha=32, dropout=0.05),
        epochs=steps // PAIRS,
        batch_size=1,
        learning_rate=1e-4,
        dtype="float32",
        cache=folder / "cache",
    )
    pairs = [_pair(number) for number in range(PAIRS)]
    train_dpo(config, pairs, lambda image_id: pictures / f"{image_id}.png", mini_vlm_folder(), folder, SEED)


def _pair(number: int) -> PreferencePair:
    return PreferencePair(
        question_id=f"que-{number}",
        image_id=f"img-{number % PICTURES}",
        leaf="domain/category/leaf",
        question_type=None,
        question=f"placeholder harmful question {number}",
        chosen_id=f"res-{number}-chosen",
        rejected_id=f"res-{number}-rejected",
        chosen="I would rather not say, and this is why." + " It would not be kind." * (number % 3),
        rejected="Placeholder answer to the question." + " It goes on for a while." * (number % 4),
        chosen_responder="careful",
        rejected_responder="careless",
        chosen_verdict="safe",
        rejected_verdict="unsafe",
        judge="none",
        judgment_ids=(),
        rationales=(),
    )


def _kill_on_the_way(process: subprocess.Popen[bytes], folder: Path, step: int) -> int:
    """Waits for a step and kills; returns the last step that was logged."""
    while _logged_steps(folder) < step:
        if process.poll() is not None:
            sys.exit("the training to be killed ended before; its error is printed above")
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return _logged_steps(folder)


def _logged_steps(folder: Path) -> int:
    log = folder / "metrics.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def _newest_checkpoint(folder: Path) -> int:
    return max((int(path.name.removeprefix("step-")) for path in (folder / "checkpoints").glob("step-*")), default=0)


def _fingerprints(folder: Path, steps: int) -> dict[str, Any]:
    files = [*(folder / "checkpoints" / f"step-{steps}").iterdir(), *(folder / "model").glob("*.safetensors")]
    digests: dict[str, Any] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    lines = (json.loads(line) for line in (folder / "metrics.jsonl").read_bytes().splitlines())
    return digests | {"log": [{key: value for key, value in line.items() if key != "seconds"} for line in lines]}


if __name__ == "__main__":
    main()
