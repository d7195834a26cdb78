"""What one run has spent on one model, and whether its budget allows another call.

A call is admitted if what was spent, what calls under way may need, and what it may need itself stay within the budget;
where only calls under way stand in its way, it waits for them, since they mostly use less than they may. Once a call is
not admitted, none is in this process. What was spent is kept in the call store, in the same transaction as the answers.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from spavl.budget_config import BudgetConfig, ComputeBudgetConfig, PriceConfig, plain
from spavl.models.base import Completion, Reply, Request, Tokens, most_tokens
from spavl.records import Failure


class Spent(NamedTuple):
    """What answered calls used."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    """Wall time in which at least one call was under way."""

    def plus(self, more: "Spent") -> "Spent":
        """Returns the sum."""
        return Spent(
            self.calls + more.calls,
            self.prompt_tokens + more.prompt_tokens,
            self.completion_tokens + more.completion_tokens,
            self.seconds + more.seconds,
        )


NOTHING = Spent()


class Account:
    """One model's spending in one run.

    Args:
        name: The model's name in `models`.
        budget: Where to stop.
        price: What tokens cost.
        spent: What the run has spent on the model so far.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        name: str,
        budget: ComputeBudgetConfig | None = None,
        price: PriceConfig | None = None,
        spent: Spent = NOTHING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._budget = budget
        self._price = price
        self._spent = spent
        self._clock = clock
        self._longest_prompt = 0
        self._reserved: list[Tokens] = []
        self._under_way_since: float | None = None
        self._exhausted: str | None = None
        self._waiting: list[asyncio.Future[None]] = []

    async def admit(self, requests: Sequence[Request]) -> Tokens | Failure:
        """Returns what is reserved for a group of calls, for `settle`; or why the group must not be asked."""
        bounds = [most_tokens(request) for request in requests]
        bound = _sum([one._replace(prompt=max(one.prompt, self._longest_prompt)) for one in bounds])
        while self._exhausted is None:
            excess = self._excess(bound)
            if excess is None:
                if not self._reserved:
                    self._under_way_since = self._clock()
                self._reserved.append(bound)
                return bound
            if self._reserved:
                changed = asyncio.get_running_loop().create_future()
                self._waiting.append(changed)
                await changed
            else:
                self._exhausted = excess
                self._wake()
        return Failure(reason="budget", message=self._exhausted, transient=True)

    def settle(self, reserved: Tokens, requests: Sequence[Request], replies: Sequence[Reply]) -> Spent:
        """Gives a reservation back, and returns what is to be added to the run's spending."""
        pairs = zip(requests, replies, strict=True)
        used = [_used(request, reply) for request, reply in pairs if isinstance(reply, Completion)]
        now_s = self._clock()
        seconds = now_s - (now_s if self._under_way_since is None else self._under_way_since)
        more = Spent(len(used), *_sum(used), seconds)
        self._reserved.remove(reserved)
        self._under_way_since = now_s if self._reserved else None
        self._longest_prompt = max([self._longest_prompt, *(tokens.prompt for tokens in used)])
        self._spent = self._spent.plus(more)
        self._wake()
        return more

    def cost(self, spent: Spent) -> dict[str, float]:
        """Returns currency -> amount; empty where the model has no price."""
        if self._price is None:
            return {}
        return {self._price.currency: cost(self._price, Tokens(spent.prompt_tokens, spent.completion_tokens))}

    def _excess(self, bound: Tokens) -> str | None:
        """Says which budget a call might exceed, or nothing."""
        if self._budget is None:
            return None
        spent = Tokens(self._spent.prompt_tokens, self._spent.completion_tokens)
        most = _sum([spent, *self._reserved, bound])
        if self._budget.tokens is not None and sum(most) > self._budget.tokens:
            return self._message("tokens", self._budget.tokens, sum(spent))
        money = self._budget.money if isinstance(self._budget, BudgetConfig) else None
        if money is not None and self._price is not None and cost(self._price, most) > money:
            return self._message("money", money, cost(self._price, spent))
        under_way_s = 0.0 if self._under_way_since is None else self._clock() - self._under_way_since
        if self._budget.seconds is not None and self._spent.seconds + under_way_s >= self._budget.seconds:
            return self._message("seconds", self._budget.seconds, self._spent.seconds + under_way_s)
        return None

    def _message(self, field: str, limit: float, so_far: float) -> str:
        return (
            f"models.{self.name}.budget.{field}: {plain(so_far)} of {plain(limit)} are spent in this run, and the next "
            "call might exceed it. Raise it to have the rest asked"
        )

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for changed in waiting:
            if not changed.done():
                changed.set_result(None)


def _sum(tokens: Sequence[Tokens]) -> Tokens:
    return Tokens(sum(one.prompt for one in tokens), sum(one.completion for one in tokens))


def cost(price: PriceConfig, tokens: Tokens) -> float:
    """Returns what tokens cost, in the price's currency."""
    return (price.input * tokens.prompt + price.output * tokens.completion) / 1e6


def _used(request: Request, completion: Completion) -> Tokens:
    """Returns what a call used; where the server does not say, what it may have used."""
    told = Tokens(completion.prompt_tokens, completion.completion_tokens)
    return told if any(told) else most_tokens(request)
