"""The questions that all systems are asked, what the server says, and how a further sample's cost is worked out."""

import json
from pathlib import Path

from benchmarks.evaluate_vs_peers.__main__ import Measured, table
from benchmarks.evaluate_vs_peers.works import write_pope, yes_or_no

from spavl.evaluate.benchmarks import Listed
from spavl.evaluate.benchmarks.pope import POPE


def test_three_of_four_answers_are_right_and_rows_share_their_pictures(tmp_path: Path) -> None:
    """Odd questions are right with yes, every second even one gets a wrong yes; 12 questions show 2 pictures."""
    rows = list(POPE.read(write_pope(tmp_path / "pope", 12), ("random",)))
    asked = [row for row in rows if isinstance(row, Listed)]
    assert len(asked) == 12 and len({row.picture for row in asked}) == 2
    said = [yes_or_no(json.dumps({"text": row.prompt}).encode()).lower() for row in asked]
    assert sum(one == row.references[0] for one, row in zip(said, asked, strict=True)) == 9


def test_a_further_sample_costs_what_many_cost_less_a_few() -> None:
    """(3 - 2) s by (30 - 10) samples are 50 ms, and 3 s less 30 of them 1.5 s; 250 ms are five times as much."""
    ours = [Measured("server", "spavl", 10, cpu_s=2, wall_s=1), Measured("server", "spavl", 30, cpu_s=3, wall_s=2)]
    theirs = [Measured("server", "other", 10, cpu_s=5, wall_s=1), Measured("server", "other", 30, cpu_s=10, wall_s=2)]
    lines = table([*ours, *theirs, Measured("server", "third", 10, trouble="pip failed")]).splitlines()
    assert lines[2].startswith("| server | spavl | 50.00 (50.00–50.00) | 1.0 | 1.5 | 15.0 |")
    assert lines[3].startswith("| server | other | 250.00 (250.00–250.00) | 5.0 |")
    assert lines[4] == "| server | third | did not run: pip failed |"
