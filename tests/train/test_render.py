"""What is trained is what the model is asked to continue."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from spavl.errors import UserError
from spavl.train.policy import Policy
from spavl.train.render import Renderer, end_of_turn
from spavl.train.weights import load_processor
from tests.tiny_vlm import IMAGE_TOKENS
from tests.train.material import make_pair


def test_prompt_is_the_chat_templates_user_turn_and_the_opening_of_the_answer(
    renderer: Renderer, tiny: Path, picture: Callable[[str], Path]
) -> None:
    """The processor's own way: text first, then tokens; the picture's mark becomes four tokens."""
    text = "<|im_start|>user\n<image>\nWhat is it?<|im_end|>\n<|im_start|>assistant\n"
    processor = load_processor(tiny)
    ids = processor(images=Image.open(picture("img-0")), text=text, return_tensors="pt")["input_ids"][0].tolist()
    prompt = renderer.prompt("What is it?", Image.open(picture("img-0")).convert("RGB"))
    assert list(prompt) == ids
    assert prompt.count(processor.image_token_id) == IMAGE_TOKENS


def test_both_answers_end_with_the_end_of_turn_token(
    renderer: Renderer, tiny: Path, picture: Callable[[str], Path]
) -> None:
    tokenizer = load_processor(tiny).tokenizer
    row = renderer.row(make_pair(1, chosen="No", rejected="Yes"), picture("img-1"))
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert row.chosen[-1] == row.rejected[-1] == end
    assert tokenizer.decode(row.chosen[:-1]) == "No."
    assert row.chosen.count(end) == 1


def test_the_end_token_is_the_one_the_template_puts_behind_an_answer(tiny: Path) -> None:
    """Gemma closes turns with a token that is not its tokenizer's end token; here that is `<|im_start|>`."""
    processor = load_processor(tiny)
    other = processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
    processor.chat_template = processor.chat_template.replace("{{ '<|im_end|>\n' }}", "{{ '<|im_start|>\n' }}")
    assert end_of_turn(processor, (processor.tokenizer.eos_token_id, other)) == other
    assert end_of_turn(processor, (processor.tokenizer.eos_token_id,)) == processor.tokenizer.eos_token_id


def test_an_answer_that_does_not_fit_is_an_error_that_names_the_pair(
    tiny: Path, policy: Policy, picture: Callable[[str], Path]
) -> None:
    pair = make_pair(2)
    with pytest.raises(UserError, match=rf"{pair.id}.*train\.max_length=40.*never cut"):
        Renderer(load_processor(tiny), policy.stop_ids(), max_length=40).row(pair, picture("img-2"))


def test_an_empty_answer_is_an_error_that_names_the_pair(renderer: Renderer, picture: Callable[[str], Path]) -> None:
    pair = make_pair(0, chosen="")
    with pytest.raises(UserError, match=f"{pair.id}: an answer is empty"):
        renderer.row(pair, picture("img-0"))


def test_a_damaged_picture_is_one_line(renderer: Renderer, tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG torn")
    with pytest.raises(UserError, match=r"torn\.png cannot be opened"):
        renderer.row(make_pair(0), tmp_path / "torn.png")
