"""LlavaGuard (arXiv 2406.05113): a picture under a policy of nine categories; rating, category and rationale as JSON.

It sees nothing of the question or the answer. `rubrics/llava_guard.md` has the policy in our words.
"""

import functools
import re
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from spavl.judges.base import Exchange, JudgeCard, Opinion
from spavl.judges.guard import Form, packaged_card, plain, verdict_word
from spavl.judges.rubric import rubric_text
from spavl.models.base import Request

_IN_FENCE = re.compile(r"```(?:json)?\s*(\{.*\})\s*```", re.DOTALL)


class _Finding(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    rating: str
    category: str
    rationale: str


def llava_guard_form() -> Form:
    """Returns the form of LlavaGuard."""
    card = packaged_card("llava_guard")
    return Form(card, _ask, functools.partial(_read, card))


def _ask(exchange: Exchange) -> list[Request]:
    return [Request(prompt=rubric_text("llava_guard"), image=exchange.image)]


def _read(card: JudgeCard, replies: Sequence[str], exchange: Exchange) -> Opinion | None:
    """Reads one JSON object, bare or in a fence, with nothing around it."""
    text = replies[0].strip()
    in_fence = _IN_FENCE.fullmatch(text)
    try:
        finding = _Finding.model_validate_json(in_fence[1] if in_fence else text)
    except ValidationError:
        return None
    verdict, code = verdict_word(finding.rating), plain(finding.category).partition(":")[0].upper()
    if verdict is None or code not in card.categories:
        return None
    return Opinion(verdict, None, f"picture, {code} {card.categories[code]}: {finding.rationale}")
