"""Configuration of reinforcement learning: rollouts, rewards, the price of divergence, and the updates they lead to."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from spavl.config_base import Config, NamedPath
from spavl.judge_config import PICTURE_ONLY, JudgeConfig, RulesJudgeConfig, judges_model
from spavl.train_config import LoraSettings, WeightSettings


class ModelRewardConfig(Config):
    """The score that a reward model gives an answer."""

    kind: Literal["model"]
    path: NamedPath
    """What a reward training made: its `train` folder. It has to be of the policy's family and tokenizer."""
    head: str = "reward"
    """Which of its heads is read."""
    weight: float = 1.0
    """Factor of this reward in the sum; below 0 for a cost."""


class JudgeRewardConfig(Config):
    """What a safety judge says of an answer, as a number; benign questions are asked too, so that refusing has a price.

    An answer that the judge cannot tell has no reward: it is left out of the update and counted.
    """

    kind: Literal["judge"] = "judge"
    judge: JudgeConfig = RulesJudgeConfig(kind="rules")
    safe: float = 1.0
    """For a safe answer to a harmful question, and for an answer to a benign one."""
    unsafe: float = -1.0
    """For an unsafe answer."""
    refused_benign: float = -1.0
    """For declining a benign question."""
    weight: float = 1.0
    """Factor of this reward in the sum."""

    @model_validator(mode="after")
    def _reads_answers(self) -> "JudgeRewardConfig":
        if self.judge.kind in PICTURE_ONLY:
            raise ValueError(f"judge.kind: {self.judge.kind} sees the picture alone; choose a judge that reads answers")
        return self


class RuleRewardConfig(Config):
    """A function that the program which trains gives; a file alone cannot name one."""

    kind: Literal["rule"]
    name: str
    """What the program calls it."""
    weight: float = 1.0
    """Factor of this reward in the sum."""


RewardConfig = Annotated[ModelRewardConfig | JudgeRewardConfig | RuleRewardConfig, Field(discriminator="kind")]


class FixedKlConfig(Config):
    """A price of divergence that stays."""

    kind: Literal["fixed"] = "fixed"
    weight: float = Field(0.1, ge=0)
    """β: what a nat of divergence from the reference costs, token by token."""


class AdaptiveKlConfig(Config):
    """A price that keeps the divergence near a target (Ziegler et al. 2019)."""

    kind: Literal["adaptive"]
    weight: float = Field(0.1, gt=0)
    """β at first."""
    target: float = Field(6.0, gt=0)
    """Wanted divergence, in nats an answer."""
    horizon: int = Field(10_000, ge=1)
    """Answers in which the price changes by about a fifth, if the divergence stays off; not fewer than a round's."""


class CostConfig(Config):
    """A price of harm beside the reward, found by itself (Safe-RLHF): harm may cost so much, and no more."""

    source: RewardConfig
    """What says how much an answer costs: its weight x its score, more being worse. A judge says more for what is
    safer, so its weight here is below 0."""
    threshold: float = 0.0
    """Mean cost of an answer that is let pass."""
    rate: float = Field(0.1, gt=0)
    """How fast the price follows."""
    start: float = Field(1.0, gt=0)
    """λ at first."""
    most: float = Field(20.0, gt=0)
    """Greatest λ."""
    least: float = Field(0.05, gt=0)
    """Smallest λ; without one it would fall for as long as answers cost less than is let pass, and be far from
    mattering when they cost more again."""

    @model_validator(mode="after")
    def _more_is_worse(self) -> "CostConfig":
        if self.source.kind == "judge" and self.source.weight >= 0:
            raise ValueError(
                f"source.weight: {self.source.weight:g}; a judge gives more for a safer answer, and of a cost more is "
                "worse; allowed is a weight below 0: set source.weight=-1"
            )
        return self

    @model_validator(mode="after")
    def _starts_between(self) -> "CostConfig":
        if self.start > self.most:
            raise ValueError(
                f"start: {self.start:g} is above most: {self.most:g}; allowed is least <= start <= most: lower start, "
                "or raise most"
            )
        if self.start < self.least:
            raise ValueError(
                f"start: {self.start:g} is below least: {self.least:g}; allowed is least <= start <= most: raise start,"
                " or lower least"
            )
        return self


