"""Budgets: calls end before they may be exceeded, what is left is a failure, and a larger budget asks exactly that.

Every prompt here is six bytes, so it may have 2 tokens, and an answer 8: a call may need 10. The model uses 2 + 1.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.models.scripted import ScriptedModel, echo

from spavl.budget_config import BudgetConfig, PriceConfig, plain
from spavl.config import OpenAIModelConfig
from spavl.errors import RunError, UserError
from spavl.models import CallStore, Completion, Reply, Request, StoredModel
from spavl.models.account import Account, Spent
from spavl.records import Failure

PRICE = PriceConfig(input=100_000, output=1_000_000, currency="EUR")
"""0.1 a token read, 1 a token written: a call may cost 8.2, and costs 1.2."""


def requests(count: int, first: int = 0) -> list[Request]:
    return [Request(prompt=f"call{number:02}", max_tokens=8) for number in range(first, first + count)]


def stored(path: Path, model: ScriptedModel, budget: BudgetConfig | None, run: str = "run") -> StoredModel:
    store = CallStore(path / "calls.sqlite", run)
    return StoredModel(model, store, Account("m", budget, PRICE, store.spent("m")))


def ask(model: StoredModel, asked: Sequence[Request]) -> list[Reply]:
    """Asks side by side, each request a group of its own."""

    async def run() -> list[Reply]:
        return [reply for group in await asyncio.gather(*(model.generate([one]) for one in asked)) for reply in group]

    return asyncio.run(run())


def answered(replies: Sequence[Reply]) -> int:
    return sum(isinstance(reply, Completion) for reply in replies)


@pytest.mark.parametrize(
    ("budget", "calls"),
    [
        (BudgetConfig(tokens=9), 0),
        (BudgetConfig(tokens=10), 1),
        (BudgetConfig(tokens=12), 1),
        (BudgetConfig(tokens=13), 2),
        (BudgetConfig(tokens=34), 9),
        (BudgetConfig(money=8.1), 0),
        (BudgetConfig(money=8.2), 1),
        (BudgetConfig(money=9.4), 2),
        (BudgetConfig(tokens=34, money=9.4), 2),
        (None, 20),
    ],
)
def test_no_call_is_started_that_might_exceed_the_budget(
    tmp_path: Path, budget: BudgetConfig | None, calls: int
) -> None:
    """After n calls 3 n tokens are spent, so the next is started while 3 n + 10 are within the budget: 34 = 3 x 8 + 10.

    In money 1.2 n + 8.2. Twenty are asked for at once; those that may still fit wait for those under way.
    """
    model = ScriptedModel()
    replies = ask(stored(tmp_path, model, budget), requests(20))
    assert (len(model.groups), answered(replies)) == (calls, calls)
    left = [reply for reply in replies if isinstance(reply, Failure)]
    assert {(one.reason, one.transient) for one in left} <= {("budget", True)}
    assert len(left) == 20 - calls


def test_a_larger_budget_asks_exactly_what_was_left_and_what_was_spent_counts(tmp_path: Path) -> None:
    """13 allow 2 calls; 25 allow 6 in all, of which two are in the store: 3 x 5 + 10."""
    first, second = ScriptedModel(), ScriptedModel()
    ask(stored(tmp_path, first, BudgetConfig(tokens=13)), requests(20))
    again = stored(tmp_path, second, BudgetConfig(tokens=25))
    assert answered(ask(again, requests(20))) == 6
    asked = [prompt for model in (first, second) for (prompt,) in model.groups]
    assert len(asked) == len(set(asked)) == 6
    assert again.take_usage().cost == {"EUR": pytest.approx(4 * 1.2)}


def test_another_run_has_its_own_budget_and_pays_nothing_for_stored_answers(tmp_path: Path) -> None:
    ask(stored(tmp_path, ScriptedModel(), BudgetConfig(tokens=13)), requests(2))
    other = ScriptedModel()
    model = stored(tmp_path, other, BudgetConfig(tokens=13), "another")
    assert answered(ask(model, requests(5))) == 4
    usage = model.take_usage()
    assert (usage.calls, usage.stored_calls, usage.cost) == (2, 2, {"EUR": pytest.approx(2.4)})


def test_spending_is_written_with_the_answers(tmp_path: Path) -> None:
    ask(stored(tmp_path, ScriptedModel(), None), requests(3))
    spent = CallStore(tmp_path / "calls.sqlite", "run").spent("m")
    assert spent[:3] == (3, 6, 3)
    assert spent.seconds > 0


def test_an_answer_and_what_it_cost_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    model = stored(tmp_path, ScriptedModel(), None)
    with sqlite3.connect(tmp_path / "calls.sqlite") as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON spent BEGIN SELECT RAISE(ABORT, 'full disk'); END")
    with pytest.raises(RunError, match="full disk"):
        ask(model, requests(1))
    assert CallStore(tmp_path / "calls.sqlite").count() == 0


def test_a_server_that_counts_nothing_is_charged_what_it_may_have_used(tmp_path: Path) -> None:
    """10 a call: two fit into 29, and a third does not."""
    silent = ScriptedModel(lambda request: Completion(text="ok"))
    assert answered(ask(stored(tmp_path, silent, BudgetConfig(tokens=29)), requests(5))) == 2


def test_failed_calls_give_their_reservation_back(tmp_path: Path) -> None:
    """Only one call fits at a time; the first fails, the second raises, and the third is asked all the same."""

    def trouble(request: Request) -> Reply:
        if request.prompt == "call01":
            raise UserError("placeholder")
        return Failure(reason="server_error", message="placeholder") if request.prompt == "call00" else echo(request)

    model = stored(tmp_path, ScriptedModel(trouble), BudgetConfig(tokens=12))
    assert not answered(ask(model, requests(1)))
    with pytest.raises(UserError):
        ask(model, requests(1, first=1))
    assert answered(ask(model, requests(1, first=2))) == 1


def test_seconds_are_those_in_which_a_call_is_under_way() -> None:
    """Calls from 0 to 4 and from 1 to 3 are 4 seconds, the idle time to 10 is none, and from 10 to 13 are 3 more."""
    now_s = 0.0
    account = Account("m", BudgetConfig(seconds=7), clock=lambda: now_s)
    (request,) = requests(1)

    async def run() -> list[float]:
        nonlocal now_s
        spent, ends = [], {}
        for moment, begins, call in [(0, True, 1), (1, True, 2), (3, False, 2), (4, False, 1), (10, True, 3)]:
            now_s = moment
            if begins:
                reserved = await account.admit([request])
                assert not isinstance(reserved, Failure)
                ends[call] = reserved
            else:
                spent.append(account.settle(ends[call], [request], [echo(request)]).seconds)
        now_s = 13
        spent.append(account.settle(ends[3], [request], [echo(request)]).seconds)
        refused = await account.admit([request])
        assert isinstance(refused, Failure)
        assert "models.m.budget.seconds: 7 of 7 are spent" in refused.message
        return spent

    assert asyncio.run(run()) == [3, 1, 3]


def test_a_call_that_waits_for_the_budget_does_not_hang_when_its_loop_ends(tmp_path: Path) -> None:
    account = Account("m", BudgetConfig(tokens=12), spent=Spent())

    async def run() -> None:
        reserved = await account.admit(requests(1))
        assert not isinstance(reserved, Failure)
        waiting = asyncio.create_task(account.admit(requests(1)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        account.settle(reserved, [], [])

    for _ in range(2):
        asyncio.run(run())


def test_a_budget_of_money_needs_a_price() -> None:
    with pytest.raises(ValueError, match="there is no price"):
        OpenAIModelConfig(kind="openai", base_url="http://x/v1", model="m", budget=BudgetConfig(money=1))


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (0, "0"),
        (0.005, "0.005"),
        (0.0125, "0.0125"),
        (0.00049149, "0.000491"),
        (1.2e-06, "0.0000012"),
        (0.17, "0.17"),
        (0.9999, "1"),
        (1.005e6, "1,005,000"),
        (12.345, "12.35"),
        (20, "20"),
    ],
)
def test_an_amount_keeps_three_digits_however_small_it_is(amount: float, said: str) -> None:
    assert plain(amount) == said


def test_a_budget_below_a_cent_is_named_as_it_is(tmp_path: Path) -> None:
    """A call may cost 8.2 of what tokens cost here by the hundred thousand: with a price 10,000 times less 0.00082."""
    price = PriceConfig(input=10, output=100, currency="EUR")
    model = StoredModel(
        ScriptedModel(), CallStore(tmp_path / "calls.sqlite"), Account("m", BudgetConfig(money=0.00081), price)
    )
    (left,) = ask(model, requests(1))
    assert isinstance(left, Failure) and "models.m.budget.money: 0 of 0.00081 are spent" in left.message
