"""Configuration: one YAML file, strict, with `key.path=value` overrides; the text under a field is its help.

Nothing here opens a model or a picture; `load_config` only reads the file and checks it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from spavl.errors import UserError
from spavl.records import QuestionType


class Config(BaseModel):
    """Base of every configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


# -- models ------------------------------------------------------------------------------------------------------------


class EmbeddedModelConfig(Config):
    """The small vision-language model that comes with spavl and needs no network."""

    kind: Literal["embedded"] = "embedded"
    batch_size: int = Field(32, ge=1)
    """Requests of one batch."""


class HfModelConfig(Config):
    """A vision-language model from a local folder or a hub id, run by transformers in this process."""

    kind: Literal["hf"]
    path: str
    """Local folder in the hub's layout, or a hub id."""
    revision: str | None = None
    """Commit or tag, for a hub id."""
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    device: str = "cpu"
    batch_size: int = Field(16, ge=1)
    """Requests of one batch."""
    trust_remote_code: bool = False
    """Whether code from the model's folder may run. Leave it off unless you have read that code."""


class OpenAIModelConfig(Config):
    """A model behind an OpenAI-compatible chat-completions server: vLLM, SGLang, or a hosted API."""

    kind: Literal["openai"]
    base_url: str = Field(pattern=r"^https?://[^@?#\s]+$")
    """The server's address up to and including `/v1`; no user name or key stands in it (use `api_key_env`)."""
    model: str
    """The model's name at that server."""
    api_key_env: str | None = None
    """Environment variable that holds the key; the key itself never stands in a file."""
    concurrency: int = Field(16, ge=1)
    """Requests in flight."""
    timeout_s: float = Field(120.0, gt=0)
    """Seconds for one request."""
    retries: int = Field(5, ge=0)
    """Further tries after a connection error, 408, 429 or 5xx."""


ModelConfig = Annotated[EmbeddedModelConfig | HfModelConfig | OpenAIModelConfig, Field(discriminator="kind")]


