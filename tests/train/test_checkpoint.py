"""Checkpoints are whole or absent, and load strictly."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import Parameter
from torch.optim import AdamW

from spavl.errors import RunError
from spavl.train.checkpoint import MOMENTS, TrainingState, checkpoint_steps, load_checkpoint, save_checkpoint
from spavl.train.losses import RewardShift

FILES = ("trained.safetensors", "optimizer.safetensors", "state.json")


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


def sign(folder: Path) -> None:
    """Writes the digests anew, as if the files had been saved so."""
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in FILES]
    (folder / "SHA256SUMS").write_text("".join(lines))


def refusal(folder: Path, state: TrainingState) -> str:
    with pytest.raises(RunError) as caught:
        load_checkpoint(folder, state)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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
    assert {path.name for path in folder.iterdir()} == {*FILES, "SHA256SUMS"}


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
    (tmp_path / ".step-4.making").mkdir()
    save_checkpoint(tmp_path, 2, make_state(updates=1))
    assert checkpoint_steps(tmp_path) == [2]


@pytest.mark.parametrize("name", [*FILES, "SHA256SUMS"])
def test_a_file_that_is_cut_changed_or_gone_is_refused_with_one_line(tmp_path: Path, name: str) -> None:
    folder = save_checkpoint(tmp_path, 1, make_state(updates=1))
    content = (folder / name).read_bytes()
    flipped = bytes([*content[:-3], content[-3] ^ 1, *content[-2:]])
    for broken in (content[:-4], flipped, b"null"):
        (folder / name).write_bytes(broken)
        said = refusal(folder, make_state())
        assert "step-1 is damaged" in said and "Remove that folder" in said and name in said
    (folder / name).unlink()
    assert name in refusal(folder, make_state())


def test_one_flipped_bit_in_a_tensor_is_not_trained_on(tmp_path: Path) -> None:
    """The last byte of the file is the last number's sign and exponent: it still loads as a tensor."""
    folder = save_checkpoint(tmp_path, 1, make_state(updates=1))
    path = folder / "optimizer.safetensors"
    content = path.read_bytes()
    path.write_bytes(bytes([*content[:-1], content[-1] ^ 1]))
    assert load_file(path).keys() == {f"layer.{place}.{moment}" for place in (0, 1) for moment in MOMENTS}
    state = make_state()
    assert "optimizer.safetensors is not what SHA256SUMS says" in refusal(folder, state)
    assert not state.optimizer.state and not any(parameter.any() for parameter in state.parameters.values())


@pytest.mark.parametrize(
    ("content", "said"),
    [("null", "valid dictionary"), ('{"step": 1}', "`reward_shift` is missing"), ('{"step": "x"}', "`step`: Input")],
)
def test_a_state_that_lacks_a_field_is_one_line(tmp_path: Path, content: str, said: str) -> None:
    folder = save_checkpoint(tmp_path, 1, make_state(updates=1))
    (folder / "state.json").write_text(content)
    sign(folder)
    assert said in refusal(folder, make_state())


@pytest.mark.parametrize(("saved", "wanted", "has"), [(False, True, "no"), (True, False, "a")])
def test_a_checkpoint_of_another_loss_is_refused(tmp_path: Path, saved: bool, wanted: bool, has: str) -> None:
    state, other = make_state(updates=1), make_state()
    state.shift, other.shift = (RewardShift.start() if one else None for one in (saved, wanted))
    assert f"it has {has} reward shift. Use another run name" in refusal(save_checkpoint(tmp_path, 1, state), other)


def test_a_folder_of_another_name_is_no_checkpoint_and_stays(tmp_path: Path) -> None:
    for name in ("step-best", "step-", "step-03", "step-1.old"):
        (tmp_path / name).mkdir()
    state = make_state(updates=1)
    for step in (6, 8, 10):
        save_checkpoint(tmp_path, step, state)
    assert checkpoint_steps(tmp_path) == [8, 10]
    assert len(list(tmp_path.iterdir())) == 6


def test_a_file_that_is_called_like_a_checkpoint_is_none(tmp_path: Path) -> None:
    (tmp_path / "step-99").write_text("mine")
    save_checkpoint(tmp_path, 6, make_state(updates=1))
    assert checkpoint_steps(tmp_path) == [6]
    assert (tmp_path / "step-99").read_text() == "mine"


def test_a_checkpoint_takes_the_place_of_one_of_the_same_step(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, 1, make_state(updates=1))
    (folder / "left").write_text("x")
    state = make_state()
    assert load_checkpoint(save_checkpoint(tmp_path, 1, make_state(updates=2)), state) == 1
    assert torch.equal(state.parameters["layer.0"], make_state(updates=2).parameters["layer.0"])
    assert {path.name for path in folder.iterdir()} == {*FILES, "SHA256SUMS"}


@pytest.mark.parametrize("name", FILES[:2])
def test_missing_and_unknown_tensors_are_refused(tmp_path: Path, name: str) -> None:
    folder = save_checkpoint(tmp_path, 1, make_state(updates=1))
    tensors = load_file(folder / name)
    save_file(tensors | {"layer.9": torch.zeros(1)}, folder / name)
    sign(folder)
    assert "0 tensors are missing and 1 unknown, for example layer.9" in refusal(folder, make_state())
    del tensors[max(tensors)]
    save_file(tensors, folder / name)
    sign(folder)
    assert "1 tensors are missing and 0 unknown, for example layer.1" in refusal(folder, make_state())


@pytest.mark.parametrize("name", FILES[:2])
def test_another_precision_is_refused(tmp_path: Path, name: str) -> None:
    folder = save_checkpoint(tmp_path, 1, make_state(updates=1))
    save_file({key: tensor.double() for key, tensor in load_file(folder / name).items()}, folder / name)
    sign(folder)
    shape = "(3,)" if name == "trained.safetensors" else "()"
    assert f"is torch.float64 {shape}, and should be torch.float32 {shape}" in refusal(folder, make_state())


def test_another_shape_is_refused(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, 1, make_state(updates=1))
    said = refusal(folder, make_state(sizes=(3, 5)))
    assert "layer.1 is torch.float32 (2,), and should be torch.float32 (5,)" in said
