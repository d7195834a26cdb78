"""The whole training on the tiny model: it learns, goes on where it stopped, and exports the model it trained."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file
from tests.train.material import make_pair, make_pairs, settings, write_pictures
from transformers import AutoModelForImageTextToText, AutoProcessor

from spavl.config import LoraSettings, TrainConfig
from spavl.errors import RunError, SpavlError, UserError
from spavl.loss_config import BcoPairLossConfig, MdpoLossConfig, SftLossConfig, SigmoidLossConfig, SimpoLossConfig
from spavl.models.loading import load_vlm
from spavl.train import TrainResult, check_ready, train_dpo
from spavl.train.engine import Engine
from spavl.train.render import Row
from spavl.train.station import _packed

ROOT = Path(__file__).parents[2]
PAIRS = 10
Picture = Callable[[str], Path]


def align(tiny: Path, picture: Picture, output: Path, **changes: object) -> TrainResult:
    return train_dpo(settings(cache=output / "cache", **changes), make_pairs(PAIRS), picture, tiny, output, seed=3)


@pytest.fixture(scope="module")
def trained(tiny: Path, picture: Picture, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return align(tiny, picture, tmp_path_factory.mktemp("trained"))


@pytest.fixture
def copy(trained: TrainResult, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained.model.parent, tmp_path / "train"))


def metrics_of(output: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_bytes().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def assert_same_training(one: Path, other: Path, step: int) -> None:
    for name in ("trained.safetensors", "optimizer.safetensors", "state.json", "SHA256SUMS"):
        place = Path("checkpoints") / f"step-{step}" / name
        assert (one / place).read_bytes() == (other / place).read_bytes()
    assert metrics_of(one) == metrics_of(other)
    assert load_file(one / "model" / "model.safetensors").keys() == load_file(other / "model/model.safetensors").keys()


def test_training_raises_the_margin(trained: TrainResult) -> None:
    """10 pairs in batches of 4, 2 epochs: 6 steps. The margin starts at 0, where the loss is log 2."""
    lines = metrics_of(trained.model.parent)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6] and trained.steps == 6
    assert abs(lines[0]["loss"] - 0.693147) < 1e-4
    assert lines[-1]["reward_margin"] > 0.5 and lines[-1]["accuracy"] == 1
    assert trained.trainable == {"language": 4096, "projector": 0, "vision": 0}
    assert trained.trainable_parameters == 4096


def test_a_finished_training_answers_without_opening_the_model(
    trained: TrainResult, tiny: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the model was opened")

    monkeypatch.setattr("spavl.train.opening.load_vlm", refuse)
    assert align(tiny, picture, trained.model.parent) == trained


def test_going_on_from_a_checkpoint_is_bitwise_the_uninterrupted_run(
    copy: Path, trained: TrainResult, tiny: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if killed after step 5: the checkpoint of step 4 is the newest, the log is one line ahead."""
    monkeypatch.setattr(Image, "open", lambda path: pytest.fail(f"{path} was opened"))
    shutil.rmtree(copy / "checkpoints" / "step-6")
    shutil.rmtree(copy / "model")
    shutil.rmtree(copy / "adapter")
    (copy / "metrics.jsonl").write_bytes(b"".join((copy / "metrics.jsonl").read_bytes().splitlines(True)[:5]))
    assert align(tiny, picture, copy).weights_sha256 == trained.weights_sha256
    assert_same_training(trained.model.parent, copy, step=6)


def test_a_run_killed_while_exporting_only_exports(
    copy: Path, trained: TrainResult, tiny: Path, picture: Picture
) -> None:
    shutil.rmtree(copy / "model")
    assert align(tiny, picture, copy).weights_sha256 == trained.weights_sha256
    assert metrics_of(copy) == metrics_of(trained.model.parent)


@pytest.mark.parametrize(
    ("changes", "field"), [({"beta": 0.5}, "`beta` was 0.1 and is now 0.5"), ({"max_length": 999}, "`max_length`")]
)
def test_other_settings_in_the_same_folder_are_refused(
    trained: TrainResult, tiny: Path, picture: Picture, changes: dict[str, object], field: str
) -> None:
    with pytest.raises(UserError, match=rf"{field}.*run=runs/NAME.*--restart-from train"):
        align(tiny, picture, trained.model.parent, **changes)


