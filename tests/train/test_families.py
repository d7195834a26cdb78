"""Every family against the model's own forward from pixels, in float64; and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny_families import (
    END_ID,
    IMAGE_ID,
    START_ID,
    build,
    make_pictures,
    model_inputs,
    prompt_ids,
    text_ids,
)
from torch import Tensor
from transformers import BertConfig, MistralConfig

from spavl.errors import UserError
from spavl.models.loading import Vlm
from spavl.train.families import FAMILIES, Encoded, family_of
from spavl.train.render import open_picture
from spavl.train.vision_cache import Pictures

TYPES = tuple(family.model_type for family in FAMILIES)
Picture = Callable[[str], Path]


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Picture:
    return make_pictures(tmp_path_factory.mktemp("pictures"))


def own_hidden(vlm: Vlm, ids: list[int], picture: Picture, *image_ids: str) -> Tensor:
    """Hidden states of the model's own forward from pixels, (L, H)."""
    inputs = model_inputs(vlm, ids, [open_picture(picture(image_id)) for image_id in image_ids])
    with torch.no_grad():
        return vlm.model.base_model(**inputs, use_cache=False).last_hidden_state[0]


def our_hidden(vlm: Vlm, ids: list[int], positions: Tensor, *encoded: Encoded, **options: Any) -> Tensor:
    """Hidden states with cached pictures and given positions (C, L), (L, H)."""
    family = family_of(vlm.model)
    if family.model_type == "gemma3" and not options:
        options = {"token_type_ids": (torch.tensor([ids]) == IMAGE_ID).int()}
    with torch.no_grad():
        return vlm.model.base_model(
            input_ids=torch.tensor([ids]),
            position_ids=positions if family.position_components == 1 else positions[:, None],
            mm_encoder_outputs=family.encoder_outputs(encoded),
            use_cache=False,
            **options,
        ).last_hidden_state[0]


@pytest.mark.parametrize("model_type", TYPES)
def test_one_picture_gives_the_hidden_states_of_the_models_own_forward(model_type: str, picture: Picture) -> None:
    vlm = build(model_type)
    family = family_of(vlm.model)
    encoded = Pictures(vlm, family, picture)("red")
    ids = prompt_ids(vlm, open_picture(picture("red")))
    assert len(encoded.features) == ids.count(IMAGE_ID)
    positions = family.positions(vlm.model, torch.tensor(ids), encoded)
    assert positions.shape == (family.position_components, len(ids))
    theirs = own_hidden(vlm, ids, picture, "red")
    assert (our_hidden(vlm, ids, positions, encoded) - theirs).abs().max() < 1e-10
    other = own_hidden(vlm, ids, picture, "blue")
    assert (other - theirs).abs()[-1].max() > 1e-3, "the picture must matter, or this test shows nothing"


@pytest.mark.parametrize("model_type", TYPES)
def test_two_pictures_in_a_row_go_on_from_the_largest_position(model_type: str, picture: Picture) -> None:
    vlm = build(model_type)
    family = family_of(vlm.model)
    pictures = Pictures(vlm, family, picture)
    first, second = pictures("red"), pictures("blue")
    one, two = (prompt_ids(vlm, open_picture(picture(name)), seed) for name, seed in (("red", 0), ("blue", 7)))
    before = family.positions(vlm.model, torch.tensor(one), first)
    after = family.positions(vlm.model, torch.tensor(two), second)
    positions = torch.cat([before, after + before.max() + 1], dim=1)
    theirs = own_hidden(vlm, one + two, picture, "red", "blue")
    assert (our_hidden(vlm, one + two, positions, first, second) - theirs).abs().max() < 1e-10
    swapped = our_hidden(vlm, one + two, positions, second, first)
    assert (swapped - theirs).abs().max() > 1e-3, "the order of the pictures must matter"


@pytest.mark.parametrize("model_type", ["qwen2_5_vl", "qwen3_vl"])
def test_qwen_positions_are_frame_row_and_column(model_type: str, picture: Picture) -> None:
    """A mark at 0, 2 x 3 merged patches from 1 on, then text from 1 + max(2, 3) = 4 on."""
    vlm = build(model_type)
    encoded = Encoded(torch.empty(6, 32), grid=torch.tensor([[1, 4, 6]]))
    ids = torch.tensor([START_ID, *[IMAGE_ID] * 6, END_ID, 5])
    assert family_of(vlm.model).positions(vlm.model, ids, encoded).tolist() == [
        [0, 1, 1, 1, 1, 1, 1, 4, 5],
        [0, 1, 1, 1, 2, 2, 2, 4, 5],
        [0, 1, 2, 3, 1, 2, 3, 4, 5],
    ]


