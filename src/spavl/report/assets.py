"""The files that every page carries in itself: its style sheet, its script."""

from importlib import resources


def asset(name: str) -> str:
    """Returns one of them."""
    return (resources.files("spavl.report") / name).read_text(encoding="utf-8")
