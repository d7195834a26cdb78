"""Configuration: one YAML file, strict, with `key.path=value` overrides; the text under a field is its help.

Nothing here opens a model or a picture; `load_config` only reads the file and checks it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from spavl.benchmark_config import BenchmarkConfig
from spavl.budget_config import BudgetConfig, ComputeBudgetConfig, PriceConfig
from spavl.config_base import Config as Config
from spavl.config_base import NamedPath as NamedPath
from spavl.config_file import read_body, validate_body
from spavl.errors import UserError
from spavl.execution_config import HERE, ExecutionConfig
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
from spavl.method_config import AlignmentConfig
from spavl.question_config import CaptionsConfig as CaptionsConfig
from spavl.question_config import ChecksConfig as ChecksConfig
from spavl.question_config import QuestionsConfig as QuestionsConfig
from spavl.rl_config import RlConfig as RlConfig
from spavl.rl_config import judging_models as judging_models
from spavl.train_config import LoraSettings as LoraSettings
from spavl.train_config import RewardModelConfig as RewardModelConfig
from spavl.train_config import TrainConfig as TrainConfig
from spavl.train_config import TrainSettings as TrainSettings
from spavl.train_config import WeightSettings as WeightSettings

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
    """Where to stop; what is left is a counted failure `budget`, which `--restart-from` asks for once there is more."""


class OpenAIModelConfig(Config):
    """A model behind an OpenAI-compatible chat-completions server: vLLM, SGLang, or a hosted API."""

    kind: Literal["openai"]
    base_url: str = Field(pattern=r"^https?://[^@?#\s]+$")
    """The server's address up to and including `/v1`; no user name or key stands in it (use `api_key_env`)."""
    model: str
    """The model's name at that server."""
    identity: str | None = Field(None, min_length=1)
    """Whose answers these are, whatever the address: answers are stored under it in place of `base_url`, so that a
    server may move. Give the old address to keep what was answered there, and a new name where another model answers
    now at the same address and name: then all is asked anew. Two servers that share one identity and a model's name
    share their answers."""
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
    give_up_after: int = Field(5, ge=1)
    """Requests in a row that got no reply in time, whatever the tries, while no other got one; then the server is not
    asked any more by this process, and what is left is a counted failure `server_silent`, asked for again on resume or
    by `--restart-from`."""
    price: PriceConfig | None = None
    """What tokens cost; without it money is not counted."""
    budget: BudgetConfig | None = None
    """Where to stop; what is left is a counted failure `budget`, which `--restart-from` asks for once there is more."""

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
    """Name -> model under a condition; each answers every question. Those of one model are asked in turns, so each has
    its share of the model's budget."""


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


class EvaluateConfig(Config):
    """What is measured before and after."""

    judge: PairwiseJudgeConfig = EmbeddedJudgeConfig()
    max_tokens: int = Field(48, ge=1)
    """Longest answer, in tokens; decoding is greedy."""
    naming_pictures: int = Field(100, ge=0)
    """Pictures whose name the model is asked for, to see that it can still see."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Level of every interval."""
    public_benchmarks: tuple[BenchmarkConfig, ...] = ()
    """Public benchmarks that both models are measured on as well, in a run of its own within this one, `public/`; one
    whose package is not installed is left out, and the report says so."""


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
    execution: ExecutionConfig = HERE
    """Where the models run while the dataset is built and answers are asked; training has its own ways."""
    images: ImagesConfig = ImagesConfig()
    captions: CaptionsConfig = CaptionsConfig()
    questions: QuestionsConfig
    checks: ChecksConfig = ChecksConfig()
    responses: ResponsesConfig
    labels: LabelsConfig = LabelsConfig()
    preferences: PreferencesConfig = PreferencesConfig()
    dataset: DatasetConfig = DatasetConfig()
    sft: TrainConfig | None = None
    """A training by pairs before the others, in the run's folder `sft`, such as of the chosen answers alone (`loss:
    [{kind: sft}]`): `reward` and `train` go on from the model that it makes. `null` for none."""
    reward: RewardModelConfig | None = None
    """A reward model made from the training pairs, in the run's folder `reward`, where a reward of kind `model` may
    find it; `null` for none."""
    train: AlignmentConfig
    """How the model is aligned: `method` is `dpo`, or `ppo`, `rloo`, `grpo`."""
    evaluate: EvaluateConfig = EvaluateConfig()
    beside: NamedPath | None = None
    """Another finished run of the same data and judge, whose rates the report sets beside this one's; `null` for none.
    """

    @model_validator(mode="after")
    def _names_exist(self) -> "RunConfig":
        unknown = [(field, name) for field, name in self._model_names() if name not in self.models]
        if unknown:
            said = "; ".join(f"{field}: there is no model '{name}'" for field, name in unknown)
            raise ValueError(f"{said}; `models` has {', '.join(sorted(self.models))}")
        for field, trained in (("sft", self.sft), ("reward", self.reward), ("train", self.train)):
            if trained is not None and self.models[trained.model].kind == "openai":
                raise ValueError(
                    f"{field}.model: '{trained.model}' is behind a server; choose one of kind embedded or hf"
                )
            if trained is not None and self.sft is not None and trained.model != self.sft.model:
                raise ValueError(
                    f"{field}.model: '{trained.model}', but it goes on from what sft made of '{self.sft.model}'; name "
                    "that one"
                )
        return self

    def _model_names(self) -> list[tuple[str, str]]:
        named = [("questions.writer", self.questions.writer), ("train.model", self.train.model)]
        for name, responder in self.responses.responders.items():
            named.append((f"responses.responders.{name}.model", responder.model))
        named += [(f"{field}.model", one.model) for field in ("sft", "reward") if (one := getattr(self, field))]
        if self.captions.writer is not None:
            named.append(("captions.writer", self.captions.writer))
        for field, check in (("relevance", self.checks.relevance), ("harmfulness", self.checks.harmfulness)):
            if check is not None:
                named.append((f"checks.{field}.model", check.model))
        judges = {f"{field}.judge": getattr(self, field).judge for field in ("labels", "preferences", "evaluate")}
        judges |= {f"labels.others.{name}": judge for name, judge in self.labels.others.items()}
        asked = [(f"{field}.model", judges_model(judge)) for field, judge in judges.items()]
        named += judging_models(self.train).items() if isinstance(self.train, RlConfig) else ()
        return named + [(field, model) for field, model in asked if model is not None]


# -- reading -----------------------------------------------------------------------------------------------------------


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Reads a run's YAML file and applies `key.path=value` overrides.

    Raises:
        UserError: The file is missing, is not YAML, or a field is unknown, repeated, missing or out of range.
    """
    body = read_body(path, overrides)
    if "data" in body:
        raise UserError(
            f"{path}: `data` is a key of training recipes; `spavl train` and `spavl check` take such a file."
        )
    if "benchmarks" in body:
        raise UserError(
            f"{path}: `benchmarks` is a key of evaluation recipes; `spavl evaluate` and `spavl check` take such a file."
        )
    return validate_body(RunConfig, body, path)
