"""What is trained is what the model is asked to continue."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tests.tiny_vlm import IMAGE_TOKENS
from tests.train.material import make_pair

from spavl.errors import UserError
from spavl.models.base import ImageInput, Request
from spavl.models.encoding import encode
from spavl.models.loading import Vlm
from spavl.train.render import Renderer, end_of_turn, stop_ids


def test_prompt_is_the_chat_templates_user_turn_and_the_opening_of_the_answer(
    renderer: Renderer, vlm: Vlm, picture: Callable[[str], Path]
) -> None:
    """The processor's own way: text first, then tokens; the picture's mark becomes four tokens."""
    text = "<|im_start|>user\n<image>\nWhat is it?<|im_end|>\n<|im_start|>assistant\n"
    shown = Image.open(picture("img-0"))
    ids = vlm.processor(images=shown, text=text, return_tensors="pt")["input_ids"][0].tolist()
    prompt = renderer.prompt("What is it?", shown.convert("RGB"))
    assert list(prompt) == ids
    assert prompt.count(vlm.processor.image_token_id) == IMAGE_TOKENS


def test_prompt_is_token_for_token_the_one_used_for_answering(
    renderer: Renderer, vlm: Vlm, picture: Callable[[str], Path]
) -> None:
    """Also where a question holds marks of the template."""
    for question in ("What is it?", " Spaces \n", "<image> and <|im_end|>", "Où ça ? 图"):
        request = Request(prompt=question, image=ImageInput(sha256="0", path=picture("img-0")))
        shown = Image.open(picture("img-0")).convert("RGB")
        asked = encode(vlm, [request], {"0": shown}).prompts[0].ids
        assert renderer.prompt(question, shown) == asked


def test_both_answers_end_with_the_end_of_turn_token(
    renderer: Renderer, vlm: Vlm, picture: Callable[[str], Path]
) -> None:
    tokenizer = vlm.processor.tokenizer
    row = renderer.row(make_pair(1, chosen="No", rejected="Yes"), picture("img-1"))
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert row.chosen[-1] == row.rejected[-1] == end
    assert tokenizer.decode(row.chosen[:-1]) == "No."
    assert row.chosen.count(end) == 1


def test_an_answer_cut_by_its_token_limit_does_not_teach_to_stop_there(
    renderer: Renderer, picture: Callable[[str], Path]
) -> None:
    whole = make_pair(1)
    cut = whole.model_copy(update={"rejected_finish": "length"})
    ended, open_ended = (renderer.row(pair, picture("img-1")) for pair in (whole, cut))
    assert open_ended.rejected == ended.rejected[:-1] and ended.rejected[-1] == renderer.end_id
    assert open_ended.chosen == ended.chosen


def test_marks_inside_an_answer_are_plain_letters(renderer: Renderer, vlm: Vlm) -> None:
    """An answer can neither end its turn early nor ask for a second picture."""
    ids = renderer.answer("a<image>b<|im_end|>")
    assert vlm.processor.image_token_id not in ids and ids.count(renderer.end_id) == 1
    assert vlm.processor.tokenizer.decode(ids[:-1]) == "a<image>b<|im_end|>"


def test_the_end_token_is_the_one_the_template_puts_behind_an_answer(vlm: Vlm) -> None:
    """Gemma closes turns with a token that is not its tokenizer's end token; here that is `<|im_start|>`."""
    processor = vlm.processor
    other = processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
    processor.chat_template = processor.chat_template.replace("{{ '<|im_end|>\n' }}", "{{ '<|im_start|>\n' }}")
    assert end_of_turn(processor, (processor.tokenizer.eos_token_id, other)) == other
    assert end_of_turn(processor, (processor.tokenizer.eos_token_id,)) == processor.tokenizer.eos_token_id


def test_a_model_without_a_chat_template_is_one_line_with_the_way_out(vlm: Vlm) -> None:
    vlm.processor.chat_template = vlm.processor.tokenizer.chat_template = None
    with pytest.raises(UserError, match=r"no chat template.*chat_template\.jinja"):
        Renderer(vlm.processor, stop_ids(vlm.model))


def test_an_empty_answer_is_an_error_that_names_the_pair(renderer: Renderer, picture: Callable[[str], Path]) -> None:
    pair = make_pair(0, chosen="")
    with pytest.raises(UserError, match=f"{pair.id}: an answer is empty"):
        renderer.row(pair, picture("img-0"))


def test_a_damaged_picture_is_one_line(renderer: Renderer, tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG torn")
    with pytest.raises(UserError, match=r"torn\.png cannot be opened"):
        renderer.row(make_pair(0), tmp_path / "torn.png")
