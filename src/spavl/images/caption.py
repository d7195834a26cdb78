"""The captions station: a model says what each picture shows.

A picture that the model declines, or fails at, ends as a `Failure` and keeps its source's caption. Which those are is
worth knowing: a model declines the pictures of some leaves more than those of others.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping

from spavl.config import CaptionsConfig
from spavl.images.candidates import clean
from spavl.judges.declining import declined
from spavl.models.ask import ask, check_reached
from spavl.models.base import Completion, ImageInput, Request
from spavl.models.call_store import StoredModel
from spavl.prompt_files import PromptForm, prompt_bytes, read_prompts
from spavl.question_config import CAPTION_PROMPTS
from spavl.records import Caption, Failure, ImageRecord
from spavl.store import Manifest, StageDirectory

CaptionOutcomes = Mapping[str, Caption | Failure]
"""Image id -> its written caption, or why there is none; empty where no model was asked."""


FORM = PromptForm("captions.prompt", "spavl.images", CAPTION_PROMPTS, names=("caption",))


async def write_captions(
    config: CaptionsConfig,
    images: Mapping[str, ImageRecord],
    show: Callable[[str], ImageInput],
    open_model: Callable[[str], StoredModel],
    stage: StageDirectory,
) -> Manifest:
    """Runs the station: one item per picture; without a writer there are none.

    Raises:
        RunError: The writer was out of reach too often, or of no use.
    """
    if config.writer is None:
        return stage.finish([])
    name, told = config.writer, load_caption_prompt(config.prompt)

    def request(image: ImageRecord) -> Request:
        return caption_request(config, told, show(image.id))

    def read(image: ImageRecord, completion: Completion) -> Caption | Failure:
        return read_caption(image, completion, name)

    await ask(stage, images, open_model(name), request, read, label="captions")
    check_reached(stage, len(images))
    fallbacks = Counter(images[item].leaf for item, _ in stage.each_failure())
    leaves = Counter(image.leaf for image in images.values())
    by_leaf = {leaf: {"pictures": n, "source_captions": fallbacks[leaf]} for leaf, n in sorted(leaves.items())}
    return stage.finish(images, facts={"writer": name, "by_leaf": by_leaf})


def caption_request(config: CaptionsConfig, told: str, picture: ImageInput) -> Request:
    """Returns what the writer is asked about a picture, with what it is told from `load_caption_prompt`."""
    return Request(prompt=told, image=picture, max_tokens=config.max_tokens, temperature=config.temperature)


def read_caption(image: ImageRecord, completion: Completion, writer: str) -> Caption | Failure:
    """Returns the first line that the model wrote, or says why it is no caption."""
    if how := declined(completion):
        return Failure(reason="refused", message=f"The writer {how}.")
    line = clean(completion.text.strip().split("\n")[0]).strip('"“” ')
    if not any(letter.isalpha() for letter in line):
        return Failure(reason="empty", message=f"The writer wrote {completion.text[:80]!r}.")
    return Caption(image_id=image.id, leaf=image.leaf, text=line, writer=writer)


def load_caption_prompt(name: str) -> str:
    """Returns what a writer of captions is told by a version such as `caption_v1`, or by one's own file.

    Raises:
        UserError: The file is missing or wrong.
    """
    return read_prompts(FORM, name, FORM.names)["caption"].prompt.format()


def caption_prompt_digest(name: str) -> str:
    """Returns the SHA-256 of the file.

    Raises:
        UserError: It is missing.
    """
    return hashlib.sha256(prompt_bytes(FORM, name)).hexdigest()
