"""What asking a served model about many pictures costs: spavl beside curator, DataDesigner and a bare aiohttp loop.

Every run is a process of its own against one loopback server, which counts; the systems take turns, so that other work
on the machine falls on all of them. CPU is the whole process's, its start included. The bare loop is the floor, not a
rival. The peers get environments of their own, from the package index, when they are first needed; one that cannot be
installed, or fails, is said to be so and left out.

    python -m benchmarks.build_vs_peers                              all works, three rounds; about half an hour
    python -m benchmarks.build_vs_peers --quick --json PATH          a tenth of the rows, one round
    python -m benchmarks.build_vs_peers --works W2 --systems spavl bare
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.build_vs_peers.environments import PACKAGES, NotInstalled, interpreter, surroundings
from benchmarks.build_vs_peers.job import Job, Said
from benchmarks.build_vs_peers.report import Figures, disagreements, figures, table
from benchmarks.build_vs_peers.server import Server, running
from benchmarks.build_vs_peers.works import PICTURE_BYTES, WORKS, Work

SYSTEMS = ("bare", "spavl", *PACKAGES)
QUICK_PART = 0.1
PATIENCE_S = 900
"""Longest run; one that takes longer did not finish."""


class Trouble(Exception):
    """Why a run has no figures."""


def main() -> None:
    """Measures, prints the table and writes the figures."""
    options = _options()
    works = [work for work in WORKS if work.name in options.works]
    if options.quick:
        works = [work.scaled(QUICK_PART) for work in works]
    runs: list[Figures] = []
    with tempfile.TemporaryDirectory() as scratch, running() as server:
        pictures = _draw_pictures(Path(scratch), max(work.pictures for work in works))
        for work in works:
            systems = [name for name in options.systems if work.peers or name not in PACKAGES]
            for number in range(options.rounds):
                for place in range(len(systems)):
                    system = systems[(place + number) % len(systems)]
                    runs.append(_run(work, system, server, pictures, options.environments))
                    print(runs[-1], flush=True)
    print(table(runs), *disagreements(runs), sep="\n")
    if options.json:
        machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "peers": PACKAGES}
        body = {"machine": machine, "runs": [run._asdict() for run in runs]}
        options.json.write_text(json.dumps(body, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.build_vs_peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [work.name for work in WORKS]
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, one round")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--works", nargs="+", choices=names, default=names)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--rounds", type=int, help="how often every system takes its turn")
    parser.add_argument(
        "--environments", type=Path, default=Path("runs/peers"), help="where the peers' environments lie"
    )
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def _draw_pictures(folder: Path, count: int) -> Path:
    """Writes files of the size of a photograph; nobody decodes them."""
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0" + os.urandom(PICTURE_BYTES - 4))
    return folder


def _run(work: Work, system: str, server: Server, pictures: Path, environments: Path) -> Figures:
    """Runs one system once; whatever goes wrong there is said in its figures."""
    with tempfile.TemporaryDirectory() as scratch:
        home, folder = Path(scratch) / "home", Path(scratch) / "kept"
        home.mkdir()
        folder.mkdir()
        job = Job(
            base_url=server.base_url,
            folder=str(folder),
            pictures=str(pictures) if work.pictures else "",
            picture_count=work.pictures,
            rows=work.rows,
            concurrency=work.concurrency,
        )
        server.behave(work.conditions)
        try:
            python = interpreter(system, environments.absolute())
            environment = surroundings(python, home)
            command = [str(python), "-m", f"benchmarks.build_vs_peers.{system}_system", job.to_line()]
            if work.killed:
                _kill_at_half(command, environment, server, work.rows)
            started = time.monotonic()
            said = _finish(command, environment)
        except (NotInstalled, Trouble) as trouble:
            return Figures(work.name, system, trouble=str(trouble))
        wall_s = time.monotonic() - started
        disk_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return figures(work, system, said, server.counts(), wall_s, disk_bytes)


def _finish(command: list[str], environment: dict[str, str]) -> Said:
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"not finished after {PATIENCE_S} s") from error
    if done.returncode:
        raise Trouble(f"exit code {done.returncode}: {(done.stderr.strip().splitlines() or ['no word'])[-1][:200]}")
    return Said(**json.loads(done.stdout.splitlines()[-1]))


def _kill_at_half(command: list[str], environment: dict[str, str], server: Server, rows: int) -> None:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + PATIENCE_S
    while server.counts().rows < rows / 2:
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            raise Trouble("it ended before it could be killed")
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    main()
