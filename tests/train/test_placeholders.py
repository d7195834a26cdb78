"""What stands for a picture is worked out once; every row is what the processor makes of its text and picture."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transformers
from PIL import Image
from tests.tiny_families import build, make_pictures
from tests.tiny_vlm import CHAT_TEMPLATE, byte_tokenizer
from tests.train.material import make_pair
from tokenizers.processors import TemplateProcessing
from transformers import (
    Gemma3Processor,
    Idefics3Processor,
    InternVLProcessor,
    LlavaNextProcessor,
    LlavaProcessor,
    ProcessorMixin,
    Qwen2_5_VLProcessor,
    Qwen3VLProcessor,
    SmolVLMProcessor,
)
from transformers.models.smolvlm import processing_smolvlm

from spavl.models.loading import Vlm, render_prompt
from spavl.records import PreferencePair
from spavl.train.families import FAMILIES
from spavl.train.placeholders import Placeholders, placeholder_fingerprint
from spavl.train.render import Renderer, open_picture, stop_ids

START = "<s>"
PATCHES = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
PROCESSORS: dict[str, tuple[type[ProcessorMixin], dict[str, Any]]] = {
    "llava": (LlavaProcessor, PATCHES),
    "llava_next": (LlavaNextProcessor, PATCHES),
    "qwen2_5_vl": (Qwen2_5_VLProcessor, {"video_processor": None}),
    "qwen3_vl": (Qwen3VLProcessor, {"video_processor": None}),
    "smolvlm": (SmolVLMProcessor, {"video_processor": SimpleNamespace(num_frames=1, fps=1), "image_seq_len": 4}),
    "idefics3": (Idefics3Processor, {"image_seq_len": 4}),
    "internvl": (InternVLProcessor, {"video_processor": None, "image_seq_length": 4}),
    "gemma3": (Gemma3Processor, {"image_seq_length": 4}),
}
MARKS = {
    "gemma3": {"image": "<image_soft_token>", "boi": "<start_of_image>", "eoi": "<end_of_image>"},
    "internvl": {"start_image": "<img>", "end_image": "</img>", "context_image": "<IMG_CONTEXT>", "video": "<video>"},
}
"""Family -> the marks that its tokenizer tells its processor."""
OTHER_MARKS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
TILE_MARKS = ("<fake_token_around_image>", "<global-img>", "<row_1_col_1>", "<end_of_utterance>")
PAIRS = [
    make_pair(number).model_copy(update={"image_id": name, "question": question})
    for number, (name, question) in enumerate(
        (("red", "What is it?"), ("blue", " Spaces \n"), ("red", "<image> and <|im_end|>"), ("red", "\n\n图"))
    )
]


def make_processor(model_type: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Builds a family's real processor; what only videos need (torchvision, num2words) is not there."""
    monkeypatch.setattr(ProcessorMixin, "check_argument_for_proper_class", lambda *_: None)
    monkeypatch.setattr(processing_smolvlm, "num2words", lambda number: str(number))
    tokenizer, marks = byte_tokenizer(), MARKS.get(model_type, {})
    special = [START, *OTHER_MARKS, *TILE_MARKS, *marks.values()]
    tokenizer.add_special_tokens({"bos_token": START, "additional_special_tokens": special})
    start = tokenizer.convert_tokens_to_ids(START)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(f"{START} $A", special_tokens=[(START, start)])
    for name, mark in marks.items():
        setattr(tokenizer, f"{name}_token", mark)
        setattr(tokenizer, f"{name}_token_id", tokenizer.convert_tokens_to_ids(mark))
    kind, options = PROCESSORS[model_type]
    processor = kind(image_processor=build(model_type).processor.image_processor, tokenizer=tokenizer, **options)
    processor.chat_template = CHAT_TEMPLATE.replace("<image>", processor.image_token)
    return processor


@pytest.fixture
def picture(tmp_path: Path) -> Callable[[str], Path]:
    return make_pictures(tmp_path)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pictures that were opened, by name."""
    names, real = [], Image.open

    def count(path: Path) -> Image.Image:
        names.append(path.stem)
        return real(path)

    monkeypatch.setattr(Image, "open", count)
    return names


def own_prompts(processor: Any, picture: Callable[[str], Path], pairs: list[PreferencePair]) -> list[tuple[int, ...]]:
    """Returns what the processor itself makes of each pair's text and picture."""
    prompts = []
    for pair in pairs:
        text = render_prompt(processor, pair.question, has_image=True)
        made = processor(text=[text], images=[[open_picture(picture(pair.image_id))]], return_tensors="pt")
        prompts.append(tuple(made["input_ids"][0].tolist()))
    return prompts


def test_every_family_has_its_processor_here() -> None:
    assert set(PROCESSORS) == {family.model_type for family in FAMILIES}


