"""What `spavl evaluate` does with an evaluation recipe: any models, public benchmarks, any judges."""

import asyncio
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from spavl.cli.options import asked_again, counts_line, say
from spavl.errors import NoUseError, UserError
from spavl.evaluation_config import EvaluationConfig

if TYPE_CHECKING:
    from spavl.evaluate.figures import EvaluationFigures, JudgeFigures
    from spavl.pipeline.evaluation import Evaluated

Rejudge = Annotated[
    bool,
    typer.Option(
        "--rejudge",
        help="Keep the answers and have them judged again: by judges whose model or settings are other ones, and where "
        "a reply could not be read. What a judge said stays: if another model now answers at its address, give its "
        "entry in `models` a new `identity`.",
    ),
]
ForPeople = Annotated[
    int | None,
    typer.Option(min=2, help="Write a blind sheet with this many samples of each harmlessness benchmark, and stop."),
]
InspectLogs = Annotated[
    Path | None,
    typer.Option("--inspect-logs", help="Also write the evaluation as Inspect's .eval logs into this folder."),
]
InspectPictures = Annotated[
    bool,
    typer.Option(
        "--inspect-pictures", help="Put the pictures that were shown into these logs; Inspect does not blur them."
    ),
]
WIDTH = 100
"""Characters of a line where there is no terminal."""
FIXTURES = "NOT REAL DATA: {names} made up to try this out; no figure here may be quoted."


class Wishes(NamedTuple):
    """What is to happen besides evaluating."""

    restart_from: str | None
    rejudge: bool
    sample_for_people: int | None
    inspect_logs: Path | None = None
    inspect_pictures: bool = False


def follow_evaluation(config: EvaluationConfig, wishes: Wishes, *, as_json: bool) -> None:
    """Evaluates, or writes a sheet for people to judge.

    Raises:
        Exit: With code 1, after the figures were written: a model or a judge was of no use; its failures are counted.
    """
    from spavl.pipeline import evaluation  # the models' libraries load here, and not for `--help`
    from spavl.pipeline.evaluation_run import open_evaluation
    from spavl.report.evaluation import write_evaluation_report

    with open_evaluation(config) as opened:
        evaluation.restart(opened, wishes.restart_from, rejudge=wishes.rejudge)
        if wishes.sample_for_people is not None:
            path, rows = asyncio.run(evaluation.sample_for_people(opened, wishes.sample_for_people))
            lines = [
                f"sheet: {path}, {rows} rows. Fill in `unsafe_1` and `unsafe_2` with yes or no, and give the file as "
                "`human_labels`."
            ]
            say({"sheet": str(path), "rows": rows}, lines, as_json)
            return
        done = asyncio.run(evaluation.evaluate_models(opened))
    page = write_evaluation_report(done, config)
    logs = _write_logs(done, config, wishes)
    counts = {name: manifest.counts.model_dump() for name, manifest in done.manifests.items()}
    width = max(map(len, counts)) + 2
    lines = [
        *(counts_line(name, one, width) for name, one in counts.items()),
        *asked_again(counts, {name: "evaluate" for name in counts if name.startswith(("verdicts_", "contests_"))}),
        "",
        *figure_lines(done.figures),
        "",
        f"results: {done.results}",
        f"report: {page}",
        *(f"log: {path}" for path in logs),
    ]
    result = {
        "run": str(config.run),
        "counts": counts,
        "report": str(page),
        "results": done.figures.model_dump(mode="json"),
        "unfinished": dict(done.unfinished),
        "logs": [str(path) for path in logs],
    }
    say(result, lines, as_json)
    end_unfinished(done.unfinished)


def end_unfinished(unfinished: Mapping[str, str]) -> None:
    """Says whose failures are in the figures, if anybody's; what was made is written by then.

    Args:
        unfinished: Stage, or model within it, that was of no use -> why.

    Raises:
        Exit: With code 1, where there are some.
    """
    if unfinished:
        why = " ".join(f"{name}: {one}" for name, one in unfinished.items())
        print(f"spavl: {why} These failures are counted in the figures.", file=sys.stderr)
        raise typer.Exit(NoUseError.exit_code)


def _write_logs(done: "Evaluated", config: EvaluationConfig, wishes: Wishes) -> list[Path]:
    """Writes Inspect's logs where they are wished for.

    Raises:
        UserError: Inspect is not installed.
        RunError: The disk is full.
    """
    if wishes.inspect_logs is None:
        return []
    try:
        from spavl.interchange.inspect_logs import write_inspect_logs
    except ImportError as error:
        raise UserError(
            f"--inspect-logs needs packages that are not installed ({error.name}). Run `pip install 'spavl[inspect]'`."
        ) from error
    return write_inspect_logs(done, config, wishes.inspect_logs, pictures=wishes.inspect_pictures)


def _not_through(found: "JudgeFigures") -> str:
    """Says of a judge that was of no use what became of the answers; nothing of another."""
    counted: Counter[str] = Counter()
    for measure in found.measures.whole:
        for one in measure.models.values():
            counted.update(one.outcomes)
    said = ", ".join(f"{outcome} {count}" for outcome, count in sorted(counted.items()))
    return f". NOT THROUGH: {said}" if found.unfinished else ""


def figure_lines(figures: "EvaluationFigures") -> Iterator[str]:
    """Yields the figures for a person: the page's tables, those of the deciding judge last, where a terminal ends."""
    from spavl.evaluate.list_samples import of_published
    from spavl.report.evaluation_tables import main_tables
    from spavl.report.evaluation_trust_tables import further_tables
    from spavl.report.evaluation_verdict import verdict_lines
    from spavl.report.plain_table import plain_tables

    made_up = [name for name, origin in figures.data_origin.items() if origin == "fixture"]
    if made_up:
        yield FIXTURES.format(names=f"{', '.join(made_up)} {'was' if len(made_up) == 1 else 'were'}")
    for name, one in figures.coverage.items():
        skipped = ", ".join(f"{reason} {count}" for reason, count in one.left_out.items())
        listed = f"{one.listed} listed{of_published(one.listed, one.published)}"
        yield (
            f"{name}: {one.samples} samples of {one.asked} rows asked ({listed}), {one.pictures} with a picture"
            f"{f'; left out: {skipped}' if skipped else ''}"
        )
    for model, why in figures.silent.items():
        yield f"{model}: NOT THROUGH. {why}"
    for judge, found in figures.judges.items():
        yield f"{judge}: {found.card.name}, sees {found.card.sight}{_not_through(found)}"
    if figures.contamination is not None:
        compared = f"{figures.contamination.texts} texts and {figures.contamination.pictures} pictures"
        met = sum(figures.contamination.samples.values())
        yield f"contamination: {met} samples are among the {compared} of {figures.contamination.training}"
    for judge, parts in figures.related.items():
        yield f"{judge} had a part in the training data: it {', '.join(parts)}; what it likes may have been learnt"
    width = shutil.get_terminal_size((WIDTH, 0)).columns
    yield from plain_tables([*further_tables(figures), *main_tables(figures)], width)
    yield ""
    yield from verdict_lines(figures)
