"""The leaves that a configuration names."""

from pathlib import Path

import pytest

import spavl.cli
from spavl.config import RunConfig, load_config
from spavl.errors import UserError
from spavl.taxonomy import chosen_leaves, load_taxonomy


def config(*overrides: str) -> RunConfig:
    return load_config(Path(spavl.cli.__file__).with_name("demo.yaml"), overrides)


def test_without_a_list_every_leaf_is_collected_for() -> None:
    taxonomy = load_taxonomy("spa_vl")
    chosen = chosen_leaves(config("images.leaves=[]", "dataset.held_out_leaves=[theft]"), taxonomy)
    assert chosen.collected == tuple(leaf.path for leaf in taxonomy.leaves)
    assert [path.rpartition("/")[2] for path in chosen.held_out] == ["theft"]


def test_a_leaf_may_be_named_by_path_in_one_list_and_by_label_in_the_other() -> None:
    taxonomy = load_taxonomy("spa_vl")
    path = taxonomy.leaf("theft").path
    chosen = chosen_leaves(config(f"images.leaves=[weapon, {path}]", "dataset.held_out_leaves=[theft]"), taxonomy)
    assert chosen.held_out == (path,)
    assert len(chosen.collected) == 2


def test_a_held_out_leaf_that_is_not_collected_for_is_refused() -> None:
    with pytest.raises(UserError, match=r"dataset\.held_out_leaves: 'theft' is not among images\.leaves"):
        chosen_leaves(
            config("images.leaves=[weapon, gamble]", "dataset.held_out_leaves=[gamble, theft]"), load_taxonomy("spa_vl")
        )
