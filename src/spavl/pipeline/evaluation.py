"""An evaluation recipe's road: list samples, answer them, judge the answers, compare them, work out the figures."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from spavl.errors import NoUseError, UserError
from spavl.evaluate import Condition, Decoding, ask_models, hold_contests, judge_answers
from spavl.evaluate.contests import ContestResult
from spavl.evaluate.figures import EvaluationFigures, Material, evaluation_figures
from spavl.evaluate.human_labels import Compared, compared, draw_for_people, read_sheet, write_sheet
from spavl.evaluate.list_samples import FIXTURE, Coverage, list_samples
from spavl.evaluate.measures import Rules
from spavl.evaluate.outcomes import Judged, Readings, read_outcomes
from spavl.evaluate.pictures import ablated
from spavl.evaluate.scoring import SCORERS
from spavl.evaluate.verdicts import Scorers
from spavl.evaluation_config import Ablation, EvaluationConfig, can_compare
from spavl.judges import JudgeCard, open_judge, open_safety_judge
from spavl.models.ask import owe
from spavl.pipeline.evaluation_run import Evaluation, contest_stage, evaluation_stages, verdict_stage
from spavl.pipeline.overlap import overlap
from spavl.pipeline.related import related_judges
from spavl.pipeline.road import identity, judge_identity, model_identity, once
from spavl.records import Answer, Sample, Verdict
from spavl.store import Manifest
from spavl.store.files import write_atomically
from spavl.store.manifest import hash_file

SAFETY = ("harmlessness", "over_refusal")
"""Kinds of benchmarks that ablations are made of."""


class Evaluated(NamedTuple):
    """What an evaluation came to."""

    figures: EvaluationFigures
    manifests: dict[str, Manifest]
    results: Path
    material: Material
    """What the figures are made of."""
    answers: tuple[Answer, ...]
    judged: Mapping[str, Judged]
    """Judge -> what it said."""
    unfinished: Mapping[str, str] = MappingProxyType({})
    """`answers/MODEL`, or the stage of a judge, that was of no use -> why; its failures are counted, and the same
    command asks them again."""

    @property
    def samples(self) -> Sequence[Sample]:
        """What was asked."""
        return self.material.samples

    @property
    def readings(self) -> Readings:
        """What became of every answer, by the deciding judge."""
        return self.material.readings[self.figures.deciding]


def restart(evaluation: Evaluation, stage: str | None, *, rejudge: bool) -> None:
    """Removes a stage and those after it; to judge again is to keep the answers and remove what follows them.

    Stored replies that could not be read are forgotten, so they are asked again; what could be read is not, unless its
    judge's model has another `identity` now.

    Raises:
        UserError: There is no stage of that name.
    """
    stages = evaluation_stages(evaluation.config)
    if rejudge:
        evaluation.run.restart_from(stages[2], stages)
    if stage is not None:
        evaluation.run.restart_from(stage, stages)
    if rejudge or stage is not None:
        evaluation.models.store.forget_unread()


async def evaluate_models(evaluation: Evaluation) -> Evaluated:
    """Runs every stage that is not finished, and writes `results.json`.

    A model or a judge that is out of reach, cannot be opened or gives nothing ends nothing: its failures are counted,
    and the others' figures come out all the same.

    Raises:
        UserError: A benchmark's files or the sheet of labels are damaged, or no measured model can be opened.
        RunError: No measured model was of use, or the disk is full.
    """
    samples, listed = await list_all(evaluation)
    conditions = _conditions(evaluation, samples)
    answers, silent = await answer_all(evaluation, conditions)
    heard = {name: await _judge(evaluation, name, samples, answers) for name in _judges(evaluation.config)}
    held = {name: await _contest(evaluation, name, samples, answers) for name in _contested(evaluation)}
    config, sheet = evaluation.config, evaluation.config.human_labels
    asked = [
        (one.id, f"{model}{condition.name}")
        for model in config.measured
        for condition in conditions
        for one in condition.samples
    ]
    cards = {name: one.card for name, one in heard.items()}
    material = Material(
        cards={source.config.name: source.benchmark.card for source in evaluation.sources},
        samples=samples,
        coverage={name: Coverage.model_validate(one) for name, one in listed.facts["coverage"].items()},
        ablations={one.ablation: one.condition.samples for one in _ablations(evaluation, samples)},
        readings={name: read_outcomes(samples, asked, answers, one.judged) for name, one in heard.items()},
        judge_cards=cards,
        unfinished={name: one.trouble for name, one in heard.items() if one.trouble},
        silent=silent,
        contests={name: one.results for name, one in held.items()},
        people=read_sheet(sheet, _pairs(evaluation, samples, answers), config.seed) if sheet else {},
        box=config.judge_error,
        met=None if config.training is None else overlap(config.training, samples, evaluation.pictures),
        imported=evaluation.imported,
        related=_related(evaluation),
    )
    rules = Rules(config.measured[0], config.confidence, config.max_failed, config.force, config.margin, config.max_cut)
    figures = evaluation_figures(material, config.measured, rules)
    path = evaluation.run.path / "results.json"
    write_atomically(path, figures.model_dump_json(indent=1).encode() + b"\n")
    manifests = evaluation.run.manifests(evaluation_stages(config))
    troubles = {f"answers/{name}": why for name, why in silent.items()}
    troubles |= {verdict_stage(name): one.trouble for name, one in heard.items() if one.trouble}
    troubles |= {contest_stage(name): one.trouble for name, one in held.items() if one.trouble}
    judged = {name: one.judged for name, one in heard.items()}
    return Evaluated(figures, manifests, path, material, tuple(answers), judged, troubles)


async def sample_for_people(evaluation: Evaluation, number: int) -> tuple[Path, int]:
    """Writes a sheet of answers for people to judge, and returns where it lies and how many rows it has.

    Raises:
        UserError: There are no two models, or no harmful sample that two have answered.
        NoUseError: A model owes answers, so a sample would not be one of all.
    """
    samples, _ = await list_all(evaluation)
    answers, silent = await answer_all(evaluation, _conditions(evaluation, samples))
    for name, why in silent.items():
        raise NoUseError(f"--sample-for-people: the model {name} owes answers. {why}")
    pairs = _pairs(evaluation, samples, answers)
    if not pairs:
        raise UserError(
            "--sample-for-people: no harmful sample was answered by two models. Measure two, on a harmlessness "
            "benchmark."
        )
    path, pictures = evaluation.run.path / "for_people.csv", evaluation.pictures
    drawn = draw_for_people(pairs, number, evaluation.config.seed)
    shown = {
        pair.sample.image_id: str(pictures.path(pair.sample.image_id).relative_to(evaluation.run.path))
        for pair in drawn
        if pair.sample.own_picture
    }
    write_sheet(drawn, shown, evaluation.config.seed, path)
    return path, len(drawn)


def _related(evaluation: Evaluation) -> dict[str, tuple[str, ...]]:
    training, judges = evaluation.config.training, evaluation.config.judges
    if training is None:
        return {}
    return related_judges(training, {name: identity(_judge_settings(evaluation, name)) for name in judges})


def _pairs(evaluation: Evaluation, samples: Sequence[Sample], answers: Sequence[Answer]) -> list[Compared]:
    return compared(samples, answers, evaluation.config.measured)


async def list_all(evaluation: Evaluation) -> tuple[list[Sample], Manifest]:
    """Runs the listing station unless it is finished."""
    benchmarks = [
        one.config.model_dump(exclude={"path", "revision"}) | {"files": _files_digest(one.folder)}
        for one in evaluation.sources
    ]
    stage = evaluation.stage("samples", {"benchmarks": benchmarks, "seed": evaluation.config.seed})
    seed, pictures = evaluation.config.seed, evaluation.pictures
    manifest = await once(stage, lambda: list_samples(evaluation.sources, pictures, seed, stage))
    return stage.records(Sample), manifest


def _files_digest(folder: Path) -> str:
    """Returns what identifies a benchmark's files wherever they lie: their names and contents.

    Hidden files and what Python compiles come and go by themselves, and no reader reads them.
    """
    inside = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    lines = [f"{name} {hash_file(path)}" for name, path in inside.items() if name.name != FIXTURE and not _stray(name)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _stray(name: Path) -> bool:
    return name.suffix == ".pyc" or any(part.startswith(".") or part == "__pycache__" for part in name.parts)


class _Ablated(NamedTuple):
    ablation: Ablation
    condition: Condition


def _ablations(evaluation: Evaluation, samples: Sequence[Sample]) -> list[_Ablated]:
    kinds = {source.config.name: source.benchmark.card.kind for source in evaluation.sources}
    safety = [sample for sample in samples if kinds[sample.benchmark] in SAFETY]
    return [
        _Ablated(one, Condition(f"/{one}", *ablated(one, safety, evaluation.pictures, evaluation.config.seed)))
        for one in evaluation.config.ablations
    ]


def _conditions(evaluation: Evaluation, samples: Sequence[Sample]) -> list[Condition]:
    given = Condition("", samples, lambda sample: evaluation.show(sample.image_id))
    return [given, *(one.condition for one in _ablations(evaluation, samples) if one.condition.samples)]


class _Answered(NamedTuple):
    answers: list[Answer]
    silent: Mapping[str, str]
    """Model that was of no use -> why."""


async def answer_all(evaluation: Evaluation, conditions: Sequence[Condition]) -> _Answered:
    """Runs the answers station unless it is finished; what a model owes of an earlier attempt is asked again.

    Raises:
        SpavlError: What was wrong with the first model, where none was of use.
    """
    config = evaluation.config
    decoding = Decoding(config.max_tokens, config.sampling.temperature, config.sampling.top_p, config.seed)
    models = {name: model_identity(config.models, evaluation.models, name) for name in config.measured}
    settings = {"models": models, "ablations": config.ablations, **decoding._asdict()}
    stage = evaluation.stage("answers", settings, "samples")
    manifest = stage.manifest()
    if manifest is not None and manifest.facts.get("silent", {}):
        evaluation.run.reopen("answers", evaluation_stages(config))
        stage = evaluation.stage("answers", settings, "samples")

    async def station() -> Manifest:
        opened = {name: evaluation.models[name] for name in config.measured}
        asked = await ask_models(decoding, opened, conditions, stage)
        if len(asked.troubles) == len(opened):
            raise next(iter(asked.troubles.values()))
        return stage.finish(asked.items, {"silent": {name: str(error) for name, error in asked.troubles.items()}})

    manifest = await once(stage, station)
    return _Answered(stage.records(Answer), manifest.facts.get("silent", {}))


def _judges(config: EvaluationConfig) -> tuple[str, ...]:
    return (config.deciding, *(name for name in config.judges if name != config.deciding))


class _Heard(NamedTuple):
    """What a judge said, and why its stage stays open, where it does."""

    judged: Judged
    card: JudgeCard
    trouble: str = ""


class _Held(NamedTuple):
    """The contests of a model, and why their stage stays open, where it does."""

    results: Sequence[ContestResult]
    trouble: str = ""


async def _judge(evaluation: Evaluation, name: str, samples: Sequence[Sample], answers: Sequence[Answer]) -> _Heard:
    by_id = {sample.id: sample for sample in samples}
    stage = evaluation.stage(verdict_stage(name), _judge_settings(evaluation, name), "samples", "answers")
    manifest, trouble = stage.manifest(), ""
    if manifest is None:
        judge = open_safety_judge(evaluation.config.judges[name], evaluation.models)
        try:
            manifest = await judge_answers(judge, by_id, answers, evaluation.show, stage, _scorers(evaluation))
        except (UserError, NoUseError) as error:
            trouble = str(error)
            owe(stage, [answer.id for answer in answers], error)
    card = judge.card if manifest is None else JudgeCard.model_validate(manifest.facts["judge"])
    return _Heard(Judged(stage.records(Verdict), stage.failures()), card, trouble)


def _scorers(evaluation: Evaluation) -> Scorers:
    rules = {source.config.name: source.benchmark.card.scoring for source in evaluation.sources}
    return {name: SCORERS[rule] for name, rule in rules.items() if rule in SCORERS}


def _judge_settings(evaluation: Evaluation, name: str, *, compares: bool = False) -> dict[str, Any]:
    config, models = evaluation.config, evaluation.models
    return {"judge": judge_identity(config.models, models, config.judges[name], compares=compares)}


def _contested(evaluation: Evaluation) -> tuple[str, ...]:
    helpful = any(source.benchmark.card.kind == "helpfulness" for source in evaluation.sources)
    return evaluation.config.measured[1:] if helpful else ()


async def _contest(evaluation: Evaluation, model: str, samples: Sequence[Sample], answers: Sequence[Answer]) -> _Held:
    config, kinds = evaluation.config, {one.config.name: one.benchmark.card.kind for one in evaluation.sources}
    name = config.comparing
    compares = None if name is None else config.judges[name]
    if name is None or compares is None or not can_compare(compares):
        return _Held(())
    settings = _judge_settings(evaluation, name, compares=True)
    stage = evaluation.stage(contest_stage(model), settings, "samples", "answers")
    helpful = [sample for sample in samples if kinds[sample.benchmark] == "helpfulness"]
    by_model = [{one.sample_id: one for one in answers if one.model == which} for which in (config.measured[0], model)]

    async def station() -> Manifest:
        judge = open_judge(compares, evaluation.models)
        return await hold_contests(judge, helpful, by_model[0], by_model[1], evaluation.show, stage)

    trouble = ""
    try:
        await once(stage, station)
    except (UserError, NoUseError) as error:
        trouble = str(error)
    return _Held(stage.records(ContestResult), trouble)
