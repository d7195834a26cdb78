"""Log-probabilities against the naive twin: one row an answer, the model's own forward, all positions, a gather."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.train.material import make_pairs
from torch import Tensor

from spavl.models.loading import Vlm, load_vlm
from spavl.train.logprobs import PromptAnswer, answer_logprobs, collate, length_sorted_groups, pair_logprobs
from spavl.train.losses import summed
from spavl.train.policy import Policy
from spavl.train.render import Renderer, Row
from spavl.train.vision import PictureFeatures

Picture = Callable[[str], Path]


@pytest.fixture
def exact(tiny: Path) -> Vlm:
    return load_vlm(tiny, "float64")


@pytest.fixture
def exact_features(exact: Vlm, picture: Picture) -> PictureFeatures:
    return PictureFeatures(exact, picture)


@pytest.fixture
def rows(renderer: Renderer, picture: Picture) -> list[Row]:
    return renderer.rows(make_pairs(5), picture)


@torch.no_grad()
def naive_logprobs(vlm: Vlm, picture: Path, sequence: PromptAnswer) -> Tensor:
    """Returns the log-probability of each answer token, (R,), the slow and plain way, pixels included."""
    pixels = vlm.processor.image_processor(Image.open(picture), return_tensors="pt")["pixel_values"]
    ids = torch.tensor([sequence.prompt + sequence.answer])
    logits = vlm.model(input_ids=ids, pixel_values=pixels.to(vlm.model.dtype)).logits[0]  # (T, vocabulary)
    everywhere = logits.log_softmax(dim=-1)[:-1].gather(1, ids[0, 1:, None]).squeeze(1)  # (T - 1,)
    return everywhere[len(sequence.prompt) - 1 :]


def test_agrees_with_the_naive_twin(
    exact: Vlm, exact_features: PictureFeatures, rows: list[Row], picture: Picture
) -> None:
    answers = [(row, answer) for row in rows for answer in (row.chosen, row.rejected)]
    sequences = [PromptAnswer(row.image_id, row.prompt, answer) for row, answer in answers]
    batch = collate(sequences)
    per_token = answer_logprobs(exact.model, batch, exact_features)
    for place, sequence in enumerate(sequences):
        naive = naive_logprobs(exact, picture(sequence.image_id), sequence)
        assert (per_token[place, : len(naive)] - naive).abs().max() < 1e-10
        assert per_token[place, len(naive) :].count_nonzero() == 0
        assert batch.answer_mask[place].sum() == len(sequence.answer)


def test_first_and_end_token_of_an_answer_are_in_the_loss(
    exact: Vlm, exact_features: PictureFeatures, rows: list[Row]
) -> None:
    """The answer `xy<end>` has three log-probabilities; none of them is certain, so each changes the sum."""
    answer = rows[0].chosen[:2] + rows[0].chosen[-1:]
    batch = collate([PromptAnswer("img-0", rows[0].prompt, answer)])
    per_token = answer_logprobs(exact.model, batch, exact_features)
    assert per_token.shape == (1, 3)
    assert (per_token < -1e-6).all()
    assert batch.predicting.tolist() == [[len(rows[0].prompt) - 1 + place for place in range(3)]]
    assert batch.answer_ids[0, -1] == rows[0].chosen[-1]


def test_padding_and_company_change_nothing(exact: Vlm, exact_features: PictureFeatures, rows: list[Row]) -> None:
    """Padding is the end token itself, so a mask made from values would drop or add tokens here."""
    together = pair_logprobs(exact.model, rows, exact_features)
    for place, row in enumerate(rows):
        alone = pair_logprobs(exact.model, [row], exact_features)
        assert abs(together.chosen[place] - alone.chosen[0]) < 1e-10
        assert abs(together.rejected[place] - alone.rejected[0]) < 1e-10


def test_the_picture_matters(exact: Vlm, exact_features: PictureFeatures, rows: list[Row]) -> None:
    one, other = rows[0], rows[0]._replace(image_id="img-1")
    chosen = pair_logprobs(exact.model, [one, other], exact_features).chosen
    assert abs(chosen[0] - chosen[1]) > 1e-3


def test_a_cached_picture_equals_one_computed_again(
    exact: Vlm, exact_features: PictureFeatures, picture: Picture
) -> None:
    forgetful = PictureFeatures(exact, picture, max_bytes=1)
    for image_id in ("img-0", "img-1", "img-0"):
        assert torch.equal(forgetful(image_id)[0], exact_features(image_id)[0])


def test_bfloat16_weights_give_float32_log_probabilities(
    tiny: Path, rows: list[Row], picture: Picture, exact: Vlm, exact_features: PictureFeatures
) -> None:
    half = load_vlm(tiny, "bfloat16")
    logprobs = pair_logprobs(half.model, rows, PictureFeatures(half, picture))
    assert logprobs.chosen.dtype == torch.float32
    exactly = pair_logprobs(exact.model, rows, exact_features).chosen
    assert ((logprobs.chosen - exactly) / exactly).abs().max() < 0.05


def test_groups_hold_rows_of_similar_length_and_every_row_once() -> None:
    """Lengths 6, 2, 4, 3 in groups of two: the rows of 2 and 3, then those of 4 and 6."""
    rows = [Row("p", "i", (0,) * (length - 1), (1,), (1,)) for length in (6, 2, 4, 3)]
    assert length_sorted_groups(rows, range(4), 2) == [[1, 3], [2, 0]]


def test_adapters_switched_off_give_the_model_as_it_was(
    policy: Policy, features: PictureFeatures, rows: list[Row]
) -> None:
    with policy.as_reference() as model:
        before = pair_logprobs(model, rows, features)
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.add_(0.05)
        moved = pair_logprobs(policy.model, rows, features)
    with policy.as_reference() as model:
        after = pair_logprobs(model, rows, features)
    assert torch.equal(before.chosen, after.chosen)
    assert not torch.allclose(moved.chosen, before.chosen)
    assert all(parameter.requires_grad for parameter in policy.trainable().values()) and policy.trainable()


def test_sums_are_those_of_the_tokens(exact: Vlm, exact_features: PictureFeatures, rows: list[Row]) -> None:
    batch = collate([PromptAnswer(row.image_id, row.prompt, row.chosen) for row in rows])
    totals = summed(answer_logprobs(exact.model, batch, exact_features), batch.answer_mask)
    assert torch.allclose(totals, pair_logprobs(exact.model, rows, exact_features).chosen, atol=1e-10)
