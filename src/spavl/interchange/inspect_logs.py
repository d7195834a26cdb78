"""An evaluation as logs of Inspect (`.eval`), which its viewer, its readers and its data frames open.

A log is one model on one benchmark; each judge is a score of each sample. What has no verdict is unscored there, so it
stands in no mean; the figures are our own, interval and bounds included. Inspect's viewer shows pictures as they are,
so they are left out unless asked for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalError,
    EvalLog,
    EvalMetric,
    EvalResults,
    EvalSample,
    EvalScore,
    EvalSpec,
    EvalStats,
    write_eval_log,
)
from inspect_ai.model import GenerateConfig, ModelOutput
from inspect_ai.scorer import Score

from spavl import __version__
from spavl.evaluate.figures import JudgeFigures
from spavl.evaluate.measures import ModelFigure
from spavl.evaluate.outcomes import Judged
from spavl.evaluate.pictures import ablated
from spavl.evaluate.verdicts import BY_RULE, METRICS
from spavl.evaluation_config import Ablation, EvaluationConfig
from spavl.interchange.inspect_messages import as_output, data_uri, user_message
from spavl.interchange.inspect_scorer import scored, unscored
from spavl.models.base import Completion, ImageInput
from spavl.pipeline.evaluation import Evaluated
from spavl.records import Answer, Failure, Sample, Verdict, content_id
from spavl.store import ImageStore
from spavl.store.files import disk_errors_named, make_folder

RATE = ("value", "low", "high", "lowest", "highest")
"""Figures of a rate, by the names that they have in `results.json`."""
NO_ANSWER = Failure(reason="answer_failed", message="the model gave no answer")


Show = Callable[[Sample], ImageInput | None]


class _Wanted(NamedTuple):
    """One log: a benchmark's samples under one condition, and the figures of one model on them."""

    benchmark: str
    asked: str
    """The model's name, with `/ablation` where its pictures were taken away."""
    samples: list[Sample]
    figures: Mapping[str, ModelFigure]
    """Name of a score -> its figure."""
    show: Show
    """What the model saw of a sample; nothing where pictures are not wanted."""
    ablation: str = ""


class _Said(NamedTuple):
    verdicts: Mapping[str, Verdict]
    failures: Mapping[str, Failure]


def write_inspect_logs(done: Evaluated, config: EvaluationConfig, folder: Path, *, pictures: bool) -> list[Path]:
    """Writes a log for each model on each benchmark, and for each of its ablations.

    Args:
        done: The evaluation.
        config: Its recipe.
        folder: Where the logs go.
        pictures: Whether the pictures that the models saw go into them, not blurred.

    Raises:
        RunError: The disk is full.
    """
    make_folder(folder)
    answers = {(one.sample_id, one.model): one for one in done.answers}
    said = {name: _said(one) for name, one in done.judged.items()}
    shown = _Shown(ImageStore(config.run / "pictures") if pictures else None, config.seed)
    paths = []
    for wanted in _wanted(done, shown):
        samples = [_sample(one, answers.get((one.id, wanted.asked)), said, wanted) for one in wanted.samples]
        path = folder / f"{wanted.benchmark}_{wanted.asked.replace('/', '_')}.eval"
        with disk_errors_named(path):
            write_eval_log(_log(wanted, samples, done, config), path)
        paths.append(path)
    return paths


class _Shown(NamedTuple):
    """Where the pictures lie; without a store none is shown."""

    store: ImageStore | None
    seed: int

    def given(self, sample: Sample) -> ImageInput | None:
        if self.store is None or not sample.image_id:
            return None
        return ImageInput(sha256=sample.image_id, path=self.store.path(sample.image_id))

    def under(self, ablation: Ablation, samples: Sequence[Sample]) -> Show:
        return (lambda sample: None) if self.store is None else ablated(ablation, samples, self.store, self.seed)[1]


def _said(judged: Judged) -> _Said:
    return _Said({one.answer_id: one for one in judged.verdicts}, judged.failures)


def _wanted(done: Evaluated, pictures: _Shown) -> Iterator[_Wanted]:
    figures, material = done.figures, done.material
    for benchmark in material.cards:
        asked = [one for one in material.samples if one.benchmark == benchmark]
        for model in figures.models:
            yield _Wanted(benchmark, model, asked, dict(_whole(figures.judges, benchmark, model)), pictures.given)
            for ablation, samples in material.ablations.items():
                shown = [one for one in samples if one.benchmark == benchmark]
                found = dict(_ablated(figures.judges, benchmark, model, ablation))
                show = pictures.under(ablation, samples)
                if shown:
                    yield _Wanted(benchmark, f"{model}/{ablation}", shown, found, show, ablation)


