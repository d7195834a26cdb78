"""Generation with shared beginnings, against transformers' `generate` row by row, in float64, for every family."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny_families import IMAGE_ID, build, make_pictures, model_inputs, pixel_inputs, prompt_ids, text_ids
from transformers import GenerationConfig
from transformers.modeling_outputs import BaseModelOutputWithPooling

from spavl.models import prefixes
from spavl.models.generation import Decoding, Generated, choose, generate
from spavl.models.loading import Vlm
from spavl.models.prefixes import SHARING, Prompt, why_not
from spavl.train.render import open_picture

GREEDY = Decoding(max_tokens=10, stop_ids=(2,), suppressed=(IMAGE_ID,))
Picture = Callable[[str], Path]


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Picture:
    return make_pictures(tmp_path_factory.mktemp("pictures"))


def ask(vlm: Vlm, picture: Picture, prompts: Sequence[Prompt], decoding: Decoding) -> list[Generated]:
    def shown(name: str) -> Mapping[str, Any]:
        return pixel_inputs(vlm, open_picture(picture(name)))

    return generate(vlm.model, prompts, shown, decoding, torch.Generator().manual_seed(0))


def prompts_of(vlm: Vlm, picture: Picture) -> list[Prompt]:
    """Three questions of one picture, two of them equal, one of another, and two texts, of different lengths.

    Their order is mixed, so that an answer in another's place is seen.
    """
    red, blue = (tuple(prompt_ids(vlm, open_picture(picture(name)))) for name in ("red", "blue"))
    longer = (*red, *text_ids(9, 5))
    return [
        Prompt(red, "red"),
        Prompt((*blue, *text_ids(3, 4)), "blue"),
        Prompt(longer, "red"),
        Prompt(tuple(text_ids(11, 6))),
        Prompt(red, "red"),
        Prompt((*text_ids(11, 6)[:4], *text_ids(2, 8))),
    ]


def row_by_row(vlm: Vlm, picture: Picture, prompt: Prompt, **settings: Any) -> tuple[int, ...]:
    """What transformers writes behind one prompt, from pixels."""
    shown = [open_picture(picture(prompt.picture))] if prompt.picture else []
    inputs = model_inputs(vlm, prompt.ids, shown) if shown else {"input_ids": torch.tensor([prompt.ids])}
    config = GenerationConfig(
        max_new_tokens=10, do_sample=False, eos_token_id=2, pad_token_id=0, suppress_tokens=[IMAGE_ID], **settings
    )
    row = vlm.model.generate(**inputs, attention_mask=torch.ones(1, len(prompt.ids)), generation_config=config)
    return tuple(row[0, len(prompt.ids) :].tolist())


@pytest.mark.parametrize("model_type", SHARING)
def test_greedy_answers_are_those_of_each_row_alone(model_type: str, picture: Picture) -> None:
    vlm = build(model_type)
    prompts = prompts_of(vlm, picture)
    assert why_not(vlm.model) == ""
    answers = ask(vlm, picture, prompts, GREEDY)
    alone = [row_by_row(vlm, picture, prompt) for prompt in prompts]
    assert [one.tokens for one in answers] == alone
    assert [one.ended for one in answers] == [tokens[-1] == 2 for tokens in alone]
    assert len({*alone}) == 5, "answers must differ, or this test shows nothing"


def test_rows_end_each_at_its_own_stop(picture: Picture) -> None:
    """Stops are the second token of the first row and the fifth of the third: each row is cut behind its first stop.

    So rows end at different steps, and the batch shrinks while others go on.
    """
    vlm = build("llava")
    prompts = prompts_of(vlm, picture)
    whole = [one.tokens for one in ask(vlm, picture, prompts, GREEDY)]
    stops = (whole[0][1], whole[2][4])
    ends = [next((place for place, token in enumerate(row) if token in stops), 9) for row in whole]
    assert len({*ends}) > 2, "rows must end at different places, or this test shows nothing"
    answers = ask(vlm, picture, prompts, GREEDY._replace(stop_ids=stops))
    assert [one.tokens for one in answers] == [row[: end + 1] for row, end in zip(whole, ends, strict=True)]
    assert [one.ended for one in answers] == [row[end] in stops for row, end in zip(whole, ends, strict=True)]


def test_a_repetition_penalty_is_that_of_transformers(picture: Picture) -> None:
    vlm = build("qwen2_5_vl")
    prompts = prompts_of(vlm, picture)
    answers = ask(vlm, picture, prompts, GREEDY._replace(repetition_penalty=1.5))
    assert [one.tokens for one in answers] == [
        row_by_row(vlm, picture, prompt, repetition_penalty=1.5) for prompt in prompts
    ]
    assert answers != ask(vlm, picture, prompts, GREEDY)


def passes(vlm: Any, picture: Picture, prompts: Sequence[Prompt]) -> list[tuple[int, ...]]:
    """Writes four tokens a row, and returns rows x tokens of each pass through the language model."""
    passed: list[tuple[int, ...]] = []
    layer = vlm.model.model.language_model.layers[0]
    layer.register_forward_pre_hook(
        lambda module, inputs, options: passed.append((inputs[0] if inputs else options["hidden_states"]).shape[:2]),
        with_kwargs=True,
    )
    ask(vlm, picture, prompts, GREEDY._replace(max_tokens=4, stop_ids=()))
    return [tuple(shape) for shape in passed]


def test_a_shared_beginning_passes_the_language_model_once(picture: Picture) -> None:
    """Two questions of one picture, one of them the other and 9 tokens more; a row keeps its last token to itself.

    All but one token of the shorter pass once, then the rests of 1 and 10 tokens as a batch of 2 x 10, then the first
    three of four written tokens; what would follow the fourth is not asked.
    """
    vlm = build("llava")
    red = tuple(prompt_ids(vlm, open_picture(picture("red"))))
    prompts = [Prompt(red, "red"), Prompt((*red, *text_ids(9, 5)), "red")]
    assert passes(vlm, picture, prompts) == [(1, len(red) - 1), (2, 10), (2, 1), (2, 1), (2, 1)]


def test_a_prompt_that_is_asked_several_times_is_read_once(picture: Picture) -> None:
    """As above, each prompt three times: the rests still pass as 2 x 10, and from there on there are six rows."""
    vlm = build("llava")
    red = tuple(prompt_ids(vlm, open_picture(picture("red"))))
    prompts = [Prompt(red, "red"), Prompt((*red, *text_ids(9, 5)), "red")] * 3
    assert passes(vlm, picture, prompts) == [(1, len(red) - 1), (2, 10), (6, 1), (6, 1), (6, 1)]
    once, thrice = (ask(vlm, picture, some, GREEDY) for some in (prompts[:2], prompts))
    assert thrice == once * 3


@pytest.mark.parametrize("most", [4096, 0])
def test_projected_pictures_pass_together_and_answers_stay_those_of_each_row_alone(
    picture: Picture, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Rows of two pictures and a text, of three lengths, are one batch of 3, or three where no two may pass at once."""
    monkeypatch.setattr(prefixes, "PASSED_AT_ONCE", most)
    vlm = build("llava")
    red, blue = (tuple(prompt_ids(vlm, open_picture(picture(name)))) for name in ("red", "blue"))
    prompts = [Prompt((*red, *text_ids(9, 5)), "red"), Prompt(tuple(text_ids(11, 6))), Prompt(blue, "blue")]

    def shown(name: str) -> Mapping[str, Any]:
        pixels = pixel_inputs(vlm, open_picture(picture(name)))
        features = list(vlm.model.get_image_features(**pixels, return_dict=True).pooler_output)
        return {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=features)}}

    with torch.no_grad():
        answers = generate(vlm.model, prompts, shown, GREEDY)
    assert [answer.tokens for answer in answers] == [row_by_row(vlm, picture, prompt) for prompt in prompts]
    rows = [len(begun) for begun in prefixes._together(vlm.model, prefixes._groups(vlm.model, prompts), shown)]
    assert rows == ([3] if most else [1, 1, 1])


