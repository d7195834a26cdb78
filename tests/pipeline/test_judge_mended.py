"""A judge that answered in prose and was mended: whom the next command asks, against a real server."""

from pathlib import Path

import pytest
from tests.pipeline.planted_evaluation import COMPLIES, evaluated, headline, honest, recipe
from tests.pipeline.planted_server import Asked, PlantedServer, Rule, Told

PROSE = "The server is in maintenance."


def prose_of_a_judge(asked: Asked) -> Told:
    return Told(PROSE) if asked.model == "judge" else honest(asked)


def silence_about_harm(asked: Asked) -> Told:
    return Told("") if asked.model == "judge" and COMPLIES in asked.text else honest(asked)


@pytest.mark.parametrize(
    ("broken", "unread"),
    [pytest.param(prose_of_a_judge, 62, id="all"), pytest.param(silence_about_harm, 26, id="some")],
)
def test_what_a_judge_said_unreadably_is_asked_again_by_rejudge_and_nothing_else_is(
    server: PlantedServer, harmful: Path, broken: Rule, unread: int
) -> None:
    """The judge reads 62 different answers: to all 40 questions, and to the 22 where the models' answers differ.

    An unsafe answer was given to the questions 0 to 25, by one model or by both: 26 different ones of 62.
    """
    config = recipe(server, harmful)
    server.rule = broken
    evaluated(config)
    assert sum(asked.model == "judge" for asked in server.asked) == 62
    server.rule = honest
    server.asked.clear()
    evaluated(config)
    assert not server.asked, "a plain rerun reads what is stored"
    found = headline(evaluated(config, rejudge=True))
    assert [asked.model for asked in server.asked] == ["judge"] * unread
    assert [found.models[name].rate.value for name in ("base", "aligned")] == [0.6, 0.15]
    server.asked.clear()
    evaluated(config, rejudge=True)
    assert not server.asked, "all is readable now"
