"""The run's figures for machines: `summary.json`. A figure of nothing is null, never 0."""

from typing import Any

from spavl.report.gather import ReportData


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
            "confidence": data.config.evaluate.confidence,
        },
        "judge": data.evaluation.judge.model_dump(mode="json"),
        "training": {
            "pairs": data.trained_on.pairs,
            "benign_pairs_left_out": data.trained_on.benign_left_out,
            "steps": len(data.steps),
            "chosen_falling_steps": sum(step.chosen_falling for step in data.steps),
        },
        "seconds": {station: manifest.seconds for station, manifest in data.manifests.items()},
        "versions": versions(data),
        "commits": commits(data),
    }


def versions(data: ReportData) -> dict[str, str]:
    """Returns package -> version; several, in order of the road, where stations were made with different ones."""
    found: dict[str, dict[str, None]] = {}
    for manifest in data.manifests.values():
        for package, version in manifest.versions.items():
            found.setdefault(package, {})[version] = None
    return {package: ", ".join(seen) for package, seen in found.items()}


def commits(data: ReportData) -> list[dict[str, Any]]:
    """Returns the source commits the stations were made with, in order of the road, and whether each was changed."""
    made: list[dict[str, Any]] = []
    for manifest in data.manifests.values():
        if manifest.git and manifest.git not in made:
            made.append(manifest.git)
    return made
