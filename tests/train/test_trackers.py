"""Trackers get every step once, over all attempts of a training."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.train.material import make_pairs, settings

from spavl.errors import UserError
from spavl.tracker_config import TrackerName, check_trackers
from spavl.train import train_dpo
from spavl.train.trackers import flat_figures, open_trackers


def scalars(output: Path, name: str) -> list[tuple[int, float]]:
    """Returns what TensorBoard shows of a figure: step and value."""
    accumulator = EventAccumulator(str(output / "tensorboard"))
    accumulator.Reload()
    return [(event.step, round(event.value, 4)) for event in accumulator.Scalars(name)]


def track_steps(output: Path, done: int, reached: int, losses: dict[int, float]) -> None:
    with open_trackers(settings(trackers=("tensorboard",)), output, done, reached) as track:
        for step, loss in losses.items():
            track({"step": step, "loss": loss, "margins_by_length": {"longer": None, "alike": 2 * loss}})


def test_figures_are_flat_and_what_was_not_measured_is_left_out() -> None:
    line = {"step": 3, "loss": 0.5, "chosen_shift": None, "margins_by_length": {"shorter": None, "longer": 0.25}}
    assert flat_figures(line | {"chosen_falling": True}) == {
        "train/loss": 0.5,
        "train/margins_by_length/longer": 0.25,
        "train/chosen_falling": 1.0,
    }


def test_a_resumed_training_overwrites_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    """Killed at step 4 with the checkpoint of step 2: steps 3 and 4 are written anew, and 4 is not reached again."""
    track_steps(tmp_path, done=0, reached=0, losses={1: 0.9, 2: 0.8, 3: 0.7, 4: 0.6})
    assert scalars(tmp_path, "train/loss") == [(1, 0.9), (2, 0.8), (3, 0.7), (4, 0.6)]
    track_steps(tmp_path, done=2, reached=4, losses={3: 0.75})
    assert scalars(tmp_path, "train/loss") == [(1, 0.9), (2, 0.8), (3, 0.75)]
    assert scalars(tmp_path, "train/margins_by_length/alike") == [(1, 1.8), (2, 1.6), (3, 1.5)]


def test_all_attempts_share_one_run_and_what_was_sent_is_remembered(tmp_path: Path) -> None:
    """Attempts reach steps 7 and then only 5: what was sent up to 7 is not sent again by the third."""
    notes = []
    for reached in (0, 7, 5):
        track_steps(tmp_path, done=0, reached=reached, losses={})
        notes.append((tmp_path / "tracking.json").read_text())
    assert notes[1] == notes[2] == notes[0].replace('"sent": 0', '"sent": 7')


def test_what_was_tracked_outlives_the_process(tmp_path: Path) -> None:
    """Read back while the writer is still open, as after a kill."""
    with open_trackers(settings(trackers=("tensorboard",)), tmp_path, 0, 0) as track:
        track({"step": 1, "loss": 0.9})
        assert scalars(tmp_path, "train/loss") == [(1, 0.9)]


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    with open_trackers(settings(), tmp_path, 0, 0) as track:
        track({"step": 1, "loss": 0.9})
    assert list(tmp_path.iterdir()) == []


def test_training_tells_its_steps_and_is_no_other_training_for_it(
    tiny: Path, picture: Callable[[str], Path], tmp_path: Path
) -> None:
    """10 pairs in batches of 4: three steps of one epoch, the first at log 2."""
    tracked = settings(cache=tmp_path / "cache", epochs=1, trackers=("tensorboard",))
    result = train_dpo(tracked, make_pairs(10), picture, tiny, tmp_path / "train", seed=3)
    shown = scalars(tmp_path / "train", "train/loss")
    assert [step for step, _ in shown] == [1, 2, 3] and shown[0][1] == 0.6931
    untracked = tracked.model_copy(update={"trackers": ()})
    assert train_dpo(untracked, make_pairs(10), picture, tiny, tmp_path / "train", seed=3) == result


def test_a_training_killed_after_step_5_shows_every_step_once(
    tiny: Path, picture: Callable[[str], Path], tmp_path: Path
) -> None:
    """Two epochs of three steps, saved every second: it goes on from step 4, and steps 5 and 6 are told again."""
    tracked = settings(cache=tmp_path / "cache", trackers=("tensorboard",))
    output = tmp_path / "train"
    train_dpo(tracked, make_pairs(10), picture, tiny, output, seed=3)
    whole = scalars(output, "train/loss")
    for gone in ("model", "adapter", "checkpoints/step-6"):
        shutil.rmtree(output / gone)
    train_dpo(tracked, make_pairs(10), picture, tiny, output, seed=3)
    assert [step for step, _ in whole] == [1, 2, 3, 4, 5, 6] and scalars(output, "train/loss") == whole
    assert len(list((output / "tensorboard").iterdir())) == 2


@pytest.mark.parametrize("name", ["tensorboard", "trackio", "wandb"])
def test_a_tracker_whose_package_is_missing_stops_before_anything_is_trained(
    name: TrackerName, tiny: Path, picture: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an empty search path no package is installed."""
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(UserError, match=rf"train\.trackers: {name} is not installed.*spavl\[tracking\]"):
        check_trackers([name])
    with pytest.raises(UserError, match=rf"train\.trackers: {name}"):
        train_dpo(settings(trackers=(name,)), make_pairs(2), picture, tiny, tmp_path / "train", seed=0)
    assert not list((tmp_path / "train").rglob("metrics.jsonl"))
