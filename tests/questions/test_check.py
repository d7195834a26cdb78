"""The checks of questions: what is left out, why, and which calls that takes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.judge_marks import with_mark
from tests.models.scripted import ScriptedModel

from spavl.config import ChecksConfig
from spavl.errors import RunError
from spavl.models import CallStore, Completion, ImageInput, Replay, Reply, Request, StoredModel
from spavl.models.account import Account
from spavl.questions import check_questions, kept_questions
from spavl.records import Failure, Question, QuestionCheck
from spavl.store import Outcome, RunDirectory, StageDirectory
from spavl.taxonomy import load_taxonomy

THEFT = "Malicious Use/Illegal activities/theft"
CYBER = "Malicious Use/Security threats/cyber"
BOTH = {"harmfulness": {"model": "judge"}, "relevance": {"model": "judge"}}


def question(text: str, kind: str = "easy_question", leaf: str = THEFT, image: str = "img-1") -> Question:
    return Question(image_id=image, leaf=leaf, question_type=kind, text=text, writer="w")


def rules(harm: str = "HARMFUL", relevance: str = "NEEDED") -> Callable[[Request], Reply]:
    """Judges by marker words of the question; without one it gives these verdicts."""

    def answer(request: Request) -> Reply:
        fences = request.prompt.split("```")
        verdict = next((word for word in ("BROKEN", "ABOUT", "UNRELATED", "HARMLESS") if word in fences[-2]), None)
        if verdict == "BROKEN":
            return Completion(text="I would rather not say.")
        if "kind of harm" in request.prompt:
            said = verdict if verdict == "HARMLESS" else harm
        else:
            said = verdict if verdict in ("ABOUT", "UNRELATED") else relevance
        return Completion(text=with_mark(request.prompt, f"A reason.\n[[{said}]]"))

    return answer


class Run:
    """Checks with one call store, so that what is asked twice shows."""

    def __init__(self, folder: Path, answer: Callable[[Request], Reply], group_size: int = 1) -> None:
        self.folder = folder
        self.model = ScriptedModel(answer, group_size)
        self.stored = StoredModel(self.model, CallStore(folder / "calls.sqlite"))
        self.times = 0

    def check(self, questions: list[Question], **config: object) -> StageDirectory:
        self.times += 1
        self.model.groups.clear()
        written = StageDirectory(self.folder / str(self.times) / "questions", {}, {})
        written.append_missing(Outcome(f"item {place}", record=one) for place, one in enumerate(questions))
        stage = StageDirectory(self.folder / str(self.times) / "checked_questions", {}, {})
        settings = ChecksConfig.model_validate(config)
        taxonomy = load_taxonomy("spa_vl")
        asyncio.run(check_questions(settings, taxonomy, written.shelf(Question), show, lambda _: self.stored, stage))
        return stage

    @property
    def calls(self) -> int:
        return sum(map(len, self.model.groups))


def show(image_id: str) -> ImageInput:
    return ImageInput(sha256=image_id, path=Path("padlock.png"))


def reasons(stage: StageDirectory) -> dict[str, str]:
    return {item: failure.reason for item, failure in stage.failures().items()}


def test_without_checks_all_go_on_but_those_that_ask_the_same_of_one_picture(tmp_path: Path) -> None:
    first, other = question("Placeholder question?"), question("Placeholder question?", image="img-2")
    run = Run(tmp_path, rules())
    stage = run.check([first, other, first])
    assert run.calls == 0
    assert reasons(stage) == {f"{first.id}/2": "duplicate"}
    run_directory = RunDirectory(stage.path.parent)
    StageDirectory(stage.path.parent / "questions", {}, {}).finish(["item 0", "item 1", "item 2"])
    assert dict(kept_questions(run_directory)) == {first.id: first, other.id: other}


@pytest.mark.parametrize(("within", "left"), [("leaf", 1), ("all", 2)])
def test_near_duplicates_go_within_their_leaf_or_over_all_and_the_first_stays(
    tmp_path: Path, within: str, left: int
) -> None:
    text = "How can I use the placeholder thing beside the old house so that nobody notices it at all"
    asked = [question(f"{text}?"), question(f"{text}!", image="img-2"), question(f"{text}.", leaf=CYBER)]
    stage = Run(tmp_path, rules()).check(asked, near_duplicates={"within": within})
    assert len(stage.records(QuestionCheck)) == 3 - left
    assert stage.manifest().counts.by_reason == {"near_duplicate": left}
    assert stage.manifest().counts.dropped == left
    assert stage.records(QuestionCheck)[0].question_id == asked[0].id


@pytest.mark.parametrize(
    ("kind", "verdict", "reason"),
    [
        ("hard_question", "HARMFUL", None),
        ("hard_question", "HARMLESS", "not_harmful"),
        ("hard_question", "OTHERWISE", "other_harm"),
        ("benign_question", "HARMLESS", None),
        ("benign_question", "HARMFUL", "not_harmless"),
        ("benign_question", "OTHERWISE", "not_harmless"),
    ],
)
def test_a_question_has_to_be_as_harmful_as_its_type_and_leaf_say(
    tmp_path: Path, kind: str, verdict: str, reason: str | None
) -> None:
    asked = [question("Placeholder one?", kind)]
    run = Run(tmp_path, rules(harm=verdict))
    if reason is None:
        check = run.check(asked, harmfulness={"model": "judge"}).records(QuestionCheck)[0]
        assert check.harmfulness == verdict.lower() and check.rationales == ("A reason.",)
        return
    with pytest.raises(RunError, match=rf"none of 1 questions passed the checks \({reason}\)"):
        run.check(asked, harmfulness={"model": "judge"})


@pytest.mark.parametrize(("require", "kept"), [("needed", 1), ("about", 2)])
def test_a_question_has_to_need_its_picture_or_be_about_it(tmp_path: Path, require: str, kept: int) -> None:
    asked = [question("Placeholder one?"), question("Placeholder ABOUT?"), question("Placeholder UNRELATED?")]
    stage = Run(tmp_path, rules()).check(asked, relevance={"model": "judge", "require": require})
    assert len(stage.records(QuestionCheck)) == kept
    assert reasons(stage)[asked[2].id] == "unrelated"
    assert kept == 2 or reasons(stage)[asked[1].id] == "picture_not_needed"
    """By the judge 2 of 3 can be understood without the picture, whether they are kept or not."""
    leakage = {(one["questions"], one["question_type"]): one for one in stage.manifest().facts["leakage"]}
    assert leakage["written", None]["unneeded"]["value"] == pytest.approx(2 / 3)
    assert leakage["kept", None]["unneeded"]["n"] == kept


@pytest.mark.parametrize("unjudged", ["leave_out", "keep"])
def test_a_question_without_a_verdict_is_a_failure_or_kept_with_a_note(tmp_path: Path, unjudged: str) -> None:
    asked = [question("Placeholder one?"), question("Placeholder BROKEN?")]
    stage = Run(tmp_path, rules()).check(asked, **BOTH, unjudged=unjudged)
    checks = {one.question_id: one for one in stage.records(QuestionCheck)}
    if unjudged == "leave_out":
        assert reasons(stage) == {asked[1].id: "harmfulness_unparsed"} and set(checks) == {asked[0].id}
        assert stage.manifest().counts.failures == 1 and stage.manifest().counts.dropped == 0
    else:
        assert checks[asked[1].id].unjudged == ("harmfulness_unparsed", "relevance_unparsed")
        assert checks[asked[1].id].relevance is None and checks[asked[0].id].relevance == "needed"


def test_a_judge_out_of_reach_is_never_kept_as_unjudged(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        return Failure(reason="server_error", message="The server is down.", transient=True)

    with pytest.raises(RunError, match="out of reach for 1 of 1 items"):
        Run(tmp_path, answer).check([question("Placeholder one?")], **BOTH, unjudged="keep")


@pytest.mark.parametrize("group_size", [1, 3])
def test_only_what_passed_is_asked_about_again_and_a_changed_check_pays_for_itself_alone(
    tmp_path: Path, group_size: int
) -> None:
    """Five questions, one of them a near-duplicate and one harmless: 4 calls on harm, 3 on relevance.

    Then: the same again, 0; another limit for relevance, its 3; one more question, its 2; without near-duplicates, 2.
    """
    text = "How can I use the placeholder thing beside the old house so that nobody notices it at all"
    asked = [question(f"{text}?"), question(f"{text}!", image="img-2"), question("Placeholder HARMLESS one?")]
    asked += [question("Placeholder number three?"), question("Another placeholder, the fourth?")]
    run = Run(tmp_path, rules(), group_size)
    config = BOTH | {"near_duplicates": {"jaccard": 0.8}}
    stage = run.check(asked, **config)
    assert run.calls == 7 == stage.manifest().usage.calls
    assert len(stage.records(QuestionCheck)) == 3
    run.check(asked, **config)
    assert run.calls == 0
    run.check(asked, **config | {"relevance": {"model": "judge", "max_tokens": 99}})
    assert run.calls == 3
    run.check([*asked, question("Placeholder number five, at last?")], **config)
    assert run.calls == 2
    run.check(asked, **BOTH)
    assert run.calls == 2


def test_an_interrupted_check_ends_like_one_that_was_not(tmp_path: Path) -> None:
    asked = [question(f"Placeholder number {place}?", image=f"img-{place}") for place in range(7)]
    whole = Run(tmp_path / "whole", rules(), 2).check(asked, **BOTH)
    run = Run(tmp_path / "torn", rules(), 2)
    stage = run.check(asked, **BOTH)
    content = stage.results_path.read_bytes()
    assert content == whole.results_path.read_bytes()
    run.times -= 1
    stage.manifest_path.unlink()
    stage.results_path.write_bytes(content[: len(content) // 2])
    again = run.check(asked, **BOTH)
    assert run.calls == 0 and again.results_path.read_bytes() == content


def test_a_check_that_a_replay_lacks_ends_the_stage_or_leaves_the_question_out_though_others_without_a_verdict_stay(
    tmp_path: Path,
) -> None:
    """Of two questions the judge was asked about the first alone, and gave it no verdict."""
    broken, fresh = question("Placeholder BROKEN?"), question("Placeholder two?")
    run = Run(tmp_path, rules())
    settings = {"relevance": {"model": "judge"}, "unjudged": "keep"}
    run.check([broken], **settings)
    run.stored = StoredModel(run.model, CallStore(tmp_path / "calls.sqlite"), Account("judge"), Replay())
    with pytest.raises(RunError, match=r"1 of 2 items need what is not stored .*model 'judge'"):
        run.check([broken, fresh], **settings)
    run.stored = StoredModel(run.model, CallStore(tmp_path / "calls.sqlite"), Account("judge"), Replay(True))
    stage = run.check([broken, fresh], **settings)
    assert reasons(stage) == {fresh.id: "not_stored"}
    assert [one.question_id for one in stage.records(QuestionCheck)] == [broken.id]
    assert run.calls == 0
