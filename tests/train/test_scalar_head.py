"""Where scores and values are read, and that it is where a row of each answer's own would have them.

Reward models have been read at position -1 of padded rows, at the last token that is not zero, and before the end of
the answer; each of these differs from what is expected here.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from tests.tiny_families import build, make_pictures, model_inputs
from tests.train.material import make_pairs, open_engine
from tests.train.test_exactness import TYPES, exact_norms, make_rows
from torch import Tensor

from spavl.models.loading import Vlm, load_vlm
from spavl.train.engine import Engine
from spavl.train.families import family_of
from spavl.train.logprobs import predicting_places
from spavl.train.render import Renderer, Row, open_picture
from spavl.train.scalar_head import ScalarHead, score_places
from spavl.train.vision_cache import Pictures

Picture = Callable[[str], Path]


def make_head(width: int) -> ScalarHead:
    torch.manual_seed(1)
    return ScalarHead(width).double()


def naive_scalars(vlm: Vlm, row: Row, answer: Sequence[int], picture: Picture, head: ScalarHead) -> Tensor:
    """Returns w·h of every token of prompt and answer, (P + R,): one row, from pixels, the model's own forward."""
    inputs = model_inputs(vlm, [*row.prompt, *answer], [open_picture(picture(row.image_id))])
    return vlm.model.base_model(**inputs, use_cache=False).last_hidden_state[0] @ head.weight


@pytest.mark.parametrize("model_type", TYPES)
def test_scores_and_values_equal_the_naive_twins(model_type: str, tmp_path: Path) -> None:
    """Score: the last of P + R tokens, counted from the front. Values: tokens P-1 … P+R-2."""
    vlm, picture = build(model_type), make_pictures(tmp_path)
    exact_norms(vlm.model)
    rows, family = make_rows(vlm, picture), family_of(vlm.model)
    engine = Engine(vlm.model, family, Pictures(vlm, family, picture), budget=10_000)
    head = make_head(vlm.model.config.get_text_config().hidden_size)
    (packed,) = engine.pack(rows, range(len(rows)))
    with torch.no_grad():
        scores = packed.by_row(engine.scores(packed, head))
        values = packed.by_row(engine.values(packed, head))
        for place, row in enumerate(rows):
            for side, answer in enumerate(row.answers):
                prompt, tokens = len(row.prompt), len(answer)
                naive = naive_scalars(vlm, row, answer, picture, head)
                assert abs(scores[place][side] - naive[prompt + tokens - 1]) < 1e-10
                assert values[place][side].shape == (tokens,)
                assert (values[place][side] - naive[prompt - 1 : prompt + tokens - 1]).abs().max() < 1e-10


@pytest.fixture
def exact(tiny: Path, picture: Picture) -> Engine:
    return open_engine(load_vlm(tiny, "float64"), picture, budget=2000)


@pytest.fixture
def rows(renderer: Renderer, picture: Picture) -> list[Row]:
    return renderer.rows(make_pairs(5), picture)


@torch.no_grad()
def scores_of(engine: Engine, rows: Sequence[Row], head: ScalarHead, together: int) -> list[tuple[float, ...]]:
    """Returns each row's scores, so many rows being packed together."""
    found: dict[int, tuple[Tensor, ...]] = {}
    for start in range(0, len(rows), together):
        for packed in engine.pack(rows, range(len(rows))[start : start + together]):
            found |= packed.by_row(engine.scores(packed, head))
    return [tuple(map(float, found[place])) for place in range(len(rows))]


