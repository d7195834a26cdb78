"""Reads a finished run into one frozen value; everything else in the report is a function of it.

It opens no model and changes nothing in the run.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from spavl.config import RlConfig, RunConfig
from spavl.dataset import DatasetRow
from spavl.errors import UserError
from spavl.evaluate import ContestResult, EvaluationResults, evaluation_results
from spavl.evaluate.figures import EvaluationFigures
from spavl.judges.base import JudgeCard
from spavl.judges.refusal import loops
from spavl.pipeline.public import lacking, public_recipe, public_results
from spavl.pipeline.road import ALL_STAGES, BUILD_STAGES, OPINIONS, REWARD, SFT, STAGES, TRAININGS
from spavl.preferences import safety_groups
from spavl.questions import Leakage, kept_questions
from spavl.records import (
    Answer,
    ImageRecord,
    Judgment,
    PreferencePair,
    Question,
    Response,
    SafetyLabel,
    Sample,
    Verdict,
)
from spavl.report.beside import Beside, read_beside
from spavl.report.examples import ExampleKind, choose_examples
from spavl.report.judging import Judging, tally_judging
from spavl.report.opinions import JudgeLabels, Opinions, tally_opinions
from spavl.report.rounds import RewardModel, Round, read_rounds, reward_model
from spavl.report.tallies import (
    DomainCoverage,
    PairTallies,
    PictureSource,
    Responder,
    tally_coverage,
    tally_pairs,
    tally_responders,
    tally_sources,
)
from spavl.store import Manifest, RunDirectory
from spavl.store.manifest import read_manifest
from spavl.taxonomy import Taxonomy, load_taxonomy


class TrainingStep(BaseModel):
    """One line of the training log: means over a step's pairs; None where SafeDPO left out all of them."""

    model_config = ConfigDict(frozen=True)

    step: int
    loss: float
    reward_margin: float | None
    accuracy: float | None
    chosen_logprob: float | None
    rejected_logprob: float | None
    chosen_shift: float | None
    """Chosen log-probability minus the reference's; None also where no loss reads the reference."""
    chosen_falling: bool
    """Whether the alarm for preferred answers that become less likely was on."""
    tokens: int
    seconds: float
    margins_by_length: Mapping[str, float | None] = {}
    """Chosen answer `shorter` than the rejected one, `alike` or `longer` -> reward margin."""
    pairs_by_length: Mapping[str, int] = {}
    """The same -> pairs; empty in a log that does not say."""


class CaptionCounts(BaseModel):
    """Pictures of one leaf, and how many of them keep their source's caption though a model was asked for one."""

    model_config = ConfigDict(frozen=True)

    pictures: int
    source_captions: int


class DatasetStatistics(NamedTuple):
    """How the dataset was made and what is in it."""

    coverage: tuple[DomainCoverage, ...]
    uncovered: tuple[str, ...]
    """Names of the leaves without a picture."""
    sources: tuple[PictureSource, ...]
    source_captions: Mapping[str, CaptionCounts]
    """Leaf -> pictures, and those that keep their source's caption; empty where no model wrote captions."""
    leakage: tuple[Leakage, ...]
    responders: tuple[Responder, ...]
    endings: Mapping[str, Mapping[str, int]]
    """Responder -> how its answers ended, or why there is none -> answers; empty in runs of before it was counted."""
    judge: JudgeCard
    """The judge that labelled the responses."""
    opinions: Opinions | None
    """What all judges of the responses say; None where only one was asked."""
    judging: Judging
    pairs: PairTallies
    splits: Mapping[str, int]
    """Split -> preference pairs."""


class Built(NamedTuple):
    """A finished dataset, and how it was made."""

    path: Path
    config: RunConfig
    taxonomy: Taxonomy
    manifests: Mapping[str, Manifest]
    """Station of the build -> manifest, in the order of the road."""
    dataset: DatasetStatistics


class TrainedOn(NamedTuple):
    """What the model was trained on."""

    pairs: int
    benign_left_out: int
    """Benign pairs of the training split beyond `train.max_benign_share`."""


