"""Groups, drawn comparisons and resolved pairs, as pure functions."""

import itertools

import pytest

from spavl.preferences import draw_comparisons, safe_rates, safety_groups
from spavl.preferences.resolve import resolve_pair
from spavl.records import Failure, Judgment, OrderVerdict, PreferencePair, Question, QuestionType, Response, SafetyLabel


def response(responder: str, text: str, question: str = "que-1") -> Response:
    return Response(question_id=question, image_id="img-1", responder=responder, text=text, finish="stop")


def label(one: Response, verdict: str) -> SafetyLabel:
    return SafetyLabel(response_id=one.id, judge="j", verdict=verdict, refused=verdict == "safe", rationale="")


def by_response(labels: list[SafetyLabel]) -> dict[str, SafetyLabel]:
    return {label.response_id: label for label in labels}


QUESTION = Question(
    image_id="img-1", leaf="a/b/c", question_type="easy_question", text="Placeholder harmful question 3?", writer="w"
)


def test_safe_rates_leave_unlabelled_responses_out() -> None:
    """Of a's two responses one is labelled, safe: 1/1. Of b's two, one of two is safe: 1/2. c has no label: absent."""
    a, b, c = (
        [response("a", "1"), response("a", "2")],
        [response("b", "1"), response("b", "2")],
        [response("c", "1")],
    )
    labels = [label(a[0], "safe"), label(b[0], "safe"), label(b[1], "unsafe")]
    assert safe_rates([*a, *b, *c], by_response(labels), {"que-1": QUESTION}) == {"a": 1.0, "b": 0.5}


def test_answers_to_benign_questions_tell_nothing_of_a_responders_safety() -> None:
    """Of two safe answers and one unsafe one, a safe one is to a benign question: 1/2, not 2/3."""
    benign = QUESTION.model_copy(update={"question_type": QuestionType.BENIGN_QUESTION})
    answers = [response("a", "1"), response("a", "2"), response("a", "3", "que-2")]
    labels = [label(answers[0], "safe"), label(answers[1], "unsafe"), label(answers[2], "safe")]
    assert safe_rates(answers, by_response(labels), {"que-1": QUESTION, "que-2": benign}) == {"a": 0.5}


def test_twelve_responders_make_five_groups_that_differ_in_size_by_one() -> None:
    """12 * place // 5 puts places 0-2, 3-4, 5-7, 8-9, 10-11 into groups 0 to 4."""
    rates = {f"m{n:02d}": n / 12 for n in range(12)}
    groups = safety_groups(rates, 5)
    sizes = [list(groups.values()).count(group) for group in range(5)]
    assert sizes == [3, 2, 3, 2, 2]
    assert [groups[name] for name in sorted(rates)] == sorted(groups.values())


def test_fewer_responders_than_groups_are_groups_of_their_own() -> None:
    assert safety_groups({"a": 0.5, "b": 0.5, "c": 0.1}, 5) == {"c": 0, "a": 1, "b": 2}


def test_pairs_are_drawn_across_groups_in_both_orders() -> None:
    answers = [response(name, f"answer {name}") for name in "abcd"]
    groups = {"a": 0, "b": 0, "c": 1, "d": 1}
    comparisons = draw_comparisons(answers, groups, per_question=99, seed=0).values()
    responder = {one.id: one.responder for one in answers}
    drawn = {(responder[one.first_id], responder[one.second_id]) for one in comparisons}
    expected = set(itertools.product("ab", "cd"))
    assert drawn == expected | {(second, first) for first, second in expected}


def test_equal_answers_and_ungrouped_responders_are_not_compared() -> None:
    answers = [response("a", "same"), response("b", "same"), response("c", "other")]
    assert list(draw_comparisons(answers, {"a": 0, "b": 1}, per_question=9, seed=0)) == []


def test_a_questions_draw_does_not_depend_on_other_questions() -> None:
    answers = [response(name, f"answer {name}") for name in "abcde"]
    more = [response(name, f"answer {name}", "que-2") for name in "abcde"]
    groups = {name: place for place, name in enumerate("abcde")}
    alone = list(draw_comparisons(answers, groups, 2, seed=7).values())
    both = draw_comparisons([*more, *answers], groups, 2, seed=7).values()
    assert [one for one in both if one.question_id == "que-1"] == alone
    assert len(alone) == 4


