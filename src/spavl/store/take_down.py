"""What a run's stages hold of some pictures, and how it is taken out of them so that everything still adds up.

A record belongs to a picture if it names the picture, or a record that belongs to it. In a finished stage its line
becomes a `Failure` that says so; in an unfinished one the line goes. Everything here may be done again after a crash.
It knows no station, no pictures' files and no calls.
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spavl.records import Comparison, Failure, ImageRecord, content_id
from spavl.store.files import write_atomically
from spavl.store.manifest import Counts, Ending, Manifest, hash_file

WORDS = ("caption", "text", "question", "chosen", "rejected", "prompt")
"""Fields of records with words that were made from a picture, and that something may be asked with."""
REMOVED = Failure(reason="removed", message="its picture was taken down", dropped=True)
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Trace(NamedTuple):
    """What a run has of some pictures, as JSON takes it."""

    asked: list[str]
    """Those of the names asked for that are in the run."""
    names: list[str]
    """Ids and digests of the pictures, and ids of everything that was made from them."""
    pictures: list[str]
    """SHA-256 of their stored files."""
    originals: list[str]
    """SHA-256 of their original files, where they are known."""
    urls: list[str]
    """Where they were downloaded from."""
    items: dict[str, str]
    """What the source calls them -> image id."""
    hashes: dict[str, str]
    """Finished stage -> SHA-256 of its results, before anything was taken out."""
    texts: Sequence[str] = ()
    """What was said of the pictures, and of no other."""


class Stripped(NamedTuple):
    """How many lines of a stage were changed."""

    records: int
    failures: int


def trace(run: Path, stages: Sequence[str], wanted: Collection[str]) -> Trace:
    """Follows pictures through the stages of a run; nothing is changed.

    Args:
        run: The run's directory.
        stages: The stages in the order of the road.
        wanted: Image ids, or digests of stored or original files.
    """
    found = Trace([], [], [], [], [], {}, {})
    names = set(wanted)
    asked: set[str] = set()
    answers: dict[str, list[str]] = {}
    for stage in stages:
        if (run / stage / "manifest.json").exists():
            found.hashes[stage] = hash_file(run / stage / "results.jsonl")
        for body in _bodies(run / stage):
            if not _belongs(body, names):
                continue
            record = body["record"] or {}
            known = _aliases(record)
            asked |= known & set(wanted)
            names |= known
            if _is_picture(record):
                found.items[body["item"]] = record["id"]
                found.originals.extend(filter(None, [record.get("original_sha256")]))
                found.urls.extend(filter(None, [record.get("url")]))
            found.pictures.extend(_digests(record))
            if "responder" in record:
                answers.setdefault(record["question_id"], []).append(record["id"])
        for question, ids in answers.items():  # a comparison that no judge could tell has no record, only its id
            pairs = itertools.permutations(ids, 2)
            names |= {Comparison(question_id=question, first_id=one, second_id=two).id for one, two in pairs}
    return found._replace(
        asked=sorted(asked),
        names=sorted(names - (set(wanted) - asked)),
        pictures=sorted(set(found.pictures)),
        texts=_own_words(run, stages, names),
    )


def strip_stage(stage: Path, found: Trace) -> Stripped:
    """Takes out of a stage's results what belongs to the pictures, and mends manifest and identity.

    Stages have to be stripped in the order of the road, for each says the hashes of those upstream.

    Raises:
        RunError: The disk is full.
    """
    names, manifest_path = {*found.names, *found.items}, stage / "manifest.json"
    finished = manifest_path.exists()
    records = failures = 0
    kept: list[dict[str, Any]] = []
    for body in _bodies(stage):
        if (body["failure"] or {}).get("reason") != REMOVED.reason and _belongs(body, names):
            records, failures = records + bool(body["record"]), failures + bool(body["failure"])
            if not finished:
                continue
            item = found.items.get(body["item"], body["item"])
            body = {"item": item, "record": None, "failure": REMOVED.model_dump(mode="json")}
        kept.append(_unmentioned(body, found.items))
    if (stage / "results.jsonl").exists():
        lines = [json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for body in kept]
        write_atomically(stage / "results.jsonl", b"".join(lines))
    if finished:
        manifest = _mended(Manifest.model_validate_json(manifest_path.read_bytes()), stage, kept, found)
        write_atomically(manifest_path, manifest.model_dump_json(indent=2).encode() + b"\n")
    identity_path = stage / "identity.json"
    if identity_path.exists():
        identity = json.loads(identity_path.read_bytes())
        identity["inputs"] = _inputs(identity["inputs"], stage.parent, found.hashes)
        write_atomically(identity_path, json.dumps(identity, indent=2, sort_keys=True).encode() + b"\n")
    return Stripped(records, failures)


def change_facts(stage: Path, facts: Mapping[str, Any]) -> None:
    """Writes new facts into the manifest of a finished stage.

    Raises:
        RunError: The disk is full.
    """
    path = stage / "manifest.json"
    manifest = Manifest.model_validate_json(path.read_bytes())
    changed = manifest.model_copy(update={"facts": manifest.facts | dict(facts)})
    write_atomically(path, changed.model_dump_json(indent=2).encode() + b"\n")


def _own_words(run: Path, stages: Sequence[str], names: Collection[str]) -> list[str]:
    """Returns the words of the records that belong to the names, without those that another record says too."""
    own: set[str] = set()
    for theirs in (False, True):
        for body in itertools.chain.from_iterable(_bodies(run / stage) for stage in stages):
            if (record := body["record"]) and _belongs(body, names) is not theirs:
                said = {record[field] for field in WORDS if isinstance(record.get(field), str)}
                own = own - said if theirs else own | said
    return sorted(own)


def _bodies(stage: Path) -> Iterator[dict[str, Any]]:
    """Yields the whole lines of a stage's results; a line torn by a crash is no outcome."""
    path = stage / "results.jsonl"
    if path.exists():
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield json.loads(line)