def score_name(judge: str, metric: str) -> str:
    """Returns what a score is called: the judge and its metric; rules say the same for every judge."""
    return f"rule: {metric}" if metric in BY_RULE else f"{judge}: {metric}"


def _whole(judges: Mapping[str, JudgeFigures], benchmark: str, model: str) -> Iterator[tuple[str, ModelFigure]]:
    for judge, found in judges.items():
        for one in found.measures.whole:
            if one.benchmark == benchmark:
                yield score_name(judge, one.metric), one.models[model]


def _ablated(
    judges: Mapping[str, JudgeFigures], benchmark: str, model: str, ablation: str
) -> Iterator[tuple[str, ModelFigure]]:
    for judge, found in judges.items():
        for one in found.ablations:
            if (one.benchmark, one.model, one.ablation) == (benchmark, model, ablation):
                yield score_name(judge, one.metric), one.figure


def _sample(sample: Sample, answer: Answer | None, said: Mapping[str, _Said], wanted: _Wanted) -> EvalSample:
    picture = wanted.show(sample)
    asked = user_message(sample.prompt, None if picture is None else data_uri(picture))
    output = ModelOutput(model=wanted.asked)
    if answer is not None:
        output = as_output(wanted.asked, Completion(text=answer.text, finish=answer.finish))
    metric = METRICS[sample.expect]
    return EvalSample(
        id=sample.id,
        epoch=1,
        input=[asked],
        choices=list(sample.choices) or None,
        target=list(sample.references),
        messages=[asked, *(one.message for one in output.choices)],
        output=output,
        scores={score_name(judge, metric): _score(answer, one) for judge, one in said.items()},
        metadata={
            name: getattr(sample, name) for name in ("row", "subset", "category", "unit", "image_id", "expect", "note")
        },
        error=None if answer else EvalError(message=NO_ANSWER.message, traceback="", traceback_ansi=""),
    )


def _score(answer: Answer | None, said: _Said) -> Score:
    if answer is None:
        return unscored(NO_ANSWER, "")
    verdict = said.verdicts.get(answer.id)
    return unscored(said.failures[answer.id], answer.text) if verdict is None else scored(verdict, answer.text)


def _log(wanted: _Wanted, samples: list[EvalSample], done: Evaluated, config: EvaluationConfig) -> EvalLog:
    now, run = datetime.now(UTC).isoformat(timespec="seconds"), content_id("run", str(config.run), config.seed)
    card = done.material.cards[wanted.benchmark]
    spec = EvalSpec(
        run_id=run,
        eval_id=content_id("eval", run, wanted.benchmark, wanted.asked),
        created=now,
        task=f"spavl/{wanted.benchmark}",
        task_id=content_id(
            "task", wanted.benchmark, wanted.asked
        ),  # of logs that share one, the viewer hides all but one
        dataset=EvalDataset(
            name=card.title, location=card.source, samples=len(samples), sample_ids=[one.id for one in wanted.samples]
        ),
        task_args={"shown": wanted.ablation} if wanted.ablation else {},
        model=wanted.asked,
        model_generate_config=GenerateConfig(
            max_tokens=config.max_tokens,
            temperature=config.sampling.temperature,
            top_p=config.sampling.top_p,
            seed=config.seed,
        ),
        config=EvalConfig(),
        packages={"spavl": __version__},
        metadata={
            "data_origin": done.figures.data_origin[wanted.benchmark],
            "licence": card.licence,
            "metric": card.metric,
            "baseline": done.figures.baseline,
            "deciding_judge": done.figures.deciding,
            "confidence": config.confidence,
            "judges": {name: found.card.model_dump(mode="json") for name, found in done.figures.judges.items()},
        },
    )
    answered = sum(one.error is None for one in samples)
    results = EvalResults(
        total_samples=len(samples),
        completed_samples=answered,
        scores=[_eval_score(name, figure) for name, figure in wanted.figures.items()],
    )
    stats = EvalStats(started_at=now, completed_at=now)
    log = EvalLog(status="success", eval=spec, results=results, stats=stats, samples=samples)
    why = done.figures.silent.get(wanted.asked.partition("/")[0])
    if why is None:
        return log
    trouble = EvalError(message=why, traceback="", traceback_ansi="")
    return log.model_copy(update={"status": "error", "error": trouble})


def _eval_score(name: str, figure: ModelFigure) -> EvalScore:
    rate: dict[str, Any] = figure.rate.model_dump()
    told = {key: EvalMetric(name=key, value=rate[key]) for key in RATE if rate[key] is not None}
    return EvalScore(
        name=name,
        scorer=name,
        scored_samples=figure.rate.n,
        unscored_samples=figure.rate.unscored,
        metrics=told,
        metadata={"outcomes": dict(figure.outcomes), "flags": list(figure.flags), "cut": figure.cut},
    )
