"""Configuration of training: which weights are trained and how, whatever for, and how preferences are optimised."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from spavl.config_base import Config, NamedPath
from spavl.loss_config import PreferenceLossConfigs, SigmoidLossConfig
from spavl.tracker_config import TrackerName

NOT_IDENTITY = {
    "parallel": "how training is shared among processes changes nothing but rounding",
    "tokens_per_forward": "how a batch is cut changes nothing but rounding, yet a run that goes on with another cut is "
    "no longer bit for bit the run that was never stopped",
    "attention": "which kernel computes attention changes nothing but rounding, as with tokens_per_forward",
    "save_every": "how often the state is saved changes nothing in it",
    "trackers": "who is told of training changes nothing in it",
    "rollouts": "who samples, and how many answers at once, changes which are drawn, not what of; as with "
    "tokens_per_forward, a run that goes on otherwise is no longer bit for bit the run that was never stopped",
    "no_end_rounds": "when a training gives up changes nothing in it",
    "cache": "what is kept there is the same wherever it lies",
}
"""Training settings that may change between two attempts, and why."""


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


class WeightSettings(Config):
    """Which weights are trained, at what rate and precision, and within what memory, whatever they are trained for."""

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
    learning_rate: float = Field(2e-4, gt=0)
    """The highest rate, reached after the warm-up; it then falls along half a cosine."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's decay of weight matrices; vectors (norms, biases) have none."""
    warmup_steps: int = Field(5, ge=0)
    tokens_per_forward: int = Field(4096, ge=8)
    """Most tokens of one forward and backward, shared prompts counted once; fewer need less memory and change nothing
    but rounding. A picture's prompt with one pair has to fit."""
    attention: Literal["sdpa", "flex"] = "sdpa"
    """What computes attention over trees: `sdpa`, a call of torch's own kernel for each of a tree's nodes, or `flex`,
    one call of FlexAttention for all, compiled at its first use. `flex` is for `device: cuda` and changes nothing but
    rounding."""
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
    def _attention_goes_with_device(self) -> "WeightSettings":
        if self.attention == "flex" and self.device == "cpu":
            raise ValueError("attention: flex has no backward pass on the CPU; set attention: sdpa, or device: cuda")
        return self

    @model_validator(mode="after")
    def _rates_have_a_part(self) -> "WeightSettings":
        for name, trained in (("projector", self.projector), ("vision", self.vision_blocks != 0)):
            if getattr(self, f"{name}_learning_rate") is not None and not trained:
                switch = "projector: true" if name == "projector" else "vision_blocks to 1 or more, or all"
                raise ValueError(f"{name}_learning_rate is set, and the {name} is frozen; set {switch}, or remove it")
        return self


class PairSettings(WeightSettings):
    """What every training on preference pairs has."""

    max_benign_share: float = Field(1.0, ge=0, le=1)
    """Largest share of benign questions' pairs in training; those beyond it are left out, drawn by the seed."""
    epochs: int = Field(1, ge=1)
    batch_size: int = Field(8, ge=1)
    """Pairs of one optimiser step."""
    questions_per_tree: int | None = Field(None, ge=1)
    """Most questions about one picture that stay together in a step; `null` for all, 1 to draw them one by one."""
    parallel: Literal["replicate", "zero2", "zero3"] = "replicate"
    """What each of several processes (torchrun, accelerate launch) holds: `replicate` the whole model; with FSDP2
    `zero3` a part of weights, gradients and optimiser, `zero2` too, but weights stay whole through a pass."""


class TrainSettings(PairSettings):
    """How preferences are optimised, whatever the model."""

    method: Literal["dpo"] = "dpo"
    """What is trained: `dpo` aligns the model on the pairs themselves."""
    beta: float = Field(0.1, gt=0)
    """Strength of the pull towards the reference model (DPO, eq. 7)."""
    loss: PreferenceLossConfigs = (SigmoidLossConfig(),)
    """The losses whose weighted sum is minimised; alone `{kind: sigmoid}` is DPO as published. InternVL's mix (MPO) is
    `[{kind: sigmoid, weight: 0.8}, {kind: bco_pair, weight: 0.2}, {kind: sft}]`."""

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


class CostSettings(Config):
    """A second head on the same states: how harmful an answer is, learnt from the pairs' safety labels (Safe-RLHF)."""

    weight: float = Field(1.0, gt=0)
    """Factor of its loss beside the reward's."""


class RewardModelSettings(PairSettings):
    """A reward model, whatever it starts from: the model with a head that says how good an answer is."""

    method: Literal["reward"]
    """What is trained: `reward` a model that scores answers, for `ppo` to be aligned by."""
    safety_margin: float = Field(0.0, ge=0)
    """By how much more a safe answer should be worth than an unsafe one; other pairs are only put in order."""
    strength_margin: float = Field(0.0, ge=0)
    """By how much more the chosen answer should be worth for each unit of its `strength`, where a pair has one: the
    dataset's column of that name."""
    centring: float = Field(0.01, ge=0)
    """Strength with which a pair's scores are held around 0, which their difference alone does not."""
    answer_tokens: int | None = Field(None, ge=1)
    """Learn from the first tokens of answers alone, as many as the policy will be sampled with (its `max_tokens`),
    where those are few: a score is read at an answer's last token, and the head knows only such as it has learnt from.
    Pairs that begin alike are left out. `null` for whole answers."""
    zero_heads: bool = False
    """Whether heads begin at 0, so that every answer has the score 0 before the first step; drawn ones begin at noise,
    which is large where a model's last norm makes large states."""
    cost: CostSettings | None = None
    """A cost head beside the reward's; `null` for none. Its pairs need safety labels."""
    held_out_fraction: float = Field(0.1, ge=0, lt=1)
    """Share of the training pictures whose pairs are not learnt from but measured, with those of the validation
    split."""


class RewardModelConfig(RewardModelSettings):
    """A reward model made from one model."""

    model: str
    """A name from `models`, of kind `embedded` or `hf`."""


def answer_tokens(config: PairSettings) -> int | None:
    """Returns how many tokens of an answer are learnt from; None for all, as always but for some reward models."""
    return config.answer_tokens if isinstance(config, RewardModelSettings) else None
