"""The narrow last layer: the same states from less work. Gradients, family by family, stand in `test_exactness`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tests.tiny_families import build, make_pictures
from tests.train.test_exactness import make_rows
from torch import nn

from spavl.models.loading import Vlm
from spavl.train.engine import Engine
from spavl.train.families import FAMILIES, family_of
from spavl.train.last_layer import narrowed
from spavl.train.logprobs import predicting_places, tree_states
from spavl.train.tree import PackedTrees
from spavl.train.vision_cache import Pictures

TYPES = tuple(family.model_type for family in FAMILIES)
WHOLE = ("gemma3",)
"""A family whose layers have norms behind attention and MLP too."""


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return make_pictures(tmp_path_factory.mktemp("pictures"))


def opened(model_type: str, picture: Callable[[str], Path]) -> tuple[Engine, PackedTrees]:
    vlm: Vlm = build(model_type)
    engine = Engine(vlm.model, family_of(vlm.model), Pictures(vlm, family_of(vlm.model), picture), budget=10_000)
    rows = make_rows(vlm, picture)
    (packed,) = engine.pack(rows, range(len(rows)))
    return engine, packed


@contextmanager
def tokens_seen(module: nn.Module) -> Iterator[list[int]]:
    seen: list[int] = []
    hook = module.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1]))
    yield seen
    hook.remove()


@pytest.mark.parametrize("model_type", TYPES)
@torch.no_grad()
def test_states_are_those_of_the_whole_layer_and_only_they_pass_its_mlp(
    model_type: str, picture: Callable[[str], Path]
) -> None:
    """Siblings share the place that predicts their first token, so fewer places pass than are read."""
    engine, packed = opened(model_type, picture)
    places = predicting_places(packed)
    layers = engine.family.language(engine.model).layers
    with tokens_seen(layers[-1].mlp) as last, tokens_seen(layers[0].mlp) as first:
        narrow = tree_states(engine.model, engine.family, packed, engine.pictures, places)
        everywhere = tree_states(engine.model, engine.family, packed, engine.pictures, range(len(packed.tokens)))
    assert torch.allclose(narrow, everywhere[places], rtol=1e-12, atol=1e-12)
    assert first == [len(packed.tokens)] * 2
    assert last == [len(packed.tokens) if model_type in WHOLE else len(set(places)), len(packed.tokens)]
    assert len(set(places)) < len(places) < len(packed.tokens)


def test_where_the_model_adds_something_behind_every_layer_the_last_one_is_not_narrowed(
    picture: Callable[[str], Path],
) -> None:
    engine, _ = opened("llava", picture)
    language = engine.family.language(engine.model)
    assert narrowed(language, [5, 3, 5], added=len(language.layers) - 1) == [3, 5]
    assert narrowed(language, [5, 3, 5], added=len(language.layers)) is None


def test_a_layer_of_an_unknown_class_is_not_narrowed(picture: Callable[[str], Path]) -> None:
    engine, _ = opened("gemma3", picture)
    assert narrowed(engine.family.language(engine.model), [1]) is None


@torch.no_grad()
def test_a_pass_that_wants_all_is_the_models_own_afterwards(picture: Callable[[str], Path]) -> None:
    engine, packed = opened("llava", picture)
    ids = torch.arange(9)[None]
    language = engine.family.language(engine.model)
    before = language(input_ids=ids).last_hidden_state
    engine.run(packed)
    assert torch.equal(language(input_ids=ids).last_hidden_state, before)
