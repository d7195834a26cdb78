"""Reading a run's configuration: what is accepted, and the one line each mistake gets."""

from pathlib import Path

import pytest
import yaml

from spavl.config import FolderSource, LoraSettings, PackagedSource, RunConfig, load_config
from spavl.errors import UserError

MINIMAL = {
    "run": "runs/test",
    "models": {
        "tiny": {"kind": "embedded"},
        "twin": {"kind": "embedded"},
        "server": {"kind": "openai", "base_url": "http://x/v1", "model": "m"},
    },
    "questions": {"writer": "tiny"},
    "responses": {"responders": {"plain": {"model": "tiny"}, "careful": {"model": "server"}}},
    "train": {"model": "tiny"},
}


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(MINIMAL), encoding="utf-8")
    return path


def complaint(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path, overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_minimal_file_gets_every_default(minimal: Path) -> None:
    config = load_config(minimal)
    assert config.images.source == PackagedSource()
    assert config.train.lora == LoraSettings(rank=16, alpha=32)
    assert config.calls == Path("runs/calls.sqlite")


def test_a_resolved_configuration_reads_back_as_itself(minimal: Path) -> None:
    config = load_config(minimal)
    assert RunConfig.model_validate(config.model_dump(mode="json")) == config


def test_a_configuration_cannot_be_changed(minimal: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_config(minimal).seed = 3  # type: ignore[misc]


def test_overrides_reach_any_depth_and_make_missing_keys(minimal: Path) -> None:
    config = load_config(
        minimal, ["images.per_leaf=5", "images.source={kind: folder, path: pics}", "train.learning_rate=1e-6", "seed=7"]
    )
    assert config.images.per_leaf == 5
    assert config.images.source == FolderSource(kind="folder", path=Path("pics"))
    assert config.train.learning_rate == 1e-6
    assert config.seed == 7


def test_an_override_goes_below_a_key_that_was_left_empty(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(MINIMAL) + "images:\n", encoding="utf-8")
    assert load_config(path, ["images.per_leaf=5"]).images.per_leaf == 5


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("images.per_leef=2", "`images.per_leef` is not a known key"),
        ("images.per_leaf=0", "`images.per_leaf`: Input should be greater than or equal to 1 (value: 0)"),
        ("images.per_leaf=many", "`images.per_leaf`: Input should be a valid integer"),
        ("images.max_pixels=900000000", "`images.max_pixels`: Input should be less than or equal to 178956970"),
        ("images.source.kind=web", "`images.source.kind`: 'web' is none of 'packaged', 'folder'"),
        ("images.source={path: pics}", "`images.source.kind` is missing"),
        ("images.source={kind: folder}", "`images.source.path` is missing"),
        ("models.tiny.batch_size=0", "`models.tiny.batch_size`: Input should be greater than or equal to 1"),
        ("models.tiny.size=0", "`models.tiny.size` is not a known key"),
        ("models.embedded={kind: embedded, batch_size: 0}", "`models.embedded.batch_size`: Input should be"),
        ("models.server.base_url=server:80", "`models.server.base_url`: String should match pattern"),
        ("train.learning_rate=.inf", "`train.learning_rate`: Input should be a finite number (value: inf)"),
        ("train.learning_rate=.nan", "`train.learning_rate`: Input should be"),
        ("train.loss=[]", "`train.loss`: List should have at least 1 item"),
        ("train.loss=[{kind: sigmod}]", "`train.loss.0.kind`: 'sigmod' is none of 'sigmoid', 'robust', 'ipo', 'hinge'"),
        ("train.lora.targets=[]", "`train.lora.targets`: it names no layer; write all_linear, or endings such as"),
        ("train.device=cude", "`train.device`: String should match pattern '^(cpu|cuda(:\\d+)?)$' (value: 'cude')"),
        ("train.loss=[{kind: sft}, {weight: 2}]", "`train.loss.1.kind` is missing"),
        ("train.loss=[{kind: hinge, gamma: 1}]", "`train.loss.0.gamma` is not a known key"),
        ("train.loss=[{kind: sft, weight: 0}]", "`train.loss.0.weight`: Input should be greater than 0 (value: 0)"),
        ("train.loss=[{kind: robust, label_smoothing: 0.5}]", "`train.loss.0.label_smoothing`: Input should be less"),
        ("train.loss=[{kind: sft}, {kind: sft}]", "`train.loss`: sft stands in it 2 times; give each kind once"),
        ("train.loss=[{kind: mdpo}, {kind: safe_dpo}]", "`train.loss`: mdpo and safe_dpo exclude each other"),
        ("images.leaves=theft", "`images.leaves`: Input should be a list, for example [a, b] (value: 'theft')"),
        ("train.loss={kind: sft}", "`train.loss`: Input should be a list, for example [a, b]"),
        ("run=runs/" + 300 * "a", "`run`: the name aaaaaaaaaaaaaaaaaaaa... is too long; a file or folder's has 255"),
        ("calls=" + 128 * "ä" + "/c.sqlite", "`calls`: the name ääää"),
        ("questions.types=[riddle]", "`questions.types.0`: Input should be 'easy_question'"),
        ("questions.writer=giant", "questions.writer: there is no model 'giant'; `models` has server, tiny"),
        ("captions.writer=dwarf", "captions.writer: there is no model 'dwarf'; `models` has"),
        ("captions.writer=giant", "captions.writer: there is no model 'giant'"),
        ("checks.relevance={model: giant}", "checks.relevance.model: there is no model 'giant'"),
        ("checks.harmfulness={model: giant}", "checks.harmfulness.model: there is no model 'giant'"),
        ("checks.relevance={model: tiny, require: seen}", "`checks.relevance.require`: Input should be 'needed' or"),
        ("checks.near_duplicates={jaccard: 0}", "`checks.near_duplicates.jaccard`: Input should be greater than 0"),
        ("questions.after_refusal=[{}]", "after_refusal.0: standard_v2 at temperature 0 was declined before"),
        ("responses.responders.plain.model=giant", "responses.responders.plain.model: there is no model 'giant'"),
        ("labels.judge={kind: rubric, model: giant}", "labels.judge.model: there is no model 'giant'"),
        ("labels.others={one: {kind: rubric, model: giant}}", "labels.others.one.model: there is no model 'giant'"),
        ("labels.others={one: {kind: md_judge_v9, model: tiny}}", "`labels.others.one.kind`: 'md_judge_v9' is none of"),
        ("labels.others={one/two: {kind: rules}}", "`labels.others.one/two"),
        ("labels.judge={kind: llava_guard, model: tiny}", "llava_guard sees the picture alone"),
        ("labels.judge={kind: llama_guard_3}", "`labels.judge.model` is missing"),
        ("preferences.judge={kind: rules}", "`preferences.judge.kind`: 'rules' is none of 'embedded', 'rubric'"),
        ("evaluate.judge={kind: llama_guard_3, model: tiny}", "'llama_guard_3' is none of 'embedded', 'rubric'"),
        ("train.model=server", "train.model: 'server' is behind a server; choose one of kind embedded or hf"),
        ("sft.model=giant", "sft.model: there is no model 'giant'"),
        ("sft={model: server}", "sft.model: 'server' is behind a server; choose one of kind embedded or hf"),
        ("sft={model: twin}", "train.model: 'tiny', but it goes on from what sft made of 'twin'; name that one"),
        ("dataset={validation_fraction: 0.5, test_fraction: 0.5}", "keep their sum below 1"),
        (
            "responses.responders={only: {model: tiny}}",
            "`responses.responders`: Dictionary should have at least 2 items",
        ),
        ("seed.deep=1", "'seed.deep=1': seed is a value, it has no keys below it."),
        ("seed", "'seed' is not an override; write key.path=value"),
        ("=3", "'=3' is not an override"),
        ("seed=[1", "The value of 'seed=[1' is not YAML"),
    ],
)
def test_each_mistake_gets_one_line_that_names_the_field_as_it_stands_in_the_file(
    minimal: Path, override: str, said: str
) -> None:
    base = ["seed=1"] if override.startswith("seed.") else []
    assert said in complaint(minimal, *base, override)


