"""What a training writes, by hand, and the refusal to start where there is no room for it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.train.material import settings

from spavl.errors import RunError
from spavl.train.disk import Kept, Written, check_room, disk_lines, saving_line, written_bytes


def test_what_is_written_by_hand(tmp_path: Path) -> None:
    """A checkpoint holds 4 + 8 bytes of each of 10 trained numbers; the model is as large as its files of 30 and 12."""
    (tmp_path / "model-1.safetensors").write_bytes(b"x" * 30)
    (tmp_path / "model-2.safetensors").write_bytes(b"x" * 12)
    (tmp_path / "config.json").write_bytes(b"{}")
    written = written_bytes(10, settings(), tmp_path)
    assert written == Written(checkpoint=120, adapter=40, model=42) and written.least == 202
    assert written_bytes(10, settings(lora=None), tmp_path).adapter == 0
    lines = {line.name: line.bytes for line in disk_lines(written, Kept(3, 100, 50))}
    assert lines == {"pictures": 300, "reference": 200, "checkpoints": 360, "adapter": 40, "model": 42}
    copies, *_ = disk_lines(written, Kept(3, 100, 50, stored_bytes=7))
    assert (copies.name, copies.bytes) == ("copies", 7)
    assert [line.name for line in disk_lines(written, None)] == ["checkpoints", "adapter", "model"]
    assert (saving_line(10, gathers=False).bytes, saving_line(10, gathers=True).bytes) == (80, 200)


def test_a_training_does_not_start_without_room_for_one_checkpoint_and_the_export(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"are free on this disk.* needs 1048576\.00 GiB \+ 3145728\.00 GiB") as caught:
        check_room(tmp_path, Written(checkpoint=2**50, adapter=2**50, model=2**51))
    assert "\n" not in str(caught.value)


def test_the_room_asked_for_is_two_hundredths_more_than_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 1,000 B to be written, 1,000 free are too few, for headers and logs come on top; 1,030 do."""
    written = Written(checkpoint=500, adapter=100, model=400)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(RunError, match="are free on this disk"):
        check_room(tmp_path, written)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1030))
    check_room(tmp_path, written)