class ResponderConfig(Config):
    """A model under one documented condition; the same model may stand under several names."""

    model: str
    """A name from `models`."""
    system: str = ""
    """System turn, for example a safety instruction or a jailbreak."""
    answer_prefix: str = ""
    """Words the answer is made to begin with."""
    temperature: float = Field(0.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(64, ge=1)
    """Longest answer, in tokens."""


# -- judges ------------------------------------------------------------------------------------------------------------


class EmbeddedJudgeConfig(Config):
    """Rules and a small packaged classifier; reads text only; unscored where it cannot tell."""

    kind: Literal["embedded"] = "embedded"


class RubricJudgeConfig(Config):
    """A vision-language model that reads the picture, the question and the answers under a written rubric."""

    kind: Literal["rubric"]
    model: str
    """A name from `models`."""
    max_tokens: int = Field(512, ge=8)
    """Longest rationale, in tokens."""


JudgeConfig = Annotated[EmbeddedJudgeConfig | RubricJudgeConfig, Field(discriminator="kind")]


# -- stations ----------------------------------------------------------------------------------------------------------


class PackagedSource(Config):
    """Pictures that installed packages carry: Python packages always, the 3-D emoji set where npm has installed it."""

    kind: Literal["packaged"] = "packaged"


class FolderSource(Config):
    """A folder of pictures; captions from `metadata.csv` or `metadata.jsonl` (file_name, caption, licence) or names."""

    kind: Literal["folder"]
    path: Path
    licence: str = "unknown"
    """Licence of pictures whose metadata names none."""


SourceConfig = Annotated[PackagedSource | FolderSource, Field(discriminator="kind")]


class ImagesConfig(Config):
    """Which pictures are collected, and what is left out."""

    source: SourceConfig = PackagedSource()
    leaves: tuple[str, ...] = ()
    """Subcategories to collect for; empty means all."""
    per_leaf: int = Field(2, ge=1)
    """Pictures of each leaf."""
    min_similarity: float = Field(0.25, ge=-1, le=1)
    """Least cosine similarity between a leaf's keyword and a caption."""
    max_bytes: int = Field(50_000_000, ge=1)
    """Largest picture file."""
    max_pixels: int = Field(40_000_000, ge=1, le=178_956_970)
    """Largest width times height that is decoded; Pillow's own limit is the most."""
    min_side: int = Field(32, ge=1)
    """Shortest side, in pixels."""
    stored_side: int = Field(512, ge=32)
    """Longer side of the stored copy, in pixels."""
    duplicate_bits: int = Field(4, ge=0, le=32)
    """Two pictures are duplicates when their 64-bit perceptual hashes differ in at most this many bits."""


class QuestionsConfig(Config):
    """Who writes which questions."""

    writer: str
    """A name from `models`."""
    types: tuple[QuestionType, ...] = tuple(QuestionType)
    """Question types written for every picture."""
    prompts: Literal["standard_v1", "small_v1"] = "standard_v1"
    """Prompt files: `standard_v1` for capable writers, `small_v1` for small ones, which complete given openings."""
    max_tokens: int = Field(40, ge=4)
    """Longest question, in tokens."""
    temperature: float = Field(0.0, ge=0)
    """0 is greedy."""


class ResponsesConfig(Config):
    """Who answers."""

    responders: dict[str, ResponderConfig] = Field(min_length=2)
    """Name -> model under a condition; each answers every question."""


class LabelsConfig(Config):
    """Who says whether a response is safe."""

    judge: JudgeConfig = EmbeddedJudgeConfig()


class PreferencesConfig(Config):
    """Which responses are compared, and by whom."""

    judge: JudgeConfig = EmbeddedJudgeConfig()
    groups: int = Field(5, ge=2)
    """Responders are ranked by safe rate and cut into this many groups; pairs are drawn across groups."""
    comparisons_per_question: int = Field(2, ge=1)
    """Pairs of responses drawn for each question; each is judged in both orders."""


class DatasetConfig(Config):
    """How the pairs are split."""

    validation_fraction: float = Field(0.05, ge=0, lt=1)
    """Share of pictures whose pairs are kept for validation."""
    test_fraction: float = Field(0.25, gt=0, lt=1)
    """Share of pictures that training never sees."""
    held_out_leaves: tuple[str, ...] = ()
    """Subcategories whose pictures all go to the test split."""

    @model_validator(mode="after")
    def _something_is_left(self) -> "DatasetConfig":
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction leave nothing to train on; keep their sum below 1")
        return self


class LoraSettings(Config):
    """A low-rank adapter on every linear layer of the language model."""

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)


class TrainConfig(Config):
    """Direct preference optimisation of one model."""

    model: str
    """A name from `models`, of kind `embedded` or `hf`."""
    max_benign_share: float = Field(1.0, ge=0, le=1)
    """Largest share of benign questions' pairs in training; those beyond it are left out, drawn by the seed."""
    lora: LoraSettings = LoraSettings()
    beta: float = Field(0.1, gt=0)
    """Strength of the pull towards the reference model (DPO, eq. 7)."""
    sft_weight: float = Field(0.0, ge=0)
    """Weight of the chosen answer's own loss per token beside the preference loss; 0 is DPO as published."""
    learning_rate: float = Field(2e-4, gt=0)
    warmup_steps: int = Field(5, ge=0)
    epochs: int = Field(1, ge=1)
    batch_size: int = Field(8, ge=1)
    """Pairs of one optimiser step."""
    micro_batch_size: int = Field(4, ge=1)
    """Pairs of one forward and backward; fewer need less memory and change nothing but rounding."""
    max_length: int = Field(2048, ge=8)
    """Longest prompt with answer, in tokens; a longer pair is an error, never cut."""
    max_grad_norm: float = Field(1.0, gt=0)
    save_every: int = Field(20, ge=1)
    """Optimiser steps between two checkpoints."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Precision of the frozen weights and activations; adapters are always float32."""
    device: str = "cpu"
    """Where training runs: `cpu`, `cuda`, or `cuda:N`."""


class EvaluateConfig(Config):
    """What is measured before and after."""

    judge: JudgeConfig = EmbeddedJudgeConfig()
    max_tokens: int = Field(48, ge=1)
    """Longest answer, in tokens; decoding is greedy."""
    naming_pictures: int = Field(100, ge=0)
    """Pictures whose name the model is asked for, to see that it can still see."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Level of every interval."""


