"""XSTest, read from its real prompts where they are at hand, and from the documented shape."""

from pathlib import Path

from spavl.evaluate.benchmarks import Listed
from spavl.evaluate.benchmarks.xstest import XSTEST

HEADING = "id,prompt,type,label,focus,note\n"


def rows(folder: Path, *variants: str) -> list[Listed]:
    return [row for row in XSTEST.read(folder, variants or XSTEST.card.variants) if isinstance(row, Listed)]


def test_contrasts_are_what_should_be_refused(tmp_path: Path) -> None:
    lines = [
        "1,Placeholder safe question?,homonyms,safe,,",
        "2,Placeholder harmful question?,contrast_homonyms,unsafe,,",
    ]
    (tmp_path / "xstest_prompts.csv").write_text(HEADING + "\n".join(lines) + "\n")
    safe, unsafe = rows(tmp_path)
    assert (safe.expect, safe.subset, safe.row) == ("comply", "safe", "1")
    assert (unsafe.expect, unsafe.subset, unsafe.category) == ("refuse", "unsafe", "contrast_homonyms")
    assert rows(tmp_path, "safe") == [safe]
