"""What a build is forecast to ask, worked out by hand; and that making a forecast makes nothing."""

from pathlib import Path
from typing import Any

import pytest

from spavl.cli.forecast import as_dict, forecast_lines
from spavl.config import RunConfig
from spavl.pipeline.forecast import CALL_S, TOKENS_PER_S, Line, forecast_build

SERVED = {"kind": "openai", "base_url": "http://localhost:1/v1", "concurrency": 4}


def config(tmp_path: Path, **changes: Any) -> RunConfig:
    """Four leaves of 3 pictures, one of them held out; 4 types of questions, the benign one twice; two responders."""
    body = {
        "run": tmp_path / "run",
        "calls": tmp_path / "calls.sqlite",
        "models": {
            "cheap": SERVED | {"model": "c"},
            "dear": SERVED | {"model": "d", "price": {"input": 2, "output": 8, "currency": "EUR"}},
            "mini": {"kind": "embedded"},
        },
        "images": {"leaves": ["theft", "weapon", "gamble", "cyber"], "per_leaf": 3},
        "questions": {"writer": "cheap", "benign_per_image": 2, "max_tokens": 30},
        "responses": {"responders": {"a": {"model": "dear", "max_tokens": 100}, "b": {"model": "mini"}}},
        "labels": {"judge": {"kind": "rubric", "model": "cheap", "max_tokens": 50}},
        "preferences": {"judge": {"kind": "rubric", "model": "dear", "max_tokens": 50}},
        "dataset": {"held_out_leaves": ["gamble"], "test_fraction": 0.3},
        "train": {"model": "mini"},
    }
    return RunConfig.model_validate(body | changes)


def lines(config: RunConfig) -> dict[str, Line]:
    return {f"{line.stage} {line.responder}".strip(): line for line in forecast_build(config).lines}


def test_calls_follow_from_the_configuration(tmp_path: Path) -> None:
    """12 pictures x 5 questions. 3 are held out and ceil(0.3 x 9) = 3 drawn for the test, so 6 x 5 are answered.

    Two responders have one pair a question, whatever is asked for, and it is judged in both orders.
    """
    forecast = lines(config(tmp_path))
    expected = {"questions": 60, "responses a": 30, "responses b": 30, "labels": 60, "judgments": 60}
    assert {name: line.calls for name, line in forecast.items()} == expected
    assert not any(line.exact or line.stored for line in forecast.values())
    assert list(tmp_path.iterdir()) == []


def test_each_check_of_the_questions_has_a_line_of_its_own(tmp_path: Path) -> None:
    forecast = lines(config(tmp_path, checks={name: {"model": "cheap"} for name in ("harmfulness", "relevance")}))
    found = {name: line.calls for name, line in forecast.items() if name.startswith("checked_questions")}
    assert found == {"checked_questions harmfulness": 60, "checked_questions relevance": 60}


def test_tokens_and_money_are_upper_estimates(tmp_path: Path) -> None:
    """A response reads a picture (1,500) and a question of at most 30 tokens, and writes 100: at 2 and 8 a million."""
    line = lines(config(tmp_path))["responses a"]
    assert (line.prompt_tokens, line.completion_tokens) == (30 * 1530, 30 * 100)
    assert (line.money, line.currency) == (pytest.approx((30 * 1530 * 2 + 30 * 100 * 8) / 1e6), "EUR")


def test_time_is_no_shorter_than_limits_by_the_minute_allow(tmp_path: Path) -> None:
    """30 calls of 1 s and 100 tokens at 40 a second, 4 at a time; with 2 a minute 15 minutes; local: unknown."""
    assert (CALL_S, TOKENS_PER_S) == (1, 40)
    forecast = lines(config(tmp_path))
    assert forecast["responses a"].seconds == pytest.approx(30 * 3.5 / 4)
    assert forecast["responses b"].seconds is None
    slow = SERVED | {"model": "d", "requests_per_minute": 2}
    models = {"cheap": slow, "dear": slow, "mini": {"kind": "embedded"}}
    assert lines(config(tmp_path, models=models))["responses a"].seconds == 900


def test_judges_without_a_model_ask_nothing(tmp_path: Path) -> None:
    assert set(lines(config(tmp_path, labels={}, preferences={}))) == {"questions", "responses a", "responses b"}


def test_every_judge_that_asks_a_model_has_its_line(tmp_path: Path) -> None:
    """60 responses: ShieldGemma 2 is asked about each of its three policies, the rules ask nobody."""
    others = {"guard": {"kind": "shield_gemma_2", "model": "cheap"}, "floor": {"kind": "rules"}}
    labels = {"judge": {"kind": "llama_guard_4", "model": "cheap"}, "others": others}
    found = lines(config(tmp_path, labels=labels))
    assert (found["labels"].calls, found["opinions"].calls) == (60, 180)


def test_a_budget_that_may_not_suffice_is_named(tmp_path: Path) -> None:
    models = {"cheap": SERVED | {"model": "c", "budget": {"tokens": 50_000}}, "dear": SERVED | {"model": "d"}}
    forecast = forecast_build(config(tmp_path, models=models | {"mini": {"kind": "embedded"}}))
    assert len(forecast.short) == 1
    assert forecast.short[0].startswith("models.cheap.budget.tokens 50,000: 0 are spent, and up to ")


def test_the_forecast_is_said_in_lines_and_in_json(tmp_path: Path) -> None:
    forecast = forecast_build(config(tmp_path))
    totals = as_dict(forecast)
    assert (totals["calls"], totals["stored"], totals["seconds_unknown"]) == (240, 0, True)
    assert totals["money"]["EUR"] == pytest.approx(sum(line.money or 0 for line in forecast.lines))
    text = "\n".join(forecast_lines(forecast))
    assert "responses  a (dear)" in text and "<= 30" in text and "without that of local models" in text
