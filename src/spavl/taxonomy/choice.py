"""The leaves that a run's configuration names, found in its taxonomy."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from spavl.config import RunConfig
from spavl.errors import UserError
from spavl.image_config import ImagesConfig
from spavl.taxonomy.tree import Taxonomy


class ChosenLeaves(NamedTuple):
    """Paths of leaves."""

    collected: tuple[str, ...]
    """Those that pictures are collected for."""
    held_out: tuple[str, ...]
    """Those of them that training never sees."""
    quotas: Mapping[str, int]
    """Path of a collected leaf -> pictures that are wanted."""


def chosen_leaves(config: RunConfig, taxonomy: Taxonomy) -> ChosenLeaves:
    """Returns the leaves of a run.

    Raises:
        UserError: A leaf is unknown, or is held out, or has a quota, without being collected for.
    """
    named = tuple(_path(taxonomy, name, "images.leaves") for name in config.images.leaves)
    collected = named or tuple(leaf.path for leaf in taxonomy.leaves)
    held_out = tuple(_path(taxonomy, name, "dataset.held_out_leaves") for name in config.dataset.held_out_leaves)
    for name, path in zip(config.dataset.held_out_leaves, held_out, strict=True):
        if path not in collected:
            raise UserError(
                f"dataset.held_out_leaves: '{name}' is not among images.leaves, so no picture is collected for it. "
                "Add it there, or take it out here."
            )
    return ChosenLeaves(collected, held_out, leaf_quotas(config.images, taxonomy, collected))


def leaf_quotas(config: ImagesConfig, taxonomy: Taxonomy, collected: Sequence[str]) -> dict[str, int]:
    """Returns how many pictures each leaf is to have, path -> number, in the order of `collected`.

    Raises:
        UserError: A leaf with a quota of its own is unknown, or not among those that are collected for.
    """
    own: dict[str, int] = {}
    for name, number in config.quotas.items():
        path = _path(taxonomy, name, "images.quotas")
        if path not in collected:
            raise UserError(f"images.quotas: '{name}' is not among images.leaves. Add it there, or take it out here.")
        own[path] = number
    return {path: own.get(path, config.per_leaf) for path in collected}


def _path(taxonomy: Taxonomy, name: str, field: str) -> str:
    try:
        return taxonomy.leaf(name).path
    except UserError as error:
        raise UserError(f"{field}: {error}") from error
