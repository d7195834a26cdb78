"""How fast a server is asked; every window is written out, so nothing depends on a clock or on chance."""

import asyncio

import pytest

from spavl.execution import InFlightLimit, MinuteLimit, Slots


def window(limit: InFlightLimit, refused: int) -> int:
    """Plays one window with this many refusals, evenly spread, and returns the limit after it."""
    size = max(20, 2 * limit.now)
    for place in range(size):
        limit.heard(refused=place * refused // size != (place + 1) * refused // size, cuts=limit.cuts)
    return limit.now


def test_a_single_refusal_changes_nothing() -> None:
    limit = InFlightLimit(16)
    assert [window(limit, 1), window(limit, 0), window(limit, 4)] == [16, 16, 16]


def test_a_rising_share_halves_the_limit_and_each_quiet_window_gives_one_back() -> None:
    """8 of 32 are a quarter, more than 0.15; after that nothing is refused."""
    limit = InFlightLimit(16)
    assert [window(limit, 8)] + [window(limit, 0) for _ in range(9)] == [8, 9, 10, 11, 12, 13, 14, 15, 16, 16]


def test_a_server_that_takes_eight_at_once_is_found_from_sixty_four() -> None:
    """What is more than 8 is refused: 7/8 of 64, 3/4 of 32, half of 16, nothing of 8, 1/9 of 9, 1/5 of 10."""
    limit = InFlightLimit(64)

    def overloaded() -> int:
        size = max(20, 2 * limit.now)
        return window(limit, size * max(0, limit.now - 8) // limit.now)

    assert [overloaded() for _ in range(6)] == [32, 16, 8, 9, 10, 5]


def test_refusals_that_do_not_come_from_load_do_not_slow_us_down() -> None:
    """40 % are refused at 32, at 16 and at 8: the limit is 32 again and stays; at 60 % it is tried once more."""
    limit = InFlightLimit(32)
    assert [window(limit, refused) for refused in (26, 13, 8, 26, 26)] == [16, 8, 32, 32, 32]
    assert window(limit, 39) == 16


def test_while_nearly_everything_is_refused_the_limit_falls_to_one_and_then_grows_back() -> None:
    limit = InFlightLimit(16)
    assert [window(limit, max(20, 2 * limit.now)) for _ in range(6)] == [8, 4, 2, 1, 1, 1]
    assert [window(limit, 0) for _ in range(3)] == [2, 3, 4]


def test_what_is_refused_anyway_is_forgotten_slowly() -> None:
    """0.4 x 0.98^n is below 0.25 = 0.4 - 0.15 from n = 24 on, so the window after 24 others halves again."""
    limit = InFlightLimit(20)
    assert [window(limit, refused) for refused in (16, 8, 8)] == [10, 5, 20]
    assert [window(limit, 16) for _ in range(25)] == [20] * 24 + [10]


def test_replies_to_requests_sent_before_a_cut_do_not_cut_again() -> None:
    limit = InFlightLimit(16)
    window(limit, 32)
    for _ in range(100):
        limit.heard(refused=True, cuts=0)
    assert limit.now == 8


def test_the_limit_is_never_below_one() -> None:
    limit = InFlightLimit(1)
    assert [window(limit, 20), window(limit, 20)] == [1, 1]


def test_requests_are_spaced_by_the_minute_and_unused_time_is_not_saved_up() -> None:
    """120 a minute are one each half second; at second 10 the next is due at once, and again half a second later."""
    limit = MinuteLimit(120)
    assert [limit.reserve(1, now_s) for now_s in (0.0, 0.0, 0.0, 10.0, 10.25)] == [0, 0.5, 1.0, 0, 0.25]


def test_tokens_are_corrected_once_they_are_known() -> None:
    """6,000 a minute are 100 a second: 400 reserved and 100 used leave the next at second 1."""
    limit = MinuteLimit(6000)
    assert limit.reserve(400, 0.0) == 0
    limit.correct(100 - 400)
    assert limit.reserve(400, 0.0) == 1.0


@pytest.mark.parametrize("cut", [False, True])
def test_slots_hold_as_many_as_the_limit_says_now(cut: bool) -> None:
    """Eight slots and twelve tasks; with a cut the four that wait get in only when fewer than four are inside."""
    limit = InFlightLimit(8)
    inside, seen = 0, []

    async def run() -> None:
        slots = Slots(limit)

        async def task() -> None:
            nonlocal inside
            async with slots:
                inside += 1
                seen.append(inside)
                for _ in range(len(seen)):
                    await asyncio.sleep(0)
                if cut:
                    limit.now = 4
                inside -= 1

        await asyncio.gather(*(task() for _ in range(12)))

    asyncio.run(run())
    assert max(seen) == 8
    assert max(seen[8:]) == (4 if cut else 8)


@pytest.mark.parametrize("woken", [False, True])
def test_a_task_that_is_cancelled_while_it_waits_for_a_slot_leaves_it_to_the_next(woken: bool) -> None:
    """One slot: the second task waits and is cancelled, before or after the slot was given to it; the third gets it."""

    async def run() -> bool:
        slots = Slots(InFlightLimit(1))

        async def task() -> bool:
            async with slots:
                return True

        await slots.__aenter__()
        second, third = asyncio.create_task(task()), asyncio.create_task(task())
        await asyncio.sleep(0)
        if woken:
            await slots.__aexit__(None, None, None)
        second.cancel()
        if not woken:
            await asyncio.sleep(0)
            await slots.__aexit__(None, None, None)
        return await asyncio.wait_for(third, 5)

    assert asyncio.run(run())
