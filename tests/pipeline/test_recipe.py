"""Training by a recipe: the ready recipes on tiny models, the project's own dataset, and what is refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.dataset.preference_rows import png, spa_vl_row, write_rows
from tests.dataset.spa_vl_release import write_meta
from tests.tiny_families import build, make_pictures, prompt_ids, text_ids
from transformers import CLIPVisionConfig, LlamaConfig, VipLlavaConfig

from spavl.config import TrainConfig
from spavl.config_file import read_body, validate_body
from spavl.dataset import Material, Splits, build_dataset
from spavl.errors import UserError
from spavl.loss_config import SafeDpoLossConfig, SigmoidLossConfig
from spavl.pipeline.recipe import check_known, plan_recipe, train_recipe
from spavl.recipe_config import RecipeConfig
from spavl.records import ImageRecord, PreferencePair, QuestionType
from spavl.store import ImageStore, StageDirectory
from spavl.train import train_dpo
from spavl.train.dpo import TrainingPairs, accumulate_gradients
from spavl.train.engine import Engine
from spavl.train.families import family_of
from spavl.train.loss_formulas import UNKNOWN, PairSafety
from spavl.train.policy import open_policy
from spavl.train.reference_store import ReferenceStore
from spavl.train.render import Row, open_picture
from spavl.train.vision_cache import Pictures, VisionTraining

RECIPES = sorted((Path(__file__).parents[2] / "configs" / "train").glob("*dpo*.yaml"))
LEAF = "domain/category/leaf"


def load(path: Path, *overrides: str) -> RecipeConfig:
    return validate_body(RecipeConfig, read_body(path, overrides), path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five rows about three pictures, in the columns of SPA-VL's release, and the meta files beside them."""
    rows = [spa_vl_row(number) for number in range(5)]
    write_meta(tmp_path / "data", rows)
    return write_rows(tmp_path / "data", rows)


def recipe(tmp_path: Path, model: Path, data: Path, **train: Any) -> RecipeConfig:
    body = {
        "run": tmp_path / "run",
        "seed": 3,
        "model": {"kind": "hf", "path": str(model)},
        "data": {"path": str(data)},
        "train": {"batch_size": 2, "dtype": "float32", "cache": tmp_path / "cache"} | train,
    }
    return RecipeConfig.model_validate(body)


def complaint(wanted: RecipeConfig) -> str:
    with pytest.raises(UserError) as caught:
        train_recipe(wanted)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- the ready recipes -------------------------------------------------------------------------------------------------


def test_there_are_nine_and_each_says_what_the_paper_does() -> None:
    """SPA-VL's scripts: batch 8 = 8 x 1, one epoch, 10 warm-up steps, beta 0.1, 1e-6 in full and 2e-5 with LoRA."""
    assert len(RECIPES) == 9
    for path in RECIPES:
        train, lora = load(path).settings, path.stem.endswith("lora")
        assert (train.batch_size, train.epochs, train.warmup_steps, train.beta) == (8, 1, 10, 0.1)
        assert train.learning_rate == (2e-5 if lora else 1e-6) and train.weight_decay == 0
        assert (train.lora is not None) == lora and train.projector and train.vision_blocks == 0
        assert train.lora is None or (train.lora.rank, train.lora.alpha) == (256, 512)
        assert load(path).run == Path("runs") / path.stem and load(path).data.path == "sqrti/SPA-VL"


