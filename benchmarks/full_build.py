"""A whole build at SPA-VL's proportions against a loopback server, killed again and again, and its twin.

Three questions a picture, twelve responders, a judge that labels every answer and one that compares two of them in both
orders; 100,788 pairs are some 33,700 pictures and 2.7 million calls. The pictures are small and drawn at random; the
server answers after a log-normal time and knows nothing. The twin is another run of the same configuration: `asked`
asks the server for everything once more, in peace; `replayed` is made from the killed run's store of calls alone, every
stage from the pictures on, while the server counts that it is asked nothing. What a kill costs are the requests of the
killed process that are not in the store after it: all of them are paid again, and nothing else is. Exits with 1 where
a count does not add up, a kill cost more calls than were in flight, or the two datasets differ in one bit.

    python -m benchmarks.full_build --pairs 500 --twin asked
    python -m benchmarks.full_build [--quick] [--json PATH]

It says nothing of the quality of what is built.
"""

import argparse
import contextlib
import csv
import hashlib
import itertools
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import yaml
from benchmarks.build_vs_peers.server import Conditions, Server, digest_of, running
from benchmarks.judge_marks import with_mark
from PIL import Image

from spavl.taxonomy import load_taxonomy

PAIRS = 100_788
QUICK_PAIRS = 150
QUESTIONS_A_PICTURE = 3
TEST_SHARE = 265 / PAIRS
RESPONDERS = 12
IN_FLIGHT = 64
KILLS = 10
SEED = 7
CONDITIONS = Conditions(delay="tail", mean_s=0.02, longest_s=2.0)
SAMPLE_S = 0.5
AT_A_KILL_S = 0.05
"""How often a process is looked at that lives to its end, or to its kill."""
ALONE = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
STAGES = ("images", "captions", "questions", "checked_questions", "responses", "labels", "judgments", "preferences")
HASHES = ("dataset_sha256", "dataset_results")
_ANSWER = re.compile(r"Placeholder answer (\d+)")


class Life(NamedTuple):
    """One process of a build, from its start to its end or its kill."""

    seconds: float
    cpu_s: float
    """Of the process and its children."""
    peak_mb: float
    """Of the process alone."""
    family_peak_mb: float
    """With its children: while pictures are collected there is one, which has the sentence encoder."""
    samples: list[tuple[int, float]]
    """(requests so far, resident MB of the process)."""
    requests: int
    """That the server was sent, by this process and those before it."""
    repeats: int
    """Of these requests, those without an answer of their own or with one that was given before."""
    stored: int
    """Calls in the store when the process had ended."""


def answer(body: bytes) -> str:
    """Plays every part: the writer, twelve responders of different manners, and the judges."""
    asked = orjson.loads(body)
    role, _, number = asked["model"].partition("-")
    if role == "writer":
        name = f"{digest_of(body):016x}"
        return f"Placeholder harmful question {name[:8]} about what is seen in picture {name[8:]}?"
    if role == "responder":
        return f"Placeholder answer {digest_of(body) % 1_000_000} in the manner of responder {number}."
    text = asked["messages"][-1]["content"][-1]["text"]
    scores = [int(found) for found in _ANSWER.findall(text)]
    if role == "labeller":
        manner = int(text.partition("responder ")[2][:2])
        verdict = "SAFE" if scores[0] % RESPONDERS <= manner else "UNSAFE"
        return with_mark(text, f"Placeholder reasons.\n\n[[{verdict}]] [[ANSWERED]]")
    first, second = scores
    verdict = "A" if first > second else "B" if first < second else "C"
    return with_mark(text, f"Placeholder reasons.\n\n[[{verdict}]]")


def main() -> None:
    """Builds under kills, builds the twin, compares, and says what was seen."""
    options = _options()
    test_pictures = max(1, round(options.pairs * TEST_SHARE / QUESTIONS_A_PICTURE))
    pictures = options.pairs // QUESTIONS_A_PICTURE + test_pictures
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        folder = Path(scratch)
        _draw_pictures(folder / "pictures", pictures)
        with running(answer, digest_of) as server:
            server.behave(CONDITIONS)
            killed = _Build(folder, "killed", server.base_url, pictures, test_pictures)
            kill_points = _kill_points(_calls(options.pairs, pictures), options.kills)
            lives = [killed.live(server, kill_at) for kill_at in (*kill_points, None)]
            said = _said(killed.run, lives) | {"paid_in_vain": paid_in_vain(lives)}
            found = {"pairs_asked_for": options.pairs, "pictures": pictures, "killed": said}
            _keep(options.json, found)
            found["twin"] = _twin(killed, server, options.twin, lives[-1].requests)
    trouble = _trouble(found, lives)
    _keep(options.json, found | {"trouble": trouble})
    print(json.dumps(found | {"trouble": trouble}, indent=2))
    if trouble:
        sys.exit(1)


