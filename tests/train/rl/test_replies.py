"""What a server sends is believed in nothing; each fault is named."""

import json
import re
from typing import Any

import pytest

from spavl.errors import RunError
from spavl.models.generation import Generated
from spavl.train.render import Row
from spavl.train.rl.replies import Expected, Unfinished, read_reply

END, OTHER_END, IMAGE = 2, 3, 7
EXPECTED = Expected("http://server/v1", (END, OTHER_END), IMAGE, vocabulary=100, max_tokens=4)
ROW = Row("prm-1", "img-1", (10, IMAGE, IMAGE, 11), ())


def read(tokens: Any, reason: str | None = "stop", **reply: Any) -> list[Generated]:
    choice = {"token_ids": tokens, "finish_reason": reason, "message": {"content": ""}}
    body = {"choices": [choice], "prompt_token_ids": [10, IMAGE, 11], **reply}
    return read_reply(json.dumps(body).encode(), ROW, 1, EXPECTED)


@pytest.mark.parametrize(
    ("tokens", "reason", "answer"),
    [
        ([50, END], "stop", Generated((50, END), True)),
        ([50, OTHER_END], "stop", Generated((50, OTHER_END), True)),
        ([50, 51, 52], "stop", Generated((50, 51, 52, END), True)),  # the end token was left out
        ([50, 51, 52, 0], "length", Generated((50, 51, 52, 0), False)),
        ([50, 51, 52, END], "length", Generated((50, 51, 52, END), True)),  # it ended at the limit
    ],
)
def test_an_answer_is_its_tokens_with_its_end(tokens: list[int], reason: str, answer: Generated) -> None:
    assert read(tokens, reason) == [answer]


@pytest.mark.parametrize(
    ("tokens", "reason", "fault"),
    [
        ([50, 100, END], "stop", "has 100, and the model's ids go from 0 to 99"),
        ([99_999], "length", "has 99999,"),
        ([-5, END], "stop", "has -5,"),
        ([50, IMAGE, END], "stop", "has 7, which stands for a picture"),
        ([50] * 5, "length", "are 5 tokens with the end, and max_tokens=4"),
        ([50] * 4, "stop", "are 5 tokens with the end"),
        ([50, END, 51, END], "stop", "go on for 2 tokens behind an end token"),
        ([END, 51], "length", "go on for 1 tokens behind an end token"),
        ([], "stop", "is empty"),
        (None, "stop", "is null"),
    ],
)
def test_ids_that_no_answer_has_are_named_with_the_server(tokens: Any, reason: str, fault: str) -> None:
    with pytest.raises(RunError, match=re.escape(f"http://server/v1: choices.0.token_ids {fault}")):
        read(tokens, reason)


@pytest.mark.parametrize("reason", ["abort", "content_filter", None])
def test_an_answer_that_was_given_up_is_not_one_that_was_cut(reason: str | None) -> None:
    with pytest.raises(Unfinished, match=r"choices\.0\.finish_reason"):
        read([50, 51], reason)


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        ({"choices": []}, "gave 0 answers where 1 were asked"),
        ({"choices": [{"token_ids": [6.5], "finish_reason": "stop"}]}, "cannot be read (choices.0.token_ids.0: "),
        ({"choices": [{"finish_reason": "stop"}]}, "gives no token ids (choices.0.token_ids is missing)"),
        ({"prompt_token_ids": None}, "does not say what it read of prompt prm-1 (`prompt_token_ids`)"),
        ({"prompt_token_ids": [10, IMAGE, 12]}, "they differ from token 1 on"),
    ],
)
def test_a_reply_that_is_none_is_named(reply: dict[str, Any], fault: str) -> None:
    with pytest.raises(RunError, match=re.escape(fault)):
        read([50, END], **reply)
