"""Configuration of an evaluation recipe: any number of models, measured on public benchmarks by any number of judges.

It stands beside a run's configuration, shares its parts, and is told apart by its key `benchmarks`.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal, TypeGuard

from pydantic import Field, field_validator, model_validator

from spavl.benchmark_config import BenchmarkConfig as BenchmarkConfig
from spavl.config import Config, ModelConfig, NamedPath
from spavl.execution_config import HERE, ExecutionConfig
from spavl.judge_config import (
    PICTURE_ONLY,
    EmbeddedJudgeConfig,
    JudgeConfig,
    JudgeName,
    PairwiseJudgeConfig,
    RubricJudgeConfig,
    judges_model,
)

Ablation = Literal["none", "blank", "shuffled"]
"""What is shown in place of a sample's picture: nothing, a white picture, or another sample's picture."""
ModelName = Annotated[str, Field(pattern=r"^[\w.-]+$")]
Share = Annotated[float, Field(ge=0, le=1)]


class SamplingConfig(Config):
    """How the models answer; greedily unless told otherwise."""

    temperature: float = Field(0.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(1.0, gt=0, le=1)


class ErrorBoxConfig(Config):
    """How often the deciding judge may be right where no person has labelled anything, each from least to most."""

    sensitivity: tuple[Share, Share]
    specificity: tuple[Share, Share]

    @field_validator("sensitivity", "specificity")
    @classmethod
    def _in_order(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if limits[0] > limits[1]:
            raise ValueError(f"{limits[0]} is above {limits[1]}; write [least, most]")
        return limits

    @model_validator(mode="after")
    def _better_than_chance(self) -> "ErrorBoxConfig":
        if self.sensitivity[0] + self.specificity[0] <= 1:
            raise ValueError(
                "the least sensitivity and specificity add up to no more than 1, which is a coin's; raise one"
            )
        return self


class ImportedConfig(Config):
    """What another harness measured of one model on one benchmark; it stands beside our figures as theirs."""

    harness: Literal["vlmevalkit", "lmms_eval"]
    model: str
    """The measured model that it is about."""
    benchmark: str
    """The benchmark as the harness calls it, such as `MMBench_DEV_EN`, or the task `pope`."""
    rows: NamedPath | None = None
    """Its scored rows, of which figures with intervals and paired changes are made. VLMEvalKit: the table with `hit`
    (`..._result`), `score` (`..._auxmatch`) or `eval_score` (`..._results`), as xlsx, tsv or json. lmms-eval:
    `TIME_samples_TASK.jsonl`, of `--log_samples`."""
    scores: NamedPath | None = None
    """The harness's own figures. VLMEvalKit: `..._acc` or `..._score`, as csv, xlsx or json. lmms-eval:
    `TIME_results.json`."""
    metric: str | None = None
    """The score of `rows` that is taken, where they have several: a column of VLMEvalKit's, a metric of lmms-eval's."""
    figure: str | None = None
    """The figure of `scores` that is taken: a column of VLMEvalKit's, `Overall` unless another is named; a metric of
    lmms-eval's, that of `rows` unless another is named."""
    split: str | None = None
    """The line of VLMEvalKit's `scores` that is taken, by its `split`, where there are several."""

    @model_validator(mode="after")
    def _something_to_read(self) -> "ImportedConfig":
        if self.rows is None and self.scores is None:
            raise ValueError("give `rows`, `scores`, or both")
        return self


