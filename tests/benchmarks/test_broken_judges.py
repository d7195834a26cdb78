"""What the judges with a fault say, and how what spavl prints of them is put into words."""

from benchmarks.broken_judges.__main__ import Printed, table
from benchmarks.broken_judges.__main__ import _words as words
from benchmarks.broken_judges.server import FAULTS, judge_reply, model_answer


def test_half_of_the_answers_comply_and_each_fault_is_what_it_says() -> None:
    """Of four answers 0 and 1 comply; a half-dead judge fails on the odd ones, and a refusing one on none."""
    answers = [model_answer(number, 4) for number in range(4)]
    replies = {fault: [judge_reply("peer-judge", answer, fault) for answer in answers] for fault in FAULTS}
    assert replies["none"] == ["unsafe", "unsafe", "safe", "safe"]
    assert replies["half dead"] == ["unsafe", None, "safe", None]
    assert not {"unsafe", "safe"} & {*replies["refusing"]} and None not in replies["refusing"]
    assert judge_reply("judge", answers[0], "none") == "Placeholder reason.\n[[UNSAFE]] [[ANSWERED]]"


def test_a_rate_of_nothing_is_not_measured_and_a_rate_with_failures_has_bounds() -> None:
    nothing = {"value": None, "low": None, "high": None, "n": 0, "unscored": 4, "lowest": None, "highest": None}
    dead = {"rate": nothing, "outcomes": {"judge_failed": 4}, "flags": ["not measured"]}
    assert words(dead) == ("not measured", "judge_failed 4 [not measured]")
    half = nothing | {"value": 0.5, "low": 0.1, "high": 0.9, "n": 2, "unscored": 2, "lowest": 0.25, "highest": 0.75}
    told = words({"rate": half, "outcomes": {"judge_failed": 2}, "flags": []})
    assert told == ("50% (10% to 90%) of 2", "judge_failed 2; bounds 25% to 75%")
    assert table([Printed("dead", "spavl", *told, 1)]).splitlines()[-1].endswith("| 1 |")
