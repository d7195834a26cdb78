"""Taking a picture down: nothing that was made from it is left, what is left adds up, and a kill changes nothing."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.pipeline.finished_build import (
    copied,
    everything,
    held,
    judged_by_text,
    made_again,
    mentions,
    records,
    rows,
    trained_on,
)
from tests.pipeline.served_build import BuildServer, draw_pictures, run_build
from tests.report.finished_run import Wishes, build_finished_run
from tests.tiny_picture_models import build_classifier

from spavl.cli.options import asked_again
from spavl.cli.road import JUDGED_BY
from spavl.config import FolderSource, RunConfig
from spavl.dataset.clean import clean_place, write_clean
from spavl.dataset.push import prepare
from spavl.embedded.sentences import encoder_apart
from spavl.errors import UserError
from spavl.image_config import ExplicitConfig
from spavl.images import DOWNLOADS, DownloadFolder, collect
from spavl.models import CallStore
from spavl.pipeline.road import ALL_STAGES, JOURNAL, STAGES, open_road
from spavl.pipeline.take_down import take_down
from spavl.records import Caption, ImageRecord, PreferencePair, Question, QuestionCheck, Response, Sample
from spavl.report import write_dataset_report, write_report
from spavl.store import Manifest, RunDirectory

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build with features and placeholder of every picture in the cache; only its copies are changed."""
    folder = tmp_path_factory.mktemp("template")
    draw_pictures(folder / "pictures")
    with BuildServer().running() as address:
        config = judged_by_text(folder, address)
        run_build(config)
    for image in records(config, "images", ImageRecord):
        for kind, suffix in (("vision", "safetensors"), ("placeholders", "gz")):
            kept = folder / f"cache/{kind}/placeholder/{image.sha256[:2]}/{image.sha256}.{suffix}"
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(b"placeholder")
    (folder / "cache/reference").mkdir()
    (folder / "cache/reference/placeholder.safetensors").write_bytes(b"placeholder")
    (folder / "address").write_text(address)
    return folder


@pytest.fixture
def config(template: Path, tmp_path: Path) -> RunConfig:
    return copied(template, tmp_path / "copy")


