"""Files are written whole or not at all, and a disk's refusal is one line."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spavl.errors import RunError
from spavl.store.files import append_whole, disk_errors_named, make_folder, new_folder, size_text, write_atomically


def test_a_file_is_made_with_its_folders_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [child.name for child in path.parent.iterdir()] == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_full_disk_leaves_the_old_file_and_no_scraps(small_disk: Any) -> None:
    path = small_disk.path / "file"
    write_atomically(path, b"old")
    said = r"^No space left on the disk while writing .*file \(.*run the same command again"
    with small_disk.short(), pytest.raises(RunError, match=said):
        write_atomically(path, bytes(1_000_000))
    assert path.read_bytes() == b"old"
    assert list(small_disk.path.iterdir()) == [path]
    write_atomically(path, bytes(1_000_000))
    assert path.stat().st_size == 1_000_000


def test_a_full_disk_leaves_nothing_of_what_was_appended(small_disk: Any) -> None:
    path = small_disk.path / "lines"
    append_whole(path, b"first\n")
    with small_disk.short(), pytest.raises(RunError, match="No space left"):
        append_whole(path, b"x" * 1_000_000)
    assert path.read_bytes() == b"first\n"
    append_whole(path, b"second\n")
    assert path.read_bytes() == b"first\nsecond\n"


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match=r"Cannot write .*file/below: .*Choose a folder you may write to"):
        write_atomically(tmp_path / "file" / "below", b"x")


def test_a_folder_that_the_system_will_not_make_is_named() -> None:
    """/proc answers to a new folder that there is no such file."""
    with pytest.raises(RunError, match=r"Cannot write /proc/none: .*Choose a folder you may write to"):
        make_folder(Path("/proc/none"))
    with pytest.raises(RunError, match=r"Cannot write /proc/none/a/file: .*Choose a folder you may write to"):
        write_atomically(Path("/proc/none/a/file"), b"x")


def test_an_error_that_is_not_the_disks_passes_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk_errors_named(tmp_path):
        (tmp_path / "none").read_bytes()


def test_a_new_folder_is_there_whole_or_not_at_all(small_disk: Any) -> None:
    target = small_disk.path / "folder"
    said = r"^No space left on the disk while writing .*file \(.*run the same command again"
    with pytest.raises(RunError, match=said), new_folder(target) as making:
        write_atomically(making / "first", b"x")
        with small_disk.short():
            write_atomically(making / "file", bytes(1_000_000))
    assert list(small_disk.path.iterdir()) == []
    with new_folder(target) as making:
        write_atomically(making / "first", b"x")
        assert not target.exists()
    assert [path.name for path in small_disk.path.iterdir()] == ["folder"]
    assert (target / "first").read_bytes() == b"x"


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    """A file that only the old one had is gone, and so is the old one."""
    for names in (("a", "old"), ("a", "new")):
        with new_folder(tmp_path / "folder") as making:
            for name in names:
                write_atomically(making / name, names[1].encode())
    assert {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()} == {"a": b"new", "new": b"new"}
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


KILLED = """
import os, sys
from pathlib import Path
from spavl.store.files import new_folder, write_atomically
left = int(sys.argv[2])
def count_down(event, arguments):
    global left
    if event in ("os.rename", "os.rmdir"):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
with new_folder(Path(sys.argv[1])) as making:
    for name in "ab":
        write_atomically(making / name, b"new")
    sys.addaudithook(count_down)
"""


@pytest.mark.parametrize(("steps", "then"), [(0, b"old"), (1, b"old"), (2, b"new"), (9, b"new")])
def test_a_kill_while_a_folder_is_replaced_leaves_the_old_or_the_new_one_whole(
    tmp_path: Path, steps: int, then: bytes
) -> None:
    """Killed before the old one is moved aside, before the new one takes its place, before the old one is removed.

    Where neither stands there, the next call puts the old one back before it fills another; that one fails here.
    """
    target = tmp_path / "folder"
    with new_folder(target) as making:
        for name in "ab":
            write_atomically(making / name, b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(target), str(steps)], check=False)
    assert done.returncode == (0 if steps == 9 else -9)
    with pytest.raises(ZeroDivisionError), new_folder(target):
        raise ZeroDivisionError
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {"a": then, "b": then}
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_sizes_are_written_in_the_largest_unit_of_which_there_is_a_tenth() -> None:
    assert [size_text(one) for one in (3 * 2**30, 2**30 / 10, 2**30 / 11, 2048, 0)] == [
        "3.00 GiB",
        "0.10 GiB",
        "93.09 MiB",
        "2.00 KiB",
        "0.00 KiB",
    ]