def test_company_changes_no_score(exact: Engine, rows: list[Row]) -> None:
    head = make_head(exact.model.config.get_text_config().hidden_size)
    alone = scores_of(exact, rows, head, together=1)
    for together in (2, 5):
        for one, other in zip(scores_of(exact, rows, head, together), alone, strict=True):
            assert one == pytest.approx(other, abs=1e-10)
    assert len({score for pair in alone for score in pair}) > 5


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_batch_of_transformers_has_our_scores_on_either_side(
    exact: Engine, rows: list[Row], side: str
) -> None:
    """The two answers of row 2 as a batch of the model's own: with an attention mask, read by index from the front.

    Padded at the right the last position is padding for the shorter answer, so reading -1 there is another number.
    """
    head = make_head(exact.model.config.get_text_config().hidden_size)
    row, pad = rows[2], 0
    longest = max(map(len, row.answers))
    ids, attended, ends = [], [], []
    for answer in row.answers:
        filling, tokens = longest - len(answer), [*row.prompt, *answer]
        before = filling if side == "left" else 0
        ids.append([pad] * before + tokens + [pad] * (filling - before))
        attended.append([0] * before + [1] * len(tokens) + [0] * (filling - before))
        ends.append(before + len(tokens) - 1)
    mask = torch.tensor(attended)
    shown = exact.pictures(row.image_id)
    with torch.no_grad():
        hidden = exact.model.base_model(
            input_ids=torch.tensor(ids),
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
            mm_encoder_outputs=exact.family.encoder_outputs([shown, shown]),
            use_cache=False,
        ).last_hidden_state  # (2, T, H)
        theirs = (hidden[torch.arange(2), torch.tensor(ends)] @ head.weight).tolist()
        last = (hidden[:, -1] @ head.weight).tolist()
    (ours,) = scores_of(exact, [row], head, together=1)
    assert ours == pytest.approx(theirs, abs=1e-10)
    assert (last == pytest.approx(theirs, abs=1e-3)) == (side == "left")


@pytest.mark.parametrize("end", [0, 2])
def test_an_end_token_of_any_id_is_read_and_looks_like_no_padding(exact: Engine, rows: list[Row], end: int) -> None:
    """Answers that end in id 0, hold id 0 in the middle, or end in it twice: each has the score of its own last token.

    Counting tokens that are not 0, or not the padding, would read three of the four one or two tokens too early.
    """
    head = make_head(exact.model.config.get_text_config().hidden_size)
    answers = ((5, 6, end), (5, end, 6), (5, end, end), (5,))
    row = rows[0]._replace(answers=answers)
    (packed,) = exact.pack([row], [0])
    starts = [segment.start for segment in packed.segments[-len(answers) :]]
    assert score_places(packed) == [start + len(one) - 1 for start, one in zip(starts, answers, strict=True)]
    with torch.no_grad():
        together = exact.scores(packed, head).tolist()
        for answer, score in zip(answers, together, strict=True):
            prompt = row.prompt + answer[:-1]
            (alone,) = exact.pack([row._replace(prompt=prompt, answers=(answer[-1:],))], [0])
            assert float(exact.scores(alone, head)) == pytest.approx(score, abs=1e-10)


def test_an_answer_of_one_token_has_one_value_and_it_does_not_see_the_token(exact: Engine, rows: list[Row]) -> None:
    head = make_head(exact.model.config.get_text_config().hidden_size)
    found = []
    for token in (5, 6):
        (packed,) = exact.pack([rows[0]._replace(answers=((token,),))], [0])
        assert predicting_places(packed) == [len(rows[0].prompt) - 1]
        assert score_places(packed) == [len(rows[0].prompt)]
        with torch.no_grad():
            (values,) = exact.values(packed, head)
            found.append((float(values), float(exact.scores(packed, head))))
    (value, score), (other_value, other_score) = found
    assert value == other_value and abs(score - other_score) > 1e-6


def test_a_head_says_float32_whatever_the_model_computes_in() -> None:
    """W = (1, 2^-9), h = (1, 1): 1.001953125 in float32; bfloat16 has no number between 1 and 1.0078125."""
    head = ScalarHead(2)
    head.weight.data = torch.tensor([1.0, 2.0**-9])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        score = head(torch.ones(1, 2, dtype=torch.bfloat16))
    assert score.dtype == torch.float32 and score.tolist() == [1.001953125]
    assert head(torch.ones(1, 2, dtype=torch.float64)).dtype == torch.float64


def test_new_weights_are_small_or_zero() -> None:
    """Standard deviation 1/√(H+1): 0.0156 of 4,095; of so many draws it is within 5 %."""
    torch.manual_seed(0)
    assert float(ScalarHead(4095).weight.detach().std()) == pytest.approx(1 / 64, rel=0.05)
    assert not ScalarHead(8, zero=True).weight.any()