def test_gemma_spans_and_its_window_make_the_masks_the_model_makes(picture: Picture) -> None:
    """Seen: what is not ahead or is in the same span; on windowed layers less than 3 back as well."""
    vlm = build("gemma3")
    family = family_of(vlm.model)
    encoded = Pictures(vlm, family, picture)("red")
    ids = prompt_ids(vlm, open_picture(picture("red")))
    spans = family.bidirectional_spans(vlm.model, ids)
    assert spans == [(6, 10)]
    place = torch.arange(len(ids))
    seen = place[None] <= place[:, None]
    for start, end in spans:
        seen[start:end, start:end] = True
    windowed = seen & (place[None] > place[:, None] - 3)
    masks = {"full_attention": seen[None, None], "sliding_attention": windowed[None, None]}
    ours = our_hidden(vlm, ids, place[None], encoded, attention_mask=masks)
    theirs = own_hidden(vlm, ids, picture, "red")
    assert (ours - theirs).abs().max() < 1e-10
    assert (our_hidden(vlm, ids, place[None], encoded, attention_mask=None) - theirs).abs().max() > 1e-3


def test_gemma_pictures_that_stand_apart_are_spans_of_their_own() -> None:
    model = build("gemma3").model
    ids = [5, IMAGE_ID, IMAGE_ID, END_ID, START_ID, IMAGE_ID]
    assert family_of(model).bidirectional_spans(model, ids) == [(1, 3), (5, 6)]


@pytest.mark.parametrize("model_type", [name for name in TYPES if name != "gemma3"])
def test_other_families_read_from_left_to_right(model_type: str) -> None:
    model = build(model_type).model
    assert family_of(model).bidirectional_spans(model, [5, IMAGE_ID, IMAGE_ID]) == []


@pytest.mark.parametrize("model_type", TYPES)
def test_every_parameter_belongs_to_a_part_but_the_head(model_type: str) -> None:
    model = build(model_type).model
    family = family_of(model)
    parts = {name: family.part(name) for name, _ in model.named_parameters()}
    assert {part for name, part in parts.items() if "lm_head" not in name} == {"language", "vision", "projector"}
    projectors = ("projector", "connector", "merger", "newline")
    assert all((part == "projector") == any(mark in name for mark in projectors) for name, part in parts.items())
    assert family.part("lm_head.weight") is None
    assert sum(1 for _ in family.language(model).parameters()) == list(parts.values()).count("language")


def test_an_unknown_type_is_refused_by_name() -> None:
    model = build("llava").model
    model.config.model_type = "mllama"
    with pytest.raises(UserError, match=r"'mllama' cannot be trained; allowed: llava, llava_next.*not guessed"):
        family_of(model)


def _text(**settings: Any) -> Callable[[Any], None]:
    return lambda config: [setattr(config.text_config, name, value) for name, value in settings.items()] and None


@pytest.mark.parametrize(
    ("model_type", "change", "reason"),
    [
        ("gemma3", _text(final_logit_softcapping=30.0), "final_logit_softcapping"),
        ("gemma3", _text(attn_logit_softcapping=50.0), "attn_logit_softcapping"),
        ("gemma3", _text(use_bidirectional_attention=True), "use_bidirectional_attention"),
        ("qwen2_5_vl", _text(use_sliding_window=True), "use_sliding_window"),
        ("llava", _text(rope_parameters={"rope_type": "dynamic", "factor": 2.0}), "rope_type is 'dynamic'"),
        (
            "gemma3",
            _text(rope_parameters={"full_attention": {"rope_type": "longrope"}}),
            "rope_type is 'longrope'; allowed: default, linear, llama3, yarn",
        ),
        ("llava", lambda config: setattr(config, "text_config", BertConfig()), "language model is 'bert'"),
        ("internvl", lambda config: setattr(config, "vision_config", BertConfig()), "vision tower is 'bert'"),
    ],
)
def test_settings_whose_meaning_is_not_known_are_refused(
    model_type: str, change: Callable[[Any], None], reason: str
) -> None:
    model = build(model_type).model
    family_of(model)
    change(model.config)
    with pytest.raises(UserError, match=reason):
        family_of(model)


def test_a_window_of_the_text_model_is_allowed() -> None:
    model = build("llava_next").model
    model.config.text_config = MistralConfig(sliding_window=8)
    assert family_of(model).model_type == "llava_next"


def test_a_feature_layer_before_the_first_block_is_refused(picture: Picture) -> None:
    vlm = build("llava", vision_feature_layer=[0, -1])
    with pytest.raises(UserError, match=r"vision_feature_layer=\[0, -1\]"):
        Pictures(vlm, family_of(vlm.model), picture)


def test_text_ids_hold_no_marks() -> None:
    assert not {START_ID, END_ID, IMAGE_ID} & set(text_ids(500, 0))
