"""What a build pays for, counted at a real server; and that it can be made again with nobody to ask."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.served_build import CAPTIONS, BuildServer, build_config, draw_pictures, full_config, run_build

from spavl.budget_config import BudgetConfig
from spavl.cli.forecast import forecast_lines
from spavl.config import RunConfig
from spavl.dataset.push import prepare
from spavl.errors import RunError, UserError
from spavl.judges import rubric
from spavl.models import CallStore, Replay
from spavl.models.account import NOTHING
from spavl.pipeline import build, open_road
from spavl.pipeline.forecast import forecast_build
from spavl.pipeline.road import ALL_STAGES, BUILD_STAGES
from spavl.records import ImageRecord, Question, QuestionType, Response
from spavl.store import Manifest, RunDirectory

HARMFUL = [kind for kind in QuestionType if kind.harmful]


@pytest.fixture
def server() -> BuildServer:
    return BuildServer()


@pytest.fixture
def address(server: BuildServer) -> Iterator[str]:
    with server.running() as url:
        yield url


def count(config: RunConfig, stage: str, kind: type[Any]) -> int:
    return len(RunDirectory(config.run).records(stage, kind))


def leaves(config: RunConfig) -> set[tuple[str, str]]:
    return {(image.id, image.leaf) for image in RunDirectory(config.run).records("images", ImageRecord)}


def made(run: Path) -> dict[str, str]:
    """Returns file -> SHA-256 of everything but the manifests, which say when and with what a stage was made."""
    files = [path for path in run.rglob("*") if path.is_file() and path.parts[len(run.parts)] in ALL_STAGES]
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in ("manifest.json", "effort.json")
    }


def test_a_build_is_made_again_byte_for_byte_when_the_server_is_gone(tmp_path: Path, server: BuildServer) -> None:
    """The same outcomes, pictures' rows, card and Croissant; manifests differ in seconds and in who was asked."""
    draw_pictures(tmp_path / "pictures")
    with server.running() as address:
        first = full_config(tmp_path, address)
        run_build(first)
    calls = len(server.asked)
    again = full_config(tmp_path, address, run=str(tmp_path / "again"))
    run_build(again, Replay())
    assert len(server.asked) == calls > 50
    assert made(again.run) == made(first.run)
    for model, asked in Counter(model for model, _ in server.asked).items():
        assert CallStore(first.calls, str(first.run)).spent(model).calls == asked
        assert CallStore(first.calls, str(again.run)).spent(model) == NOTHING
    assert {"dataset/README.md", "dataset/croissant.json", "dataset/data/train-00000-of-00001.parquet"} <= set(
        made(again.run)
    )
    for stage in ("captions", "questions", "checked_questions", "responses", "labels", "judgments", "opinions"):
        before, now = (
            Manifest.model_validate_json((run / stage / "manifest.json").read_bytes()) for run in (first.run, again.run)
        )
        assert (now.counts, now.results_hash, now.facts) == (before.counts, before.results_hash, before.facts)
        assert now.usage.calls == 0 and now.usage.stored_calls == before.usage.calls + before.usage.stored_calls


def test_calls_that_are_not_stored_are_counted_by_stage_and_model_and_the_same_build_then_makes_these_alone(
    tmp_path: Path, server: BuildServer, address: str
) -> None:
    """The first build gets no answer from `third`, one of three responders; the others' calls are stored."""
    draw_pictures(tmp_path / "pictures")
    models = build_config(tmp_path, address).model_dump()["models"]
    responders = {name: {"model": name} for name in ("plain", "careful", "third")}
    models["third"] = models["plain"] | {"model": "third"}
    config = build_config(tmp_path, address, models=models, responses={"responders": responders})
    server.silent = {"third"}
    run_build(config)
    failed = server.take()["third"]
    again = config.model_copy(update={"run": tmp_path / "again"})
    with pytest.raises(RunError) as raised:
        run_build(again, Replay())
    items = 3 * failed
    assert f"Stage responses: {failed} of {items} items need what is not stored" in str(raised.value)
    assert f"{failed} times a call of model 'third' is not stored" in str(raised.value)
    assert "without --replay" in str(raised.value) and "--allow-missing" in str(raised.value)
    assert server.take() == Counter()

    left_out = config.model_copy(update={"run": tmp_path / "left_out"})
    run_build(left_out, Replay(allow_missing=True))
    manifest = Manifest.model_validate_json((left_out.run / "responses" / "manifest.json").read_bytes())
    assert manifest.counts.by_reason == {"not_stored": failed}
    for name in ("data/train-00000-of-00001.parquet", "README.md"):
        assert (left_out.run / "dataset" / name).read_bytes() == (config.run / "dataset" / name).read_bytes()

    server.silent = set()
    server.forget()
    run_build(again)
    assert server.take()["third"] == failed
    assert count(again, "responses", Response) == items


