"""Stage directories: one line an item, resumed by skipping, refused when they were made otherwise."""

import hashlib
import itertools
import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from spavl.errors import RunError, UserError
from spavl.records import Failure, Question, QuestionType
from spavl.store import Outcome, StageDirectory, Usage, stage

CONFIG = {"per_leaf": 2, "source": {"kind": "folder", "path": "pics"}}
ITEMS = ["a", "b", "c", "d"]


def question(item: str) -> Question:
    return Question(
        image_id=f"img-{item}",
        leaf="d/c/s",
        question_type=QuestionType.EASY_QUESTION,
        text=f"placeholder harmful question {item} — ü",
        writer="tiny",
    )


def outcome(item: str) -> Outcome:
    """Items `b` and `d` fail: `b` by a rule, `d` by accident."""
    if item in "bd":
        return Outcome(
            item, failure=Failure(reason={"b": "duplicate", "d": "empty"}[item], message="", dropped=item == "b")
        )
    return Outcome(item, record=question(item))


def opened(path: Path, config: dict[str, Any] = CONFIG, **inputs: str) -> StageDirectory:
    return StageDirectory(path / "questions", config, inputs, seed=3)


def finished(path: Path, order: str = "abcd") -> StageDirectory:
    made = opened(path)
    for item in order:
        made.append([outcome(item)])
    made.finish(ITEMS)
    return made


def test_results_are_the_same_bytes_whatever_order_outcomes_came_in(tmp_path: Path) -> None:
    wanted = finished(tmp_path / "first").results_path.read_bytes()
    orders = list(itertools.permutations("abcd"))
    for number, order in enumerate(random.Random(0).sample(orders, 6)):
        assert finished(tmp_path / str(number), "".join(order)).results_path.read_bytes() == wanted
    assert [json.loads(line)["item"] for line in wanted.splitlines()] == ITEMS


def test_records_of_a_finished_stage_are_in_item_order_at_once_and_when_reopened(tmp_path: Path) -> None:
    made = finished(tmp_path, "dcba")
    assert made.records(Question) == [question("a"), question("c")]
    assert opened(tmp_path).records(Question) == [question("a"), question("c")]


def test_memory_does_not_hold_the_lines(tmp_path: Path) -> None:
    """1,000 lines of 6 kB are 6 MB; while they are added, finished and opened again never a tenth of it is held."""
    items = [f"{number:03}" for number in range(1000)]
    tracemalloc.start()
    made = opened(tmp_path)
    for item in reversed(items):
        made.append([Outcome(item, record=question(item * 2000))])
    made.finish(items)
    assert opened(tmp_path).pending(items) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made.results_path.stat().st_size > 6_000_000
    assert peak < 600_000


def test_counts_add_up_by_reason(tmp_path: Path) -> None:
    """Of four items two became records, one failed and one was dropped by a rule: 4 = 2 + 1 + 1."""
    manifest = finished(tmp_path).manifest()
    assert manifest is not None
    assert manifest.counts.model_dump() == {
        "items": 4, "records": 2, "failures": 1, "dropped": 1, "by_reason": {"duplicate": 1, "empty": 1},
        "passing": 0,
    }  # fmt: skip
    assert {item: failure.reason for item, failure in opened(tmp_path).failures().items()} == {
        "b": "duplicate",
        "d": "empty",
    }


def test_an_item_that_became_nothing_is_no_record(tmp_path: Path) -> None:
    made = opened(tmp_path)
    made.append([Outcome("a")])
    with pytest.raises(RunError, match="do not add up"):
        made.finish(["a"])


def test_a_stage_with_an_item_left_is_not_finished(tmp_path: Path) -> None:
    made = opened(tmp_path)
    made.append([outcome("a"), outcome("c")])
    with pytest.raises(RunError, match="Stage questions: 2 items have no outcome, the first is b"):
        made.finish(ITEMS)
    assert opened(tmp_path).manifest() is None


def test_a_resumed_stage_asks_only_for_what_is_left(tmp_path: Path) -> None:
    opened(tmp_path).append([outcome("c"), outcome("a")])
    assert opened(tmp_path).pending(ITEMS) == ["b", "d"]


