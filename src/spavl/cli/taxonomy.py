"""`spavl taxonomy`: prints a taxonomy as a tree with its counts."""

import dataclasses
from typing import Annotated

import typer
from rich.console import Console

from spavl.cli.options import AsJson, say
from spavl.taxonomy import load_taxonomy, render


def taxonomy(
    name: Annotated[str, typer.Argument(help="`spa_vl`, or the path of your own taxonomy file.")] = "spa_vl",
    as_json: AsJson = False,
) -> None:
    """Print a taxonomy: domains, categories, subcategories, and how many there are."""
    loaded = load_taxonomy(name)
    if as_json:
        sizes = {
            "domains": len(loaded.domains),
            "categories": len(loaded.categories),
            "subcategories": len(loaded.leaves),
            "keywords": sum(len(leaf.keywords) for leaf in loaded.leaves),
        }
        say(dataclasses.asdict(loaded) | {"counts": sizes}, [], as_json)
        return
    Console().print(render(loaded))