OTHER_PAIRS = {
    "id": {"question_id": "que-x"},
    "image": {"image_id": "img-x"},
    "question": {"question": "another placeholder"},
    "chosen": {"chosen": "No."},
    "rejected": {"rejected": "Yes."},
    "chosen finish": {"chosen_finish": "length"},
    "rejected finish": {"rejected_finish": "length"},
}


@pytest.mark.parametrize("change", OTHER_PAIRS.values(), ids=OTHER_PAIRS)
def test_a_pair_that_is_another_in_anything_that_is_learned_is_refused(
    trained: TrainResult, tiny: Path, picture: Picture, change: dict[str, str]
) -> None:
    output, (first, *others) = trained.model.parent, make_pairs(PAIRS)
    pairs = [first.model_copy(update=change), *others]
    with pytest.raises(UserError, match=r"`pairs` was .*--restart-from train"):
        train_dpo(settings(cache=output / "cache"), pairs, picture, tiny, output, seed=3)


def test_another_seed_or_other_weights_are_refused(
    trained: TrainResult, tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    output, config = trained.model.parent, settings(cache=trained.model.parent / "cache")
    with pytest.raises(UserError, match="`seed` was 3 and is now 4"):
        train_dpo(config, make_pairs(PAIRS), picture, tiny, output, seed=4)
    other = Path(shutil.copytree(tiny, tmp_path / "other"))
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    with pytest.raises(UserError, match=r"`weights` was [0-9a-f]{64} and is now [0-9a-f]{64}\."):
        train_dpo(config, make_pairs(PAIRS), picture, other, output, seed=3)


def references(cache: Path) -> set[str]:
    return {path.name for path in (cache / "reference").iterdir()}


def test_the_reference_is_another_where_its_numbers_round_otherwise(
    tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    """A projector that trains has float32 weights, and with bfloat16 beside them its features round otherwise."""
    changes = {"dtype": "bfloat16", "epochs": 1, "batch_size": PAIRS, "cache": tmp_path / "cache"}
    for name, projector in (("frozen", False), ("trained", True)):
        config = settings(projector=projector, **changes)
        train_dpo(config, make_pairs(PAIRS), picture, tiny, tmp_path / name, seed=3)
    assert len(references(tmp_path / "cache")) == 2


def test_mdpo_reads_the_reference_that_dpo_left(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    """Its twins under corrupted pictures have a file of their own."""
    changes = {"epochs": 1, "batch_size": PAIRS, "cache": tmp_path / "cache"}
    train_dpo(settings(**changes), make_pairs(PAIRS), picture, tiny, tmp_path / "dpo", seed=3)
    (dpo,) = references(tmp_path / "cache")
    config = settings(loss=(MdpoLossConfig(),), **changes)
    train_dpo(config, make_pairs(PAIRS), picture, tiny, tmp_path / "mdpo", seed=3)
    assert dpo in references(tmp_path / "cache") and len(references(tmp_path / "cache")) == 2


@pytest.mark.parametrize("changes", [{"save_every": 1}, {"tokens_per_forward": 900}, {"model": "renamed"}])
def test_saving_more_often_cutting_otherwise_or_another_name_is_no_other_training(
    trained: TrainResult, tiny: Path, picture: Picture, changes: dict[str, object]
) -> None:
    assert align(tiny, picture, trained.model.parent, **changes) == trained


def test_where_long_pairs_are_left_out_the_budget_says_which_and_binds(
    tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    align(tiny, picture, tmp_path, too_long="drop", tokens_per_forward=500)
    with pytest.raises(UserError, match="`tokens_per_forward` was 500 and is now 600"):
        align(tiny, picture, tmp_path, too_long="drop", tokens_per_forward=600)


TOO_HIGH = {"learning_rate": 1e30, "save_every": 20}


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ({"max_length": 60}, {"max_length": 512}, "max_length"),
        ({"tokens_per_forward": 60}, {"tokens_per_forward": 500}, "tokens_per_forward"),
        ({"lora": LoraSettings(targets=("no_proj",))}, {"lora": LoraSettings(targets=("q_proj",))}, "lora.targets"),
        (TOO_HIGH, {"learning_rate": 1e-4, "save_every": 20}, "Try a lower train.learning_rate, or leave"),
    ],
    ids=["too long", "over the budget", "no such layer", "not finite"],
)
def test_an_errors_own_advice_is_taken_where_nothing_was_saved_yet(
    tiny: Path, picture: Picture, tmp_path: Path, wrong: dict[str, object], right: dict[str, object], said: str
) -> None:
    with pytest.raises(SpavlError, match=said):
        align(tiny, picture, tmp_path, **wrong)
    assert align(tiny, picture, tmp_path, **right).steps == 6
    assert [line["step"] for line in metrics_of(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_other_settings_are_refused_once_there_is_a_checkpoint(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    """A rate that breaks the second step's loss: the first step's checkpoint is kept, and the advice says so."""
    with pytest.raises(
        RunError, match=r"Try a lower train\.learning_rate together with --restart-from train, or leave"
    ):
        align(tiny, picture, tmp_path, **TOO_HIGH | {"save_every": 1})
    with pytest.raises(
        UserError, match=r"has checkpoints .*`learning_rate` was 1e\+30 and is now 0\.0001\. Put it back"
    ):
        align(tiny, picture, tmp_path, learning_rate=1e-4)


def test_without_a_reference_a_pair_over_the_budget_is_found_before_the_first_step(
    tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    """120 full stops more than the other nine answers have: 40 + 20 + 140 tokens and more do not fit 200."""
    pairs = [*make_pairs(PAIRS - 1), make_pair(PAIRS - 1, chosen="I would rather not." + 120 * ".")]
    config = settings(cache=tmp_path / "cache", loss=(SimpoLossConfig(),), tokens_per_forward=200, batch_size=1)
    with pytest.raises(UserError, match=r"tokens_per_forward"):
        train_dpo(config, pairs, picture, tiny, tmp_path, seed=3)
    assert not (tmp_path / "metrics.jsonl").exists()


MPO = (SigmoidLossConfig(weight=0.8), BcoPairLossConfig(weight=0.2), SftLossConfig())


def test_the_mix_with_a_running_shift_goes_on_bitwise(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    """Three steps, as if killed in the third; δ after two is the mean of 4 + 4 chosen and as many rejected rewards.

    The log has the means: a chosen reward is β times the chosen shift, and the margin less than it is the rejected one.
    """
    changes = {"loss": MPO, "epochs": 1, "save_every": 1}
    whole = align(tiny, picture, tmp_path / "whole", **changes).model.parent
    killed = Path(shutil.copytree(whole, tmp_path / "killed"))
    for folder in ("checkpoints/step-3", "model", "adapter"):
        shutil.rmtree(killed / folder)
    shift, total, number = json.loads((killed / "checkpoints/step-2/state.json").read_bytes())["reward_shift"]
    chosen = [settings().beta * line["chosen_shift"] for line in metrics_of(whole)[:2]]
    rejected = [one - line["reward_margin"] for one, line in zip(chosen, metrics_of(whole)[:2], strict=True)]
    assert number == 16 and total == pytest.approx(4 * sum(chosen + rejected), rel=1e-5)
    assert shift == pytest.approx(sum(chosen + rejected) / 4, rel=1e-5) and abs(shift) > 1e-3
    align(tiny, picture, killed, **changes)
    assert_same_training(whole, killed, step=3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_device_that_is_not_there_is_said_before_anything_is_read(picture: Picture, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^train\.device: cuda:1 is not here: torch .* sees 0 CUDA GPUs .*device=cpu"):
        check_ready(settings(device="cuda:1"))


DAMAGED = [
    "null",
    "{",
    '{"identity": {}}',
    '{"identity": null, "result": null}',
    '{"identity": [1], "result": null}',
    '{"identity": {}, "result": {"steps": "x", "alarms": 0, "trainable": {}, "weights_sha256": ""}}',
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_train_json_is_one_line(tiny: Path, picture: Picture, tmp_path: Path, content: str) -> None:
    output = tmp_path / "train"
    output.mkdir()
    (output / "train.json").write_text(content)
    with pytest.raises(
        RunError, match=r"train\.json is damaged\. Restore it, or start again with --restart-from train"
    ):
        align(tiny, picture, output)


def test_no_pairs_is_one_line(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no training pairs"):
        train_dpo(settings(), [], picture, tiny, tmp_path, seed=0)


def test_the_merged_model_loads_by_auto_classes_and_equals_base_and_adapter(
    trained: TrainResult, tiny: Path, picture: Picture
) -> None:
    """Logits reach 20, so their float32 rounding does too: the difference is taken relative to the largest."""
    processor = AutoProcessor.from_pretrained(trained.model)
    merged = AutoModelForImageTextToText.from_pretrained(trained.model, dtype=torch.float32).eval()
    base = load_vlm(tiny)
    assert processor.chat_template == base.processor.chat_template
    text = "<|im_start|>user\n<image>\nplaceholder<|im_end|>\n<|im_start|>assistant\n"
    inputs = processor(images=Image.open(picture("img-0")), text=text, return_tensors="pt")
    with torch.no_grad():
        logits = merged(**inputs).logits
        before = base.model(**inputs).logits
        adapted = PeftModel.from_pretrained(base.model, trained.adapter).eval()(**inputs).logits
    assert (logits - adapted).abs().max() < 1e-5 * logits.abs().max()
    assert (logits - before).abs().max() > 1e-2


def test_the_merged_model_keeps_the_bases_precision(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    """The base lies in bfloat16, adapters are float32; nothing of float32 may reach the merged file."""
    half = tmp_path / "half"
    shutil.copytree(tiny, half)
    load_vlm(tiny, "bfloat16").model.save_pretrained(half)
    result = align(half, picture, tmp_path / "out", epochs=1, dtype="bfloat16")
    assert {tensor.dtype for tensor in load_file(result.model / "model.safetensors").values()} == {torch.bfloat16}
    assert {tensor.dtype for tensor in load_file(result.adapter / "adapter_model.safetensors").values()} == {
        torch.float32
    }


SCRIPT = """
import sys
from pathlib import Path
from spavl.config import TrainConfig
from spavl.train import train_dpo
from tests.train.material import make_pairs, write_pictures
config, (tiny, pictures, output) = TrainConfig.model_validate_json(sys.argv[1]), map(Path, sys.argv[2:])
train_dpo(config, make_pairs(10), write_pictures(pictures), tiny, output, 3)
"""


@pytest.mark.slow
def test_a_killed_process_goes_on_bitwise(tiny: Path, tmp_path: Path) -> None:
    """Kill -9 in the middle of 60 steps, then again by itself to the end, against a run that nobody killed."""
    config = settings(epochs=20, cache=tmp_path / "cache")
    picture = write_pictures(tmp_path / "pictures")
    whole = train_dpo(config, make_pairs(PAIRS), picture, tiny, tmp_path / "whole", 3)
    output = tmp_path / "killed"
    places = [str(tiny), str(tmp_path / "pictures"), str(output)]
    command = [
        sys.executable,
        "-c",
        SCRIPT,
        config.model_copy(update={"cache": output / "cache"}).model_dump_json(),
        *places,
    ]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        _wait_for_step(process, output / "checkpoints", 20)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert json.loads((output / "train.json").read_bytes())["result"] is None
    lost = len(metrics_of(output)) - _newest_step(output / "checkpoints")
    assert 0 <= lost <= config.save_every
    subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    assert_same_training(whole.model.parent, output, step=60)
    assert json.loads((output / "train.json").read_bytes())["result"]["weights_sha256"] == whole.weights_sha256


def _wait_for_step(process: subprocess.Popen[bytes], checkpoints: Path, step: int) -> None:
    deadline = time.monotonic() + 120
    while _newest_step(checkpoints) < step:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)


def _newest_step(checkpoints: Path) -> int:
    return max((int(path.name.removeprefix("step-")) for path in checkpoints.glob("step-*")), default=0)


def test_configuration_survives_the_way_through_json(config: TrainConfig) -> None:
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config


def test_a_training_without_room_on_its_disk_does_not_start(tiny: Path, picture: Picture, small_disk: Any) -> None:
    """The model alone is larger than the 64 KiB that the disk has."""
    if shutil.disk_usage(small_disk.path).total > 2**20:
        pytest.skip("no small disk can be mounted here")
    with pytest.raises(RunError, match="are free on this disk, and a checkpoint with the export needs"):
        align(tiny, picture, small_disk.path / "out")
    assert {path.name for path in (small_disk.path / "out").iterdir()} == {"train.json", "cache"}


def test_of_many_rows_each_is_packed_once(engine: Engine) -> None:
    """2,500 rows about 1,250 pictures, whose rows lie far apart, are packed in three parts."""
    rows = [Row(f"p-{n}", f"i-{n % 1250}", (1, 2, n), ((3, n), (4, n))) for n in range(2500)]
    packed = _packed(engine, rows)
    assert sorted(row for one in packed for row in one.rows) == list(range(2500))
    together = [set(one.rows) for one in packed]
    assert all({n, n + 1250} <= next(rows for rows in together if n in rows) for n in range(1250))
