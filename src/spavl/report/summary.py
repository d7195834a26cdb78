"""The run's figures for machines: `summary.json`. A figure of nothing is null, never 0."""

from typing import Any

from spavl.report.beside import Beside
from spavl.report.gather import Built, DatasetStatistics, ReportData
from spavl.report.judging import Judging
from spavl.report.opinions import Opinions
from spavl.report.training import Training, tally_training
from spavl.stats import Agreement, Rate


def summary(data: ReportData) -> dict[str, Any]:
    """Returns the summary as JSON values."""
    results = data.evaluation.results.model_dump(mode="json")
    wins = ("win_rate", "win_rate_harmful", "win_rate_benign")
    return {
        "run": data.path.name,
        "seed": data.config.seed,
        "counts": {station: manifest.counts.model_dump() for station, manifest in data.manifests.items()},
        "evaluation": {
            **results["metrics"],
            **{name: results[name] for name in wins},
            "by_held_out": results["by_held_out"],
            "looping": {model: one._asdict() for model, one in data.evaluation.looping.items()},
            "confidence": data.config.evaluate.confidence,
        },
        "public_benchmarks": data.public and data.public.model_dump(mode="json"),
        "judge": data.evaluation.judge.model_dump(mode="json"),
        **_dataset(data.dataset),
        "training": {
            "pairs": data.trained_on.pairs,
            "benign_pairs_left_out": data.trained_on.benign_left_out,
            **_training(tally_training(data.steps)),
            "rounds": [one.model_dump() for one in data.rounds],
        },
        "beside": data.beside and _beside(data.beside),
        "reward_model": data.reward_model and data.reward_model.model_dump(),
        "seconds": {station: manifest.seconds for station, manifest in data.manifests.items()},
        "versions": versions(data),
        "commits": commits(data),
    }


def dataset_summary(data: Built) -> dict[str, Any]:
    """Returns the figures of a dataset that nothing is trained on yet, as JSON values."""
    responders = {one.name: one._asdict() | {"safe": _named(one.safe)} for one in data.dataset.responders}
    return {
        "run": data.path.name,
        "seed": data.config.seed,
        "counts": {station: manifest.counts.model_dump() for station, manifest in data.manifests.items()},
        "responders": responders,
        **_dataset(data.dataset),
        "seconds": {station: manifest.seconds for station, manifest in data.manifests.items()},
        "versions": versions(data),
        "commits": commits(data),
    }


def _dataset(dataset: DatasetStatistics) -> dict[str, Any]:
    return {
        "captions": {leaf: one.model_dump() for leaf, one in dataset.source_captions.items()},
        "leakage": [one.model_dump(mode="json") for one in dataset.leakage],
        "judging": _judging(dataset.judging),
        "opinions": dataset.opinions and _opinions(dataset.opinions),
    }


def _beside(beside: Beside) -> dict[str, Any]:
    """Returns another run's figures, or why they are not here."""
    metrics = {name: one.model_dump(mode="json") for name, one in beside.metrics.items()}
    return {"run": beside.name, "method": beside.method, "metrics": metrics, "why_not": beside.why_not}


def _judging(judging: Judging) -> dict[str, Any]:
    """Returns what the pairwise judge did, its leanings with n and interval."""
    leanings = ("ties", "flips", "first_wins", "longer_wins")
    return {
        **judging._asdict(),
        **{name: _named(getattr(judging, name)) for name in leanings},
        "strengths": {name: strength._asdict() for name, strength in judging.strengths.items()},
    }


def _opinions(opinions: Opinions) -> dict[str, Any]:
    """Returns what every judge says of the responses to harmful questions, the deciding judge first."""
    judges = [
        {
            "name": one.name,
            "sees": one.card.sight,
            "unsafe_rate": _named(one.unsafe),
            "bounds": one.bounds._asdict(),
            "unlabelled": one.unlabelled,
            "card": one.card.model_dump(mode="json"),
        }
        for one in opinions.judges
    ]
    pairs = [
        {"judges": [one.one, one.other], "same_label": _named(one.alike), "kappa": _named(one.kappa)}
        for one in opinions.pairs
    ]
    return {"judges": judges, "pairs": pairs, "alpha": _named(opinions.alpha)}


def _named(figure: Rate | Agreement | None) -> dict[str, Any] | None:
    return figure._asdict() if figure else None


def _training(training: Training | None) -> dict[str, Any]:
    """Returns what the training log adds up to, every figure null where the log is gone."""
    return {
        "steps": training and training.steps,
        "chosen_falling_steps": training and training.alarms,
        "chosen_falling_first_step": training and training.first_alarm,
        "last_chosen_shift": training and training.last_shift,
        "margin_steps": training and training.last_steps,
        "margins": {length: margin._asdict() for length, margin in training.margins.items()} if training else None,
    }


def versions(data: ReportData | Built) -> dict[str, str]:
    """Returns package -> version; several, in order of the road, where stations were made with different ones."""
    found: dict[str, dict[str, None]] = {}
    for manifest in data.manifests.values():
        for package, version in manifest.versions.items():
            found.setdefault(package, {})[version] = None
    return {package: ", ".join(seen) for package, seen in found.items()}


def commits(data: ReportData | Built) -> list[dict[str, Any]]:
    """Returns the source commits the stations were made with, in order of the road, and whether each was changed."""
    made: list[dict[str, Any]] = []
    for manifest in data.manifests.values():
        if manifest.git and manifest.git not in made:
            made.append(manifest.git)
    return made
