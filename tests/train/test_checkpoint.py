"""Checkpoints are whole or absent, and load strictly."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import Parameter
from torch.optim import AdamW

from spavl.errors import RunError
from spavl.train.checkpoint import TrainingState, checkpoint_steps, load_checkpoint, save_checkpoint


def make_state(sizes: Sequence[int] = (3, 2), updates: int = 0) -> TrainingState:
    parameters = {f"layer.{place}": Parameter(torch.zeros(size)) for place, size in enumerate(sizes)}
    state = TrainingState(parameters, AdamW(parameters.values(), lr=0.1, weight_decay=0.0))
    for update in range(updates):
        train_once(state, update)
    return state


def train_once(state: TrainingState, update: int) -> None:
    for parameter in state.parameters.values():
        parameter.grad = torch.arange(len(parameter), dtype=torch.float32) - update
    state.optimizer.step()


def test_training_goes_on_bitwise(tmp_path: Path) -> None:
    whole, stopped, resumed = make_state(updates=3), make_state(updates=2), make_state()
    assert load_checkpoint(save_checkpoint(tmp_path, 2, stopped), resumed) == 2
    train_once(resumed, 2)
    for name, parameter in whole.parameters.items():
        assert torch.equal(parameter, resumed.parameters[name])
        for moment, value in whole.optimizer.state[parameter].items():
            assert torch.equal(value, resumed.optimizer.state[resumed.parameters[name]][moment])


def test_tensors_are_stored_under_live_names(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, 1, make_state(updates=1))
    assert load_file(folder / "trained.safetensors").keys() == {"layer.0", "layer.1"}
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}


def test_the_two_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    """By number: step-10 is newer than step-8, though `10` sorts before `8` as text."""
    state = make_state(updates=1)
    for step in (6, 8, 10):
        save_checkpoint(tmp_path, step, state)
    assert checkpoint_steps(tmp_path) == [8, 10]


def test_a_full_disk_leaves_the_last_checkpoint_and_nothing_half_written(small_disk: Any) -> None:
    """Twice 5,000 numbers and their moments are 120 kB."""
    root = small_disk.path / "checkpoints"
    few, many = make_state(updates=1), make_state(sizes=(5000, 5000), updates=1)
    with small_disk.short():
        save_checkpoint(root, 2, few)
        with pytest.raises(RunError, match=r"^No space left on the disk while writing .*run the same command again"):
            save_checkpoint(root, 4, many)
    assert [path.name for path in root.iterdir()] == ["step-2"]
    save_checkpoint(root, 4, many)
    assert checkpoint_steps(root) == [2, 4]


def test_what_a_crash_left_half_written_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / ".step-4.partial").mkdir()
    save_checkpoint(tmp_path, 2, make_state(updates=1))
    assert checkpoint_steps(tmp_path) == [2]


@pytest.mark.parametrize("name", ["trained.safetensors", "optimizer.safetensors", "state.json"])
def test_a_cut_file_is_refused_with_one_line(tmp_path: Path, name: str) -> None:
    folder = save_checkpoint(tmp_path, 1, make_state(updates=1))
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) - 4])
    with pytest.raises(RunError, match=r"step-1 is damaged .* Remove that folder") as caught:
        load_checkpoint(folder, make_state())
    assert "\n" not in str(caught.value)


def test_a_missing_tensor_is_refused(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, 1, make_state(updates=1))
    tensors = load_file(folder / "trained.safetensors")
    del tensors["layer.1"]
    save_file(tensors, folder / "trained.safetensors")
    with pytest.raises(RunError, match=r"1 tensors are missing and 0 unknown, for example layer\.1"):
        load_checkpoint(folder, make_state())


def test_another_shape_is_refused(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, 1, make_state(updates=1))
    with pytest.raises(RunError, match=r"layer\.1 is torch\.float32 \(2,\), and should be torch\.float32 \(5,\)"):
        load_checkpoint(folder, make_state(sizes=(3, 5)))
