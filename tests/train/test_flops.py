"""Work counted by hand, by torch, and at the proportions of LLaVA-1.5-7B."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.train.material import make_pairs
from torch.utils.flop_counter import FlopCounterMode

from spavl.models.loading import Vlm
from spavl.train.flops import Forward, ModelShape, Training, rows_flops, step_flops, tree_flops, visible_pairs
from spavl.train.render import Renderer, Row
from spavl.train.tree import pack_rows

PICTURE = 9
SHAPE = ModelShape(windows=(None, 3), attention_width=10, linear=100, head=1000, tower=7, projector=5, adapters=20)
LLAVA = ModelShape(
    windows=(None,) * 32,
    attention_width=4096,
    linear=32 * (4 * 4096**2 + 3 * 4096 * 11008),
    head=32064 * 4096,
    tower=23 * (2 * 12 * 1024**2 * 577 + 4 * 1024 * 577**2),
    projector=2 * (1024 * 4096 + 4096**2) * 576,
)
"""LLaVA-1.5-7B: 32 layers of width 4096, and CLIP-L/336, of whose 24 layers 23 count, with 577 tokens."""


def tree_of(prompt: int, questions: list[tuple[int, int, int]]) -> list[Row]:
    """Rows about one picture: a shared opening, then for each question its tokens and those of its two answers."""
    opening = (PICTURE,) + (0,) * (prompt - 1)
    return [
        Row(f"p-{place}", "i", (*opening, *(10 + place,) * own), ((1,) * chosen, (2,) * rejected))
        for place, (own, chosen, rejected) in enumerate(questions)
    ]


def test_visible_pairs_of_a_node() -> None:
    """Two tokens after five: 6 + 7. Under a window of 3: 3 + 3. Four tokens after one, window 3: 2 + 3 + 3 + 3."""
    assert visible_pairs(5, 2) == 13
    assert visible_pairs(5, 2, window=3) == 6
    assert visible_pairs(1, 4, window=3) == 11
    assert visible_pairs(0, 4, window=4) == visible_pairs(0, 4) == 10


def test_a_tree_by_hand() -> None:
    """Prompt 4 with questions of 1 and 2 tokens, answers of 3 and 2, and of 1 and 1: 4 + 1 + 5 + 2 + 2 = 14 tokens.

    Pairs: prompt 10; question 4·1+1 = 5; answers 3·5+6 = 21 and 2·5+3 = 13; question 4·2+3 = 11; answers 6+1 = 7
    twice: 74. With a window of 3: 1+2+3+3 = 9, then 3 a token for the ten others: 39. Attention 4·10·(74+39); linear
    2·100·14; head 2·1000·7; one picture; adapters 2·20·14.
    """
    (packed,) = pack_rows(tree_of(4, [(1, 3, 2), (2, 1, 1)]), [0, 1], 100, frozenset({PICTURE}))
    assert tree_flops(packed, SHAPE) == Forward(2800, 4520, 14000, 7, 5, 560)


def test_rows_by_hand() -> None:
    """The same as four sequences of 8, 7, 7 and 7 tokens: 29 in all.

    Pairs 36 + 3·28 = 120, under the window 21 + 3·18 = 75. Each answer brings its picture.
    """
    assert rows_flops(tree_of(4, [(1, 3, 2), (2, 1, 1)]), SHAPE) == Forward(5800, 7800, 14000, 28, 20, 1160)


def test_a_step_by_hand() -> None:
    """Forward 100 linear, 10 attention, 20 head, 7 tower, 3 projector, 4 adapters.

    Adapters, kept for two epochs: policy 134, backward 120 + 20 + 8, reference 130/2, picture 10/2: 352.
    Full and not kept: policy 134, backward 240 + 20 + 8, reference 130, picture 2·10: 552. Checkpointing adds 114.
    A trained projector and half a tower, kept: tower 3.5·(1/2) + 3.5·3.5 = 14, projector 3·3.5 = 10.5, not 5: 371.5.
    Checkpointing adds the trained half of the tower too: 114 + 3.5.
    """
    forward = Forward(100, 10, 20, 7, 3, 4)
    assert step_flops(forward, Training(full=False, epochs=2), kept=True) == 352
    assert step_flops(forward, Training(full=True), kept=False) == 552
    assert step_flops(forward, Training(full=True, checkpointing=True), kept=False) == 666
    half = Training(full=False, projector=True, tower=0.5, epochs=2)
    assert step_flops(forward, half, kept=True) == 371.5
    assert step_flops(forward, half._replace(checkpointing=True), kept=True) == 371.5 + 117.5


def test_a_step_without_a_reference_by_hand() -> None:
    """The same work, for losses that read no reference.

    Adapters, kept for two epochs: 352 less the reference's 130/2. Full and not kept: 552 less 130 and a picture's 10.
    A trained projector and half a tower, kept: 352 - 65 - 5 + 3.5/2 + 3.5·3 + 3·3.
    """
    forward = Forward(100, 10, 20, 7, 3, 4)
    alone = Training(full=False, epochs=2, reference=False)
    assert step_flops(forward, alone, kept=True) == 352 - 65
    assert step_flops(forward, Training(full=True, reference=False), kept=False) == 552 - 140
    half = alone._replace(projector=True, tower=0.5)
    assert step_flops(forward, half, kept=True) == 352 - 65 - 5 + 1.75 + 10.5 + 9


@pytest.mark.parametrize(
    ("full", "epochs", "ratio"), [(False, 3, 3.74), (False, 1, 2.91), (True, 3, 3.49), (True, 1, 2.90)]
)
def test_what_trees_save_at_the_proportions_of_llava(full: bool, epochs: int, ratio: float) -> None:
    """Three questions a picture: 580 picture and prompt tokens, 36 of a question, two answers of 150.

    In TFLOP:
    rows   6·766 = 4596 tokens, 6·766·767/2 = 1,762,566 pairs, 900 answer tokens, 6 pictures:
           linear 2·6.476e9·4596 = 59.53, attention 4·32·4096·1,762,566 = 0.92, head 2·131.3e6·900 = 0.24,
           pictures 6·(0.365 + 0.024) = 2.34
    tree   580 + 3·(36 + 300) = 1588 tokens, 168,490 + 3·21,546 + 6·103,725 = 855,478 pairs, one picture:
           linear 20.57, attention 0.45, head 0.24, picture 0.39
    The rows' step has the reference in it and four passes of the tower for each pair (TRL without checkpointing).
    LoRA   rows 2·59.76 + 3·0.92 + 60.69 + 2·2.34 = 187.6; tree 2·20.80 + 3·0.45 + (21.25 + 0.39) / epochs = 50.2, 64.6
    full   rows 3·59.76 + 3·0.92 + 60.69 + 2·2.34 = 247.4; tree 3·20.80 + 3·0.45 + (21.25 + 0.39) / epochs = 71.0, 85.4
    """
    rows = tree_of(580, [(36, 150, 150)] * 3)
    rows = [row._replace(answers=((1,) * 150, (2,) * 150)) for row in rows]
    (packed,) = pack_rows(rows, range(3), 4096, frozenset({PICTURE}))
    assert len(packed.tokens) == 1588
    training = Training(full=full, epochs=epochs)
    theirs = step_flops(rows_flops(rows, LLAVA), training, kept=False)
    ours = step_flops(tree_flops(packed, LLAVA), training, kept=True)
    assert theirs / ours == pytest.approx(ratio, abs=0.01)
    assert theirs / ours >= (3.3 if epochs == 3 else 2.7)


def test_linear_work_of_rows_is_what_torch_counts(vlm: Vlm, renderer: Renderer, picture: Callable[[str], Path]) -> None:
    """The model's own forward of one row, head on all positions; attention is another operator and left out."""
    (row,) = renderer.rows(make_pairs(1), picture)
    ids = torch.tensor([row.prompt + row.chosen])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        vlm.model.model.language_model(input_ids=ids)
    counted = sum(
        flops
        for operator, flops in counter.get_flop_counts()["Global"].items()
        if str(operator).split(".")[-1] in ("mm", "addmm")
    )
    linears = [one for one in vlm.model.model.language_model.modules() if isinstance(one, torch.nn.Linear)]
    shape = SHAPE._replace(linear=sum(one.weight.numel() for one in linears))
    assert rows_flops([row._replace(answers=(row.chosen,))], shape).linear == counted