class Looping(NamedTuple):
    """Answers that say the same over and over, whatever a judge finds of what they say."""

    looping: int
    answers: int


class Evaluation(NamedTuple):
    """What was measured, by whom, and examples to look at."""

    results: EvaluationResults
    judge: JudgeCard
    examples: tuple[ExampleKind, ...]
    looping: Mapping[str, Looping]
    """Model (`before`, `after`) -> its answers, and those that say the same over and over."""


class ReportData(NamedTuple):
    """Everything a report says."""

    path: Path
    config: RunConfig
    taxonomy: Taxonomy
    manifests: Mapping[str, Manifest]
    """Station -> manifest, in the order of the road."""
    dataset: DatasetStatistics
    trained_on: TrainedOn
    steps: tuple[TrainingStep, ...]
    """Empty where the training log is gone, and where the model was trained by rewards."""
    evaluation: Evaluation
    rounds: tuple[Round, ...] = ()
    """Of a training by rewards; empty where its log is gone."""
    reward_model: RewardModel | None = None
    """What the run's reward model is worth; None where there is none."""
    beside: Beside | None = None
    """Another run's figures; None where none is named."""
    public: EvaluationFigures | None = None
    """On public benchmarks; None where none was asked for or at hand."""
    lacking: Mapping[str, str] = MappingProxyType({})
    """Public benchmark that was asked for and is not at hand -> how to get it."""


def gather(run: RunDirectory, config: RunConfig) -> ReportData:
    """Reads a finished run.

    Raises:
        UserError: A station is not finished.
    """
    asked = ((OPINIONS, config.labels.others), (SFT, config.sft), (REWARD, config.reward))
    extra = [name for name, there in asked if there]
    manifests = _manifests(run, (*STAGES, *extra))
    taxonomy = load_taxonomy(config.taxonomy)
    images = run.shelf("images", ImageRecord)
    facts, log = manifests["train"].facts, run.path / "train" / "metrics.jsonl"
    rewarded = isinstance(config.train, RlConfig)
    evaluation = _evaluation(run, config, manifests, images)
    confidence = config.evaluate.confidence
    return ReportData(
        path=run.path,
        config=config,
        taxonomy=taxonomy,
        manifests=manifests,
        dataset=_dataset(run, config, taxonomy, manifests, images),
        trained_on=TrainedOn(facts["pairs"], facts.get("benign_pairs_left_out", 0)),
        steps=() if rewarded else _training_steps(log),
        evaluation=evaluation,
        rounds=read_rounds(log) if rewarded else (),
        reward_model=reward_model(manifests[REWARD].facts) if REWARD in manifests else None,
        beside=read_beside(run.path, config.beside, evaluation.judge.name, confidence) if config.beside else None,
        public=_public(run.path, config),
        lacking=lacking(config),
    )


def gather_dataset(run: RunDirectory, config: RunConfig) -> Built:
    """Reads a run whose dataset is finished.

    Raises:
        UserError: A station of the build is not finished.
    """
    manifests = _manifests(run, (*BUILD_STAGES, *([OPINIONS] if config.labels.others else [])))
    taxonomy = load_taxonomy(config.taxonomy)
    dataset = _dataset(run, config, taxonomy, manifests, run.shelf("images", ImageRecord))
    return Built(run.path, config, taxonomy, manifests, dataset)


def _public(run: Path, config: RunConfig) -> EvaluationFigures | None:
    if public_recipe(config) is None:
        return None
    path = public_results(run)
    if not path.exists():
        raise UserError(
            f"The report needs what the models do on `evaluate.public_benchmarks`, and {path} is not there. "
            "Run `spavl evaluate CONFIG` with the run's configuration first."
        )
    try:
        return EvaluationFigures.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(
            f"{path} is damaged, or another version of spavl wrote it. Work its figures out again: `spavl evaluate "
            "CONFIG --restart-from samples` asks nothing that was answered before."
        ) from error