@pytest.mark.parametrize("torn", range(1, 12))
def test_a_torn_last_line_is_dropped_and_redone(tmp_path: Path, torn: int) -> None:
    """Whatever the crash left of the last line, down to a lost line end, the item counts as not done."""
    wanted = finished(tmp_path / "whole").results_path.read_bytes()
    made = opened(tmp_path)
    for item in "ab":
        made.append([outcome(item)])
    whole = made.results_path.read_bytes()
    last = outcome("c").to_line()
    made.results_path.write_bytes(whole + last[: len(last) * torn // 12] if torn < 11 else whole + last[:-1])
    again = opened(tmp_path)
    assert again.pending(ITEMS) == ["c", "d"]
    assert again.results_path.read_bytes() == whole
    again.append([outcome("d"), outcome("c")])
    again.finish(ITEMS)
    assert again.results_path.read_bytes() == wanted


@pytest.mark.parametrize("line", [b"not json\n", b"{}\n", b"[]\n", b"null\n", b'"text"\n'])
def test_a_line_of_someone_else_is_refused_and_left_alone(tmp_path: Path, line: bytes) -> None:
    made = opened(tmp_path)
    made.append([outcome("a")])
    made.results_path.write_bytes(made.results_path.read_bytes() + line)
    with pytest.raises(RunError, match=r"holds a line that spavl did not write.*--restart-from questions"):
        opened(tmp_path)
    assert made.results_path.read_bytes().endswith(line)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({**CONFIG, "per_leaf": 3}, "`per_leaf` was 2 and is now 3"),
        ({**CONFIG, "source": {"kind": "folder", "path": "other"}}, '`source.path` was "pics" and is now "other"'),
        ({**CONFIG, "new": 1}, "`new` was null and is now 1"),
        ({"per_leaf": 2}, "`source` was {"),
        ({**CONFIG, "prompts": "0" * 64}, f"`prompts` was null and is now {chr(34)}0000"),
    ],
)
def test_other_settings_are_refused_with_the_field_and_both_ways_out(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    before = finished(tmp_path).results_path.read_bytes()
    with pytest.raises(UserError) as caught:
        opened(tmp_path, changed)
    text = str(caught.value)
    assert said in text
    assert "`run=runs/NAME`" in text
    assert "`--restart-from questions`" in text
    assert "\n" not in text
    assert finished(tmp_path, "").results_path.read_bytes() == before


def test_what_changed_behind_a_digest_is_said_in_words_and_a_name_as_it_is(tmp_path: Path) -> None:
    opened(tmp_path, {"prompts": "0" * 64, "questions": {"prompts": "a.yaml"}}).append([outcome("a")])
    with pytest.raises(UserError, match=r"settings: the text of the question prompts changed \(`prompts`\)\. Give"):
        opened(tmp_path, {"prompts": "1" * 64, "questions": {"prompts": "a.yaml"}})
    with pytest.raises(UserError, match=r'`questions.prompts` was "a.yaml" and is now "b.yaml"'):
        opened(tmp_path, {"prompts": "0" * 64, "questions": {"prompts": "b.yaml"}})


def test_settings_are_compared_as_they_are_written(tmp_path: Path) -> None:
    """A tuple and a list, and a path and its text, are the same setting."""
    opened(tmp_path, {"leaves": ("x", "y"), "path": Path("pics")})
    opened(tmp_path, {"path": "pics", "leaves": ["x", "y"]})


def test_other_inputs_are_refused(tmp_path: Path) -> None:
    opened(tmp_path, images="aaa").append([outcome("a")])
    opened(tmp_path, images="aaa")
    with pytest.raises(UserError, match=r'`inputs.images` was "aaa" and is now "bbb".*--restart-from questions'):
        opened(tmp_path, images="bbb")


def test_an_attempt_that_made_nothing_binds_nobody(tmp_path: Path) -> None:
    """A folder that was given wrongly at first can be corrected without a word about restarting."""
    opened(tmp_path)
    opened(tmp_path, {**CONFIG, "per_leaf": 3}).append([outcome("a")])
    with pytest.raises(UserError, match="`per_leaf` was 3 and is now 2"):
        opened(tmp_path)


def test_a_transient_failure_is_tried_again_until_the_stage_is_finished(tmp_path: Path) -> None:
    gone = Outcome("b", failure=Failure(reason="server_error", message="503", transient=True))
    opened(tmp_path).append([outcome("a"), gone, outcome("c"), outcome("d")])
    again = opened(tmp_path)
    assert again.pending(ITEMS) == ["b"]
    again.append([outcome("b")])
    again.finish(ITEMS)
    assert again.results_path.read_bytes() == finished(tmp_path / "other").results_path.read_bytes()


def test_a_transient_failure_of_a_finished_stage_stays(tmp_path: Path) -> None:
    made = opened(tmp_path)
    made.append([Outcome("a", failure=Failure(reason="server_error", message="503", transient=True))])
    made.finish(["a"])
    assert opened(tmp_path).pending(["a"]) == []


def test_seconds_and_calls_add_up_over_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two calls of 5 tokens before the interruption and one of 7 after it are three calls and 12 tokens."""
    monkeypatch.setattr(stage, "EFFORT_INTERVAL_S", 0.0)
    opened(tmp_path).append([outcome("a"), outcome("b")], Usage(calls=2, prompt_tokens=5))
    again = opened(tmp_path)
    again.append([outcome("c"), outcome("d")], Usage(calls=1, prompt_tokens=7))
    manifest = again.finish(ITEMS)
    assert manifest.usage == Usage(calls=3, prompt_tokens=12)
    assert manifest.seconds > 0


def test_a_manifest_says_what_was_done_with_what(tmp_path: Path) -> None:
    made = opened(tmp_path, images="aaa")
    made.append([outcome(item) for item in ITEMS])
    manifest = made.finish(ITEMS, facts={"flips": 0.25})
    assert manifest == opened(tmp_path, images="aaa").manifest()
    assert (manifest.stage, manifest.seed, manifest.facts) == ("questions", 3, {"flips": 0.25})
    assert (manifest.config, manifest.inputs) == (CONFIG, {"images": "aaa"})
    assert manifest.results_hash == hashlib.sha256(made.results_path.read_bytes()).hexdigest()
    assert manifest.versions["python"].startswith("3.")


def test_a_finished_stage_whose_results_were_changed_is_refused_and_left_alone(tmp_path: Path) -> None:
    """One letter of an answer is enough; a lost line end is no torn line any more."""
    made = finished(tmp_path)
    whole = made.results_path.read_bytes()
    for changed in (whole.replace(b"placeholder", b"Placeholder", 1), whole[:-1], whole + outcome("a").to_line(), b""):
        made.results_path.write_bytes(changed)
        for read in (lambda: opened(tmp_path), made.manifest):
            with pytest.raises(
                RunError, match=r"results\.jsonl is not what it was .*`--restart-from questions`"
            ) as caught:
                read()
            assert "\n" not in str(caught.value)
        assert made.results_path.read_bytes() == changed
    made.results_path.write_bytes(whole)
    assert opened(tmp_path).pending(ITEMS) == []


def test_a_finished_stage_without_its_results_or_with_half_a_manifest_is_refused(tmp_path: Path) -> None:
    finished(tmp_path / "gone").results_path.unlink()
    with pytest.raises(RunError, match="--restart-from questions"):
        opened(tmp_path / "gone")
    torn = finished(tmp_path / "torn")
    torn.manifest_path.write_bytes(torn.manifest_path.read_bytes()[:200])
    with pytest.raises(RunError, match=r"manifest\.json is damaged.*--restart-from questions"):
        opened(tmp_path / "torn")


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ([{"name": "x", "files": "1"}, {"name": "y", "files": "3"}], '`benchmarks.1 (y).files` was "2" and is now "3"'),
        ([{"name": "z", "files": "1"}, {"name": "y", "files": "2"}], '`benchmarks.0.name` was "x" and is now "z"'),
        ([{"name": "x", "files": "1"}], "`benchmarks` was ["),
    ],
)
def test_what_differs_inside_of_a_list_is_named(tmp_path: Path, now: list[dict[str, str]], said: str) -> None:
    """The second of two benchmarks has other files; the first is another one; one is gone."""
    before = [{"name": "x", "files": "1"}, {"name": "y", "files": "2"}]
    opened(tmp_path, {"benchmarks": before}).append([outcome("a")])
    with pytest.raises(UserError) as caught:
        opened(tmp_path, {"benchmarks": now})
    assert said in str(caught.value)
