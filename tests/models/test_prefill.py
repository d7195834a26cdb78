"""Which configurations begin answers for a server that may not continue them."""

from typing import Any

import pytest

from spavl.config import RunConfig
from spavl.errors import UserError
from spavl.models.prefill import check_prefill


def config(prefill: bool = False, prefix: str = "", responder: str = "served", writer: str = "local") -> RunConfig:
    served: dict[str, Any] = {"kind": "openai", "base_url": "http://x/v1", "model": "m"}
    served |= {"prefill": True} if prefill else {}
    return RunConfig.model_validate(
        {
            "run": "runs/test",
            "models": {"local": {"kind": "embedded"}, "served": served},
            "questions": {"writer": writer},
            "responses": {
                "responders": {"plain": {"model": "served"}, "begun": {"model": responder, "answer_prefix": prefix}}
            },
            "train": {"model": "local"},
        }
    )


def test_a_responder_that_begins_a_servers_answers_is_named_with_what_to_set() -> None:
    with pytest.raises(UserError) as caught:
        check_prefill(config(prefix="Sure,"), openings=False)
    said = str(caught.value)
    assert "responses.responders.begun.answer_prefix" in said and "models.served.prefill=true" in said
    assert "\n" not in said


def test_openings_for_a_writer_behind_a_server_are_named_with_what_to_set() -> None:
    with pytest.raises(UserError, match=r"questions\.prompts standard_v2.*models\.served\.prefill=true"):
        check_prefill(config(writer="served"), openings=True)


@pytest.mark.parametrize(
    ("good", "openings"),
    [
        (config(), True),  # a local writer
        (config(writer="served"), False),
        (config(prefix="Sure,", responder="local"), False),
        (config(prefix="Sure,", prefill=True, writer="served"), True),
    ],
)
def test_what_begins_no_servers_answer_or_is_said_to_be_continued_is_good(good: RunConfig, openings: bool) -> None:
    check_prefill(good, openings=openings)
