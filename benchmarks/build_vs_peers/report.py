"""Figures of runs, and the table for RESULTS.md."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.build_vs_peers.job import Said
from benchmarks.build_vs_peers.server import Counts
from benchmarks.build_vs_peers.works import Work


class Figures(NamedTuple):
    """One run of one system at one work."""

    work: str
    system: str
    trouble: str = ""
    """Why there are no figures."""
    cpu_ms_a_row: float = 0.0
    """User and system time of the whole process, start and end included, by the rows."""
    start_cpu_s: float = 0.0
    """The part of it before the work began."""
    peak_mb: float = 0.0
    window_s: float = 0.0
    efficiency: float = 0.0
    """Ideal window, the server's delays by the requests in flight, divided by the window."""
    wall_s: float = 0.0
    bytes_a_row: float = 0.0
    kept: int = 0
    failed: int = 0
    lost: int = 0
    """Rows with neither an answer nor a counted failure."""
    repaid: int = 0
    """Requests for rows that had one already which was not refused or malformed."""
    most_in_flight: int = 0
    digest: str = ""


def figures(work: Work, system: str, said: Said, counts: Counts, wall_s: float, disk_bytes: int) -> Figures:
    """Puts together what a system said, what the server saw, and what lies on the disk."""
    return Figures(
        work=work.name,
        system=system,
        cpu_ms_a_row=said.cpu_s * 1000 / work.rows,
        start_cpu_s=said.start_cpu_s,
        peak_mb=said.peak_mb,
        window_s=counts.window_s,
        efficiency=counts.ideal_s / work.concurrency / counts.window_s if counts.window_s else 0.0,
        wall_s=wall_s,
        bytes_a_row=disk_bytes / work.rows,
        kept=said.kept,
        failed=said.failed,
        lost=work.rows - said.kept - said.failed,
        repaid=counts.requests - counts.refused - counts.malformed - counts.others - counts.rows,
        most_in_flight=counts.most_in_flight,
        digest=said.digest,
    )


def disagreements(runs: Sequence[Figures]) -> list[str]:
    """Says which systems have an answer to every row, and not the same answers."""
    said = []
    for work in dict.fromkeys(run.work for run in runs):
        whole = [run for run in runs if run.work == work and run.kept and not run.failed and not run.lost]
        others = dict.fromkeys(run.system for run in whole if run.digest != whole[0].digest)
        said += [f"{work}: {whole[0].system} and {other} kept different answers" for other in others]
    return said


def table(runs: Sequence[Figures]) -> str:
    """Returns the medians as a Markdown table, with the range of the CPU time."""
    lines = [
        "| work | system | CPU ms a row | MB | window s | efficiency | KB a row | kept, failed, lost | paid twice |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for work, system in dict.fromkeys((run.work, run.system) for run in runs):
        mine = [run for run in runs if (run.work, run.system) == (work, system)]
        good = [run for run in mine if not run.trouble]
        lines.append(f"| {work} | {system} | {_cells(good) if good else f'did not run: {mine[0].trouble}'} |")
    return "\n".join(lines)


def _cells(runs: Sequence[Figures]) -> str:
    cpu = [run.cpu_ms_a_row for run in runs]
    last = runs[-1]
    cells = (
        f"{statistics.median(cpu):.2f} ({min(cpu):.2f}–{max(cpu):.2f})",
        f"{statistics.median(run.peak_mb for run in runs):,.0f}",
        f"{statistics.median(run.window_s for run in runs):.1f}",
        f"{statistics.median(run.efficiency for run in runs):.2f}",
        f"{statistics.median(run.bytes_a_row for run in runs) / 1000:.1f}",
        f"{last.kept}, {last.failed}, {last.lost}",
        f"{max(run.repaid for run in runs)}",
    )
    return " | ".join(cells)
