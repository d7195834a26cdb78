"""Waiting before a server is asked again: what it says, and what we wait by ourselves."""

from spavl.execution.backoff import backoff_s, retry_after_s


def test_each_wait_is_twice_the_last_less_up_to_half_and_bounded() -> None:
    """Half a second at first: between 0.25 and 0.5, then 0.5 and 1; the twentieth would be 262,144 s."""
    assert 0.25 <= backoff_s(1, 0.5) <= 0.5
    assert 0.5 <= backoff_s(2, 0.5) <= 1
    assert 15 <= backoff_s(20, 0.5) <= 30


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    assert retry_after_s("2.5") == 2.5
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    later = retry_after_s("Wed, 21 Oct 2099 07:28:00 GMT")
    assert later is not None
    assert later > 86400
    assert [retry_after_s(header) for header in ("", "soon", "21 Oct")] == [None, None, None]
