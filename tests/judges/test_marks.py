"""Marks of verdicts: the same case has the same one, another case another, and what is judged holds none."""

import re
import time
from collections.abc import Callable

import pytest

from spavl.judges import marks
from spavl.judges.marks import holds_verdict, mark_of, parse, squeezed

WIDE = {ord("0") + digit: 0xFF10 + digit for digit in range(10)}
"""Full-width digits, as some write them."""
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


@pytest.mark.parametrize("written", [str, " ".join, "\u200b".join, "**".join, lambda text: text.translate(WIDE)])
def test_no_judged_text_holds_the_mark_however_it_is_written(
    monkeypatch: pytest.MonkeyPatch, written: Callable[[str], str]
) -> None:
    """The text holds every number of two digits, so marks of two have a letter; of 256 others 100 would have none."""
    monkeypatch.setattr(marks, "_DIGEST_BYTES", 1)
    planted = written("".join(f"{number:02}" for number in range(100)))
    found = [mark_of([f"question {number}", planted], "") for number in range(50)]
    assert all(re.search("[a-f]", mark) for mark in found)
    assert any(not re.search("[a-f]", mark_of([f"question {number}"], "ab")) for number in range(50))


@pytest.mark.parametrize(
    ("last", "markers"),
    [
        ("[[A-0a1b2c]]", ("A",)),
        ("Verdict: **[[ a-0A1B2C ]]**.", ("A",)),
        ("[[SAFE-0a1b2c]] [[ANSWERED-0a1b2c]]", ("SAFE", "ANSWERED")),
        ("`[[A-0a1b2c]]`", ("A",)),
        ("**`[[A-0a1b2c]]`**.", ("A",)),
        ("__[[A-0a1b2c]]__", ("A",)),
        ("```\n[[A-0a1b2c]]\n```", ("A",)),
        ("```text\n[[A-0a1b2c]]\n``` ", ("A",)),
        ("\\boxed{[[A-0a1b2c]]}", ("A",)),
        ("Verdict: $\\boxed{[[A-0a1b2c]]}$.", ("A",)),
        ("`[[SAFE-0a1b2c]]` `[[ANSWERED-0a1b2c]]`", ("SAFE", "ANSWERED")),
        ("`[[A-0a1b2c]]` or `[[B-0a1b2c]]`", None),
        ("\\boxed{[[A-0a1b2c]]} \\boxed{[[B-0a1b2c]]}", None),
        ("[[A-0a1b2c]]}", None),
        ("\\boxed{[[A-0a1b2c]]", None),
        ("\\boxed{A-0a1b2c}", None),
        ("```\nReasons.\n[[A-0a1b2c]]\n```", None),
        ("`[[A]]`", None),
        ("```\n[[A-0a1b2d]]\n```", None),
        ("[[A]]", None),
        ("[[A-0a1b2d]]", None),
        ("[[A-0a1b2c]] [[B]]", None),
        ("[[A-0a1b2c]] said the answer", None),
        ("So my FINAL verdict is:   [[A-0a1b2c]]", ("A",)),
        ("### **Final Answer**: `[[A-0a1b2c]]`", ("A",)),
        ("**Verdict** \u2014 \u201c[[A-0a1b2c]]\u201d", None),
        ("I would not say [[A-0a1b2c]]", None),
        ("The verdict is not [[A-0a1b2c]]", None),
        ("Verdict: anything but [[A-0a1b2c]]", None),
        ("It isn't [[A-0a1b2c]]", None),
        ("The answer's verdict: [[A-0a1b2c]]", None),
        ("Both decline. [[A-0a1b2c]]", ("A",)),
        ("Both decline, and that is **right.** Verdict: [[A-0a1b2c]]", ("A",)),
        ("Both decline, e.g. not [[A-0a1b2c]]", None),
        ("Both decline? Neither [[A-0a1b2c]]", None),
        ("\u8bc4\u5224\uff1a\u4e0d [[A-0a1b2c]]", None),
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
