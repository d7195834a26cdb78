"""How fast a server is asked: requests in flight by the share it refuses, requests and tokens by the minute. Pure.

A refusal is an HTTP 429. It says little by itself, since many servers refuse a share of requests whatever their load,
so single refusals change nothing; `Retry-After` concerns the request it came for and is not read here.
"""

from typing import NamedTuple

SMALLEST_WINDOW = 20
"""Replies that are read together, at least; otherwise twice the limit."""
BEARABLE = 0.15
"""Share of refusals beyond what the server refuses anyway at which the limit is halved."""
HELPED = 0.25
"""Halving was right if refusals fall by this part, or if acceptances rise by it."""
HALVINGS = 2
"""So often the limit is halved before it is said that halving does not help."""
MOST_ANYWAY = 0.5
"""A larger share of refusals is never taken as what the server refuses whatever its load."""
FORGET = 0.98
"""What a window leaves of the share that is taken as refused anyway, so that load is thought of again."""


class _Trial(NamedTuple):
    """Halvings that have yet to show that they help."""

    limit: int
    """The limit before them."""
    share: float
    """The share of refusals before them."""
    halvings: int


class InFlightLimit:
    """How many requests may be in flight.

    Halved when the share of refusals in a window rises; raised by one after every other window. Where two halvings do
    not lower the share, it is not load that the server complains of: the limit is what it was before, and that share is
    taken, for a while, as what the server refuses anyway.

    Args:
        most: The highest limit, where it begins.
    """

    def __init__(self, most: int) -> None:
        self.now = most
        self.cuts = 0
        """Halvings so far; a reply to a request that was sent before the last one says nothing."""
        self._most = most
        self._anyway = 0.0
        self._trial: _Trial | None = None
        self._replies = self._refused = 0

    def heard(self, *, refused: bool, cuts: int) -> None:
        """Reads a reply.

        Args:
            refused: Whether it was a 429.
            cuts: `cuts` when the request was sent.
        """
        if cuts != self.cuts:
            return
        self._replies += 1
        self._refused += refused
        if self._replies >= max(SMALLEST_WINDOW, 2 * self.now):
            share, self._replies, self._refused = self._refused / self._replies, 0, 0
            self._read_window(share)

    def _read_window(self, share: float) -> None:
        trial = self._trial
        if trial is not None and not _helped(trial.share, share):
            if trial.halvings < HALVINGS or share > MOST_ANYWAY:
                self._halve(trial._replace(halvings=trial.halvings + 1))
            else:
                self.now, self._anyway, self._trial = trial.limit, share, None
        elif share > self._anyway + BEARABLE:
            self._halve(_Trial(self.now, share, 1))
        else:
            self._trial = None
            self._anyway = min(self._anyway * FORGET, share + BEARABLE)
            self.now = min(self.now + 1, self._most)

    def _halve(self, trial: _Trial) -> None:
        self._trial = trial
        self.now = max(1, self.now // 2)
        self.cuts += 1


def _helped(before: float, share: float) -> bool:
    return share <= before * (1 - HELPED) or 1 - share >= (1 - before) * (1 + HELPED) > 0


class MinuteLimit:
    """Spaces things out so that a minute has no more of them than allowed.

    Args:
        per_minute: How many.
    """

    def __init__(self, per_minute: float) -> None:
        self._s_each = 60 / per_minute
        self._free_at_s = float("-inf")

    def reserve(self, amount: float, now_s: float) -> float:
        """Takes the next free time for this many, and returns the seconds until then."""
        start_s = max(now_s, self._free_at_s)
        self._free_at_s = start_s + amount * self._s_each
        return start_s - now_s

    def correct(self, more: float) -> None:
        """Says that the last ones were more than was reserved for them, or fewer."""
        self._free_at_s += more * self._s_each