def test_nothing_made_from_a_picture_is_left_but_ids_that_say_it_was_removed(config: RunConfig) -> None:
    picture = trained_on(config)
    questions = [one for one in records(config, "questions", Question) if one.image_id == picture.id]
    responses = [one for one in records(config, "responses", Response) if one.image_id == picture.id]
    pairs = [one for one in records(config, "preferences", PreferencePair) if one.image_id == picture.id]
    checks = [one for one in records(config, "checked_questions", QuestionCheck) if one.image_id == picture.id]
    captions = [one for one in records(config, "captions", Caption) if one.image_id == picture.id]
    names = {picture.sha256, picture.original_sha256, picture.source_name, picture.perceptual_hash}
    names |= {one.text for one in (*questions, *responses, *captions)} | {one.caption for one in [picture]}
    before, calls = rows(config), CallStore(config.calls)
    stored = calls.count()
    assert held(config.calls, names) > {one.text for one in (*questions, *responses, *captions)}
    done = take_down(config, [picture.id])
    assert mentions(config.run, names - {picture.sha256, picture.original_sha256}) == []
    assert mentions(config.run.parent / "cache", names) == []
    assert mentions(config.run, {picture.sha256, picture.original_sha256}) == ["removed.txt"]
    assert rows(config) == [row for row in before if row["image_id"] != picture.id]
    assert held(config.calls, names - {picture.caption}) == set()
    # a call for the caption, for each question and its check, for each answer, label and opinion; two for each pair
    carried = 1 + 2 * len(questions) + 4 * len(responses) + 2 * (len(responses) // 2)
    assert done.removed == {
        "images: records": 1,
        "captions: records": 1,
        "questions: records": len(questions),
        "checked_questions: records": len(checks),
        "checked_questions: failures": len(questions) - len(checks),
        "responses: records": len(responses),
        "labels: records": len(responses),
        "judgments: records": len(responses),
        "preferences: records": len(pairs),
        "dataset: records": len(pairs),
        "opinions: records": 3 * len(responses),
        "dataset rows": len(pairs),
        "cached features": 1,
        "placeholders": 1,
        "reference files": 1,
        "pictures": 1,
        "stored calls": carried,
    }
    assert calls.count() == stored - carried


def test_what_was_taken_down_is_nothing_to_be_asked_again(config: RunConfig) -> None:
    take_down(config, [trained_on(config).id])
    manifests = RunDirectory(config.run).manifests(ALL_STAGES)
    counts = {name: one.counts.model_dump() for name, one in manifests.items()}
    assert all(counts[name]["by_reason"]["removed"] > 0 for name in ("labels", "judgments", "opinions"))
    assert asked_again(counts, JUDGED_BY) == []


def test_texts_of_an_earlier_version_of_the_run_go_with_the_calls_that_read_them(config: RunConfig) -> None:
    """Nothing but the store knows them: the questions were written anew since, by a longer limit."""
    picture = trained_on(config)
    earlier = [one.text for one in records(config, "questions", Question) if one.image_id == picture.id]
    earlier += [one.text for one in records(config, "responses", Response) if one.image_id == picture.id]
    questions = config.questions.model_copy(update={"max_tokens": config.questions.max_tokens + 1})
    anew = config.model_copy(update={"questions": questions})
    made_again(anew, "questions")
    assert held(config.calls, earlier) == set(earlier)
    assert not {one.text for one in records(anew, "questions", Question)} & set(earlier)
    take_down(anew, [picture.id])
    assert held(config.calls, earlier) == set()


def test_a_picture_that_waits_for_people_is_taken_down_like_any_other(template: Path, tmp_path: Path) -> None:
    """The threshold is the highest score of a run that held nothing back, so exactly that picture waits."""
    classifier = build_classifier(tmp_path / "classifier", ("harmless", "explicit"))
    known, run = judged_by_text(template, (template / "address").read_text()), tmp_path / "run"
    shown = {"path": str(classifier), "labels": ("explicit",)}

    def collected(threshold: float) -> RunConfig:
        images = known.images.model_copy(update={"explicit": ExplicitConfig(**shown, threshold=threshold)})
        own = {"run": run, "calls": tmp_path / "calls.sqlite", "images": images}
        config = known.model_copy(update=own | {"train": known.train.model_copy(update={"cache": tmp_path / "cache"})})
        with open_road(config) as road:
            stage = road.stage("images", {"threshold": threshold})
            with encoder_apart() as encode:
                asyncio.run(collect(images, road.taxonomy, stage, road.pictures, encode))
        return config

    most = max(records(collected(1), "images", ImageRecord), key=lambda one: one.explicit_score or 0)
    RunDirectory(run).restart_from("images", ALL_STAGES)
    shutil.rmtree(run / "pictures")
    config = collected(most.explicit_score or 0)
    assert mentions(run, {most.sha256}) == ["images/needs_review.jsonl"]
    done = take_down(config, [most.id])
    assert done.removed == {"images: failures": 1, "waiting pictures": 1}
    left = everything(run)
    assert not [name for name in left if most.sha256 in name]
    assert mentions(run, {most.sha256, most.source_name, most.original_sha256 or ""}) == ["removed.txt"]
    manifest = Manifest.model_validate_json(left["images/manifest.json"])
    assert manifest.counts.by_reason["removed"] == 1 and "needs_review" not in manifest.counts.by_reason


def test_reports_and_equal_downloads_go_too(config: RunConfig) -> None:
    """The same bytes came from a second address, where nobody took them from."""
    picture = trained_on(config)
    source = config.images.source
    assert isinstance(source, FolderSource)
    copy = DownloadFolder(config.run / DOWNLOADS).path("http://placeholder.example/copy.png")
    copy.parent.mkdir(parents=True)
    shutil.copyfile(source.path / picture.source_name, copy)
    (other := copy.with_name("other")).write_bytes(b"placeholder")
    page = write_dataset_report(RunDirectory(config.run), config).page
    (found := config.run / "dataset.contamination.json").write_text("{}")
    done = take_down(config, [picture.id])
    assert [one.exists() for one in (copy, page, found, other)] == [False, False, False, True]
    assert (done.removed["downloads"], done.removed["reports"]) == (1, 2)


def test_the_clean_form_of_the_dataset_loses_the_picture_too(config: RunConfig) -> None:
    picture, dataset = trained_on(config), config.run / "dataset"
    clean = write_clean(dataset, clean_place(dataset), set()).folder
    done = take_down(config, [picture.id])
    assert done.removed["clean dataset rows"] == done.removed["dataset rows"] > 0
    assert mentions(clean, {picture.id, picture.sha256, picture.original_sha256}) == []
    assert prepare(clean).rows == len(rows(config))


def test_what_is_left_adds_up_and_is_still_the_same_run(config: RunConfig) -> None:
    """The run goes on as if it had never had the picture: nothing is asked, refused or made again."""
    picture = trained_on(config)
    before = {stage: manifest.counts for stage, manifest in RunDirectory(config.run).manifests(ALL_STAGES).items()}
    take_down(config, [picture.id])
    for stage, manifest in RunDirectory(config.run).manifests(ALL_STAGES).items():
        counts, reasons = manifest.counts, Counter(before[stage].by_reason)
        assert counts.items == before[stage].items == counts.records + counts.failures + counts.dropped
        gone = before[stage].records - counts.records + (reasons - Counter(counts.by_reason)).total()
        assert counts.by_reason["removed"] == gone > 0
    after = everything(config.run)
    run_build(config)
    assert everything(config.run) == after
    RunDirectory(config.run).restart_from("dataset", ALL_STAGES)
    run_build(config)
    made = {name for name in after if name.startswith("dataset/data")}
    assert {name: (config.run / name).read_bytes() for name in made} == {name: after[name] for name in made}


def test_the_picture_does_not_come_back_when_pictures_are_collected_anew(config: RunConfig) -> None:
    picture = trained_on(config)
    take_down(config, [picture.sha256])
    made_again(config, "images")
    assert picture.id not in {image.id for image in records(config, "images", ImageRecord)}
    manifest = Manifest.model_validate_json((config.run / "images/manifest.json").read_bytes())
    assert manifest.counts.by_reason["removed_by_list"] == 1


def test_a_second_removal_finds_nothing_and_says_so(config: RunConfig) -> None:
    picture = trained_on(config)
    take_down(config, [picture.id])
    after = everything(config.run)
    done = take_down(config, [picture.id])
    assert (done.removed, done.absent) == ({}, (picture.id,))
    assert everything(config.run) == after


def test_splits_of_the_others_hold_where_the_run_goes_on_after_the_removal(template: Path, tmp_path: Path) -> None:
    """With responses made and the dataset not, pairs about training pictures must not become test pictures' pairs."""
    for image in records(copied(template, tmp_path / "one"), "images", ImageRecord):
        fresh = copied(template, tmp_path / image.id)
        RunDirectory(fresh.run).restart_from("dataset", ALL_STAGES)
        with open_road(fresh) as road:
            before = road.splits()
        take_down(fresh, [image.id])
        with open_road(fresh) as road:
            splits = road.splits()
        assert dict(splits) == {one: split for one, split in before.items() if one != image.id}
        run_build(fresh)


def test_a_collection_that_was_interrupted_is_begun_anew_without_the_picture(config: RunConfig) -> None:
    picture = trained_on(config)
    RunDirectory(config.run).restart_from("questions", ALL_STAGES)
    (config.run / "images/manifest.json").unlink()
    done = take_down(config, [picture.id])
    assert done.removed["pictures"] == 1 and not (config.run / "images").exists()
    with pytest.raises(UserError, match="no picture of this name"):
        take_down(config, ["img-0000000000000000"])


CRASHING = """
import os, shutil, signal, sys
from pathlib import Path
from spavl.config import RunConfig
from spavl.pipeline.take_down import take_down

template, folder, body, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
WRITES = ("os.rename", "os.remove", "shutil.rmtree", "sqlite3.connect")

def alone(work):
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1]

def crash_at(number, config):
    left = [number]
    def hook(event, _):
        if event in WRITES:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    take_down(config, [name])

for number in range(1, 200, 6):
    shutil.copytree(template, folder / str(number))
    config = RunConfig.model_validate_json(body.replace("/whole/", f"/{number}/"))
    if alone(lambda: crash_at(number, config)) == 0:
        break
    assert alone(lambda: take_down(config, [name])) == 0, number
    print(number)
"""


@pytest.mark.slow
def test_a_removal_killed_at_any_write_is_ended_by_the_next(template: Path, tmp_path: Path) -> None:
    """A process ends itself by SIGKILL before its n-th change of a file, n = 1, 7, 13...; then the same command."""
    whole = copied(template, tmp_path / "whole")
    name = trained_on(whole).id
    take_down(whole, [name])
    arguments = [sys.executable, "-c", CRASHING, str(template), str(tmp_path), whole.model_dump_json(), name]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    crashes = done.stdout.split()
    assert len(crashes) > 5
    for number in crashes:
        folder = tmp_path / number
        assert everything(folder) == everything(whole.run.parent), number
        assert CallStore(folder / "calls.sqlite").count() == CallStore(whole.calls).count()


def test_a_run_whose_removal_was_interrupted_opens_for_nothing_else(config: RunConfig) -> None:
    (config.run / JOURNAL).write_text("{}")
    with pytest.raises(UserError, match="spavl remove CONFIG"), open_road(config):
        pass


def test_a_finished_run_keeps_its_model_and_its_report_can_be_written_again(tmp_path: Path) -> None:
    """Four pictures are removed, of those trained on, of the test's, and of those that were named."""
    (tmp_path / "finished").mkdir()
    run, config = build_finished_run(tmp_path / "finished", Wishes(leaves=16))
    train = config.train.model_copy(update={"cache": tmp_path / "cache"})
    config = config.model_copy(update={"calls": tmp_path / "calls.sqlite", "train": train})
    write_report(run, config)
    shown = {sample.image_id for sample in run.records("samples", Sample)}
    images = sorted(run.records("images", ImageRecord), key=lambda one: (one.id in shown, one.sha256 in shown))
    pictures = [*images[:2], *images[-2:]]
    assert [one.sha256 in shown for one in pictures] == [False, False, True, True]
    items = run.manifests(["answers"])["answers"].counts.items
    for picture in pictures:
        assert any("weights that saw them" in said for said in take_down(config, [picture.id]).left)
    assert not (run.path / "report/index.html").exists()
    manifests = run.manifests(STAGES)
    assert set(manifests) == set(STAGES)
    assert manifests["train"].facts["pictures_removed_since"] == sorted(one.id for one in pictures)
    written = write_report(run, config)
    assert mentions(run.path, {one.sha256 for one in pictures}) == ["removed.txt"]
    counts = written.summary["counts"]
    assert counts["images"]["by_reason"]["removed"] == 4
    assert counts["answers"]["items"] == items and counts["answers"]["by_reason"]["removed"] > 4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("img-123", ["'img-123'", "image id"]),
        ("img-0000000000000000", ["no picture of this name", "images.remove"]),
        (None, ["No removal", "Give the id"]),
    ],
)
def test_what_cannot_be_removed_is_one_clear_error(config: RunConfig, name: str | None, words: list[str]) -> None:
    before = everything(config.run)
    with pytest.raises(UserError) as raised:
        take_down(config, [] if name is None else [name])
    assert all(word in str(raised.value) for word in words) and "\n" not in str(raised.value)
    assert everything(config.run) == before


def test_the_verb_prints_counts_by_kind_and_takes_overrides(config: RunConfig, tmp_path: Path) -> None:
    picture = trained_on(config)
    path = tmp_path / "run.yaml"
    path.write_text(config.model_copy(update={"run": Path("elsewhere")}).model_dump_json())
    command = [sys.executable, "-m", "spavl", "remove", str(path), picture.id, f"run={config.run}", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["removed"]["pictures"] == 1 and Counter(said["removed"])["stored calls"] > 0
    assert said["list"] == str(config.run / "removed.txt")