def test_a_plan_after_a_budget_stop_says_what_is_not_answered_and_the_way_to_it(
    tmp_path: Path, server: BuildServer, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A picture and a question may need some 1,600 tokens and use 22, so few of `third`'s calls fit into 1,700.

    What is left has no answer, and neither has what the server declined for good of `fourth`; nothing is short, for
    nothing is asked. With `--restart-from` both are, and the budget does not suffice.
    """
    draw_pictures(tmp_path / "pictures")
    models = build_config(tmp_path, address).model_dump()["models"]
    names = ("plain", "careful", "third", "fourth")
    models |= {name: models["plain"] | {"model": name} for name in names[2:]}
    models["third"] |= {"budget": {"tokens": 1700}}
    responders = {name: {"model": name} for name in names}
    config = build_config(tmp_path, address, models=models, responses={"responders": responders})
    server.silent = {"fourth"}
    run_build(config)
    questions = server.take()["fourth"]
    manifest = RunDirectory(config.run).manifests(["responses"])["responses"]
    answered = manifest.facts["outcomes_by_responder"]["third"]["stop"]
    assert manifest.counts.passing == questions - answered > 0 < answered
    mute = (
        f"responder fourth gave no answer to any of {questions} questions (most often bad_request, {questions} times: "
    )
    said = capsys.readouterr().err
    assert mute in said and "placeholder trouble" in said and "responder third" not in said

    forecast = forecast_build(config)
    found = {line.responder: line for line in forecast.lines if line.stage == "responses"}
    counted = {name: (line.calls, line.stored, line.owed) for name, line in found.items()}
    whole = (questions, questions, 0)
    third = (questions, answered, questions - answered)
    assert counted == {"plain": whole, "careful": whole, "third": third, "fourth": (questions, 0, questions)}
    assert all(line.prompt_tokens == 0 and line.owed == 0 for line in forecast.lines if line.stage != "responses")
    assert forecast.short == ()
    said = "\n".join(forecast_lines(forecast))
    owed = 2 * questions - answered
    assert f"and {owed} are not made unless asked for" in said
    assert f"again: responses of third (third): {questions - answered} of {questions} calls have no answer; " in said
    assert "`--restart-from responses` asks for them" in said

    RunDirectory(config.run).restart_from("responses", ALL_STAGES)
    again = forecast_build(config)
    assert sum(line.calls - line.stored for line in again.lines if line.stage == "responses") == owed
    assert again.again == () and len(again.short) == 1 and again.short[0].startswith("models.third.budget.tokens 1,700")


def test_a_wrong_key_is_named_with_what_to_do_and_the_right_one_asks_what_it_owed(
    tmp_path: Path, server: BuildServer, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_pictures(tmp_path / "pictures")
    models = build_config(tmp_path, address).model_dump()["models"]
    models["third"] = models["plain"] | {"model": "third"}
    responders = {name: {"model": name} for name in ("plain", "careful", "third")}
    config = build_config(tmp_path, address, models=models, responses={"responders": responders})
    server.locked = {"third"}
    run_build(config)
    capsys.readouterr()
    run_build(config)
    failed = RunDirectory(config.run).manifests(["responses"])["responses"].counts.passing
    line = next(one for one in capsys.readouterr().err.splitlines() if one.startswith("responses: "))
    counted = f"{failed} of {3 * failed} failed, are left out and may be asked again (most often responder_failed"
    assert counted in line and "the key is missing or wrong; see `api_key_env`" in line
    assert "Once that is mended or over, `--restart-from responses` asks for them" in line
    server.locked = set()
    server.forget()
    restart(config, "responses")
    assert server.take()["third"] == failed


def test_pictures_that_are_added_pay_for_what_they_change_and_nothing_is_paid_twice(
    tmp_path: Path, server: BuildServer, address: str
) -> None:
    """8 pictures, then 10: of each harmful type a question is written about those that are new or go to another leaf.

    Benign questions are asked again only where the deal of everyday topics changed; that no request came twice is
    checked by `take`.
    """
    draw_pictures(tmp_path / "pictures", CAPTIONS[:8])
    harmful = {"writer": "writer", "types": [str(kind) for kind in HARMFUL]}
    config = build_config(tmp_path, address, questions=harmful)
    run_build(config)
    before = leaves(config)
    assert server.take()["writer"] == len(HARMFUL) * len(before)
    draw_pictures(tmp_path / "pictures")
    more = build_config(tmp_path, address, run=str(tmp_path / "more"), questions=harmful)
    run_build(more)
    changed = leaves(more) - before
    assert 2 <= len(changed) < len(before)
    assert server.take()["writer"] == len(HARMFUL) * len(changed)
    with_benign = build_config(tmp_path, address, run=str(tmp_path / "benign"))
    run_build(with_benign)
    assert server.take()["writer"] == len(leaves(more))


@pytest.fixture
def built(tmp_path: Path, server: BuildServer, address: str) -> RunConfig:
    """A finished build whose calls were counted."""
    draw_pictures(tmp_path / "pictures")
    config = build_config(tmp_path, address)
    run_build(config)
    server.take()
    return config


def restart(config: RunConfig, stage: str) -> None:
    RunDirectory(config.run).restart_from(stage, ALL_STAGES)
    run_build(config)


def test_an_edited_prompt_of_ones_own_pays_for_its_questions_and_what_is_said_to_them(
    built: RunConfig, server: BuildServer, tmp_path: Path
) -> None:
    """An unedited copy of the packaged prompts asks nothing anew.

    Then ten easy questions are new, seven or so of them not in the test, each with two answers and two labels.
    """
    own = tmp_path / "own.yaml"
    packaged = (resources.files("spavl.questions") / "prompt_files/standard_v2.yaml").read_text(encoding="utf-8")
    own.write_text(packaged, encoding="utf-8")
    edited = built.model_copy(update={"questions": built.questions.model_copy(update={"prompts": str(own)})})
    restart(edited, "questions")
    assert server.take() == Counter()
    own.write_text(packaged.replace("write one short", "write one brief").replace("Write one short", "Write one brief"))
    said = r"the text of the question prompts changed \(`prompts`\).*--restart-from questions"
    with pytest.raises(UserError, match=said):
        run_build(edited)
    restart(edited, "questions")
    questions = RunDirectory(built.run).records("questions", Question)
    easy_ones = {one.id for one in questions if one.question_type is QuestionType.EASY_QUESTION}
    answers = [one for one in RunDirectory(built.run).records("responses", Response) if one.question_id in easy_ones]
    asked = server.take()
    assert asked["writer"] == len(easy_ones) == count(built, "images", ImageRecord)
    assert asked["plain"] == asked["careful"] == len(answers) / 2
    assert asked["judge"] == len(answers) + len(answers)  # a label each, and each pair in both orders
    assert len(answers) < len(easy_ones) * 2, "some pictures are for the test, and not answered"


def test_an_edited_responder_pays_for_its_answers_and_their_judging(built: RunConfig, server: BuildServer) -> None:
    responders = dict(built.responses.responders)
    responders["plain"] = responders["plain"].model_copy(update={"system": "Be brief."})
    edited = built.model_copy(update={"responses": built.responses.model_copy(update={"responders": responders})})
    restart(edited, "responses")
    answers = count(edited, "responses", Response) // 2
    assert server.take() == Counter(plain=answers, judge=answers + 2 * answers)


def test_an_edited_rubric_pays_for_one_kind_of_judgment(
    built: RunConfig, server: BuildServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = rubric.rubric_text
    edited = {rubric.PAIRWISE}
    monkeypatch.setattr(rubric, "rubric_text", lambda name: read(name) + " Think." * (name in edited))
    said = r"judgments was made with other settings: the text of the judge's rubric changed \(`judge\.rubrics\.pairwise"
    with pytest.raises(UserError, match=said):
        run_build(built)
    restart(built, "judgments")
    assert server.take() == Counter(judge=count(built, "responses", Response))
    edited.add(rubric.SAFETY)
    with pytest.raises(UserError, match=r"labels was made with .*`judge\.rubrics\.safety_v2`.*--restart-from labels"):
        run_build(built)
    restart(built, "labels")
    assert server.take() == Counter(judge=count(built, "responses", Response))


def test_another_judge_pays_for_its_own_judgments(built: RunConfig, server: BuildServer) -> None:
    models = dict(built.models) | {"judge": built.models["judge"].model_copy(update={"model": "judge-2"})}
    restart(built.model_copy(update={"models": models}), "labels")
    assert server.take() == Counter({"judge-2": 2 * count(built, "responses", Response)})


def test_a_judge_that_answered_in_prose_is_asked_again_by_the_command_that_its_error_names(
    tmp_path: Path, server: BuildServer, address: str
) -> None:
    """Every answer has a label of its own, so as many are asked again; then each pair in both orders, for the first."""
    draw_pictures(tmp_path / "pictures")
    config = build_config(tmp_path, address)
    server.broken = {"judge"}
    with pytest.raises(RunError, match="run the same command again with `--restart-from labels`"):
        run_build(config)
    answers = count(config, "responses", Response)
    assert server.take()["judge"] == answers
    with pytest.raises(RunError, match="none of"):
        run_build(config)
    server.broken = set()
    assert server.take() == Counter(), "what is stored is read again"
    server.forget()
    with open_road(config) as road:
        road.restart_from("labels")
        asyncio.run(build(road))
    assert server.take() == Counter(judge=answers + answers)


def test_what_a_budget_left_is_named_whenever_the_build_is_run_and_asked_for_alone_once_there_is_more(
    tmp_path: Path, server: BuildServer, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A call uses 22 tokens and may use some 1,600, so that 1,800 admit about ten of 28; later the others are paid."""
    draw_pictures(tmp_path / "pictures")
    whole = build_config(tmp_path, address)
    frugal = whole.models | {"plain": whole.models["plain"].model_copy(update={"budget": BudgetConfig(tokens=1800)})}
    run_build(whole.model_copy(update={"models": frugal}))
    counts = RunDirectory(whole.run).manifests(BUILD_STAGES)["responses"].counts
    answered = server.take()["plain"]
    left = counts.items // 2 - answered
    assert answered > 0
    assert counts.passing == counts.by_reason["budget"] == left > 0

    lacking = f"responses: {left} of {counts.items} failed, are left out and may be asked again"
    assert lacking in capsys.readouterr().err
    run_build(whole)
    assert not server.take()
    assert lacking in capsys.readouterr().err
    restart(whole, "responses")
    assert server.take()["plain"] == left
    assert "asked again" not in capsys.readouterr().err


def test_a_server_that_moved_is_paid_nothing_where_its_identity_stayed(built: RunConfig) -> None:
    """The identity is the old address, so that even the stages of the finished run are still its own."""
    moved = BuildServer()
    with moved.running() as address:
        models = {
            name: one.model_copy(update={"base_url": address, "identity": one.base_url}) if name != "mini" else one
            for name, one in built.models.items()
        }
        run_build(built.model_copy(update={"models": models}))
        run_build(built.model_copy(update={"models": models, "run": built.run.with_name("other")}))
        assert moved.asked == []
        nameless = {name: one.model_copy(update={"identity": "new"}) for name, one in models.items() if name != "mini"}
        run_build(built.model_copy(update={"models": models | nameless, "run": built.run.with_name("third")}))
        assert len(moved.asked) > 50


def test_a_finished_build_says_that_it_does_not_look_at_its_source_again(
    built: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run_build(built)
    assert (
        "images: collected earlier; the source is not looked at again (`--restart-from images`"
        in capsys.readouterr().err
    )


def test_a_built_dataset_can_be_published_with_what_is_known_of_its_pictures(built: RunConfig) -> None:
    upload = prepare(built.run)
    assert "meta_files/image_info/meta.json" in upload.files
    assert upload.rows > 0


def test_no_stage_names_a_model_by_an_address_that_may_change(built: RunConfig) -> None:
    models = {
        name: one.model_copy(update={"identity": "mine"}) if name != "mini" else one
        for name, one in built.models.items()
    }
    run_build(built.model_copy(update={"models": models, "run": built.run.with_name("named")}))
    for stage in BUILD_STAGES:
        identity = json.loads((built.run.with_name("named") / stage / "identity.json").read_bytes())
        assert "127.0.0.1" not in json.dumps(identity), stage
