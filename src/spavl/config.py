"""Configuration: one YAML file, strict, with `key.path=value` overrides; the text under a field is its help.

Nothing here opens a model or a picture; `load_config` only reads the file and checks it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from spavl.budget_config import BudgetConfig, ComputeBudgetConfig, PriceConfig
from spavl.config_base import Config as Config
from spavl.config_base import NamedPath as NamedPath
from spavl.config_file import read_body, validate_body
from spavl.errors import UserError
from spavl.image_config import FolderSource as FolderSource
from spavl.image_config import ImagesConfig as ImagesConfig
from spavl.image_config import PackagedSource as PackagedSource
from spavl.judge_config import EmbeddedJudgeConfig as EmbeddedJudgeConfig
from spavl.judge_config import GuardJudgeConfig as GuardJudgeConfig
from spavl.judge_config import JudgeConfig as JudgeConfig
from spavl.judge_config import LabelsConfig as LabelsConfig
from spavl.judge_config import PairwiseJudgeConfig as PairwiseJudgeConfig
from spavl.judge_config import RubricJudgeConfig as RubricJudgeConfig
from spavl.judge_config import RulesJudgeConfig as RulesJudgeConfig
from spavl.judge_config import judges_model as judges_model
from spavl.loss_config import PreferenceLossConfigs, SigmoidLossConfig
from spavl.question_config import CaptionsConfig as CaptionsConfig
from spavl.question_config import ChecksConfig as ChecksConfig
from spavl.question_config import QuestionsConfig as QuestionsConfig
from spavl.tracker_config import TrackerName

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
    budget: ComputeBudgetConfig | None = None
    """Where to stop; what is left is a counted failure `budget`."""


class OpenAIModelConfig(Config):
    """A model behind an OpenAI-compatible chat-completions server: vLLM, SGLang, or a hosted API."""

    kind: Literal["openai"]
    base_url: str = Field(pattern=r"^https?://[^@?#\s]+$")
    """The server's address up to and including `/v1`; no user name or key stands in it (use `api_key_env`)."""
    model: str
    """The model's name at that server."""
    identity: str | None = Field(None, min_length=1)
    """Whose answers these are, whatever the address: answers are stored under it in place of `base_url`, so that a
    server may move. Give the old address to keep what was answered there; two servers that share one identity and a
    model's name share their answers."""
    api_key_env: str | None = None
    """Environment variable that holds the key; the key itself never stands in a file."""
    length_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What this server calls the longest answer; newer hosted APIs refuse `max_tokens`."""
    prefill: bool = False
    """Whether the server continues a begun answer (vLLM, SGLang: `continue_final_message`); others may garble it."""
    concurrency: int = Field(16, ge=1)
    """Most requests in flight; fewer for a while where the server refuses a rising share of them (429)."""
    requests_per_minute: float | None = Field(None, gt=0)
    """Requests, tries included, are spaced out to this many a minute."""
    tokens_per_minute: float | None = Field(None, gt=0)
    """The same for tokens, those read and those written together."""
    timeout_s: float = Field(120.0, gt=0)
    """Seconds for one request."""
    retries: int = Field(5, ge=0)
    """Further tries after a connection error, 408, 429 or 5xx."""
    price: PriceConfig | None = None
    """What tokens cost; without it money is not counted."""
    budget: BudgetConfig | None = None
    """Where to stop; what is left is a counted failure `budget`."""

    @model_validator(mode="after")
    def _money_has_a_price(self) -> "OpenAIModelConfig":
        if self.budget and self.budget.money is not None and self.price is None:
            raise ValueError("budget.money is set, and there is no price; set price: {input: ..., output: ...}")
        return self

    def identified(self) -> "OpenAIModelConfig":
        """Returns it with the identity in the address's place, which is what its answers depend on."""
        return self.model_copy(update={"base_url": self.identity or self.base_url})


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


# -- stations ----------------------------------------------------------------------------------------------------------


class ResponsesConfig(Config):
    """Who answers."""

    responders: dict[str, ResponderConfig] = Field(min_length=2)
    """Name -> model under a condition; each answers every question."""


class PreferencesConfig(Config):
    """Which responses are compared, and by whom."""

    judge: PairwiseJudgeConfig = EmbeddedJudgeConfig()
    groups: int = Field(5, ge=2)
    """Responders are ranked by safe rate and cut into this many groups; pairs are drawn across groups."""
    comparisons_per_question: int = Field(2, ge=1)
    """Pairs of responses drawn for each question; each is judged in both orders."""


SplitName = Literal["train", "validation", "harm", "help"]