class RunConfig(Config):
    """A whole run: build, train, evaluate, report."""

    run: Path
    """The run's directory."""
    seed: int = 0
    calls: Path = Path("runs/calls.sqlite")
    """The store of model calls, shared between runs."""
    taxonomy: str = "spa_vl"
    """`spa_vl`, or a path to your own taxonomy file."""
    models: dict[str, ModelConfig] = Field(min_length=1)
    """Name -> model."""
    images: ImagesConfig = ImagesConfig()
    questions: QuestionsConfig
    responses: ResponsesConfig
    labels: LabelsConfig = LabelsConfig()
    preferences: PreferencesConfig = PreferencesConfig()
    dataset: DatasetConfig = DatasetConfig()
    train: TrainConfig
    evaluate: EvaluateConfig = EvaluateConfig()

    @model_validator(mode="after")
    def _names_exist(self) -> "RunConfig":
        for field, name in self._model_names():
            if name not in self.models:
                raise ValueError(f"{field}: there is no model '{name}'; `models` has {', '.join(sorted(self.models))}")
        if self.models[self.train.model].kind == "openai":
            raise ValueError(f"train.model: '{self.train.model}' is behind a server; choose one of kind embedded or hf")
        return self

    def _model_names(self) -> list[tuple[str, str]]:
        named = [("questions.writer", self.questions.writer), ("train.model", self.train.model)]
        for name, responder in self.responses.responders.items():
            named.append((f"responses.responders.{name}.model", responder.model))
        for field in ("labels", "preferences", "evaluate"):
            judge = getattr(self, field).judge
            if isinstance(judge, RubricJudgeConfig):
                named.append((f"{field}.judge.model", judge.model))
        return named


# -- reading -----------------------------------------------------------------------------------------------------------


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Reads a run's YAML file and applies `key.path=value` overrides.

    Raises:
        UserError: The file is missing, is not YAML, or a field is unknown, missing or out of range.
    """
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}. Give a configuration; `spavl demo --print-config` prints one."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(body, dict):
        raise UserError(f"{path}: a configuration is a mapping of keys; `spavl demo --print-config` prints one.")
    for override in overrides:
        _apply_override(body, override)
    try:
        return RunConfig.model_validate(body)
    except ValidationError as error:
        raise UserError(f"{path}: {describe_errors(error, body)}") from error


def describe_errors(error: ValidationError, body: object = None) -> str:
    """Returns one line for a validation error: each field, what is wrong, and the value.

    Args:
        error: What pydantic raised.
        body: What was validated; with it, fields are named as they stand in the file.
    """
    return "; ".join(_describe(detail, body) for detail in error.errors())


def _describe(detail: Any, body: object) -> str:  # noqa: ANN401  # pydantic's ErrorDetails
    where = ".".join(_keys(detail["loc"], body)) or "configuration"
    if detail["type"] == "extra_forbidden":
        return f"`{where}` is not a known key; look for a typing error"
    if detail["type"] == "missing":
        return f"`{where}` is missing"
    if detail["type"] == "union_tag_not_found":
        return f"`{where}.kind` is missing"
    if detail["type"] == "union_tag_invalid":
        return f"`{where}.kind`: {detail['ctx']['tag']!r} is none of {detail['ctx']['expected_tags']}"
    value = "" if isinstance(detail["input"], dict) else f" (value: {detail['input']!r})"
    return f"`{where}`: {detail['msg'].removeprefix('Value error, ')}{value}"


def _keys(location: Sequence[str | int], body: object) -> list[str]:
    """Leaves out of pydantic's location the kinds it puts between the keys of a union."""
    keys: list[str] = []
    node: Any = body
    for part in location[:-1]:
        if isinstance(node, dict):
            if part not in node:
                continue
            node = node[part]
        keys.append(str(part))
    return [*keys, *map(str, location[-1:])]


def _apply_override(body: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    if not separator or not path:
        raise UserError(f"'{override}' is not an override; write key.path=value, for example train.epochs=2.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"The value of '{override}' is not YAML: {' '.join(str(error).split())}") from error
    *parents, last = path.split(".")
    node = body
    for parent in parents:
        if node.get(parent) is None:
            node[parent] = {}
        child = node[parent]
        if not isinstance(child, dict):
            raise UserError(f"'{override}': {parent} is a value, it has no keys below it.")
        node = child
    node[last] = value
