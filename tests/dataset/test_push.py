"""Publishing: the hub's real client talks to a hub on loopback; nothing is sent that was not finished or may not be."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.dataset.pictures_for_copies import encoded, scene
from tests.dataset.preference_rows import trl_row

from spavl.dataset.croissant import write_croissant
from spavl.dataset.push import prepare
from spavl.errors import UserError

KEY = "placeholder-key"
"""What the stand-in takes."""
WORDS = "another-placeholder-that-is-wrong"
KNOWN = "meta_files/image_info/meta.json"


class Hub(NamedTuple):
    url: str
    folder: Path

    def requests(self) -> list[list[str]]:
        path = self.folder / "requests.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def files(self, repository: str) -> dict[str, bytes]:
        root = self.folder / repository
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def started(folder: Path, *options: str) -> Iterator[Hub]:
    folder.mkdir()
    script = Path(__file__).with_name("hub_stand_in.py")
    command = [sys.executable, str(script), str(folder), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield Hub(f"http://127.0.0.1:{process.stdout.readline().strip()}", folder)
    process.kill()
    process.wait()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    yield from started(tmp_path / "hub")


@pytest.fixture
def broken_hub(tmp_path: Path) -> Iterator[Hub]:
    yield from started(tmp_path / "hub", "--broken")


def dataset(folder: Path, *, splits: tuple[str, ...] = ("train", "validation"), licence: str | None = "CC0") -> Path:
    """Writes a finished dataset of two rows a split, and says something of the pictures of validation."""
    for split in splits:
        rows = [
            trl_row(images=[{"bytes": encoded(scene(number)), "path": None}], licence=licence) for number in range(2)
        ]
        path = folder / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), path)
    if "validation" in splits:
        (folder / KNOWN).parent.mkdir(parents=True)
        (folder / KNOWN).write_text('[{"image": "1.png"}]')
    (folder / "README.md").write_text("# Placeholder card\n")
    write_croissant(folder, "placeholder", "two rows a split", [licence or "unknown"])
    return folder


def pushed(*arguments: str, hub: Hub | None = None, key: str = KEY) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9", "MY_KEY": key}
    environment |= {
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_TOKEN": "",
        "HF_HUB_OFFLINE": "0",
    }
    environment |= {"HF_HOME": str(Path(arguments[0]).parent / "nobody")}
    command = [sys.executable, "-m", "spavl", "push", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def test_a_dataset_arrives_whole_and_what_a_new_push_lacks_goes(tmp_path: Path, hub: Hub) -> None:
    """The second push has no validation split; the files of the first one are deleted in the same commit."""
    folder = dataset(tmp_path / "data")
    (folder / "notes.txt").write_text("not part of it")
    options = ("me/placeholder", "--private", "--token-env", "MY_KEY", "--json")
    done = pushed(str(folder), *options, hub=hub)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    tables = [f"data/{one}-00000-of-00001.parquet" for one in ("train", "validation")]
    names = ["README.md", "croissant.json", *tables, KNOWN]
    assert list(said["files"]) == names and said["rows"] == 4 and said["pushed"] is True
    assert hub.files("me/placeholder") == {name: (folder / name).read_bytes() for name in names}
    fewer = dataset(tmp_path / "fewer", splits=("train",))
    done = pushed(str(fewer), *options, hub=hub)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["deleted"] == [tables[1], KNOWN]
    assert sorted(hub.files("me/placeholder")) == names[:3]
    commits = [path for method, path in hub.requests() if "/commit/" in path]
    assert commits == 2 * ["/api/datasets/me/placeholder/commit/main"]


def test_a_dry_run_lists_files_and_sizes_and_asks_nobody(tmp_path: Path, hub: Hub) -> None:
    folder = dataset(tmp_path / "data", licence=None)
    done = pushed(str(folder), "me/placeholder", "--dry-run", hub=hub)
    assert done.returncode == 0, done.stderr
    size = (folder / "data/train-00000-of-00001.parquet").stat().st_size
    assert f"{size:,} bytes  data/train-00000-of-00001.parquet" in done.stdout
    assert "4 rows, 4 of unknown licence" in done.stdout and "nothing was sent" in done.stdout
    assert hub.requests() == []


@pytest.mark.parametrize("licence", [None, "", "Unknown", "?"])
def test_a_row_says_in_several_ways_that_its_licence_is_unknown(tmp_path: Path, licence: str | None) -> None:
    assert prepare(dataset(tmp_path / "data", licence=licence)).unknown_licence == 4
    assert prepare(dataset(tmp_path / "known")).unknown_licence == 0


def test_rows_of_unknown_licence_are_sent_only_where_that_is_asked_for(tmp_path: Path, hub: Hub) -> None:
    folder = dataset(tmp_path / "data", licence=None)
    arguments = (str(folder), "me/placeholder", "--token-env", "MY_KEY")
    done = pushed(*arguments, hub=hub)
    assert done.returncode == 2 and "4 of 4 rows" in done.stderr and "--allow-unknown-licence" in done.stderr
    assert hub.requests() == []
    assert pushed(*arguments, "--allow-unknown-licence", hub=hub).returncode == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("edited", "data/train-00000-of-00001.parquet was changed"),
        ("gone", "data/validation-00000-of-00001.parquet is gone"),
        ("added", "data/extra.parquet is not part of it"),
        ("known", "meta_files/image_info/meta.json was changed"),
        ("torn", "croissant.json is damaged"),
        ("cardless", "holds no finished dataset"),
    ],
)
def test_a_dataset_that_is_not_what_was_finished_is_refused(tmp_path: Path, change: str, words: str) -> None:
    folder = dataset(tmp_path / "data")
    train, validation = (folder / f"data/{split}-00000-of-00001.parquet" for split in ("train", "validation"))
    if change == "edited":
        pq.write_table(pq.read_table(train).slice(1), train)
    if change == "gone":
        validation.unlink()
    if change == "added":
        (folder / "data/extra.parquet").write_bytes(train.read_bytes())
    if change == "known":
        (folder / KNOWN).write_text("[]")
    if change == "torn":
        (folder / "croissant.json").write_text("{")
    if change == "cardless":
        (folder / "README.md").unlink()
    with pytest.raises(UserError, match=words) as raised:
        prepare(folder)
    assert "\n" not in str(raised.value)


def test_a_wrong_key_is_one_line_that_does_not_hold_it_even_where_the_hub_repeats_it(tmp_path: Path, hub: Hub) -> None:
    folder = dataset(tmp_path / "data")
    done = pushed(str(folder), "me/placeholder", "--token-env", "MY_KEY", hub=hub, key=WORDS)
    assert done.returncode == 2 and "--token-env" in done.stderr and "401" in done.stderr, done.stderr
    assert WORDS not in done.stderr + done.stdout and len(done.stderr.splitlines()) == 1


def test_a_key_that_is_not_there_names_its_variable(tmp_path: Path) -> None:
    done = pushed(str(dataset(tmp_path / "data")), "me/placeholder", "--token-env", "NO_SUCH_KEY")
    assert done.returncode == 2 and "NO_SUCH_KEY is not set" in done.stderr


def test_what_should_be_private_never_goes_to_a_repository_that_is_public(tmp_path: Path, hub: Hub) -> None:
    done = pushed(str(dataset(tmp_path / "data")), "open/placeholder", "--private", "--token-env", "MY_KEY", hub=hub)
    assert done.returncode == 2 and "there already and public" in done.stderr, done.stderr
    assert hub.files("open/placeholder") == {}


def test_a_name_that_is_none_is_said(tmp_path: Path, hub: Hub) -> None:
    done = pushed(str(dataset(tmp_path / "data")), "a/b/c", "--token-env", "MY_KEY", hub=hub)
    assert done.returncode == 2 and "OWNER/NAME" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_a_hub_that_is_away_or_broken_is_no_fault_of_the_user(tmp_path: Path, broken_hub: Hub) -> None:
    folder = str(dataset(tmp_path / "data"))
    away = pushed(folder, "me/placeholder", "--token-env", "MY_KEY")
    assert away.returncode == 1 and "HF_ENDPOINT" in away.stderr and len(away.stderr.splitlines()) == 1, away.stderr
    broken = pushed(folder, "me/placeholder", "--token-env", "MY_KEY", hub=broken_hub)
    assert broken.returncode == 1 and "HTTP 500" in broken.stderr, broken.stderr
