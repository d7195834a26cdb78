"""One run of one system: what it is told, and what it says in return. Standard library only: peers import it too."""

import json
import resource
from pathlib import Path
from typing import NamedTuple

PROMPT = "Placeholder question {row}: what is to be seen in this picture, and where is it?"
MAX_TOKENS = 64


class Job(NamedTuple):
    """What a system is told to do: ask the server about every row, and keep the answers in its folder."""

    base_url: str
    folder: str
    """The system's own, where everything it keeps must lie; a second run with the same folder goes on."""
    pictures: str
    """Folder of `0.jpg`, `1.jpg` and so on; empty where rows are text alone."""
    picture_count: int
    rows: int
    concurrency: int

    def to_line(self) -> str:
        """Returns the job as one argument."""
        return json.dumps(self._asdict())

    @classmethod
    def from_line(cls, line: str) -> "Job":
        """Reads what `to_line` wrote."""
        return cls(**json.loads(line))

    def prompt(self, row: int) -> str:
        """Returns what is asked about a row."""
        return PROMPT.format(row=row)

    def picture(self, row: int) -> Path | None:
        """Returns a row's picture; rows about one picture stand side by side."""
        if not self.pictures:
            return None
        each = -(-self.rows // self.picture_count)
        return Path(self.pictures) / f"{row // each}.jpg"


class Said(NamedTuple):
    """What a system says of its run."""

    kept: int
    """Rows whose answer it has at the end."""
    failed: int
    """Rows that it says have no answer, and why."""
    digest: str
    """SHA-256 over the kept answers in the order of rows; equal answers give equal digests."""
    start_cpu_s: float
    """User and system seconds until the work began: interpreter, imports."""
    cpu_s: float
    """User and system seconds of the process and its children, from start to end."""
    peak_mb: float
    """Highest resident memory of the process."""


def cpu_s() -> float:
    """Returns user and system seconds of this process and of those of its children that ended."""
    mine, theirs = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime


def say(kept: int, failed: int, digest: str, start_cpu_s: float) -> None:
    """Prints what a run says, as the last line of its output."""
    highest = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    said = Said(kept, failed, digest, start_cpu_s, cpu_s(), int(highest.split()[1]) / 1024)
    print(json.dumps(said._asdict()), flush=True)
