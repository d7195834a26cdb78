"""Take-down: removes pictures from a run with everything that was made from them.

What will go is worked out first and noted in a journal; then it is removed, each step so that it may be done again. A
process that is killed leaves the journal, no other verb opens the run, and the next removal ends what was begun. What
was trained stays, and so does what lies outside the run, its caches and the store of calls: the source, exports, copies
that were pushed, other runs.
"""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from spavl.config import RunConfig
from spavl.dataset import DatasetRow, Material, write_files
from spavl.dataset.clean import clean_place, forget_pictures
from spavl.errors import UserError
from spavl.images import DOWNLOADS, DownloadFolder, WaitingList, add_to_list, is_entry, own_list, read_picture_list
from spavl.judges.judged_text import judged_forms
from spavl.pipeline.road import ALL_STAGES, JOURNAL, TRAININGS, Road, open_road
from spavl.records import PreferencePair, QuestionCheck
from spavl.store.files import disk_errors_named, write_atomically
from spavl.store.manifest import hash_file
from spavl.store.run import LOCK
from spavl.store.take_down import Trace, change_facts, strip_stage, trace

TEST_SPLITS = ("harm", "help")


class TakenDown(NamedTuple):
    """What a take-down did."""

    removed: dict[str, int]
    """Kind -> number: records by stage, files, calls."""
    absent: tuple[str, ...]
    """Names of which the run has nothing left, and whose list keeps them out."""
    removal_list: Path
    left: tuple[str, ...]
    """What still knows the pictures, in sentences."""


def take_down(config: RunConfig, names: Sequence[str]) -> TakenDown:
    """Removes pictures, or ends an interrupted removal.

    Args:
        config: The run.
        names: Image ids, or SHA-256 of stored or original files; none only ends what was interrupted.

    Raises:
        UserError: There is no such run, a name is none, or the run and its removal list do not know one.
        RunError: The results of a finished stage were changed, or the disk is full.
    """
    if not config.run.is_dir():
        raise UserError(f"run: there is no {config.run}. Give the configuration of a run that is there.")
    for name in names:
        if not is_entry(name):
            raise UserError(f"{name[:80]!r} is neither an image id (img- and 16 hex digits) nor a SHA-256.")
    removal_list = config.images.remove or own_list(config.run)
    with open_road(config, taking_down=True) as road:
        journal = config.run / JOURNAL
        if not names and not journal.exists():
            raise UserError(f"No removal from {config.run} was interrupted. Give the id of a picture to remove.")
        removed: Counter[str] = Counter()
        if journal.exists():
            removed += _remove(road, Trace(**json.loads(journal.read_bytes())), removal_list)
        found = _plan(road, names, removal_list)
        if found.asked:
            write_atomically(journal, json.dumps(found._asdict()).encode())
            removed += _remove(road, found, removal_list)
        absent = tuple(sorted(set(names) - set(found.asked)))
        return TakenDown(dict(removed), absent, removal_list, _left(road, found))


def _plan(road: Road, names: Sequence[str], removal_list: Path) -> Trace:
    """Works out what belongs to the pictures; nothing is changed but that the others' splits are noted."""
    road.run.manifests(ALL_STAGES)  # what was changed behind our back is an error before anything goes
    found = _with_waiting(trace(road.run.path, ALL_STAGES, set(names)), road.run.path, set(names))
    listed = read_picture_list(removal_list, "images.remove").entries if removal_list.exists() else frozenset()
    unknown = sorted(set(names) - set(found.asked) - listed)
    if unknown:
        raise UserError(
            f"{unknown[0]}: {road.run.path} has no picture of this name. `spavl show` walks from any record to its "
            "picture; a picture that is not there is kept out by a line in images.remove."
        )
    if found.asked and "images" in found.hashes:
        try:
            road.hold_splits()
        except UserError:  # pictures that cannot be split have no splits to keep
            return found
    return found


def _with_waiting(found: Trace, run: Path, wanted: set[str]) -> Trace:
    """Adds the pictures that wait for people to see them, of which there are no records yet."""
    waiting = [one for one in WaitingList(run / "images").pictures() if one.names & wanted]
    return found._replace(
        asked=sorted({*found.asked, *(name for one in waiting for name in one.names & wanted)}),
        pictures=sorted({*found.pictures, *(one.path.stem for one in waiting)}),
        originals=[*found.originals, *(one.original_sha256 for one in waiting if one.original_sha256)],
        urls=[*found.urls, *(one.url for one in waiting if one.url)],
        items=found.items | {one.item: one.id for one in waiting},
    )