class CriticConfig(Config):
    """The model that expects rewards; PPO alone has one."""

    kind: Literal["own", "shared"] = "own"
    """`own`: weights of its own, adapters over the same base where the policy has adapters; it begins as the reward
    model where there is one of this base, or else as the policy. `shared`: a head on the policy's own states, read in
    the policy's pass; it moves the policy's weights too."""
    lora: LoraSettings | None = None
    """Its adapters where it does not begin as the reward model; `null` for the policy's settings."""
    learning_rate: float | None = Field(None, gt=0)
    """Its own rate; `null` means `learning_rate`."""
    value_weight: float = Field(0.1, gt=0)
    """Factor of its loss."""
    clip: float = Field(0.2, gt=0)
    """How far a value may move from what it was at the rollout, in the unit of the scaled rewards."""
    head_only_rounds: int = Field(0, ge=0)
    """First rounds in which the critic learns and the policy stays."""


class PtxConfig(Config):
    """Answers that are imitated beside the reward: preferred answers to benign questions, or to all."""

    weight: float = Field(0.1, gt=0)
    """Factor of their loss per token."""
    batch_size: int = Field(4, ge=1)
    """Answers of each optimiser step."""
    only_benign: bool = True
    """Whether only benign questions' answers are imitated."""


class ServerConfig(Config):
    """Rollouts from an OpenAI-compatible server that can load adapters while it runs, such as vLLM's."""

    kind: Literal["server"]
    base_url: str = Field(pattern=r"^https?://[^@?#\s]+$")
    """The server's address up to and including `/v1`."""
    adapter_name: str = Field("spavl-policy", pattern=r"^[\w.-]+$")
    """What the policy's adapter is called there."""
    api_key_env: str | None = None
    """Environment variable that holds the key."""
    timeout_s: float = Field(600.0, gt=0)
    """Seconds for one request."""
    concurrency: int = Field(16, ge=1)
    """Requests in flight."""


class LocalConfig(Config):
    """Rollouts in this process, many answers at a time."""

    kind: Literal["local"] = "local"
    batch_size: int = Field(16, ge=1)
    """Answers that are generated at once."""