@pytest.mark.parametrize("model_type", PROCESSORS)
def test_rows_are_the_processors_own_and_a_second_start_opens_no_picture(
    model_type: str,
    picture: Callable[[str], Path],
    opened: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processor = make_processor(model_type, monkeypatch)
    own = own_prompts(processor, picture, PAIRS)
    assert own[0][0] == processor.tokenizer.bos_token_id and own[0] != own[2]
    opened.clear()
    for expected in (["red", "blue"], []):
        rows = Renderer(processor, (), tmp_path / "kept").rows(PAIRS, picture)
        assert [row.prompt for row in rows] == own
        assert opened == expected
        opened.clear()


def test_pictures_of_different_size_take_different_numbers_of_tokens(
    picture: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A square of 56 pixels is one tile, where 60 x 100 becomes several."""
    Image.new("RGB", (56, 56)).save(picture("blue"))
    processor = make_processor("idefics3", monkeypatch)
    own = own_prompts(processor, picture, PAIRS)
    assert len(own[1]) != len(own[0])
    for _ in range(2):
        assert [row.prompt for row in Renderer(processor, (), tmp_path / "kept").rows(PAIRS, picture)] == own


def test_a_changed_picture_is_not_what_was_kept(
    picture: Callable[[str], Path], opened: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = make_processor("llava_next", monkeypatch)
    renderer = Renderer(processor, (), tmp_path / "kept")
    before = renderer.row(PAIRS[0], picture("red"))
    Image.new("RGB", (100, 30)).save(picture("red"))
    after = renderer.row(PAIRS[0], picture("red"))
    assert opened == ["red", "red"] and len(after.prompt) != len(before.prompt)


def test_without_a_folder_a_picture_is_opened_once_and_nothing_is_written(
    vlm: Vlm, picture: Callable[[str], Path], opened: list[str], tmp_path: Path
) -> None:
    Renderer(vlm.processor, stop_ids(vlm.model)).rows(PAIRS, picture)
    assert opened == ["red", "blue"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blue.png", "red.png"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:-9],
        lambda whole: whole[:30] + b"\0" * 40,
        lambda whole: whole[:10] + b"\xff" + whole[11:],
    ],
    ids=["empty", "cut", "overwritten", "one byte"],
)
def test_a_damaged_file_is_made_again(
    damage: Callable[[bytes], bytes], vlm: Vlm, picture: Callable[[str], Path], opened: list[str], tmp_path: Path
) -> None:
    rows = Renderer(vlm.processor, (), tmp_path / "kept").rows(PAIRS[:1], picture)
    (path,) = (tmp_path / "kept").rglob("*.gz")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert Renderer(vlm.processor, (), tmp_path / "kept").rows(PAIRS[:1], picture) == rows
    assert opened == ["red", "red"] and path.read_bytes() == whole


def test_a_file_of_another_processor_is_not_used(vlm: Vlm, tmp_path: Path) -> None:
    processor = vlm.processor
    Placeholders(processor, tmp_path).write("ab", "<image>")
    (path,) = tmp_path.rglob("*.gz")
    processor.patch_size = 7
    other = tmp_path / placeholder_fingerprint(processor) / "ab/ab.gz"
    other.parent.mkdir(parents=True)
    path.rename(other)
    assert Placeholders(processor, tmp_path).read("ab") is None


def test_the_fingerprint_is_of_all_that_decides_a_placeholder(
    vlm: Vlm, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = vlm.processor
    seen = [placeholder_fingerprint(processor)]
    assert placeholder_fingerprint(transformers.AutoProcessor.from_pretrained(tiny)) == seen[0]
    monkeypatch.setattr(processor.image_processor, "size", {"height": 56, "width": 56})
    seen.append(placeholder_fingerprint(processor))
    monkeypatch.setattr(processor, "num_additional_image_tokens", 2)
    seen.append(placeholder_fingerprint(processor))
    monkeypatch.setattr(processor, "fake_image_token", "<fake>", raising=False)  # Idefics3's, which it does not save
    seen.append(placeholder_fingerprint(processor))
    backend = type("CLIPImageProcessor", (type(processor.image_processor),), {})
    monkeypatch.setattr(processor.image_processor, "__class__", backend)  # its settings name it as they did before
    seen.append(placeholder_fingerprint(processor))
    monkeypatch.setattr(transformers, "__version__", "5.0.0")
    seen.append(placeholder_fingerprint(processor))
    assert len(set(seen)) == len(seen)


def test_two_that_fill_a_folder_at_once_keep_one_file_a_picture(
    vlm: Vlm, picture: Callable[[str], Path], opened: list[str], tmp_path: Path
) -> None:
    one, two = (Renderer(vlm.processor, (), tmp_path / "kept") for _ in range(2))
    for pair in PAIRS:
        assert one.row(pair, picture(pair.image_id)) == two.row(pair, picture(pair.image_id))
    assert opened == ["red", "blue"]  # the second finds what the first has written
    assert len([path for path in (tmp_path / "kept").rglob("*") if path.is_file()]) == 2


class Closing(LlavaProcessor):
    """A processor that does more than to put the placeholder in: it adds a line behind the prompt."""

    def prepare_inputs_layout(self, images: Any = None, text: Any = None, **options: Any) -> Any:
        """Adds the line."""
        return super().prepare_inputs_layout(images=images, text=[f"{text[0]}\n"], **options)


def test_of_a_processor_that_does_more_nothing_is_kept_and_rows_are_still_its_own(
    vlm: Vlm, picture: Callable[[str], Path], opened: list[str], tmp_path: Path
) -> None:
    vlm.processor.__class__ = Closing
    rows = Renderer(vlm.processor, (), tmp_path / "kept").rows(PAIRS, picture)
    assert opened == ["red", "blue", "red", "red"] and not (tmp_path / "kept").exists()
    assert {vlm.processor.tokenizer.decode(row.prompt)[-2:] for row in rows} == {"\n\n"}
