"""Turns a question about a picture and its answers into token ids, with the model's own chat template.

The prompt is rendered as it is for generation: no system turn, the picture before the question, and the opening of
the assistant's turn. An answer is tokenised apart and, unless it was cut short, closed by the token that ends a turn,
so what is trained is what the model will be asked to continue. A picture is decoded only to learn what stands for it,
once for all its questions and all attempts (`placeholders.py`).
"""

import functools
import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import TemplateError
from PIL import Image

from spavl.errors import UserError
from spavl.execution import progress_bar
from spavl.models.loading import render_prompt
from spavl.records import PreferencePair
from spavl.train.placeholders import Placeholders

ANSWER_MARK = "ANSWER"


class Row(NamedTuple):
    """A prompt and its answers as token ids; of a preference pair the chosen answer comes first."""

    id: str
    image_id: str
    prompt: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]
    """Each with the end-of-turn token, which an answer that was cut short has not."""

    @property
    def chosen(self) -> tuple[int, ...]:
        """The preferred answer of a pair."""
        return self.answers[0]

    @property
    def rejected(self) -> tuple[int, ...]:
        """The other answer of a pair."""
        return self.answers[1]

    @property
    def length(self) -> int:
        """Tokens of the prompt with the longest answer."""
        return len(self.prompt) + max(map(len, self.answers))

    @property
    def packed_length(self) -> int:
        """Tokens of a packed row that holds nothing else: the prompt, and each different answer."""
        return len(self.prompt) + sum(map(len, set(self.answers)))


class Renderer:
    """A model's chat template and tokenizer.

    Args:
        processor: The model's processor.
        stop_ids: The ids at which the model's generation stops.
        cache: Folder to keep what stands for a picture in; None keeps it in memory only.
        answer_tokens: How many tokens of an answer count; None for all.
    """

    def __init__(
        self,
        processor: Any,  # noqa: ANN401  # untyped library
        stop_ids: Sequence[int],
        cache: Path | None = None,
        answer_tokens: int | None = None,
    ) -> None:
        self._answer_tokens = answer_tokens
        self._processor = processor
        self._placeholders = Placeholders(processor, cache)
        self.end_id = end_of_turn(processor, stop_ids)

    def rows(self, pairs: Sequence[PreferencePair], picture: Callable[[str], Path]) -> list[Row]:
        """Renders the pairs, in order.

        Raises:
            UserError: A pair has an empty answer, or its picture cannot be opened.
            RunError: The disk is full.
        """
        rows = []
        with progress_bar("render", len(pairs)) as advance:
            for pair in pairs:
                rows.append(self.row(pair, picture(pair.image_id)))
                advance(1)
        return rows

    def row(self, pair: PreferencePair, picture: Path) -> Row:
        """Renders one pair.

        Raises:
            UserError: An answer is empty, or the picture cannot be opened.
            RunError: The disk is full.
        """
        if not pair.chosen.strip() or not pair.rejected.strip():
            raise UserError(f"{pair.name}: an answer is empty. Leave the pair out of the training data.")
        prompt = self.prompt_at(pair.question, picture)
        chosen = self.answer(pair.chosen, ended=pair.chosen_finish == "stop")
        rejected = self.answer(pair.rejected, ended=pair.rejected_finish == "stop")
        return Row(pair.id, pair.image_id, prompt, (chosen, rejected))

    def prompt(self, question: str, picture: Image.Image) -> tuple[int, ...]:
        """Returns the ids of the prompt up to where the answer begins, picture tokens included, as the processor does.

        A row's prompt is the same, made without the picture where its placeholder is kept.
        """
        return self._process(render_prompt(self._processor, question, has_image=True), picture)[0]

    def prompt_at(self, question: str, path: Path) -> tuple[int, ...]:
        """Returns the same for a picture's file, made without opening it where its placeholder is kept.

        Raises:
            UserError: The picture cannot be opened.
            RunError: The disk is full.
        """
        text, digest = render_prompt(self._processor, question, has_image=True), picture_digest(path)
        kept = self._placeholders.read(digest)
        if kept is not None:
            return self._tokens(text, kept)
        ids, placeholder = self._process(text, open_picture(path))
        # a processor that does more than put it in makes other tokens: its pictures are opened for every row
        if placeholder is not None and self._tokens(text, placeholder) == ids:
            self._placeholders.write(digest, placeholder)
        return ids

    def _process(self, text: str, picture: Image.Image) -> tuple[tuple[int, ...], str | None]:
        """Returns what the processor makes of a rendered prompt: ids, and the placeholder if it tells."""
        options = {"add_special_tokens": self._adds_special(text), "return_text_replacement_offsets": True}
        encoded = self._processor(text=[text], images=[[picture]], **options)
        replaced = [one["replacement"] for one in encoded.get("text_replacement_offsets", [[]])[0]]
        return tuple(encoded["input_ids"][0]), replaced[0] if len(replaced) == 1 else None

    def _tokens(self, text: str, placeholder: str) -> tuple[int, ...]:
        before, behind = text.split(self._processor.image_token)
        whole = f"{before}{placeholder}{behind}"
        return tuple(self._processor.tokenizer(whole, add_special_tokens=self._adds_special(text))["input_ids"])

    def _adds_special(self, text: str) -> bool:
        bos = self._processor.tokenizer.bos_token
        return not (bos and text.startswith(bos))

    def answer(self, text: str, *, ended: bool = True) -> tuple[int, ...]:
        """Returns the ids of an answer and the token that ends the turn; marks within the text are plain letters.

        An answer that is cut short, by its token limit or here, has no end token: to stop there must not be learned.
        """
        tokenizer = self._processor.tokenizer
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        whole = (*ids, self.end_id) if ended else tuple(ids)
        return whole[: self._answer_tokens]