def test_tokens_are_drawn_as_often_as_their_shares_say() -> None:
    """Odds 1:3:4 beside one that is never written; of 8,000 draws 1,000, 3,000 and 4,000, give or take 5 deviations."""
    logits = torch.tensor([1.0, 0.0, 3.0, 4.0, 0.0]).log().expand(8000, -1)
    drawn = choose(logits, GREEDY._replace(temperature=1.0), torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn, minlength=5).tolist()
    assert counts[1] == counts[4] == 0
    for count, share in ((counts[0], 1 / 8), (counts[2], 3 / 8), (counts[3], 4 / 8)):
        assert abs(count - 8000 * share) < 5 * (8000 * share * (1 - share)) ** 0.5


def test_samples_of_one_prompt_differ_and_a_seed_repeats_them(picture: Picture) -> None:
    vlm = build("llava")
    prompts = [prompts_of(vlm, picture)[0]] * 4
    sampled = GREEDY._replace(temperature=1.5, top_p=0.9)
    first = ask(vlm, picture, prompts, sampled)
    assert len({one.tokens for one in first}) > 1
    assert ask(vlm, picture, prompts, sampled) == first


def test_a_nucleus_holds_the_fewest_tokens_that_add_up_to_it() -> None:
    """Shares .5, .3, .15, .05 and top_p .7: the first two stay, drawn as 5 to 3, 2,500 +- 31 times of 4,000.

    At temperature 1/2 the shares go as their squares: 25 to 9, and .25 of .365 alone is less than .7.
    """
    logits = torch.tensor([0.05, 0.5, 0.15, 0.3]).log().repeat(4000, 1)
    generator = torch.Generator().manual_seed(3)
    drawn = choose(logits, GREEDY._replace(temperature=1.0, top_p=0.7), generator)
    assert set(drawn.tolist()) == {1, 3}
    assert abs(int((drawn == 1).sum()) - 2500) < 120
    colder = choose(logits, GREEDY._replace(temperature=0.5, top_p=0.7), generator)
    assert abs(int((colder == 1).sum()) - 4000 * 25 / 34) < 120
    assert choose(logits[:2], GREEDY).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda model: setattr(model.config, "model_type", "fuyu"), "'fuyu'"),
        (lambda model: model.config.get_text_config().rope_parameters.update(rope_type="dynamic"), "'dynamic'"),
        (lambda model: setattr(model.config.text_config, "model_type", "mamba"), "'mamba'"),
        (lambda model: setattr(model.generation_config, "no_repeat_ngram_size", 3), "no_repeat_ngram_size"),
    ],
)
def test_what_would_change_answers_is_named(spoil: Callable[[Any], None], said: str) -> None:
    vlm = build("llava")
    spoil(vlm.model)
    assert said in why_not(vlm.model)
