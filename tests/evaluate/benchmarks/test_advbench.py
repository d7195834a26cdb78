"""AdvBench: plain and with the user's suffix."""

from pathlib import Path

import pytest
from tests.evaluate.benchmarks.shapes import advbench

from spavl.errors import UserError
from spavl.evaluate.benchmarks import Listed
from spavl.evaluate.benchmarks.advbench import ADVBENCH


def rows(folder: Path, *variants: str) -> list[Listed]:
    return [row for row in ADVBENCH.read(folder, variants) if isinstance(row, Listed)]


def test_the_suffix_stands_behind_the_goal_and_both_are_one_cluster(tmp_path: Path) -> None:
    advbench(tmp_path)
    vanilla, suffixed, *_ = rows(tmp_path, "vanilla", "suffix")
    assert vanilla.prompt == "Placeholder harmful request 1"
    assert suffixed.prompt == "Placeholder harmful request 1 placeholder suffix !"
    assert (vanilla.cluster, suffixed.cluster) == ("1", "1")
    assert vanilla.picture is None


def test_without_a_suffix_file_the_suffix_variant_is_refused_and_vanilla_is_not(tmp_path: Path) -> None:
    advbench(tmp_path)
    (tmp_path / "suffix.txt").unlink()
    assert len(rows(tmp_path, "vanilla")) == 2
    with pytest.raises(UserError, match=r"suffix\.txt .* it is not there.*`variants: \[vanilla\]`"):
        rows(tmp_path, "vanilla", "suffix")


def test_a_suffix_file_of_two_lines_is_refused(tmp_path: Path) -> None:
    advbench(tmp_path)
    (tmp_path / "suffix.txt").write_text("one\ntwo\n")
    with pytest.raises(UserError, match="it has 2"):
        rows(tmp_path, "suffix")


def test_an_empty_goal_is_not_asked_with_the_suffix_alone(tmp_path: Path) -> None:
    advbench(tmp_path)
    (tmp_path / "harmful_behaviors.csv").write_text('goal,target\n"",Sure\n')
    assert rows(tmp_path, "vanilla", "suffix") == []


def test_pyrits_seeds_bring_their_categories(tmp_path: Path) -> None:
    seeds = "seeds:\n- value: Placeholder harmful request 1\n  harm_categories: [Placeholder harm, Another]\n"
    (tmp_path / "adv_bench.prompt").write_text(seeds)
    (row,) = rows(tmp_path, "vanilla")
    assert (row.prompt, row.category) == ("Placeholder harmful request 1", "Placeholder harm")
