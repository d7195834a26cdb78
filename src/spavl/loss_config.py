"""Configuration of the preference losses, the entries of `train.loss`; `train.loss_formulas` has their formulas.

It imports nothing of spavl, for `config` imports it.
"""

from collections import Counter
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Need = Literal["reference", "safety", "corrupted", "shift"]
"""A field of `train.losses.LossInputs` that is filled only where a loss reads it."""


class LossConfig(BaseModel):
    """What every loss has."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
    needs: ClassVar[frozenset[Need]] = frozenset({"reference"})
    """What it reads beside the policy's log-probabilities and lengths."""

    weight: float = Field(1.0, gt=0)
    """Factor of this loss in the sum."""


class SigmoidLossConfig(LossConfig):
    """DPO as published; with label smoothing, conservative DPO."""

    kind: Literal["sigmoid"] = "sigmoid"
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """Share of pairs taken to be the wrong way round; it bounds how far a pair is driven apart (cDPO)."""


class RobustLossConfig(LossConfig):
    """Robust DPO: its expectation under flipped labels is DPO's under clean ones."""

    kind: Literal["robust"] = "robust"
    label_smoothing: float = Field(0.1, ge=0, lt=0.5)
    """Share of pairs taken to be the wrong way round."""


class IpoLossConfig(LossConfig):
    """Identity preference optimisation: a squared distance to the margin 1/(2 `train.beta`) per token."""

    kind: Literal["ipo"] = "ipo"


class HingeLossConfig(LossConfig):
    """DPO's margin under a hinge: a pair told apart by 1 is left alone."""

    kind: Literal["hinge"] = "hinge"


class SimpoLossConfig(LossConfig):
    """Simple preference optimisation: log-probability per token, no reference model."""

    needs = frozenset()

    kind: Literal["simpo"] = "simpo"
    beta: float = Field(2.0, gt=0)
    """Its own β in place of `train.beta`, for it multiplies means per token, not sums."""
    gamma: float = Field(1.0, ge=0)
    """Margin by which the chosen answer's reward should be the greater one."""


class BcoPairLossConfig(LossConfig):
    """Binary classifier optimisation: each answer by itself above or below the running mean of rewards."""

    needs = frozenset({"reference", "shift"})

    kind: Literal["bco_pair"] = "bco_pair"


class SftLossConfig(LossConfig):
    """The chosen answer's own loss per token: keeps it likely while the pair is told apart."""

    needs = frozenset()

    kind: Literal["sft"] = "sft"


class SafeDpoLossConfig(LossConfig):
    """SafeDPO: every pair put in order of safety first, for this loss and those beside it, and a safety margin."""

    needs = frozenset({"reference", "safety"})

    kind: Literal["safe_dpo"] = "safe_dpo"
    margin: float = Field(10.0, ge=0)
    """Δ: how much the reward of a safe answer should exceed that of an unsafe one."""
    both_unsafe: Literal["drop", "keep"] = "drop"
    """What becomes of pairs of two unsafe answers: `drop` as in the paper, `keep` in the order of preference."""


class MdpoLossConfig(LossConfig):
    """Multimodal DPO: DPO, a preference for the true image over a corrupted one, and an anchor."""

    needs = frozenset({"reference", "corrupted"})

    kind: Literal["mdpo"] = "mdpo"
    anchor: float = 0.0
    """δ: the chosen answer's reward is pushed above it."""


PreferenceLossConfig = Annotated[
    SigmoidLossConfig
    | RobustLossConfig
    | IpoLossConfig
    | HingeLossConfig
    | SimpoLossConfig
    | BcoPairLossConfig
    | SftLossConfig
    | SafeDpoLossConfig
    | MdpoLossConfig,
    Field(discriminator="kind"),
]


def _compatible(losses: tuple[PreferenceLossConfig, ...]) -> tuple[PreferenceLossConfig, ...]:
    kinds = Counter(loss.kind for loss in losses)
    twice = [kind for kind, count in kinds.items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]} stands in it {kinds[twice[0]]} times; give each kind once and add up its weights")
    if {"mdpo", "safe_dpo"} <= set(kinds):
        raise ValueError(
            "mdpo and safe_dpo exclude each other: mdpo reads the chosen answer under a corrupted image, and safe_dpo "
            "may make the other answer the chosen one; take one of them"
        )
    return losses


PreferenceLossConfigs = Annotated[tuple[PreferenceLossConfig, ...], Field(min_length=1), AfterValidator(_compatible)]
