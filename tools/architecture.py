"""Keeps ARCHITECTURE.md's list of files true: one line a file, taken from the module's docstring.

`python tools/architecture.py` checks; `--write` writes the list anew.
"""

import ast
import sys
from pathlib import Path

PAGE = Path("ARCHITECTURE.md")
SOURCE = Path("src/spavl")
START, END = "<!-- files -->\n", "<!-- /files -->\n"
ROOMS = (
    "",
    "taxonomy",
    "images",
    "questions",
    "responses",
    "preferences",
    "dataset",
    "train",
    "evaluate",
    "pipeline",
    "report",
    "interchange",
    "cli",
    "judges",
    "models",
    "execution",
    "embedded",
    "store",
    "stats",
    "texts",
)
"""Folders in the order of the road; what stands below it comes last."""


def file_list() -> str:
    """Returns the list: a heading for each room, a line for each file."""
    lines = []
    for room in ROOMS:
        folder = SOURCE / room
        paths = sorted(folder.glob("*.py") if room == "" else folder.rglob("*.py"))
        lines.append(f"\n**{f'{room}/' if room else 'src/spavl/'}** {_summary(folder / '__init__.py')}\n")
        lines += [f"- `{path.relative_to(SOURCE)}` {_summary(path)}" for path in paths if path.name != "__init__.py"]
    return "\n".join(lines).lstrip("\n") + "\n"


def _summary(path: Path) -> str:
    """Returns a module docstring's first sentence or line, joined."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def main() -> None:
    """Checks or writes the list."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(START)
    old, after = rest.split(END)
    rooms = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    if missing := rooms - set(ROOMS):
        sys.exit(f"tools/architecture.py: ROOMS lacks {', '.join(sorted(missing))}")
    new = file_list()
    if "--write" in sys.argv:
        PAGE.write_text(before + START + new + END + after, encoding="utf-8")
    elif old != new:
        sys.exit("ARCHITECTURE.md's list of files is out of date: run `make format`.")
    print("architecture: good")


if __name__ == "__main__":
    main()
