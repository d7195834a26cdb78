"""The command line: one file a verb; a verb loads what it needs only when it runs."""

from spavl.cli.main import main

__all__ = ["main"]
