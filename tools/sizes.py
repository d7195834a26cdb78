"""Checks that no source file is longer than 400 lines and no function's body longer than 60."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_FILE_LINES = 400
MAX_BODY_LINES = 60
ROOTS = ("src", "tools", "recipes", "benchmarks", "tests")


def problems(path: Path) -> Iterator[str]:
    """Yields one line for everything in a file that is too long."""
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    if lines > MAX_FILE_LINES:
        yield f"{path}: {lines} lines, at most {MAX_FILE_LINES}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            length = (body[-1].end_lineno or 0) - body[0].lineno + 1
            if length > MAX_BODY_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines, at most {MAX_BODY_LINES}"


def main() -> None:
    """Prints the problems and exits with 1 if there are any."""
    found = [line for root in ROOTS for path in sorted(Path(root).rglob("*.py")) for line in problems(path)]
    print("\n".join(found) or "sizes: good")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