class DatasetConfig(Config):
    """How the pairs are split."""

    validation_fraction: float = Field(0.05, ge=0, lt=1)
    """Share of pictures whose pairs are kept for validation."""
    test_fraction: float = Field(0.25, gt=0, lt=1)
    """Share of pictures that training never sees."""
    validation_pictures: int | None = Field(None, ge=0)
    """Number of pictures for validation, in place of the share."""
    test_pictures: int | None = Field(None, ge=1)
    """Number of pictures that training never sees, in place of the share."""
    max_rows: dict[SplitName, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """Most rows of a split; those beyond are left out, leaves and then pictures taking turns."""
    cluster_bits: int = Field(8, ge=0, le=32)
    """Pictures whose 64-bit perceptual hashes differ in at most this many bits stay on the same side of every split."""
    held_out_leaves: tuple[str, ...] = ()
    """Subcategories whose pictures all go to the test split."""

    @model_validator(mode="after")
    def _something_is_left(self) -> "DatasetConfig":
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction leave nothing to train on; keep their sum below 1")
        return self


class LoraSettings(Config):
    """A low-rank adapter on linear layers of the language model, the head left out."""

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    """The adapter's product is scaled by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: Literal["all_linear"] | tuple[str, ...] = "all_linear"
    """`all_linear`, or endings of the layers' names, for example `[q_proj, v_proj]` or `[mlp.down_proj]`."""

    @field_validator("targets")
    @classmethod
    def _some_layer(cls, targets: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not targets:
            raise ValueError("it names no layer; write all_linear, or endings such as [q_proj, v_proj]")
        return targets


class TrainSettings(Config):
    """How preferences are optimised, whatever the model."""

    max_benign_share: float = Field(1.0, ge=0, le=1)
    """Largest share of benign questions' pairs in training; those beyond it are left out, drawn by the seed."""
    lora: LoraSettings | None = LoraSettings()
    """Adapters in the language model; `null` trains all of its weights. SPA-VL's are `{rank: 256, alpha: 512}`."""
    projector: bool = False
    """Whether the projector between vision tower and language model is trained, all of its weights."""
    projector_learning_rate: float | None = Field(None, gt=0)
    """The projector's own rate; `null` means `learning_rate`."""
    vision_blocks: Annotated[int, Field(ge=0)] | Literal["all"] = 0
    """Blocks of the vision tower that are trained, the last ones of those that reach the projector: 0 freezes the
    tower, `all` trains its embeddings too."""
    vision_learning_rate: float | None = Field(None, gt=0)
    """The tower's own rate; `null` means `learning_rate`."""
    beta: float = Field(0.1, gt=0)
    """Strength of the pull towards the reference model (DPO, eq. 7)."""
    loss: PreferenceLossConfigs = (SigmoidLossConfig(),)
    """The losses whose weighted sum is minimised; alone `{kind: sigmoid}` is DPO as published. InternVL's mix (MPO) is
    `[{kind: sigmoid, weight: 0.8}, {kind: bco_pair, weight: 0.2}, {kind: sft}]`."""
    learning_rate: float = Field(2e-4, gt=0)
    """The highest rate, reached after the warm-up; it then falls along half a cosine."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's decay of weight matrices; vectors (norms, biases) have none."""
    warmup_steps: int = Field(5, ge=0)
    epochs: int = Field(1, ge=1)
    batch_size: int = Field(8, ge=1)
    """Pairs of one optimiser step."""
    questions_per_tree: int | None = Field(None, ge=1)
    """Most questions about one picture that stay together in a step; `null` for all, 1 to draw them one by one."""
    tokens_per_forward: int = Field(4096, ge=8)
    """Most tokens of one forward and backward, shared prompts counted once; fewer need less memory and change nothing
    but rounding. A picture's prompt with one pair has to fit."""
    gradient_checkpointing: bool = False
    """Whether layers are run again in the backward pass: about a third more work, for a fraction of the memory."""
    max_length: int = Field(2048, ge=8)
    """Longest prompt with answer, in tokens; a longer pair is never cut."""
    too_long: Literal["error", "drop"] = "error"
    """What becomes of pairs that do not fit `max_length` or `tokens_per_forward`: `error` names them and stops, `drop`
    leaves them out and counts them. It stands beside the two limits, and not under `data`, because only the model's
    tokenizer tells a pair's length, and so that recipes and whole runs have it alike."""
    max_grad_norm: float = Field(1.0, gt=0)
    save_every: int = Field(20, ge=1)
    """Optimiser steps between two checkpoints."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Precision of frozen weights and of computing; trained weights are always kept in float32."""
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    """Where training runs: `cpu`, `cuda`, or `cuda:N`; several processes take a GPU each."""
    parallel: Literal["replicate", "zero2", "zero3"] = "replicate"
    """What each of several processes (torchrun, accelerate launch) holds: `replicate` the whole model; with FSDP2
    `zero3` a part of weights, gradients and optimiser, `zero2` too, but weights stay whole through a pass."""
    trackers: tuple[TrackerName, ...] = ()
    """Who gets each step's figures beside `metrics.jsonl`, for example `[tensorboard]` or `[trackio, wandb]`.
    TensorBoard's files lie in `train/tensorboard`. The packages come with `pip install 'spavl[tracking]'`."""
    cache: NamedPath = Path("runs/training_cache")
    """Pictures' features and placeholders and reference log-probabilities, shared by runs and made again when lost."""

    @field_validator("trackers")
    @classmethod
    def _each_once(cls, trackers: tuple[TrackerName, ...]) -> tuple[TrackerName, ...]:
        for name in trackers:
            if trackers.count(name) > 1:
                raise ValueError(f"{name} stands there {trackers.count(name)} times; name each tracker once")
        return trackers

    @model_validator(mode="after")
    def _rates_have_a_part(self) -> "TrainSettings":
        for name, trained in (("projector", self.projector), ("vision", self.vision_blocks != 0)):
            if getattr(self, f"{name}_learning_rate") is not None and not trained:
                switch = "projector: true" if name == "projector" else "vision_blocks to 1 or more, or all"
                raise ValueError(f"{name}_learning_rate is set, and the {name} is frozen; set {switch}, or remove it")
        return self

    @model_validator(mode="after")
    def _losses_go_with_parallel(self) -> "TrainSettings":
        twinned = [loss.kind for loss in self.loss if "corrupted" in loss.needs]
        if twinned and self.parallel != "replicate":  # pictures' passes would differ in number between processes
            raise ValueError(f"parallel: {self.parallel} does not go with the loss {twinned[0]}; set it to replicate")
        return self


class TrainConfig(TrainSettings):
    """Direct preference optimisation of one model."""

    model: str
    """A name from `models`, of kind `embedded` or `hf`."""


class EvaluateConfig(Config):
    """What is measured before and after."""

    judge: PairwiseJudgeConfig = EmbeddedJudgeConfig()
    max_tokens: int = Field(48, ge=1)
    """Longest answer, in tokens; decoding is greedy."""
    naming_pictures: int = Field(100, ge=0)
    """Pictures whose name the model is asked for, to see that it can still see."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Level of every interval."""


class RunConfig(Config):
    """A whole run: build, train, evaluate, report."""

    run: NamedPath
    """The run's directory."""
    seed: int = 0
    calls: NamedPath = Path("runs/calls.sqlite")
    """The store of model calls, shared between runs."""
    taxonomy: str = "spa_vl"
    """`spa_vl`, or a path to your own taxonomy file."""
    models: dict[str, ModelConfig] = Field(min_length=1)
    """Name -> model."""
    images: ImagesConfig = ImagesConfig()
    captions: CaptionsConfig = CaptionsConfig()
    questions: QuestionsConfig
    checks: ChecksConfig = ChecksConfig()
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
        if self.captions.writer is not None:
            named.append(("captions.writer", self.captions.writer))
        for field, check in (("relevance", self.checks.relevance), ("harmfulness", self.checks.harmfulness)):
            if check is not None:
                named.append((f"checks.{field}.model", check.model))
        judges = {f"{field}.judge": getattr(self, field).judge for field in ("labels", "preferences", "evaluate")}
        judges |= {f"labels.others.{name}": judge for name, judge in self.labels.others.items()}
        asked = [(f"{field}.model", judges_model(judge)) for field, judge in judges.items()]
        return named + [(field, model) for field, model in asked if model is not None]


# -- reading -----------------------------------------------------------------------------------------------------------


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Reads a run's YAML file and applies `key.path=value` overrides.

    Raises:
        UserError: The file is missing, is not YAML, or a field is unknown, repeated, missing or out of range.
    """
    body = read_body(path, overrides)
    if "data" in body:
        raise UserError(f"{path}: `data` is a key of training recipes; only `spavl train` takes such a file.")
    if "benchmarks" in body:
        raise UserError(
            f"{path}: `benchmarks` is a key of evaluation recipes; `spavl evaluate` and `spavl check` take such a file."
        )
    return validate_body(RunConfig, body, path)