@pytest.mark.parametrize("path", [path for path in RECIPES if "llava" in path.stem], ids=lambda path: path.stem)
def test_a_llava_recipe_runs_on_a_tiny_llava(path: Path, tiny_vlm: Path, data: Path, tmp_path: Path) -> None:
    """5 rows in batches of 2 are 3 steps; equal models have the loss log 2."""
    overrides = [f"run={tmp_path / 'run'}", f"model.path={tiny_vlm}", f"data.path={data}", "train.batch_size=2"]
    manifests = train_recipe(load(path, *overrides, "train.device=cpu", f"train.cache={tmp_path / 'cache'}"))
    assert manifests["pairs"].counts.records == manifests["train"].facts["pairs"] == 5
    lines = [json.loads(line) for line in (tmp_path / "run" / "train" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 3 and lines[0]["loss"] == pytest.approx(0.693147, abs=1e-4)
    trainable = json.loads((tmp_path / "run" / "train" / "train.json").read_text())["result"]["trainable"]
    assert trainable["language"] and trainable["projector"] and not trainable["vision"]
    assert (tmp_path / "run" / "train" / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize("path", [path for path in RECIPES if "qwen" in path.stem], ids=lambda path: path.stem)
def test_a_qwen_recipes_settings_take_a_step_on_a_tiny_qwen(path: Path, tmp_path: Path) -> None:
    """Qwen's processors cannot be built without torchvision, so ids are made by hand and no file is read."""
    config: TrainConfig = load(path, "train.device=cpu").settings
    vlm = build("qwen2_5_vl" if "qwen25" in path.stem else "qwen3_vl", torch.bfloat16)
    family, picture = family_of(vlm.model), make_pictures(tmp_path)
    rows = [
        Row(f"row-{place}", name, tuple(prompt_ids(vlm, open_picture(picture(name)), place)), answers)
        for place, name in enumerate(("red", "red", "blue"))
        for answers in [(tuple(text_ids(6, 10 + place)), tuple(text_ids(9, 20 + place)))]
    ]
    policy = open_policy(vlm, family, config, load(path).seed)
    pictures = Pictures(vlm, family, picture, VisionTraining(config.projector, config.vision_blocks))
    engine = Engine(vlm.model, family, pictures, config.tokens_per_forward, policy.precision)
    reference = ReferenceStore(tmp_path / "reference", "fingerprint", rows)
    with policy.as_reference():
        reference.fill(engine.pack(rows, range(3)), engine.run)
    unknown = torch.full((3,), UNKNOWN)
    pairs = TrainingPairs((), rows, PairSafety(unknown, unknown), reference)
    optimizer = torch.optim.AdamW(policy.parameter_groups(config))
    losses = []
    for _ in range(3):
        metrics, _ = accumulate_gradients(engine, pairs, range(3), config, None)
        losses.append(metrics.loss)
        optimizer.step()
        optimizer.zero_grad()
    assert losses[0] == pytest.approx(0.693147, abs=1e-4) and losses[-1] < losses[0]
    counts = policy.count_trainable()
    assert counts["language"] and counts["projector"] and not counts["vision"]


# -- data --------------------------------------------------------------------------------------------------------------


def test_training_on_the_datasets_folder_equals_training_on_the_records_it_was_made_of(
    tiny_vlm: Path, tmp_path: Path
) -> None:
    """Four pairs about two pictures, three of them labelled; one answer was cut, and must lack its end token too."""
    store, images = ImageStore(tmp_path / "pictures"), []
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(png(number))
        images.append(_image(store.add(tmp_path / f"{number}.png").sha256, number))
    pairs = [_pair(images[number % 2], number) for number in range(4)]
    pairs[3] = pairs[3].model_copy(update={"rejected_verdict": None})
    stage = StageDirectory(tmp_path / "dataset", {}, {})
    build_dataset(
        Material({image.id: image for image in images}, [], pairs),
        Splits({image.id: "train" for image in images}),
        store,
        stage,
    )
    wanted = recipe(tmp_path, tiny_vlm, stage.path)
    digests = {image.id: store.path(image.sha256) for image in images}
    own = train_dpo(wanted.settings, pairs, digests.__getitem__, tiny_vlm, tmp_path / "own", seed=3)
    train = train_recipe(wanted)["train"]
    assert train.counts.records == 1 and train.facts["pairs_with_safety_labels"] == 3
    made = json.loads((tmp_path / "run" / "train" / "train.json").read_text())
    assert made["result"]["weights_sha256"] == own.weights_sha256


def test_a_finished_recipe_is_not_done_again_and_other_data_is_refused(
    tiny_vlm: Path, data: Path, tmp_path: Path
) -> None:
    wanted = recipe(tmp_path, tiny_vlm, data)
    first = train_recipe(wanted)
    again = recipe(tmp_path, tiny_vlm, data.rename(tmp_path / "moved"))
    assert train_recipe(again) == first
    write_rows(tmp_path / "moved", [spa_vl_row(number) for number in range(4)])
    assert "--restart-from pairs" in complaint(again)
    assert train_recipe(again, "pairs")["train"].facts["pairs"] == 4


def test_a_model_that_is_gone_is_made_again_from_a_base_that_was_renamed(
    tiny_vlm: Path, data: Path, tmp_path: Path
) -> None:
    first = train_recipe(recipe(tmp_path, tiny_vlm, data))
    weights = (tmp_path / "run" / "train" / "model" / "model.safetensors").read_bytes()
    renamed = recipe(tmp_path, Path(shutil.copytree(tiny_vlm, tmp_path / "renamed")), data)
    assert train_recipe(renamed) == first
    shutil.rmtree(tmp_path / "run" / "train" / "model")
    assert train_recipe(renamed)["train"].counts == first["train"].counts
    assert (tmp_path / "run" / "train" / "model" / "model.safetensors").read_bytes() == weights
    other = Path(shutil.copytree(tiny_vlm, tmp_path / "other"))
    (other / "config.json").write_text((tiny_vlm / "config.json").read_text() + "\n")
    assert "made with other settings: `model`" in complaint(recipe(tmp_path, other, data))


@pytest.mark.slow
def test_the_command_line_trains_plans_and_speaks_json(tiny_vlm: Path, data: Path, tmp_path: Path) -> None:
    overrides = [f"run={tmp_path / 'run'}", f"model.path={tiny_vlm}", f"data.path={data}", "train.device=cpu"]
    command = [sys.executable, "-m", "spavl", "train", str(RECIPES[0]), *overrides, f"train.cache={tmp_path / 'c'}"]

    def said(*options: str) -> dict[str, Any]:
        done = subprocess.run([*command, *options, "--json"], capture_output=True, text=True, check=True, timeout=120)
        return dict(json.loads(done.stdout))

    assert said("--plan")["measured_pairs"] == 5 and not (tmp_path / "run").exists()
    done = said()
    assert done["counts"]["pairs"]["records"] == 5 and Path(done["model"], "config.json").is_file()
    assert said("--plan")["pairs"] == 5


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_an_unknown_family_is_refused(tiny_vlm: Path, data: Path, tmp_path: Path) -> None:
    """VipLLaVA is near to LLaVA, and its masks and positions are not known to be the same."""
    folder = Path(shutil.copytree(tiny_vlm, tmp_path / "vip"))
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    VipLlavaConfig(
        vision_config=CLIPVisionConfig(**small, image_size=28, patch_size=14),
        text_config=LlamaConfig(**small, vocab_size=300),
        vision_feature_layers=[-1, -2],
    ).save_pretrained(folder)
    with pytest.raises(UserError, match=r"type 'vipllava' cannot be trained; allowed: llava"):
        plan_recipe(recipe(tmp_path, folder, data))


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"lora": {"targets": ["no_proj"]}}, ["train.lora.targets", "'no_proj'", "q_proj"]),
        ({"loss": [{"kind": "safe_dpo"}]}, ["train.loss.0", "chosen_verdict"]),
        ({"max_benign_share": 0.5}, ["train.max_benign_share", "question_type"]),
    ],
)
def test_what_model_or_data_cannot_give_is_one_clear_error(
    tiny_vlm: Path, data: Path, tmp_path: Path, train: dict[str, Any], words: list[str]
) -> None:
    wanted = recipe(tmp_path, tiny_vlm, data, **train)
    for _ in range(2):  # the second plan has the pairs that training read
        with pytest.raises(UserError) as caught:
            plan_recipe(wanted)
        text = complaint(wanted)
        for said in (text, str(caught.value)):
            assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"max_length": 40}, {"max_length": 512}),
        ({"lora": {"targets": ["no_proj"]}}, {"lora": {"targets": ["q_proj"]}}),
    ],
    ids=["too long", "no such layer"],
)
def test_an_errors_own_advice_is_taken_and_after_a_training_refused(
    tiny_vlm: Path, data: Path, tmp_path: Path, wrong: dict[str, Any], right: dict[str, Any]
) -> None:
    assert f"train.{next(iter(wrong))}" in complaint(recipe(tmp_path, tiny_vlm, data, **wrong))
    assert train_recipe(recipe(tmp_path, tiny_vlm, data, **right))["train"].counts.records == 1
    assert "made with other settings" in complaint(recipe(tmp_path, tiny_vlm, data, **wrong))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_said_before_anything_is_looked_for(data: Path, tmp_path: Path) -> None:
    assert complaint(recipe(tmp_path, tmp_path / "no model", data, device="cuda")).startswith("train.device: cuda is")
    assert not (tmp_path / "run" / "pairs").exists()


