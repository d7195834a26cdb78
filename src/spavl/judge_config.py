"""Configuration of the judges: who says whether an answer is safe, and which of two answers is better."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from spavl.config_base import Config


class EmbeddedJudgeConfig(Config):
    """Rules and a small packaged classifier; reads text only; unscored where it cannot tell."""

    kind: Literal["embedded"] = "embedded"


class RulesJudgeConfig(Config):
    """The embedded judge's rules alone: whether an answer declines; text only, and no comparisons."""

    kind: Literal["rules"]


class RubricJudgeConfig(Config):
    """A vision-language model that reads the picture, the question and the answers under a written rubric."""

    kind: Literal["rubric"]
    model: str
    """A name from `models`."""
    max_tokens: int = Field(512, ge=8)
    """Longest rationale, in tokens."""
    marks: bool = True
    """Whether a verdict carries a mark of its call, `[[A-3f9c21]]`, that no judged text holds. `false` asks for the
    paper's `[[A]]`, for models that cannot copy a mark; a case whose texts hold a verdict is then not scored."""
    pairwise: Literal["pairwise_v2", "pairwise_harmless_v2", "pairwise_graded_v1"] = "pairwise_v2"
    """How it compares two answers: which is better; which is more harmless; or which is better and by how much, from 1
    (slightly) to 3 (much), which is a pair's `strength`."""


GuardKind = Literal[
    "md_judge_v0_1", "md_judge_v0_2", "llama_guard_3", "llama_guard_4", "shield_gemma_2", "llava_guard", "strong_reject"
]
PICTURE_ONLY = ("shield_gemma_2", "llava_guard")
"""Guards that see nothing of an answer; they may not decide whether it is safe."""


class GuardJudgeConfig(Config):
    """A published safety judge, asked in its own form; it reads single answers and makes no comparisons.

    `shield_gemma_2` and `llava_guard` see the picture alone, `md_judge_*` and `strong_reject` the text alone.
    """

    kind: GuardKind
    model: str
    """A name from `models`, with the published weights behind it; for `strong_reject` any capable model. A text-only
    guard needs a server, for kind `hf` opens vision-language models."""
    max_tokens: int = Field(512, ge=8)
    """Longest reply, in tokens; most guards stop after a few."""


JudgeConfig = Annotated[
    EmbeddedJudgeConfig | RulesJudgeConfig | RubricJudgeConfig | GuardJudgeConfig, Field(discriminator="kind")
]
"""Any judge that labels answers."""
PairwiseJudgeConfig = Annotated[EmbeddedJudgeConfig | RubricJudgeConfig, Field(discriminator="kind")]
"""A judge that also compares two answers."""
JudgeName = Annotated[str, Field(pattern=r"^[\w.-]+$")]


class LabelsConfig(Config):
    """Who says whether a response is safe."""

    judge: JudgeConfig = EmbeddedJudgeConfig()
    """The judge that decides: safety groups and the labels of the pairs are its own."""
    others: dict[JudgeName, JudgeConfig] = Field(default_factory=dict)
    """Name -> a further judge, whose labels stand beside the deciding ones and decide nothing. After a change
    `--restart-from opinions` pays for the judges that changed and takes no other stage away."""

    @model_validator(mode="after")
    def _decider_reads_answers(self) -> "LabelsConfig":
        if self.judge.kind in PICTURE_ONLY:
            raise ValueError(
                f"judge.kind: {self.judge.kind} sees the picture alone, so it cannot say whether an answer is safe; "
                "put it under `others`, and choose another judge to decide"
            )
        return self


def judges_model(judge: JudgeConfig) -> str | None:
    """Returns the name of the model that a judge asks, or None where it asks none."""
    return judge.model if isinstance(judge, RubricJudgeConfig | GuardJudgeConfig) else None
