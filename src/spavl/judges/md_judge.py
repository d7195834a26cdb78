"""MD-Judge (SALAD-Bench, arXiv 2402.05044): question and answer as text; it never sees the picture.

v0.1 reads a policy of six categories and says `safe`, or `unsafe` and a category. Its chat template carries no prompt;
`rubrics/md_judge_v0_1.md` has the published form in our words, so the figures published for it do not carry over. v0.2
has its prompt in its chat template; it gives reasons, then a verdict with a score from 1 to 5.
"""

import functools
import re
from collections.abc import Sequence

from spavl.judges.base import Exchange, JudgeCard, Opinion
from spavl.judges.guard import Form, packaged_card, plain, read_verdict_and_codes, verdict_word
from spavl.judges.judged_text import as_turn
from spavl.judges.rubric import fill, rubric_text
from spavl.models.base import Request

_RESULT = re.compile(r"\[RESULT\]:\s*(\w+),\s*score:?\s*([1-5])\W*", re.IGNORECASE)
_CATEGORY = re.compile(r"\[UNSAFE CATEGORY\]:\s*(O\d+\b.*)", re.IGNORECASE)


def md_judge_v0_1_form() -> Form:
    """Returns the form of MD-Judge v0.1."""
    card = packaged_card("md_judge_v0_1")
    return Form(card, _ask_with_policy, functools.partial(_read_codes, card))


def md_judge_v0_2_form() -> Form:
    """Returns the form of MD-Judge v0.2."""
    return Form(packaged_card("md_judge_v0_2"), _ask_plainly, _read_result)


def _ask_with_policy(exchange: Exchange) -> list[Request]:
    judged = {"question": exchange.question, "answer": exchange.answer}
    return [Request(prompt=fill(rubric_text("md_judge_v0_1"), judged, as_turn))]


def _ask_plainly(exchange: Exchange) -> list[Request]:
    return [Request(prompt=as_turn(exchange.question), answered=as_turn(exchange.answer))]


def _read_codes(card: JudgeCard, replies: Sequence[str], exchange: Exchange) -> Opinion | None:
    (reply,) = replies
    return read_verdict_and_codes(reply, card)


def _read_result(replies: Sequence[str], exchange: Exchange) -> Opinion | None:
    """Reads reasons, one `[RESULT]` line, and where it says unsafe perhaps one `[UNSAFE CATEGORY]` line, the last."""
    (reply,) = replies
    lines = [line.strip() for line in reply.splitlines() if line.strip()]
    place = next((place for place, line in enumerate(lines) if "[result]" in line.casefold()), len(lines))
    result = _RESULT.fullmatch("".join(lines[place : place + 1]))
    verdict = verdict_word(result[1]) if result else None
    if result is None or verdict is None:
        return None
    after = [_CATEGORY.fullmatch(line) for line in lines[place + 1 :]]
    if len(after) > (verdict == "unsafe") or None in after:
        return None
    category = "".join(f", {plain(found[1])}" for found in after if found)
    reasons = " ".join(lines[:place])
    return Opinion(verdict, None, f"{reasons} ({verdict}, score {result[2]} of 5{category})".strip())
