"""An evaluation recipe's run, opened: where its benchmarks' files lie, its models, and its stages."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from spavl.errors import UserError
from spavl.evaluate.benchmarks.packaged import PACKAGED, packaged_folder
from spavl.evaluate.imported import ImportedScores, read_imported
from spavl.evaluate.list_samples import Source, find_benchmark
from spavl.evaluation_config import BenchmarkConfig, EvaluationConfig
from spavl.models import CallStore, ImageInput, Models, open_models
from spavl.pipeline.overlap import check_training
from spavl.pipeline.road import identity
from spavl.store import ImageStore, RunDirectory, StageDirectory
from spavl.store.split_files import dataset_folder


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


def evaluation_stages(config: EvaluationConfig) -> tuple[str, ...]:
    """Returns the stages of an evaluation, in order."""
    return ("samples", "answers", *map(verdict_stage, config.judges), *map(contest_stage, config.measured[1:]))


def verdict_stage(judge: str) -> str:
    """Returns the stage of a judge's verdicts."""
    return f"verdicts_{judge}"


def contest_stage(model: str) -> str:
    """Returns the stage of a model's contests against the baseline."""
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
