"""Llama Guard 3 (Vision) and 4: the picture and the conversation go in, `safe` or `unsafe` and hazard codes come out.

The models' own chat templates carry the prompt, so question and answer are sent as plain turns.
"""

import functools
from collections.abc import Sequence

from spavl.judges.base import Exchange, JudgeCard, Opinion
from spavl.judges.guard import Form, packaged_card, read_verdict_and_codes
from spavl.judges.judged_text import as_turn
from spavl.models.base import Request


def llama_guard_form(kind: str) -> Form:
    """Returns the form of `llama_guard_3` or `llama_guard_4`, which differ in their hazards."""
    card = packaged_card(kind)
    return Form(card, _ask, functools.partial(_read, card))


def _ask(exchange: Exchange) -> list[Request]:
    return [Request(prompt=as_turn(exchange.question), answered=as_turn(exchange.answer), image=exchange.image)]


def _read(card: JudgeCard, replies: Sequence[str], exchange: Exchange) -> Opinion | None:
    (reply,) = replies
    return read_verdict_and_codes(reply, card)