class RlSettings(WeightSettings):
    """Reinforcement learning from rewards: rollouts of the policy, then updates, round after round."""

    method: Literal["ppo", "rloo", "grpo"]
    """`ppo` has a critic; `rloo` and `grpo` compare the answers to one prompt with each other."""
    reward: Annotated[tuple[RewardConfig, ...], Field(min_length=1)] = (JudgeRewardConfig(),)
    """The rewards whose weighted sum an answer is worth."""
    cost: CostConfig | None = None
    critic: CriticConfig = CriticConfig()
    ptx: PtxConfig | None = None
    rollouts: Annotated[LocalConfig | ServerConfig, Field(discriminator="kind")] = LocalConfig()
    kl: Annotated[FixedKlConfig | AdaptiveKlConfig, Field(discriminator="kind")] = FixedKlConfig()
    epochs: int = Field(1, ge=1)
    """Passes through the prompts."""
    rounds: int | None = Field(None, ge=1)
    """Most rounds in all; `null` for what `epochs` makes."""
    prompts_per_round: int = Field(8, ge=1)
    """Prompts of a round; where an epoch ends inside a round, the round is filled from the next epoch's order."""
    answers_per_prompt: int = Field(1, ge=1)
    """Answers to one prompt in a round; they share its picture and question in every pass. Two or more for `rloo` and
    `grpo`."""
    max_tokens: int = Field(128, ge=1)
    """Longest answer, in tokens."""
    temperature: float = Field(1.0, gt=0)
    """Of sampling; log-probabilities are those at this temperature, in training too."""
    no_end_penalty: float = Field(1.0, ge=0)
    """Taken from the scaled reward of an answer that its limit cut off before its end token."""
    no_end_rounds: int = Field(5, ge=1)
    """Rounds in a row without one answer that ends, after which training stops."""
    inner_epochs: int = Field(1, ge=1)
    """Passes of the update through a round's answers."""
    minibatch_size: int = Field(8, ge=1)
    """Answers of one optimiser step."""
    max_update_kl: float | None = Field(None, gt=0)
    """Nats a token by which a minibatch's policy may have moved since the rollout, as k3 of KL(then || now); beyond it
    the round's update ends. `null` never ends it."""
    clip: float = Field(0.2, gt=0, lt=1)
    """ε of the ratio."""
    discount: float = Field(1.0, ge=0, le=1)
    """γ."""
    smoothing: float = Field(0.95, ge=0, le=1)
    """λ of generalised advantage estimation; the paper's is 1."""
    whiten: bool = True
    """Whether a round's advantages are shifted and scaled to mean 0 and variance 1 (`ppo`)."""
    scale_rewards: bool = True
    """Whether rewards are divided by their running standard deviation."""
    centre_rewards: bool = True
    """Whether the first round's mean reward is taken from every reward: a reward model's zero means nothing, and
    rewards that all lie far from 0 would all be cut to the same."""
    reward_limit: float = Field(10.0, gt=0)
    """Largest reward, either way, once it is centred and scaled; `limited` in `metrics.jsonl` is the share that is cut
    to it."""
    learning_rate: float = Field(1e-6, gt=0)
    """The highest rate, reached after the warm-up; it then falls along half a cosine, a step a round."""
    warmup_steps: int = Field(0, ge=0)
    """Rounds of the warm-up."""
    save_every: int = Field(1, ge=1)
    """Rounds between two checkpoints. Rollouts are kept the moment they are there."""

    @model_validator(mode="after")
    def _groups_have_several(self) -> "RlSettings":
        if self.method != "ppo" and self.answers_per_prompt < 2:
            raise ValueError(
                f"answers_per_prompt: {self.answers_per_prompt}; {self.method} compares answers to one prompt: set 2 "
                "or more, or method=ppo"
            )
        return self

    @model_validator(mode="after")
    def _horizon_is_a_round_at_least(self) -> "RlSettings":
        answers = self.prompts_per_round * self.answers_per_prompt
        if self.kl.kind == "adaptive" and self.kl.horizon < answers:
            raise ValueError(
                f"kl.horizon: {self.kl.horizon} is less than the {answers} answers of a round (prompts_per_round x "
                f"answers_per_prompt); set {answers} or more, ten times as many to change slowly"
            )
        return self

    @model_validator(mode="after")
    def _no_dropout(self) -> "RlSettings":
        for lora in (self.lora, self.critic.lora):
            if lora is not None and lora.dropout:
                raise ValueError(
                    f"lora.dropout: {lora.dropout}; with dropout the policy that answers is not the one that is "
                    "updated; set 0"
                )
        return self

    @model_validator(mode="after")
    def _server_has_adapters(self) -> "RlSettings":
        beside = self.projector or self.vision_blocks
        if self.rollouts.kind == "server" and (self.lora is None or beside):
            raise ValueError(
                "rollouts.kind: a server is given the policy's adapter each round; train lora alone (no projector, no "
                "vision_blocks), or set rollouts.kind=local"
            )
        return self


class RlConfig(RlSettings):
    """Reinforcement learning of one model."""

    model: str
    """What the model to start from is called."""


def named_sources(settings: RlSettings) -> dict[str, RewardConfig]:
    """Returns field -> what says a reward or a cost, as a configuration's file names them."""
    named = {f"train.reward.{place}": source for place, source in enumerate(settings.reward)}
    return named | ({"train.cost.source": settings.cost.source} if settings.cost else {})


def judging_models(settings: RlSettings) -> dict[str, str]:
    """Returns field -> name of the model that a judge asks, of the judges that give rewards."""
    judges = {
        field: judges_model(source.judge)
        for field, source in named_sources(settings).items()
        if isinstance(source, JudgeRewardConfig)
    }
    return {f"{field}.judge.model": model for field, model in judges.items() if model is not None}
