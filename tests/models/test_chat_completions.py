"""Replies as bytes, read without a server."""

from tests.models.chat_server import says

from spavl.models.base import Completion
from spavl.models.chat_completions import read_reply


def test_half_a_character_is_read_as_unreadable_and_not_as_a_failure_that_would_be_paid_again() -> None:
    """An emoji is two escapes; where the token limit cut the second, no file could hold what is left."""
    reply = read_reply(says("Look: HALF", "length").body.replace(b"HALF", rb"\ud83d\ude00 \ud83d"))
    assert reply == Completion(text="Look: \U0001f600 \ufffd", finish="length", prompt_tokens=7, completion_tokens=3)
    assert Completion.model_validate_json(reply.model_dump_json()) == reply
