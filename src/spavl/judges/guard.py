"""Published safety judges behind a model: each is asked in its own form, and only that form is read.

A guard labels single answers and compares none. It does not say whether an answer declines unless its form does. What
it is not made for, an empty answer or a missing picture, is unscored; a reply in any other form is `unparsed`.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from typing import NamedTuple

from spavl.judges.base import Exchange, JudgeCard, Opinion
from spavl.judges.rubric import reply_text
from spavl.models.base import Reply, Request
from spavl.models.call_store import StoredModel
from spavl.records import Failure, SafetyVerdict
from spavl.store import Usage

QUOTED = 80
"""Characters of a reply that is not in its form."""
_AROUND = " \t.!*`\"'"
_VERDICTS: dict[str, SafetyVerdict] = {"safe": "safe", "unsafe": "unsafe"}


class Form(NamedTuple):
    """How one published judge is asked, and how its replies are read."""

    card: JudgeCard
    """Without the model's name, which the judge adds."""
    ask: Callable[[Exchange], list[Request]]
    """Pure; the longest reply is set by the judge."""
    read: Callable[[Sequence[str], Exchange], Opinion | None]
    """Reads the replies to what was asked, in order; None where one is not in the form."""
    calls: int = 1
    """Requests of one exchange."""


class GuardJudge:
    """A safety judge over a model that was published as one.

    Args:
        model: The model that judges, with its call store.
        name: The model's name in the configuration.
        max_tokens: Longest reply.
        form: How it is asked and read.
    """

    def __init__(self, model: StoredModel, name: str, max_tokens: int, form: Form) -> None:
        self._model = model
        self._name = name
        self._max_tokens = max_tokens
        self._form = form

    @property
    def card(self) -> JudgeCard:
        """The card of the published judge, with the model's name."""
        card = self._form.card
        return card.model_copy(update={"name": f"{card.name}:{self._name}"})

    @property
    def group_size(self) -> int:
        """Exchanges whose requests make one group of the model."""
        return max(1, self._model.group_size // self._form.calls)

    @property
    def concurrency(self) -> int:
        """The model's concurrency."""
        return self._model.concurrency

    def take_usage(self) -> Usage:
        """Returns what the model used since the last call of this function."""
        return self._model.take_usage()

    async def label(self, exchanges: Sequence[Exchange]) -> list[Opinion | Failure]:
        """Judges the exchanges, in order."""
        unfit = [self._unfit(exchange) for exchange in exchanges]
        asked = [exchange for exchange, wrong in zip(exchanges, unfit, strict=True) if wrong is None]
        requests = [one for exchange in asked for one in guard_requests(self._form, exchange, self._max_tokens)]
        replies = iter(await self._model.generate(requests))
        opinions = [self._opinion(exchange, replies) for exchange in asked]
        each = [opinion for opinion in opinions for _ in range(self._form.calls)]
        self._model.note_unread(zip(requests, each, strict=True))
        heard = iter(opinions)
        return [next(heard) if wrong is None else wrong for wrong in unfit]

    def _unfit(self, exchange: Exchange) -> Failure | None:
        if self._form.card.sees_answer and not exchange.answer.strip():
            return Failure(reason="unscored", message="no answer to judge: empty")
        if not self._form.card.sees_answer and exchange.image is None:
            return Failure(reason="unscored", message="no picture to judge")
        return None

    def _opinion(self, exchange: Exchange, replies: Iterator[Reply]) -> Opinion | Failure:
        texts = [reply_text(next(replies)) for _ in range(self._form.calls)]
        said = [text for text in texts if not isinstance(text, Failure)]
        for text in texts:
            if isinstance(text, Failure):
                return text
        opinion = self._form.read(said, exchange)
        if opinion is None:
            beginning = " ".join(" | ".join(said).split())[:QUOTED]
            return Failure(reason="unparsed", message=f"the judge's reply is not in its form: '{beginning}...'")
        return opinion


def guard_requests(form: Form, exchange: Exchange, max_tokens: int) -> list[Request]:
    """Returns what a guard is asked about an exchange."""
    return [request.model_copy(update={"max_tokens": max_tokens}) for request in form.ask(exchange)]


def packaged_card(kind: str) -> JudgeCard:
    """Returns the card of a published judge."""
    content = (files("spavl.judges") / "cards" / f"{kind}.json").read_text(encoding="utf-8")
    return JudgeCard.model_validate(json.loads(content))


def plain(line: str) -> str:
    """Returns a line without the marks that models put around a word: `**Unsafe.**` becomes `Unsafe`."""
    return line.strip(_AROUND)


def verdict_word(line: str) -> SafetyVerdict | None:
    """Returns what a line that holds one word says, in any capitals; None where it says anything else."""
    return _VERDICTS.get(plain(line).casefold())


def read_verdict_and_codes(text: str, card: JudgeCard) -> Opinion | None:
    """Reads `safe`, or `unsafe` with or without a second line of the card's codes, such as `S1,S9`.

    A code may be followed by a colon and its name. Anything more, a code that the card lacks, and codes of what is
    called safe are not in the form.
    """
    first, *rest = [line for line in text.splitlines() if line.strip()] or [""]
    verdict = verdict_word(first)
    codes = [plain(code).partition(":")[0].upper() for code in rest[0].split(",")] if rest else []
    if verdict is None or len(rest) > 1 or (verdict == "safe" and codes) or not card.categories.keys() >= set(codes):
        return None
    named = ", ".join(f"{code} {card.categories[code]}" for code in codes)
    return Opinion(verdict, None, f"{verdict}: {named}" if named else verdict)
