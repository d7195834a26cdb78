"""How long to wait before a server is asked again: what it says itself, or exponential backoff."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_BACKOFF_S = 30.0


def backoff_s(tries: int, first_wait_s: float) -> float:
    """Returns the seconds to wait after this many tries: each wait is twice the last, less up to half by chance."""
    return min(first_wait_s * 2.0 ** (tries - 1), LONGEST_BACKOFF_S) * random.uniform(0.5, 1.0)


def retry_after_s(header: str) -> float | None:
    """Reads the `Retry-After` header, seconds or an HTTP date; anything else says nothing."""
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # a date without a zone cannot be subtracted
        return None
