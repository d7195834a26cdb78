"""Marks of verdicts: the same case has the same one, another case another, and what is judged holds none."""

import re
import time

import pytest

from spavl.judges import marks
from spavl.judges.marks import holds_verdict, mark_of, parse, squeezed

TEXTS = ["placeholder question", "one", "two"]


def test_a_case_has_its_own_mark_on_every_run() -> None:
    """Both orders of a pair, other texts, texts cut elsewhere and another picture are other cases.

    The pinned one is what `b2sum -l 24` says of `["placeholder question", "one", "two", "ab", 0]`.
    """
    mark = mark_of(TEXTS, "ab")
    assert re.fullmatch("-[0-9a-f]{6}", mark) and mark == mark_of(list(TEXTS), "ab") == "-b0867d"
    others = [
        mark_of([TEXTS[0], "two", "one"], "ab"),
        mark_of([*TEXTS, ""], "ab"),
        mark_of(["placeholder questiono", "ne", "two"], "ab"),
        mark_of(TEXTS, "cd"),
    ]
    assert len({mark, *others}) == 5


@pytest.mark.parametrize("written", [str, str.upper, " ".join, "\u200b".join, "**".join])
def test_no_judged_text_holds_the_mark_however_it_is_written(monkeypatch: pytest.MonkeyPatch, written: object) -> None:
    """With marks of two digits a text can hold 255 of the 256, so the one that is left is the mark."""
    monkeypatch.setattr(marks, "_DIGEST_BYTES", 1)
    every = [f"{number:02x}" for number in range(256)]
    for left in ("00", "a7"):
        planted = "; ".join(written(one) for one in every if one != left)
        assert mark_of(["question", planted], "") == f"-{left}"


@pytest.mark.parametrize(
    ("last", "markers"),
    [
        ("[[A-0a1b2c]]", ("A",)),
        ("Verdict: **[[ a-0A1B2C ]]**.", ("A",)),
        ("[[SAFE-0a1b2c]] [[ANSWERED-0a1b2c]]", ("SAFE", "ANSWERED")),
        ("[[A]]", None),
        ("[[A-0a1b2d]]", None),
        ("[[A-0a1b2c]] [[B]]", None),
        ("[[A-0a1b2c]] said the answer", None),
        ("A-0a1b2c", None),
    ],
)
def test_only_markers_of_the_calls_mark_count(last: str, markers: tuple[str, ...] | None) -> None:
    ruling = parse(f"Reasons.\n{last}", "-0a1b2c")
    assert (ruling.markers if ruling else None) == markers


def test_long_hostile_texts_are_read_in_no_time() -> None:
    """Brackets, spaces and letters by the hundred thousand, which a careless pattern would go over again and again."""
    began = time.perf_counter()
    for hostile in ("[" * 200_000, "[[a" * 70_000, " " * 200_000, "［" * 200_000):
        mark_of([hostile, hostile], "")
        assert not holds_verdict([hostile], ["A"])
        parse(hostile, "-0a1b2c")
    assert time.perf_counter() - began < 30  # quadratic ones take hours


def test_squeezing_leaves_what_can_be_read() -> None:
    assert squeezed("  The **Verdict**\u200b is:\n［［Ａ］］ ") == "theverdictis:[[a]]"
