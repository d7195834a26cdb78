"""The captions station: what a model wrote, and which pictures keep their source's caption."""

import asyncio
from pathlib import Path

import pytest
from tests.models.scripted import ScriptedModel
from tests.questions.test_write import picture

from spavl.config import CaptionsConfig
from spavl.errors import RunError, UserError
from spavl.images import write_captions
from spavl.images.caption import FORM, caption_prompt_digest, load_caption_prompt, read_caption
from spavl.models import CallStore, Completion, ImageInput, Reply, Request, StoredModel
from spavl.prompt_files import read_prompts
from spavl.records import Caption, Failure, ImageRecord
from spavl.store import StageDirectory

REFUSAL = "I'm sorry, but I can't describe this picture."
PICTURES = [picture(letter * 64) for letter in "abcd"]


def show(image_id: str) -> ImageInput:
    return ImageInput(sha256=image_id, path=Path("padlock.png"))


def write(tmp_path: Path, replies: dict[str, Reply], config: CaptionsConfig) -> tuple[StageDirectory, ScriptedModel]:
    """Runs the station with a model that has a reply for some pictures and calls the others a padlock."""

    def answer(request: Request) -> Reply:
        assert request.image is not None
        return replies.get(request.image.sha256, Completion(text=" “A brass padlock.” \nMore."))

    model = ScriptedModel(answer)
    stage = StageDirectory(tmp_path / "captions", {}, {})
    stored = StoredModel(model, CallStore(tmp_path / "calls.sqlite"))
    asyncio.run(write_captions(config, {one.id: one for one in PICTURES}, show, lambda name: stored, stage))
    return stage, model


def test_a_picture_that_is_declined_or_failed_at_keeps_its_sources_caption_and_is_counted_by_leaf(
    tmp_path: Path,
) -> None:
    replies: dict[str, Reply] = {
        PICTURES[0].id: Completion(text=REFUSAL),
        PICTURES[1].id: Failure(reason="bad_request", message="The server takes no such picture."),
    }
    stage, _ = write(tmp_path, replies, CaptionsConfig(writer="served"))
    assert set(stage.failures()) == {one.id for one in PICTURES[:2]}
    captions = stage.records(Caption)
    assert [one.image_id for one in captions] == [one.id for one in PICTURES[2:]]
    assert captions[0].text == "A brass padlock."
    manifest = stage.manifest()
    assert manifest.counts.by_reason == {"bad_request": 1, "refused": 1}
    assert manifest.facts["by_leaf"] == {PICTURES[0].leaf: {"pictures": 4, "source_captions": 2}}


def test_without_a_writer_no_model_is_asked(tmp_path: Path) -> None:
    stage, model = write(tmp_path, {}, CaptionsConfig())
    assert model.groups == []
    assert stage.manifest().counts.items == 0


def test_a_writer_that_is_of_no_use_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="none of 4 items has a result"):
        write(tmp_path, {one.id: Completion(text="...") for one in PICTURES}, CaptionsConfig(writer="served"))


@pytest.mark.parametrize(("text", "reason"), [(REFUSAL, "refused"), ("  ", "empty"), ("?!", "empty")])
def test_what_is_no_caption_has_its_reason(text: str, reason: str) -> None:
    read = read_caption(PICTURES[0], Completion(text=text), "served")
    assert isinstance(read, Failure) and read.reason == reason


def test_the_prompt_has_its_intent_written_down() -> None:
    prompt = read_prompts(FORM, "caption_v1", FORM.names)["caption"]
    assert len(prompt.intent.split()) >= 6 and len(prompt.prompt.split()) >= 6
    assert load_caption_prompt("caption_v1") == prompt.prompt


def test_a_prompt_of_ones_own_is_what_the_writer_is_told_and_has_a_digest_of_its_own(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("caption: {intent: 'To test.', prompt: 'Name {{one}} thing.'}")
    assert load_caption_prompt(str(own)) == "Name {one} thing."
    assert caption_prompt_digest(str(own)) != caption_prompt_digest("caption_v1")
    own.write_text("caption: {intent: 'To test.', prompt: 'About {topic}.'}")
    with pytest.raises(UserError, match=r"captions\.prompt: .*`caption\.prompt`: nothing is known to fill \{topic\}"):
        load_caption_prompt(str(own))


def test_a_caption_is_what_can_be_seen_of_it_and_knows_its_picture_leaf_and_writer() -> None:
    image: ImageRecord = PICTURES[0]
    made = read_caption(image, Completion(text="\x1b[1mA brass\x00 padlock.\u202e"), "served")
    assert isinstance(made, Caption) and made.text == "A brass padlock."
    assert (made.image_id, made.leaf, made.writer) == (image.id, image.leaf, "served")
