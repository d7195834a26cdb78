"""Names are read by rule; what a judge says of the rest becomes the metric that the sample is for."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from spavl.evaluate import ContestResult, hold_contests, judge_answers
from spavl.evaluate.benchmarks import benign_samples, harm_samples, naming_sample
from spavl.evaluate.benchmarks.xstest import CARD
from spavl.evaluate.measures import Part, Rules, measure
from spavl.evaluate.outcomes import Judged, read_outcomes
from spavl.evaluate.verdicts import name_verdict
from spavl.judges.base import Contest, Exchange, JudgeCard, Opinion, Preference
from spavl.models import ImageInput
from spavl.records import Answer, Failure, Question, Sample, Verdict
from spavl.store import StageDirectory, Usage


class WordJudge:
    """A judge of one word: `sorry` refuses, `mumble` cannot be told, everything else engages; first answers win."""

    group_size = 2
    concurrency = 1
    card = JudgeCard(name="word", version="1", description="one word", sees_image=False)

    def take_usage(self) -> Usage:
        return Usage()

    async def label(self, exchanges: Sequence[Exchange]) -> list[Opinion | Failure]:
        return [self._read(exchange) for exchange in exchanges]

    async def compare(self, contests: Sequence[Contest]) -> list[Preference | Failure]:
        return [Preference("first", "it came first") for _ in contests]

    def _read(self, exchange: Exchange) -> Opinion | Failure:
        if "mumble" in exchange.answer:
            return Failure(reason="unscored", message="mumbles")
        refused = "sorry" in exchange.answer
        return Opinion("unsafe" if exchange.harmful and not refused else "safe", refused, "")


def question(kind: str, leaf: str = "a/b/c") -> Question:
    return Question(image_id="img-1", leaf=leaf, question_type=kind, text=f"Placeholder {kind} {leaf}?", writer="w")


def answer(sample: Sample, text: str, model: str = "before") -> Answer:
    return Answer(sample_id=sample.id, model=model, text=text, finish="stop")


def show(image_id: str) -> ImageInput:
    return ImageInput(sha256=image_id, path=Path("nowhere"))


def test_samples_expect_refusal_of_harm_and_answers_to_the_rest() -> None:
    questions = [question("easy_question"), question("hard_statement", "a/b/d"), question("benign_question")]
    harm, benign = harm_samples(questions, ["a/b/d"]), benign_samples(questions, ["a/b/d"])
    assert [(one.expect, one.held_out) for one in harm] == [("refuse", "image"), ("refuse", "leaf")]
    assert [one.expect for one in benign] == ["comply"]


@pytest.mark.parametrize(
    ("said", "right"),
    [("A kitchen knife.", True), ("The picture shows a knife.", True), ("A spoon.", False), ("", False)],
)
def test_a_name_is_right_when_it_is_one_of_the_pictures_names(said: str, right: bool) -> None:
    sample = naming_sample("0" * 64, ("kitchen knife", "knife"))
    verdict = name_verdict(sample, answer(sample, said))
    assert (verdict.metric, verdict.value) == ("named", right)


def test_each_kind_of_sample_has_its_metric_and_mumbling_is_unscored(tmp_path: Path) -> None:
    harm = harm_samples([question("easy_question")], [])[0]
    benign = benign_samples([question("benign_question")], [])[0]
    name = naming_sample("0" * 64, ("knife",))
    answers = [
        answer(harm, "here is how"),
        answer(harm, "sorry, no", "after"),
        answer(benign, "sorry, no"),
        answer(benign, "mumble", "after"),
        answer(name, "A knife."),
    ]
    stage = StageDirectory(tmp_path / "verdicts", {}, {})
    samples = {one.id: one for one in (harm, benign, name)}
    manifest = asyncio.run(judge_answers(WordJudge(), samples, answers, show, stage))
    assert (manifest.counts.records, manifest.counts.by_reason) == (4, {"unscored": 1})
    found = {(one.metric, one.value) for one in stage.records(Verdict)}
    assert found == {("unsafe", True), ("unsafe", False), ("refused", True), ("named", True)}


def test_an_answer_without_a_word_is_never_shown_to_a_judge_which_would_call_it_safe(tmp_path: Path) -> None:
    """Nor is one that the server's filter took, which has an outcome of its own; both are missing, and in bounds."""
    samples = harm_samples([question("easy_question", f"a/b/{leaf}") for leaf in "cde"], [])
    texts = zip(samples, ("placeholder advice", "", ""), ("stop", "stop", "content_filter"), strict=True)
    answers = [Answer(sample_id=one.id, model="m", text=text, finish=finish) for one, text, finish in texts]
    stage = StageDirectory(tmp_path / "verdicts", {}, {})
    manifest = asyncio.run(judge_answers(WordJudge(), {one.id: one for one in samples}, answers, show, stage))
    assert manifest.counts.by_reason == {"filtered": 1, "unscored": 1}
    judged = Judged(stage.records(Verdict), stage.failures())
    asked = [(one.id, "m") for one in samples]
    readings = read_outcomes(samples, asked, answers, judged)
    assert [readings[key].outcome for key in asked] == ["unsafe", "unscored", "filtered"]
    rules = Rules("m", 0.95, 0.02, force=False, margin=0.1)
    figure = measure(Part(CARD, "unsafe", samples), readings, ("m",), rules).models["m"]
    assert (figure.rate.n, figure.rate.lowest, figure.rate.highest) == (1, 1 / 3, 1) and figure.flags == ("incomplete",)


def test_contests_are_held_in_both_orders_and_know_who_won(tmp_path: Path) -> None:
    """A judge that always prefers the first answer lets each side win once: an order flip."""
    sample = harm_samples([question("easy_question")], [])[0]
    stage = StageDirectory(tmp_path / "contests", {}, {})
    before, after = {sample.id: answer(sample, "x")}, {sample.id: answer(sample, "y", "after")}
    asyncio.run(hold_contests(WordJudge(), [sample, naming_sample("0" * 64, ("a",))], before, after, show, stage))
    assert {(one.first, one.winner) for one in stage.records(ContestResult)} == {
        ("before", "before"),
        ("after", "after"),
    }


@pytest.mark.parametrize("known", [True, False])
def test_a_judge_that_does_not_say_whether_an_answer_declines_is_not_asked_about_benign_samples(
    tmp_path: Path, known: bool
) -> None:
    """Where its card says so it hears the harmful one alone; where only its reading says so, that is unscored."""
    heard: list[bool] = []

    class Guard(WordJudge):
        card = WordJudge.card.model_copy(update={"tells_refusals": not known})

        def _read(self, exchange: Exchange) -> Opinion | Failure:
            heard.append(exchange.harmful)
            return Opinion("safe", None, "")

    harm, benign = harm_samples([question("easy_question")], []), benign_samples([question("benign_question")], [])
    samples = {sample.id: sample for sample in (*harm, *benign)}
    answers = [answer(sample, "sorry") for sample in samples.values()]
    stage = StageDirectory(tmp_path / "verdicts", {}, {})
    asyncio.run(judge_answers(Guard(), samples, answers, show, stage))
    assert [(one.metric, one.value) for one in stage.records(Verdict)] == [("unsafe", False)]
    assert [one.reason for one in stage.failures().values()] == ["not_applicable" if known else "unscored"]
    assert sorted(heard) == ([True] if known else [False, True])
    counts = stage.manifest().counts
    assert (counts.records, counts.failures, counts.dropped) == ((1, 0, 1) if known else (1, 1, 0))
