"""What the kernel computes, on the tiny LLaVA; every family against its naive twin stands in `test_exactness`."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.train.material import make_pairs, open_engine
from torch import Tensor

from spavl.models.loading import load_vlm
from spavl.train.engine import Engine
from spavl.train.logprobs import pair_logprobs, row_logprobs, tree_positions
from spavl.train.loss_formulas import PairLogprobs
from spavl.train.render import Renderer, Row

Picture = Callable[[str], Path]


@pytest.fixture
def rows(renderer: Renderer, picture: Picture) -> list[Row]:
    return renderer.rows(make_pairs(5), picture)


@pytest.fixture
def exact(tiny: Path, picture: Picture) -> Engine:
    return open_engine(load_vlm(tiny, "float64"), picture, budget=2000)


@torch.no_grad()
def by_row(engine: Engine, rows: list[Row]) -> dict[int, PairLogprobs]:
    """Returns place -> the pair's log-probabilities."""
    found: dict[int, tuple[Tensor, ...]] = {}
    for packed in engine.pack(rows, range(len(rows))):
        found |= row_logprobs(engine.run(packed), packed)
    pairs = pair_logprobs(found, range(len(rows)))
    return {place: PairLogprobs(*pair) for place, pair in enumerate(zip(*pairs, strict=True))}


def test_first_and_end_token_of_an_answer_are_in_the_loss(exact: Engine, rows: list[Row]) -> None:
    """The answer `xy<end>` has three log-probabilities; none of them is certain, so each changes the sum."""
    answer = rows[0].chosen[:2] + rows[0].chosen[-1:]
    (packed,) = exact.pack([rows[0]._replace(answers=(answer,))], [0])
    per_token = exact.run(packed).per_token
    assert per_token.shape == (3,) and (per_token < -1e-6).all()
    assert packed.answers[0].predicting == tuple(len(rows[0].prompt) - 1 + place for place in range(3))


def test_flex_attention_changes_nothing(exact: Engine, rows: list[Row]) -> None:
    nodes, flex = by_row(exact, rows), by_row(exact._replace(flex=True), rows)
    for place in range(len(rows)):
        assert abs(nodes[place].chosen - flex[place].chosen) < 1e-10
        assert abs(nodes[place].rejected - flex[place].rejected) < 1e-10


def test_company_changes_nothing(exact: Engine, rows: list[Row]) -> None:
    together = by_row(exact, rows)
    for place, row in enumerate(rows):
        alone = by_row(exact, [row])[0]
        assert abs(together[place].chosen - alone.chosen) < 1e-10
        assert abs(together[place].rejected - alone.rejected) < 1e-10


def test_the_picture_matters(exact: Engine, rows: list[Row]) -> None:
    pairs = by_row(exact, [rows[0], rows[0]._replace(image_id="img-1")])
    assert abs(pairs[0].chosen - pairs[1].chosen) > 1e-3


def test_bfloat16_weights_give_float32_log_probabilities(
    tiny: Path, rows: list[Row], picture: Picture, exact: Engine
) -> None:
    half = by_row(open_engine(load_vlm(tiny, "bfloat16"), picture), rows)
    for place, pair in by_row(exact, rows).items():
        assert half[place].chosen.dtype == torch.float32
        assert abs((half[place].chosen - pair.chosen) / pair.chosen) < 0.05


def test_siblings_have_the_same_positions_and_go_on_from_their_parent(exact: Engine, rows: list[Row]) -> None:
    """Rows 0 and 3 ask about img-0: root r, questions of q tokens from r on, answers from r + q on."""
    (packed,) = exact.pack(rows, [0, 3])
    shown = [exact.pictures(image_id) for _, image_id in packed.pictures]
    positions = tree_positions(exact.model, exact.family, packed, shown)
    assert positions.shape == (1, len(packed.tokens))
    starts = {place: int(positions[0, one.start]) for place, one in enumerate(packed.segments)}
    for place, one in enumerate(packed.segments):
        above = sum(packed.segments[node].end - packed.segments[node].start for node in one.path)
        assert starts[place] == above
        assert (positions[0, one.start : one.end].diff() == 1).all()
    assert max(len(one.path) for one in packed.segments) == 2