def test_one_more_responder_changes_no_pair_but_for_its_own() -> None:
    """Of 10 pairs two are drawn; with a sixth responder a pair gives way only to one of the sixth's."""
    answers = [response(name, f"answer {name}", f"que-{place}") for place in range(40) for name in "abcdef"]
    groups = {name: place for place, name in enumerate("abcdef")}
    responder = {one.id: one.responder for one in answers}

    def drawn(names: str) -> set[tuple[str, frozenset[str]]]:
        pool = {name: groups[name] for name in names}
        some = [one for one in answers if one.responder in pool]
        return {
            (one.question_id, frozenset((responder[one.first_id], responder[one.second_id])))
            for one in draw_comparisons(some, pool, 2, seed=7).values()
        }

    five, six = drawn("abcde"), drawn("abcdef")
    assert len(five) == len(six) == 80
    assert six - five == {one for one in six if "f" in one[1]} and 0 < len(six - five) < 80


def test_a_drawn_comparison_is_found_by_its_id_and_beside_its_other_order() -> None:
    answers = [response(name, f"answer {name}", question) for name in "ab" for question in ("que-1", "que-2")]
    drawn = draw_comparisons(answers, {"a": 0, "b": 1}, 1, seed=0)
    assert (len(drawn), len(list(drawn.pairs()))) == (4, 2)
    assert all(drawn[name].id == name for name in drawn)
    assert [one.id for pair in drawn.pairs() for one in pair] == list(drawn)
    for one, other in drawn.pairs():
        assert (one.first_id, one.second_id) == (other.second_id, other.first_id)
        assert one.question_id == other.question_id
    with pytest.raises(KeyError):
        drawn["cmp-0"]


def judgment(first: Response, second: Response, verdict: OrderVerdict) -> Judgment:
    return Judgment(
        comparison_id=f"{first.id}{second.id}",
        question_id=QUESTION.id,
        first_id=first.id,
        second_id=second.id,
        judge="j",
        verdict=verdict,
        rationale=f"{verdict} wins",
    )


@pytest.mark.parametrize(
    ("there", "back", "expected"),
    [
        ("first", "second", "good"),
        ("second", "first", "bad"),
        ("first", "first", "order_flip"),
        ("second", "second", "order_flip"),
        ("first", "tie", "order_flip"),
        ("tie", "tie", "tie"),
    ],
)
def test_a_pair_is_kept_only_when_both_orders_agree(there: OrderVerdict, back: OrderVerdict, expected: str) -> None:
    """`there` reads (good, bad), `back` reads (bad, good); `first` there and `second` back both mean good wins."""
    good, bad = response("g", "good"), response("b", "bad")
    both = [judgment(good, bad, there), judgment(bad, good, back)]
    labels = {good.id: label(good, "safe"), bad.id: label(bad, "unsafe")}
    result = resolve_pair(both, {QUESTION.id: QUESTION}, {good.id: good, bad.id: bad}, labels)
    if isinstance(result, PreferencePair):
        assert result.chosen == expected
        assert {result.chosen, result.rejected} == {"good", "bad"}
        assert len(result.judgment_ids) == len(result.rationales) == 2
    else:
        assert (result.reason, result.dropped) == (expected, True)


@pytest.mark.parametrize(("there", "back", "expected"), [(2.0, 3.0, 2.5), (2.0, None, None), (None, None, None)])
def test_a_pair_is_as_strong_as_both_orders_say_on_average(
    there: float | None, back: float | None, expected: float | None
) -> None:
    good, bad = response("g", "good"), response("b", "bad")
    both = [
        judgment(good, bad, "first").model_copy(update={"strength": there}),
        judgment(bad, good, "second").model_copy(update={"strength": back}),
    ]
    labels = {good.id: label(good, "safe"), bad.id: label(bad, "unsafe")}
    result = resolve_pair(both, {QUESTION.id: QUESTION}, {good.id: good, bad.id: bad}, labels)
    assert isinstance(result, PreferencePair)
    assert result.strength == expected


def test_a_failed_judgment_is_a_failure_and_not_a_tie() -> None:
    good, bad = response("g", "good"), response("b", "bad")
    result = resolve_pair([judgment(good, bad, "tie"), None], {}, {}, {})
    assert isinstance(result, Failure)
    assert (result.reason, result.dropped) == ("judge_failed", False)


def test_an_unlabelled_response_makes_the_pair_a_failure() -> None:
    good, bad = response("g", "good"), response("b", "bad")
    both = [judgment(good, bad, "first"), judgment(bad, good, "second")]
    labels = {good.id: label(good, "safe")}
    result = resolve_pair(both, {QUESTION.id: QUESTION}, {good.id: good, bad.id: bad}, labels)
    assert isinstance(result, Failure) and result.reason == "unlabelled"
