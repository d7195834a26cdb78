"""Every public benchmark as a task of Inspect: `inspect eval spavl/mossbench -T path=FOLDER --model MODEL`."""

from collections.abc import Callable
from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.dataset import Sample as InspectSample
from inspect_ai.model import GenerateConfig
from inspect_ai.solver import generate

from spavl.evaluate.benchmarks import BENCHMARKS, Benchmark
from spavl.evaluate.list_samples import Source, find_benchmark, read_samples
from spavl.evaluate.verdicts import METRICS
from spavl.evaluation_config import BenchmarkConfig
from spavl.interchange.inspect_messages import user_message
from spavl.interchange.inspect_scorer import spavl_verdict
from spavl.pipeline.evaluation_run import benchmark_folder
from spavl.records import Sample
from spavl.store import ImageStore

PICTURES = "runs/inspect/pictures"
"""Where the tasks keep the pictures that they show, decoded within limits."""


def inspect_sample(sample: Sample, scoring: str, pictures: ImageStore) -> InspectSample:
    """Returns a sample as Inspect asks it; what our scorer needs travels in its metadata."""
    path = pictures.path(sample.image_id) if sample.image_id else None
    return InspectSample(
        id=sample.id,
        input=[user_message(sample.prompt, str(path) if path else None)],
        target=list(sample.references),
        metadata={
            "metric": METRICS[sample.expect],
            "unit": sample.unit,
            "category": sample.category,
            "subset": sample.subset,
            "row": sample.row,
            "scoring": scoring,
            "picture": str(path or ""),
            "sample": sample.model_dump(mode="json"),
        },
    )


def _task(benchmark: Benchmark) -> Callable[..., Task]:
    card = benchmark.card

    @task(name=card.name)
    def made(  # noqa: PLR0913  # a task's options
        path: str | None = None,
        revision: str | None = None,
        variants: str | None = None,
        rows: int | None = None,
        seed: int = 0,
        judge: str = "rules",
        max_tokens: int = 512,
        pictures: str = PICTURES,
    ) -> Task:
        config = BenchmarkConfig(
            name=card.name, path=path, revision=revision, variants=variants and tuple(variants.split(",")), limit=rows
        )
        source = Source(find_benchmark("task", config), benchmark_folder("task", config), config)
        store = ImageStore(Path(pictures).absolute())
        _, outcomes = read_samples(source, store, seed)
        found = [one.record for one in outcomes if isinstance(one.record, Sample)]
        samples = [inspect_sample(one, card.scoring, store) for one in found]
        skipped = sum(one.failure is not None for one in outcomes)
        return Task(
            dataset=MemoryDataset(samples, name=card.name, location=str(source.folder)),
            solver=generate(),
            scorer=spavl_verdict(judge=judge),
            config=GenerateConfig(max_tokens=max_tokens, temperature=0.0, top_p=1.0, seed=0),
            metadata={
                "licence": card.licence,
                "source": card.source,
                "fixture": source.fixture,
                "rows_skipped": skipped,
            },
        )

    return made


TASKS = tuple(_task(one) for one in BENCHMARKS)
"""A task for each benchmark. Options: its folder or hub id (none for files that an installed package holds), the hub's
revision, variants by commas, how many rows drawn by which seed, the judge, the longest answer, and where pictures are
kept."""