def test_a_loss_that_needs_safety_labels_is_content_with_one_pair_that_has_both() -> None:
    pair = _pair(_image("0" * 64, 0), 0)
    half = pair.model_copy(update={"chosen_verdict": None})
    config = TrainConfig(model="tiny", loss=(SigmoidLossConfig(), SafeDpoLossConfig()))
    check_known(config, [half, pair])
    with pytest.raises(UserError, match=r"^train\.loss\.1: safe_dpo .* none of the dataset's 2 pairs has both"):
        check_known(config, [half, half])


def _image(sha256: str, number: int) -> ImageRecord:
    return ImageRecord(
        sha256=sha256,
        format="png",
        width=40,
        height=40,
        perceptual_hash="0" * 16,
        caption="placeholder",
        source="drawn",
        source_name=f"{number}.png",
        licence="CC0",
        leaf=LEAF,
        keyword="placeholder",
        similarity=1.0,
    )


def _pair(image: ImageRecord, number: int) -> PreferencePair:
    return PreferencePair(
        question_id=f"que-{number}",
        image_id=image.id,
        leaf=LEAF,
        question_type=QuestionType.EASY_QUESTION,
        question=f"placeholder harmful question {number}",
        chosen_id="res-1",
        rejected_id="res-2",
        chosen="I would rather not.",
        rejected=f"Yes: placeholder {number}.",
        chosen_responder="careful",
        rejected_responder="careless",
        chosen_verdict="safe",
        rejected_verdict="unsafe",
        rejected_finish="length" if number == 1 else "stop",
        judge="scripted",
        judgment_ids=("jud-1", "jud-2"),
        rationales=("", ""),
    )