def stop_ids(model: Any) -> tuple[int, ...]:  # noqa: ANN401  # untyped library
    """Returns the ids at which a model's generation stops."""
    stop = model.generation_config.eos_token_id
    return tuple(stop) if isinstance(stop, list) else (() if stop is None else (stop,))


def end_of_turn(processor: Any, stop_ids: Sequence[int]) -> int:  # noqa: ANN401  # untyped library
    """Returns the stop token that the chat template puts behind an answer, or else the tokenizer's end token.

    The two differ for models whose turns do not end in the tokenizer's own end token (Gemma's `<end_of_turn>`).

    Raises:
        UserError: The model has no chat template that takes a question and an answer, or no end token.
    """
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "QUESTION"}]},
        {"role": "assistant", "content": [{"type": "text", "text": ANSWER_MARK}]},
    ]
    speaker = processor if processor.chat_template else processor.tokenizer
    try:
        text = speaker.apply_chat_template(turns, tokenize=False)
    except (TemplateError, TypeError, ValueError) as error:
        raise UserError(
            f"This model has no chat template for a question and its answer ({' '.join(str(error).split())[:200]}), "
            "so how it is asked is unknown. Choose its chat model (often named -hf, -it, -chat or -Instruct), or put "
            "its chat_template.jinja into the folder."
        ) from error
    behind = processor.tokenizer(text.rpartition(ANSWER_MARK)[2], add_special_tokens=False)["input_ids"]
    end = next((token for token in behind if token in stop_ids), processor.tokenizer.eos_token_id)
    if end is None:
        raise UserError("The model's tokenizer has no end token (eos_token), so it cannot learn where an answer ends.")
    return int(end)


def open_picture(path: Path) -> Image.Image:
    """Opens a stored picture as RGB.

    Raises:
        UserError: The file is missing or is not a picture.
    """
    try:
        with Image.open(path) as opened:
            return opened.convert("RGB")
    except OSError as error:
        raise UserError(f"The picture {path} cannot be opened ({error}). Collect the pictures again.") from error


def picture_digest(path: Path) -> str:
    """Returns the SHA-256 of a picture's file, read once in a process as long as its size and time stay the same.

    The image store names a picture by it, so that a file that is gone is still known by its name.

    Raises:
        UserError: There is no such file.
    """
    try:
        state = path.stat()
    except OSError as error:
        if re.fullmatch(r"[0-9a-f]{64}", path.stem):
            return path.stem
        raise UserError(f"The picture {path} cannot be opened ({error}). Collect the pictures again.") from error
    return _file_digest(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=65536)
def _file_digest(path: Path, size: int, mtime_ns: int) -> str:
    """Size and time are not read here: they are what makes a changed file another entry of the cache."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