@pytest.mark.parametrize(
    "override", ["train.loss=[{kind: sigmod}]", "responses.responders={plain: {model: tiny}, careful: {modle: tiny}}"]
)
def test_an_entry_that_is_wrong_is_not_also_called_missing(minimal: Path, override: str) -> None:
    assert "at least" not in complaint(minimal, override)


def test_several_mistakes_are_all_named(minimal: Path) -> None:
    said = complaint(minimal, "images.per_leaf=0", "train.beta=-1")
    assert "`images.per_leaf`" in said
    assert "`train.beta`" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [1", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"- a list", "a configuration is a mapping of keys"),
        (b"", "a configuration is a mapping of keys"),
        (b"run: x", "`models` is missing; `questions` is missing; `responses` is missing; `train` is missing"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    assert said in complaint(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "No such file" in complaint(tmp_path / "none.yaml")
    assert "Is a directory" in complaint(tmp_path)


def test_what_trains_can_be_said_as_the_paper_says_it(minimal: Path) -> None:
    train = load_config(
        minimal, ["train.lora={rank: 256, alpha: 512, targets: all_linear}", "train.projector=true", "train.epochs=3"]
    ).train
    assert train.lora == LoraSettings(rank=256, alpha=512) and train.projector
    assert load_config(minimal, ["train.lora=null", "train.vision_blocks=all"]).train.lora is None
    assert load_config(minimal, ["train.lora.targets=[q_proj, v_proj]"]).train.lora == LoraSettings(
        targets=("q_proj", "v_proj")
    )


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.projector_learning_rate=1e-6", "projector is frozen; set projector: true, or remove it"),
        ("train.attention=flex", "flex has no backward pass on the CPU; set attention: sdpa, or device: cuda"),
        ("train.vision_learning_rate=1e-6", "vision is frozen; set vision_blocks to 1 or more, or all"),
        ("train.vision_blocks=-1", "`train.vision_blocks`: Input should be greater than or equal to 0 (value: -1)"),
        ("train.lora.targets=q_proj", "`train.lora.targets`: Input should be 'all_linear' (value: 'q_proj')"),
        ("train.trackers=[wandb, wandb]", "`train.trackers`: wandb stands there 2 times; name each tracker once"),
        ("train.trackers=[mlflow]", "`train.trackers.0`: Input should be 'tensorboard', 'trackio' or 'wandb'"),
        ("train.micro_batch_size=4", "`train.micro_batch_size` is not a known key"),
        (
            "train={model: tiny, loss: [{kind: mdpo}], parallel: zero2}",
            "parallel: zero2 does not go with the loss mdpo",
        ),
    ],
)
def test_what_cannot_train_is_said_before_anything_starts(minimal: Path, override: str, words: str) -> None:
    assert words in complaint(minimal, override)