def _dataset(
    run: RunDirectory,
    config: RunConfig,
    taxonomy: Taxonomy,
    manifests: Mapping[str, Manifest],
    images: Mapping[str, ImageRecord],
) -> DatasetStatistics:
    responses = run.shelf("responses", Response)
    pairs = run.shelf("preferences", PreferencePair).values()
    labels = run.shelf("labels", SafetyLabel, by="response_id")
    groups = safety_groups(manifests["labels"].facts["safe_rates"], config.preferences.groups)
    covered = {image.leaf for image in images.values()}
    judge = JudgeCard.model_validate(manifests["labels"].facts["judge"])
    splits = Counter(row.split for row in run.each("dataset", DatasetRow))
    return DatasetStatistics(
        coverage=tally_coverage(taxonomy, images.values(), kept_questions(run).values(), pairs),
        uncovered=tuple(leaf.name for leaf in taxonomy.leaves if leaf.path not in covered),
        sources=tally_sources(images.values()),
        source_captions={
            leaf: CaptionCounts.model_validate(one)
            for leaf, one in manifests["captions"].facts.get("by_leaf", {}).items()
        },
        leakage=tuple(Leakage.model_validate(one) for one in manifests["checked_questions"].facts["leakage"]),
        responders=tally_responders(responses.values(), labels, groups, pairs),
        judge=judge,
        opinions=_opinions(run, manifests, JudgeLabels(judge.name, judge, labels)),
        endings=manifests["responses"].facts.get("outcomes_by_responder", {}),
        judging=tally_judging(run.each("judgments", Judgment), responses, manifests["preferences"].counts),
        pairs=tally_pairs(pairs),
        splits={split: splits[split] for split in ("train", "validation")},
    )


def _opinions(
    run: RunDirectory,
    manifests: Mapping[str, Manifest],
    deciding: JudgeLabels,
) -> Opinions | None:
    if OPINIONS not in manifests:
        return None
    benign = {one.id for one in run.each("questions", Question) if not one.question_type.harmful}

    def labels_of(judge: str) -> Mapping[str, SafetyLabel]:
        return run.shelf(OPINIONS, SafetyLabel, by="response_id", keep=lambda label: label["judge"] == judge)

    others = [
        JudgeLabels(name, JudgeCard.model_validate(card), labels_of(name))
        for name, card in manifests[OPINIONS].facts["judges"].items()
    ]
    harmful = run.shelf("responses", Response, keep=lambda response: response["question_id"] not in benign)
    return tally_opinions([deciding, *others], harmful.values())


def _evaluation(
    run: RunDirectory, config: RunConfig, manifests: Mapping[str, Manifest], images: Mapping[str, ImageRecord]
) -> Evaluation:
    samples = run.records("samples", Sample)
    answers = run.records("answers", Answer)
    verdicts = run.records("verdicts", Verdict)
    contests = run.records("contests", ContestResult)
    return Evaluation(
        results=evaluation_results(samples, answers, verdicts, contests, config.evaluate.confidence),
        judge=JudgeCard.model_validate(manifests["verdicts"].facts["judge"]),
        examples=choose_examples(samples, answers, verdicts, images, config.seed),
        looping=_looping(answers),
    )


def _looping(answers: Sequence[Answer]) -> dict[str, Looping]:
    texts: dict[str, list[str]] = {}
    for answer in answers:
        texts.setdefault(answer.model, []).append(answer.text)
    return {model: Looping(sum(map(loops, said)), len(said)) for model, said in texts.items()}


def _manifests(run: RunDirectory, stations: Collection[str]) -> dict[str, Manifest]:
    return {station: _manifest(run, station) for station in ALL_STAGES if station in stations}


def _manifest(run: RunDirectory, station: str) -> Manifest:
    manifest = read_manifest(run.path / station)
    if manifest is None:
        verb = "build" if station in (*BUILD_STAGES, OPINIONS) else "train" if station in TRAININGS else "evaluate"
        raise UserError(
            f"The report needs every station, and `{station}` of {run.path} is not finished. "
            f"Run `spavl {verb} CONFIG` with the run's configuration first."
        )
    return manifest


def _training_steps(path: Path) -> tuple[TrainingStep, ...]:
    if not path.exists():
        return ()
    return tuple(TrainingStep.model_validate_json(line) for line in path.read_bytes().splitlines())
