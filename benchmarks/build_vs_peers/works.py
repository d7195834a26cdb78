"""What is measured: rows, what they show, how the server behaves, and whether the run is killed on its way."""

from typing import NamedTuple

from benchmarks.build_vs_peers.server import Conditions

PICTURE_BYTES = 96_000
MOST_PICTURES = 2000
"""Different pictures that lie on the disk; more rows than these share them, side by side."""


class Work(NamedTuple):
    """One setting."""

    name: str
    about: str
    rows: int
    rows_a_picture: int
    """0 for text alone."""
    concurrency: int
    conditions: Conditions = Conditions()
    killed: bool = False
    """Whether the run is killed (`kill -9`) once half of its rows are answered, and started again."""
    peers: bool = True
    """Whether the peers take part."""

    @property
    def pictures(self) -> int:
        """Different pictures."""
        if not self.rows_a_picture:
            return 0
        return min(MOST_PICTURES, -(-self.rows // self.rows_a_picture))

    def scaled(self, part: float) -> "Work":
        """Returns the work with fewer rows."""
        return self._replace(rows=max(self.concurrency, int(self.rows * part)))


TAIL = Conditions(delay="tail", mean_s=0.29)
WORKS = (
    Work("W1", "text", 2000, 0, 64),
    Work("W2", "a picture a row", 2000, 1, 64),
    Work("W2-slow", "the same, half a second each", 2000, 1, 64, Conditions(mean_s=0.5)),
    Work("W2-50k", "50,000 rows", 50_000, 25, 64, peers=False),
    Work("W3", "twelve rows a picture", 2400, 12, 64),
    Work("W5", "heavy tail, a picture a row", 1280, 1, 64, TAIL),
    Work("W6", "text, 10 % 429 with Retry-After 1", 500, 0, 32, Conditions(refused=0.1)),
    Work("W7", "text, 2 % malformed", 1000, 0, 32, Conditions(malformed=0.02)),
    Work("kill", "text, kill -9 at half", 1000, 0, 32, killed=True),
)
"""W4, questions with answers and judged pairs, is nothing the peers do; `benchmarks.full_build` measures ours."""