def _remove(road: Road, found: Trace, removal_list: Path) -> Counter[str]:
    """Removes what was found, and then the journal."""
    run = road.run.path
    add_to_list(removal_list, [*found.items.values(), *found.pictures, *found.originals])
    removed: Counter[str] = Counter()
    if "images" not in found.hashes:
        road.run.restart_from("images", ALL_STAGES)  # pictures are chosen in an order that a gap would change
    for name in ALL_STAGES:
        stripped = strip_stage(run / name, found)
        removed[f"{name}: records"] += stripped.records
        removed[f"{name}: failures"] += stripped.failures
    removed["dataset rows"] += _rewrite_dataset(road, found)
    removed["clean dataset rows"] += forget_pictures(clean_place(run / "dataset"), set(found.names))
    for kind, paths in _files(road, found).items():
        removed[kind] += sum(_unlink(path) for path in paths)
    _forget_training(run, found)
    removed["waiting pictures"] += WaitingList(run / "images").forget({*found.items.values()})
    removed["stored calls"] += road.models.store.forget(found.pictures, found.texts, judged_forms)
    removed["reports"] += sum(map(_unlink, _reports(run)))
    _sweep(run)
    _unlink(run / JOURNAL)
    return +removed


def _rewrite_dataset(road: Road, found: Trace) -> int:
    """Writes the dataset's files without the pictures, and returns how many rows went."""
    folder = road.run.path / "dataset"
    if "dataset" not in found.hashes:
        _remove_folder(folder)
        return 0
    names, before = set(found.names), 0
    asked: dict[str, set[str]] = {}
    for path in sorted((folder / "data").glob("*.parquet")):
        table = pq.read_table(path, columns=["image_id"])
        before += sum(one in names for one in table["image_id"].to_pylist())
        if (split := path.name.partition("-")[0]) in TEST_SPLITS:
            asked[split] = set(pq.read_table(path, columns=["question_id"])["question_id"].to_pylist())
    pairs = {pair.id: pair for pair in road.records("preferences", PreferencePair)}
    questions = road.questions().values()
    rows = road.records("dataset", DatasetRow)
    by_split = {split: [pairs[row.pair_id] for row in rows if row.split == split] for split in ("train", "validation")}
    test = {split: [one for one in questions if one.id in asked.get(split, ())] for split in TEST_SPLITS}
    material = Material(
        images=road.images(),
        questions=questions,
        pairs=list(pairs.values()),
        captions=road.captions(),
        checks=road.records("checked_questions", QuestionCheck),
    )
    change_facts(folder, write_files(folder, by_split, test, material, road.pictures))
    return before


def _forget_training(run: Path, found: Trace) -> None:
    """A finished training notes what was removed since; an unfinished one begins anew."""
    for name in TRAININGS:
        if name in found.hashes:
            manifest = json.loads((run / name / "manifest.json").read_bytes())
            since = {*manifest["facts"].get("pictures_removed_since", ()), *found.items.values()}
            change_facts(run / name, {"pictures_removed_since": sorted(since)})
        else:
            _remove_folder(run / name)


def _files(road: Road, found: Trace) -> dict[str, list[Path]]:
    """Returns the files that hold a picture or were computed from one, by kind."""
    run, cache = road.run.path, road.config.train.cache
    corrupted = [path for image in found.items.values() if (path := run / f"train/corrupted/{image}.png").exists()]
    seen = [*found.pictures, *(hash_file(path) for path in corrupted)]
    downloads = DownloadFolder(run / DOWNLOADS)
    return {
        "cached features": [path for one in seen for path in cache.glob(f"vision/*/{one[:2]}/{one}.safetensors")],
        "placeholders": [path for one in seen for path in cache.glob(f"placeholders/*/{one[:2]}/{one}.gz")],
        "reference files": sorted(cache.glob("reference/*.safetensors")),
        "corrupted pictures": corrupted,
        "downloads": [*map(downloads.path, found.urls), *downloads.copies(found.originals)],
        "pictures": [path for one in found.pictures for path in (run / "pictures" / one[:2]).glob(f"{one}.*")],
    }


def _reports(run: Path) -> list[Path]:
    """Returns what was written for people to read, and what says which rows of the dataset are where."""
    return [*sorted((run / "report").glob("*.html")), run / "dataset.contamination.json"]


def _sweep(run: Path) -> None:
    """Removes what a killed process left half written or half removed; while we hold the run, nobody needs it."""
    for path in sorted(run.rglob(".*"), reverse=True):
        if path.is_dir():
            _remove_folder(path)
        elif path.name != LOCK:
            _unlink(path)


def _remove_folder(path: Path) -> None:
    with disk_errors_named(path):
        if path.exists():
            shutil.rmtree(path)


def _unlink(path: Path) -> int:
    with disk_errors_named(path):
        there = path.exists()
        path.unlink(missing_ok=True)
    return int(there)


def _left(road: Road, found: Trace) -> tuple[str, ...]:
    """Says what a take-down does not reach."""
    left = ["The source, exports, copies that were pushed, and other runs are not reached."]
    if road.config.images.remove is None:
        left.append(f"Other runs keep them out with images.remove={own_list(road.run.path)}.")
    if "train" in found.hashes:
        left.append(f"{road.run.path / 'train'} has weights that saw them; `--restart-from train` trains without them.")
    if "dataset" in found.hashes:
        left.append("The report was removed where there was one; `spavl report CONFIG` writes it without them.")
    return tuple(left)
