"""What models find in pictures: kept with each, and what is left out or sent to people for it."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image
from tests.images.test_collect import Run, blocks
from tests.tiny_picture_models import build_classifier, build_clip

from spavl.errors import UserError
from spavl.records import ImageRecord

NAMES = ("red apple", "apple", "bell", "brass bell")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed, name in enumerate(NAMES):
        blocks(seed).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_classifier(tmp_path_factory.mktemp("classifier"), ("harmless", "explicit"))


def figures(run: Run, name: str) -> dict[str, Any]:
    """Picture -> its figure, the least first."""
    found = {record.source_name: getattr(record, name) for record in run.stage().records(ImageRecord)}
    return dict(sorted(found.items(), key=lambda one: one[1]))


def test_without_a_model_nothing_is_asked_and_nothing_is_said(tmp_path: Path, pictures: Path) -> None:
    run = Run(tmp_path / "run", pictures)
    run.collect()
    for record in run.stage().records(ImageRecord):
        figure = record.caption_similarity, record.text_count, record.text_chars, record.explicit_score
        assert figure == (None, None, None, None)
    assert not (run.path / "images" / "needs_review.jsonl").exists()


def test_a_picture_unlike_its_caption_is_left_out_only_where_a_least_is_set(
    tmp_path: Path, pictures: Path, clip: Path
) -> None:
    """The first run keeps all four figures; the least of the second lies between the lowest and the next."""
    first = Run(tmp_path / "first", pictures, caption_match={"path": str(clip)})
    first.collect()
    found = figures(first, "caption_similarity")
    (unlike, lowest), (_, second), *_ = found.items()
    least = (lowest + second) / 2
    run = Run(tmp_path / "run", pictures, caption_match={"path": str(clip), "min_similarity": least})
    manifest = run.collect()
    assert run.left_out() == {unlike: ("caption_mismatch", True)}
    assert figures(run, "caption_similarity") == {name: value for name, value in found.items() if name != unlike}
    counted = {"items": 4, "records": 3, "failures": 0, "dropped": 1, "passing": 0}
    assert manifest.counts.model_dump(exclude={"by_reason"}) == counted
    message = run.stage().failures()[f"pictures/{unlike}"].message
    assert message == f"{unlike}: similarity of picture and caption {lowest:.3f}: less than {least}"


def explicit(classifier: Path, threshold: float, **more: Any) -> dict[str, Any]:
    return {"path": str(classifier), "labels": ("explicit",), "threshold": threshold, **more}


def test_explicit_pictures_wait_apart_in_a_list_until_people_let_them_in(
    tmp_path: Path, pictures: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The threshold is the highest score of a first run that held nothing back, so exactly that picture waits."""
    first = Run(tmp_path / "first", pictures, explicit=explicit(classifier, 1))
    first.collect()
    name, highest = list(figures(first, "explicit_score").items())[-1]
    whole = next(record for record in first.stage().records(ImageRecord) if record.source_name == name)

    run = Run(tmp_path / "run", pictures, explicit=explicit(classifier, highest))
    manifest = run.collect()
    assert run.left_out() == {name: ("needs_review", True)}
    assert manifest.counts.by_reason == {"needs_review": 1} and manifest.counts.records == 3
    listed = [json.loads(line) for line in (run.path / "images" / "needs_review.jsonl").read_text().splitlines()]
    assert [(one["id"], one["score"], one["item"]) for one in listed] == [(whole.id, highest, f"pictures/{name}")]
    stored = Path("pictures") / whole.sha256[:2] / f"{whole.sha256}.png"
    apart = run.path / "images" / listed[0]["path"]
    assert apart.read_bytes() == (first.path / stored).read_bytes()
    assert not (run.path / stored).exists(), "it does not lie among the pictures that are used"
    assert "1 may be explicit and wait for people" in capsys.readouterr().err

    (tmp_path / "released.txt").write_text(f"{listed[0]['id']}  # seen by A\n")
    released = explicit(classifier, highest, released=tmp_path / "released.txt")
    again = Run(tmp_path / "again", pictures, explicit=released)
    again.collect()
    assert again.left_out() == {}
    assert figures(again, "explicit_score")[name] == highest


