"""The leaves that a run's configuration names, found in its taxonomy."""

from typing import NamedTuple

from spavl.config import RunConfig
from spavl.errors import UserError
from spavl.taxonomy.tree import Taxonomy


class ChosenLeaves(NamedTuple):
    """Paths of leaves."""

    collected: tuple[str, ...]
    """Those that pictures are collected for."""
    held_out: tuple[str, ...]
    """Those of them that training never sees."""


def chosen_leaves(config: RunConfig, taxonomy: Taxonomy) -> ChosenLeaves:
    """Returns the leaves of a run.

    Raises:
        UserError: A leaf is unknown, or is held out without being collected for.
    """
    named = tuple(taxonomy.leaf(name) for name in config.images.leaves)
    collected = tuple(leaf.path for leaf in named or taxonomy.leaves)
    held_out = tuple(taxonomy.leaf(name).path for name in config.dataset.held_out_leaves)
    for name, path in zip(config.dataset.held_out_leaves, held_out, strict=True):
        if path not in collected:
            raise UserError(
                f"dataset.held_out_leaves: '{name}' is not among images.leaves, so no picture is collected for it. "
                "Add it there, or take it out here."
            )
    return ChosenLeaves(collected, held_out)
