"""A finished build for take-downs, copies of it, and what is said in their files."""

import json
import shutil
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pyarrow.parquet as pq
from tests.pipeline.served_build import BuildServer, full_config, run_build

from spavl.config import RunConfig
from spavl.pipeline.road import ALL_STAGES
from spavl.records import Caption, ImageRecord, Question, QuestionCheck
from spavl.store import RunDirectory


def judged_by_text(folder: Path, address: str) -> RunConfig:
    """Returns a configuration with every station at work, and a judge that reads text alone."""
    config = full_config(folder, address)
    body = config.model_dump(mode="json", exclude_unset=True)
    body["models"]["guard"] = body["models"]["judge"] | {"model": "guard"}
    body["labels"]["others"]["text"] = {"kind": "md_judge_v0_1", "model": "guard"}
    return RunConfig.model_validate(body)


def copied(template: Path, folder: Path) -> RunConfig:
    """Copies the run, its cache and its calls; the source stays where it is, so that the copy is the same run."""
    shutil.copytree(template, folder)
    known = judged_by_text(template, (template / "address").read_text())
    train = known.train.model_copy(update={"cache": folder / "cache"})
    return known.model_copy(update={"run": folder / "run", "calls": folder / "calls.sqlite", "train": train})


def records(config: RunConfig, stage: str, kind: type) -> list:
    return RunDirectory(config.run).records(stage, kind)


def trained_on(config: RunConfig) -> ImageRecord:
    """Returns a picture of training pairs that has a written caption, and a question that its check left out."""
    table = pq.read_table(config.run / "dataset/data/train-00000-of-00001.parquet", columns=["image_id"])
    shown = set(table["image_id"].to_pylist())
    captioned = [one.image_id for one in records(config, "captions", Caption) if one.image_id in shown]
    written = Counter(one.image_id for one in records(config, "questions", Question))
    written.subtract(one.image_id for one in records(config, "checked_questions", QuestionCheck))
    chosen = next(one for one in captioned if written[one] > 0)
    return next(one for one in records(config, "images", ImageRecord) if one.id == chosen)


def made_again(config: RunConfig, stage: str) -> None:
    """Builds from a stage on, with a server at another address that is the same by name."""
    RunDirectory(config.run).restart_from(stage, ALL_STAGES)
    with BuildServer().running() as address:
        models = {
            name: one.model_copy(update={"base_url": address, "identity": one.base_url}) if name != "mini" else one
            for name, one in config.models.items()
        }
        run_build(config.model_copy(update={"models": models}))


def rows(config: RunConfig) -> list[dict]:
    """Returns the rows of every split."""
    return [row for path in sorted((config.run / "dataset/data").glob("*")) for row in pq.read_table(path).to_pylist()]


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".sqlite", ".sqlite-wal", ".sqlite-shm")
    }


def mentions(folder: Path, names: Collection[str]) -> list[str]:
    """Returns the files, rows of Parquet among them, that hold one of the names."""
    read = {name: content for name, content in everything(folder).items() if not name.endswith(".parquet")}
    for path in folder.rglob("*.parquet"):
        read[path.name] = repr(pq.read_table(path).to_pylist()).encode()
    return sorted(name for name, content in read.items() if any(one.encode() in content for one in names))


def held(store: Path, words: Collection[str]) -> set[str]:
    """Returns those of the words whose bytes lie in the files of a store of calls, as text or in its JSON."""
    content = b"".join(path.read_bytes() for path in store.parent.glob(f"{store.name}*"))
    return {one for one in words if one.encode() in content or json.dumps(one)[1:-1].encode() in content}