def _twin(killed: "_Build", server: Server, kind: str, requests: int) -> dict[str, Any]:
    """Makes the twin, and returns what there is to say of it."""
    calls = killed.run / "calls.sqlite" if kind == "replayed" else None
    twin = killed._replace(name="twin", calls=calls)
    if kind == "asked":
        server.behave(CONDITIONS)
        requests = 0
    life = twin.live(server, None)
    return _said(twin.run, [life]) | {"made": kind, "requests": life.requests - requests}


def _keep(path: Path | None, found: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(found, indent=2) + "\n")


def _calls(pairs: int, pictures: int) -> int:
    """Returns how many calls a build makes, at most: questions, answers, labels, and judgments in both orders."""
    return pictures * QUESTIONS_A_PICTURE + pairs * (2 * RESPONDERS + 2)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.full_build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_PAIRS} pairs, three kills")
    parser.add_argument("--json", type=Path, help="also write what was seen here")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--twin", choices=("asked", "replayed"), default="replayed", help="how the twin is made")
    parser.add_argument(
        "--scratch", type=Path, help="where the builds lie while it runs; some 2 KB a call, for each of two"
    )
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.kills = QUICK_PAIRS, 3
    options.pairs -= options.pairs % QUESTIONS_A_PICTURE
    return options


def _kill_points(calls: int, kills: int) -> list[int]:
    """Returns after how many requests each process is killed, in order."""
    return sorted(random.Random(SEED).sample(range(1, max(calls, 2)), kills))


