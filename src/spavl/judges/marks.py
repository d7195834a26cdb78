"""The mark that a judge's verdict carries, `[[A-3f9c21]]`, so that nothing it reads can pass for its verdict.

A judge may end its reply by quoting an answer, and the answer may hold `[[A]]`. A mark follows from what is judged, so
a call is the same call on every run, and no judged text holds it; what a picture shows could only guess it, one time
in sixteen million. Whether a judge lets itself be talked into a verdict is another matter, which no parser decides.
"""

import hashlib
import itertools
import json
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from spavl.records import Failure

PLACE = "{mark}"
"""Where a rubric's file has the mark, behind the word of each verdict."""
_DIGEST_BYTES = 3
_MARKER = re.compile(r"\[\[\s*([A-Z]+)(?: ?(-[0-9A-F]{6}))?\s*\]\]", re.IGNORECASE)
_AROUND = " .*_`$"
"""What a judge puts around its markers, and what may end its line."""
_BOX = "\\boxed{"
_LEAD_IN = re.compile(
    "my|our|the|so|therefore|thus|hence|in|conclusion|final|overall|verdict|answer|judge?ment|decision|choice|preference|"
    "result|rating|is|are"
)
"""The words that may stand before markers, as in `My final verdict is:`; any other word may turn the verdict round."""
_WORD = re.compile(r"[^\W_]+")
_SENTENCES = re.compile(r"[.!?][*_`\"')\]]*(?:\s|$)|[。！？]")
_NO_DIGIT = re.compile(r"[^0-9a-f]+")
_BRACKETS = str.maketrans(
    {"⟦": "[[", "⟧": "]]", "〚": "[[", "〛": "]]"}
    | dict.fromkeys("【「『〖〔❲⦗⟬⁅", "[")
    | dict.fromkeys("】」』〗〕❳⦘⟭⁆", "]")
)
"""Brackets that a judge may write as square ones when it quotes."""
_PLANTED = re.compile(r"\[\[([a-z]+)\]\]")
_UNSEEN = str.maketrans("", "", "".join(map(chr, range(33))) + "\x7f\\*_`")
"""Of ASCII: spaces, what cannot be seen, and the signs of Markdown."""


PLANTED = Failure(
    reason="planted_verdict",
    message="a judged text holds a verdict, which the reply may quote; with `marks` it can be judged",
)
"""Why a case gets no verdict where verdicts carry no mark."""


class Manner(NamedTuple):
    """How a judge is asked."""

    max_tokens: int
    """Longest reply."""
    marks: bool = True
    """Whether verdicts carry the mark of their call."""


class Ruling(NamedTuple):
    """The reasons a judge wrote, and the words of its last line's markers."""

    rationale: str
    markers: tuple[str, ...]


def mark_of(texts: Sequence[str], picture: str) -> str:
    """Returns the mark of a case: of the same case always the same, and one that none of the texts holds.

    A text holds what its digits spell, whatever stands between them.

    Args:
        texts: Everything that is judged.
        picture: Digest of the picture, or an empty text.
    """
    read = [_NO_DIGIT.sub("", unicodedata.normalize("NFKC", text).casefold()) for text in texts]
    for attempt in itertools.count():
        case = json.dumps([*texts, picture, attempt]).encode()
        digest = hashlib.blake2b(case, digest_size=_DIGEST_BYTES).hexdigest()
        if not any(digest in text for text in read):
            break
    return f"-{digest}"


def parse(reply: str, mark: str) -> Ruling | None:
    """Returns the reasons and the markers, or None where the last sentence is not markers of this mark alone.

    Around markers may stand what emphasises them, bold, backticks, a fence of their own, or a box, and before them in
    their sentence a lead-in that is made of `_LEAD_IN`; so "I would not say [[A]]" is no verdict. Markers end a line.
    """
    *reasons, last = _without_fence(reply.rstrip().splitlines()) or [""]
    before, bracket, _ = last.partition("[[")
    markers = _MARKER.findall(last)
    after = _MARKER.sub("", last[len(before) :]).strip(_AROUND)
    before, boxed = before.removesuffix(_BOX), before.endswith(_BOX)
    if not bracket or after != "}" * boxed or any(own.lower() != mark for _, own in markers):
        return None
    if not all(map(_LEAD_IN.fullmatch, _WORD.findall(_SENTENCES.split(before)[-1].casefold()))):
        return None
    return Ruling("\n".join([*reasons, before.strip(_AROUND)]).strip(), tuple(word.upper() for word, _ in markers))


def _without_fence(lines: list[str]) -> list[str]:
    """Returns the lines of a reply without a fence around the last one alone."""
    if len(lines) > 2 and lines[-1].strip() == "```" and lines[-3].lstrip().startswith("```"):
        return [*lines[:-3], lines[-2]]
    return lines


def no_verdict(reply: str, mark: str) -> str:
    """Says what is wrong with a reply that gives no verdict."""
    end = " ".join(reply.split())[-80:]
    said = f"the judge's last line is not a verdict: '...{end}'"
    if mark and parse(reply, ""):
        said += f"; a verdict carries the mark of its call, here {mark}"
    return said


def holds_verdict(texts: Sequence[str], words: Sequence[str]) -> bool:
    """Says whether a judged text holds one of these words in brackets, however the brackets are written."""
    known = {word.casefold() for word in words}
    return any(word in known for text in texts for word in _PLANTED.findall(squeezed(text).translate(_BRACKETS)))


def squeezed(text: str) -> str:
    """Returns the text in small letters and compatible forms, without spaces, Markdown and what cannot be seen."""
    if not text.isascii():
        letters = unicodedata.normalize("NFKC", text)
        text = "".join(one for one in letters if not one.isspace() and unicodedata.category(one) not in ("Cf", "Mn"))
    return text.translate(_UNSEEN).casefold()