def test_where_all_pictures_wait_for_people_the_way_is_the_released_list(
    tmp_path: Path, pictures: Path, classifier: Path
) -> None:
    run = Run(tmp_path / "run", pictures, explicit=explicit(classifier, 0))
    with pytest.raises(UserError, match="Most often needs_review, 4 times") as raised:
        run.collect()
    assert f"{run.path / 'images' / 'needs_review.jsonl'}, and put the ids" in str(raised.value)
    assert "images.explicit.released" in str(raised.value) and "min_similarity" not in str(raised.value)


@pytest.mark.parametrize("done", range(5))
def test_an_interrupted_collection_lists_each_waiting_picture_once(
    tmp_path: Path, pictures: Path, classifier: Path, done: int
) -> None:
    """All four wait but the least explicit one; killed after any number of outcomes, when that one was listed, too.

    It had been decided otherwise before (a failure that passed); and the list has a torn line.
    """
    first = Run(tmp_path / "first", pictures, explicit=explicit(classifier, 1))
    first.collect()
    (enters, _), (_, second_least), *_ = figures(first, "explicit_score").items()
    whole = Run(tmp_path / "whole", pictures, explicit=explicit(classifier, second_least))
    whole.collect()
    run = Run(tmp_path / "run", pictures, explicit=explicit(classifier, second_least))
    run.collect()
    listed = run.path / "images" / "needs_review.jsonl"
    assert len(listed.read_bytes().splitlines()) == 3
    (run.path / "images" / "manifest.json").unlink()
    lines = run.results().splitlines(keepends=True)
    run.stage().results_path.write_bytes(b"".join(lines[:done]))
    decided_anew = json.dumps({"item": f"pictures/{enters}"}).encode()
    listed.write_bytes(listed.read_bytes() + decided_anew + b'\n{"id": "img-\n')
    run.collect()
    assert run.results() == whole.results()
    expected = (whole.path / "images" / "needs_review.jsonl").read_bytes()
    assert sorted(listed.read_bytes().splitlines()) == sorted(expected.splitlines())


def test_a_released_list_that_changed_during_an_interruption_is_noticed(
    tmp_path: Path, pictures: Path, classifier: Path
) -> None:
    listed = tmp_path / "released.txt"
    listed.write_text("")
    run = Run(tmp_path / "run", pictures, explicit=explicit(classifier, 1, released=listed))
    run.collect()
    (run.path / "images" / "manifest.json").unlink()
    listed.write_text("0" * 64)
    with pytest.raises(UserError, match=r"--restart-from images"):
        run.collect()


def test_a_wrong_released_list_names_its_field(tmp_path: Path, pictures: Path, classifier: Path) -> None:
    (tmp_path / "released.txt").write_text("picture.png\n")
    run = Run(tmp_path / "run", pictures, explicit=explicit(classifier, 1, released=tmp_path / "released.txt"))
    with pytest.raises(UserError, match=r"^images\.explicit\.released: .*line 1: 'picture\.png' is neither"):
        run.collect()


class ScriptedText(NamedTuple):
    lines: int
    chars: int


class ScriptedReader:
    """Finds 13 letters in two lines of pictures 100 px wide; the real reader is an extra and has its own test."""

    def read(self, picture: Image.Image) -> ScriptedText:
        return ScriptedText(2, 13) if picture.width == 100 else ScriptedText(0, 0)


def test_a_picture_with_more_text_than_allowed_is_left_out(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spavl.images.examine.open_text_reader", ScriptedReader)
    blocks(7, 100).save(pictures / "pear.png")
    run = Run(tmp_path / "run", pictures, text={"max_chars": 13}, per_leaf=3)
    run.collect()
    assert figures(run, "text_count")["pear.png"] == 2
    assert list(figures(run, "text_chars").values()) == [0, 0, 0, 0, 13]
    other = Run(tmp_path / "other", pictures, text={"max_chars": 12}, per_leaf=3)
    other.collect()
    assert other.left_out() == {"pear.png": ("too_much_text", True)}
    message = other.stage().failures()["pictures/pear.png"].message
    assert message == "pear.png: 13 characters can be read: more than 12"