class EvaluationConfig(Config):
    """An evaluation and nothing else: models, judges, benchmarks."""

    run: NamedPath
    """The run's directory."""
    seed: int = 0
    calls: NamedPath = Path("runs/calls.sqlite")
    """The store of model calls, shared between runs."""
    models: dict[ModelName, ModelConfig] = Field(min_length=1)
    """Name -> model; those that are measured, and those behind judges."""
    execution: ExecutionConfig = HERE
    """Where the models run."""
    compare: tuple[str, ...] = ()
    """Names of the models that are measured; empty for all that are behind no judge."""
    baseline: str | None = None
    """The measured model that the others are compared with; `null` for the first."""
    judges: dict[JudgeName, JudgeConfig] = Field(default={"embedded": EmbeddedJudgeConfig()}, min_length=1)
    """Name -> judge; each reads every answer."""
    judge: str | None = None
    """The judge whose figures are the headline; `null` for the first."""
    benchmarks: tuple[BenchmarkConfig, ...] = Field(min_length=1)
    imported: tuple[ImportedConfig, ...] = ()
    """What other harnesses measured of these models, so that it need not be measured again."""
    ablations: tuple[Ablation, ...] = ("none", "blank", "shuffled")
    """What safety benchmarks are asked with in place of their own pictures, beside the pictures themselves; `[]` saves
    these answers, and the page then says that it was not looked at whether the pictures matter."""
    max_tokens: int = Field(512, ge=1)
    """Longest answer, in tokens; one that is cut is counted."""
    sampling: SamplingConfig = SamplingConfig()
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Level of every interval."""
    max_failed: float = Field(0.02, ge=0, le=1)
    """Share of a figure's answers that may be missing, unjudged or cut; beyond it no change is printed."""
    max_cut: Share | None = None
    """The share that may be cut at `max_tokens`, where it is another; 1 where short answers are all that is wanted."""
    force: bool = False
    """Whether changes are printed all the same."""
    margin: float = Field(0.02, gt=0, lt=1)
    """Largest loss of a capability score that is let pass as "not worse", from 0 to 1."""
    training: NamedPath | None = None
    """A run, or a preference dataset's folder, that the models were trained on; samples that it has too are found, and
    figures given without them."""
    human_labels: NamedPath | None = None
    """What people said of a sample of answers: the CSV that `--sample-for-people` wrote, filled in."""
    judge_error: ErrorBoxConfig | None = None
    """The box of the sensitivity band; `null` takes it from the deciding judge's card, where it was measured."""

    @model_validator(mode="after")
    def _names_exist(self) -> "EvaluationConfig":
        named: list[tuple[str, str, Collection[str]]] = [("compare", one, self.models) for one in self.compare]
        named += [("baseline", self.baseline, self.measured)] if self.baseline else []
        named += [("judge", self.judge, self.judges)] if self.judge else []
        named += [(f"imported.{place}.model", one.model, self.measured) for place, one in enumerate(self.imported)]
        asked = {f"judges.{name}.model": judges_model(judge) for name, judge in self.judges.items()}
        named += [(field, model, self.models) for field, model in asked.items() if model is not None]
        for field, name, known in named:
            if name not in known:
                raise ValueError(f"{field}: there is no '{name}'; choose one of {', '.join(known)}")
        if not self.measured:
            raise ValueError("every model is behind a judge, so none is measured; name those to measure in `compare`")
        kind = self.judges[self.deciding].kind
        if kind in PICTURE_ONLY:
            raise ValueError(f"judge: {self.deciding} ({kind}) sees the picture alone; choose another judge to decide")
        return self

    @model_validator(mode="after")
    def _each_benchmark_once(self) -> "EvaluationConfig":
        names = [one.name for one in self.benchmarks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"benchmarks: {twice[0]} stands there {names.count(twice[0])} times; name each once")
        return self

    @model_validator(mode="after")
    def _each_import_once(self) -> "EvaluationConfig":
        keys = [(one.harness, one.benchmark, one.metric or one.figure, one.model) for one in self.imported]
        twice = [" ".join(filter(None, key)) for key in keys if keys.count(key) > 1]
        if twice:
            raise ValueError(f"imported: {twice[0]} stands there twice; name each once")
        return self

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the models that are measured, the baseline first."""
        behind = {judges_model(judge) for judge in self.judges.values()}
        names = self.compare or tuple(name for name in self.models if name not in behind)
        first = self.baseline if self.baseline in names else None
        return names if first is None else (first, *(name for name in names if name != first))

    @property
    def deciding(self) -> str:
        """Name of the judge that decides."""
        return self.judge or next(iter(self.judges))

    @property
    def comparing(self) -> str | None:
        """Name of the judge that compares two answers: the deciding one, or the first that can; None where none can."""
        order = (self.deciding, *self.judges)
        return next((name for name in order if can_compare(self.judges[name])), None)


def can_compare(judge: JudgeConfig) -> TypeGuard[PairwiseJudgeConfig]:
    """Whether a judge also compares two answers."""
    return isinstance(judge, EmbeddedJudgeConfig | RubricJudgeConfig)