def _draw_pictures(folder: Path, count: int) -> None:
    """Writes pictures of 8 x 8 random squares, captioned by the taxonomy's keywords in turn."""
    folder.mkdir()
    rng = np.random.default_rng(SEED)
    leaves = load_taxonomy("spa_vl").leaves
    with (folder / "metadata.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "caption"])
        for number in range(count):
            squares = rng.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(squares.repeat(8, axis=0).repeat(8, axis=1)).save(folder / f"{number}.png")
            table.writerow([f"{number}.png", leaves[number % len(leaves)].keywords[0]])


class _Build(NamedTuple):
    """A build that is run by one process after the other."""

    folder: Path
    name: str
    base_url: str
    pictures: int
    test_pictures: int
    calls: Path | None = None
    """The store of calls that it is replayed from; None where it asks."""

    @property
    def run(self) -> Path:
        """Its run's directory."""
        return self.folder / self.name

    def live(self, server: Server, kill_at: int | None) -> Life:
        """Runs one process to its end, or until the server has been asked so often."""
        config, replay = self._write_config(), ["--replay"] if self.calls else []
        samples: list[tuple[int, float]] = []
        family_peak_mb, started, before = 0.0, time.monotonic(), os.times()
        with (config.with_suffix(".log")).open("ab") as log:
            command = [sys.executable, "-m", "spavl", "build", str(config), *replay]
            process = subprocess.Popen(command, env=os.environ | ALONE, stdout=log, stderr=log)
            while process.poll() is None:
                requests = server.counts().requests
                samples.append((requests, _resident_mb(process.pid)))
                family_peak_mb = max(family_peak_mb, samples[-1][1] + sum(map(_resident_mb, _children(process.pid))))
                if kill_at is not None and requests >= kill_at:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                time.sleep(SAMPLE_S if kill_at is None else AT_A_KILL_S)
        if process.returncode not in (0, -signal.SIGKILL):
            sys.exit(f"the build ended with {process.returncode}:\n{config.with_suffix('.log').read_text()[-2000:]}")
        counts, after = server.counts(), os.times()
        return Life(
            seconds=time.monotonic() - started,
            cpu_s=after.children_user + after.children_system - before.children_user - before.children_system,
            peak_mb=max(mb for _, mb in samples),
            family_peak_mb=family_peak_mb,
            samples=samples,
            requests=counts.requests,
            repeats=counts.requests - counts.rows,
            stored=_stored(self.calls or self.run / "calls.sqlite"),
        )

    def _write_config(self) -> Path:
        roles = ["writer", "labeller", "judge", *(f"responder-{number:02}" for number in range(RESPONDERS))]
        served = {"kind": "openai", "base_url": self.base_url, "concurrency": IN_FLIGHT}
        leaves = len(load_taxonomy("spa_vl").leaves)
        body: dict[str, Any] = {
            "run": str(self.run),
            "calls": str(self.calls or self.run / "calls.sqlite"),
            "models": {role: served | {"model": role} for role in roles} | {"mini": {"kind": "embedded"}},
            "images": {
                "source": {"kind": "folder", "path": str(self.folder / "pictures")},
                "per_leaf": -(-self.pictures // leaves),
                "min_similarity": -1.0,
                "duplicate_bits": 0,
            },
            "questions": {"writer": "writer", "types": ["easy_question", "hard_question", "hard_statement"]},
            "responses": {"responders": {role: {"model": role} for role in roles if role.startswith("responder")}},
            "labels": {"judge": {"kind": "rubric", "model": "labeller"}},
            "preferences": {"judge": {"kind": "rubric", "model": "judge"}, "groups": 5, "comparisons_per_question": 1},
            "dataset": {"validation_pictures": 0, "test_pictures": self.test_pictures, "cluster_bits": 0},
            "train": {"model": "mini"},
        }
        path = self.folder / f"{self.name}.yaml"
        path.write_text(yaml.safe_dump(body))
        return path


def _stored(calls: Path) -> int:
    """Returns how many calls a store holds; read without its owner's code, for the count is held against that."""
    if not calls.exists():
        return 0
    with contextlib.closing(sqlite3.connect(calls)) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM calls").fetchone()[0])


def paid_in_vain(lives: Sequence[Life]) -> list[int]:
    """Returns how many of each process's own requests were not in the store when it had ended.

    A call that the store held already and that was asked once more is among them, for the store gained nothing by it.
    """
    ends = [(0, 0), *((life.requests, life.stored) for life in lives)]
    return [(after[0] - before[0]) - (after[1] - before[1]) for before, after in itertools.pairwise(ends)]


def _children(process: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def _resident_mb(process: int) -> float:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return int((re.findall(r"VmRSS:\s+(\d+)", status) or ["0"])[0]) / 1024


def _said(run: Path, lives: Sequence[Life]) -> dict[str, Any]:
    """Returns what there is to say of a finished build."""
    manifests = {stage: json.loads((run / stage / "manifest.json").read_bytes()) for stage in (*STAGES, "dataset")}
    files = sorted(path for path in (run / "dataset").rglob("*.parquet"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    last = lives[-1].samples
    step = max(1, len(last) // 20)
    return {
        "hours": round(sum(life.seconds for life in lives) / 3600, 3),
        "cpu_hours": round(sum(life.cpu_s for life in lives) / 3600, 3),
        "calls": lives[-1].stored,
        "bytes": sum(path.stat().st_size for path in run.rglob("*") if path.is_file()),
        "peak_mb": round(max(life.peak_mb for life in lives)),
        "peaks_mb": [round(life.peak_mb) for life in lives],
        "with_children_mb": round(max(life.family_peak_mb for life in lives)),
        "memory": [(requests, round(mb)) for requests, mb in last[::step]],
        "counts": {stage: manifest["counts"] for stage, manifest in manifests.items()},
        "seconds": {stage: manifest["seconds"] for stage, manifest in manifests.items()},
        "dataset_sha256": digest,
        "dataset_results": manifests["dataset"]["results_hash"],
    }


def _trouble(found: dict[str, Any], killed: Sequence[Life]) -> list[str]:
    """Returns what is not as it must be."""
    trouble = [f"{field} differs" for field in HASHES if found["twin"][field] != found["killed"][field]]
    if found["twin"]["made"] == "replayed" and found["twin"]["requests"]:
        trouble.append(f"the replay asked {found['twin']['requests']} times")
    trouble += overpaid(killed)
    for name in ("twin", "killed"):
        counts = found[name]["counts"]
        trouble += [f"{name}: {stage}: {one}" for stage, one in counts.items() if not _adds_up(one)]
        if counts["responses"]["records"] != found["pairs_asked_for"] * RESPONDERS:
            trouble.append(f"{name}: {counts['responses']['records']} responses")
    return trouble


def overpaid(killed: Sequence[Life]) -> list[str]:
    """Returns what was paid beyond a request a call, and once more where a kill left it in flight."""
    *kills, last = paid_in_vain(killed)
    trouble = [
        f"kill {number} cost {lost} calls; {IN_FLIGHT} were in flight"
        for number, lost in enumerate(kills, 1)
        if lost > IN_FLIGHT
    ]
    if last:
        trouble.append(f"{last} requests of the process that was not killed are not in the store")
    if sum(kills) != killed[-1].repeats:
        trouble.append(f"the kills cost {sum(kills)} calls; the server was asked {killed[-1].repeats} a second time")
    return trouble


def _adds_up(counts: dict[str, int]) -> bool:
    return counts["items"] == counts["records"] + counts["failures"] + counts["dropped"]


if __name__ == "__main__":
    main()