def _belongs(body: Mapping[str, Any], names: Collection[str]) -> bool:
    """Says whether a line is about one of the names: its item is made of it, or its record names it."""
    if body["item"] in names or not set(body["item"].split("/")).isdisjoint(names):
        return True
    record = body["record"] or {}
    named = {value for value in record.values() if isinstance(value, str)}
    listed = {one for value in record.values() if isinstance(value, list) for one in value if isinstance(one, str)}
    return not (named | listed | _aliases(record)).isdisjoint(names)


def _aliases(record: Mapping[str, Any]) -> set[str]:
    """Returns the names of a record and of the picture that it alone stands for."""
    fields = ("id", "sha256", "original_sha256") if _is_picture(record) else ("id",)
    known = {record[name] for name in fields if record.get(name)}
    shown = str(record.get("image_id", ""))
    if _DIGEST.fullmatch(shown):  # a picture to be named: no image record, only a sample that shows it
        known |= {shown, content_id(ImageRecord.prefix, shown)}
    return known


def _is_picture(record: Mapping[str, Any]) -> bool:
    return str(record.get("id", "")).startswith(f"{ImageRecord.prefix}-")


def _digests(record: Mapping[str, Any]) -> list[str]:
    shown = record.get("sha256") if _is_picture(record) else record.get("image_id", "")
    return [str(shown)] if _DIGEST.fullmatch(str(shown)) else []


def _unmentioned(body: dict[str, Any], items: Mapping[str, str]) -> dict[str, Any]:
    """Returns a line whose failure's message, such as `duplicate of PICTURE`, does not say what a source calls it."""
    failure = body["failure"]
    if failure is None or not any(item in failure["message"] for item in items):
        return body
    message = failure["message"]
    for item, image_id in items.items():
        message = message.replace(item, image_id)
    return body | {"failure": failure | {"message": message}}


def _mended(manifest: Manifest, stage: Path, bodies: Sequence[Mapping[str, Any]], found: Trace) -> Manifest:
    reasons = Counter(Ending.of(body["failure"]) for body in bodies if body["failure"])
    changed = {
        "inputs": _inputs(manifest.inputs, stage.parent, found.hashes),
        "results_hash": hash_file(stage / "results.jsonl"),
        "counts": Counts.of(len(bodies), sum(body["record"] is not None for body in bodies), reasons),
    }
    return manifest.model_copy(update=changed)


def _inputs(inputs: Mapping[str, str], run: Path, before: Mapping[str, str]) -> dict[str, str]:
    """Returns what a stage was made from, with the new hashes in place of those of before."""
    return {
        name: hash_file(run / name / "results.jsonl") if digest == before.get(name) else digest
        for name, digest in inputs.items()
    }
