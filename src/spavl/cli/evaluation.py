"""What `spavl evaluate` does with an evaluation recipe: any models, public benchmarks, any judges."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from spavl.cli.options import counts_line, say
from spavl.errors import NoUseError, UserError
from spavl.evaluation_config import EvaluationConfig

if TYPE_CHECKING:
    from spavl.evaluate.figures import EvaluationFigures
    from spavl.evaluate.measures import ModelChange, ModelFigure
    from spavl.pipeline.evaluation import Evaluated

Rejudge = Annotated[bool, typer.Option("--rejudge", help="Keep the answers and have them judged again.")]
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
        Exit: With code 1, after the figures were written: a judge was of no use, and its failures are counted.
    """
    from spavl.pipeline import evaluation  # the models' libraries load here, and not for `--help`
    from spavl.report.evaluation import write_evaluation_report

    with evaluation.open_evaluation(config) as opened:
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
    if done.unfinished:
        why = " ".join(done.unfinished.values())
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


def figure_lines(figures: "EvaluationFigures") -> Iterator[str]:
    """Yields the headline figures for a person: every judge, benchmark and model."""
    made_up = [name for name, origin in figures.data_origin.items() if origin == "fixture"]
    if made_up:
        yield FIXTURES.format(names=f"{', '.join(made_up)} {'was' if len(made_up) == 1 else 'were'}")
    for name, one in figures.coverage.items():
        skipped = ", ".join(f"{reason} {count}" for reason, count in one.left_out.items())
        yield (
            f"{name}: {one.samples} samples of {one.asked} rows asked ({one.listed} listed), {one.pictures} with a "
            f"picture{f'; left out: {skipped}' if skipped else ''}"
        )
    for judge, found in figures.judges.items():
        yield f"\nby {judge} ({found.card.name}, sees {found.card.sight}){' NOT THROUGH' if found.unfinished else ''}"
        for measure in found.measures.whole:
            yield f"  {measure.benchmark}, {measure.metric}"
            for model, figure in measure.models.items():
                against = measure.changes.get(model)
                yield f"    {model:<16}{_figure_text(figure)}{_change_text(against) if against else ''}"
    yield from _imported_lines(figures)
    yield from _further_lines(figures)


def _imported_lines(figures: "EvaluationFigures") -> Iterator[str]:
    for one in figures.imported:
        yield f"\nimported from {one.harness}: {one.benchmark}, {one.metric}"
        for model in one.files:
            figure = one.measure.models.get(model) if one.measure else None
            against = one.measure.changes.get(model) if one.measure else None
            said = _figure_text(figure) if figure else "no rows, so no interval"
            reported = one.reported.get(model)
            theirs = f"; reported {reported.metric} {reported.value:g}" if reported else ""
            yield f"  {model:<16}{said}{_change_text(against) if against else ''}{theirs}"


def _further_lines(figures: "EvaluationFigures") -> Iterator[str]:
    for one in figures.trust:
        if one.powered is not None:
            interval = f"({one.powered.low:+.1%} to {one.powered.high:+.1%})"
            yield (
                f"{one.benchmark}, {one.model}: change by people's labels {one.powered.value:+.1%} {interval}, "
                f"{one.powered.labelled} labelled of {one.powered.n}"
            )
        elif one.band is not None:
            yield (
                f"{one.benchmark}, {one.metric}, {one.model}: the judge's errors allow a change from "
                f"{one.band.low:+.1%} to {one.band.high:+.1%} ({one.errors.because})"
            )
    for won in figures.wins:
        rate = "not measured" if won.wins.value is None else f"{won.wins.value:.1%}"
        yield f"{won.benchmark}: {won.model} against {figures.baseline}: win rate {rate} of {won.wins.n}"
    if figures.contamination is not None:
        found = figures.contamination
        compared = f"{found.texts} texts and {found.pictures} pictures of {found.training}"
        met = sum(found.samples.values())
        yield f"contamination: {met} samples are among the {compared}; `results.json` has figures without"
    if figures.related:
        yield f"{', '.join(figures.related)} also labelled the training data: what it likes may have been learnt"


def _figure_text(figure: "ModelFigure") -> str:
    rate = figure.rate
    interval = f"({rate.low:.1%} to {rate.high:.1%}), n {rate.n}" if rate.n else ""
    said = "not measured" if rate.value is None else f"{rate.value:.1%} {interval}"
    if rate.unscored:
        bounds = "" if rate.lowest is None else f", bounds {rate.lowest:.1%} to {rate.highest:.1%}"
        said += f", {rate.unscored} missing{bounds}"
    return f"{said} [{', '.join(figure.flags)}]" if figure.flags else said


def _change_text(against: "ModelChange") -> str:
    if against.withheld:
        return f"; change withheld: {', '.join(against.flags)} (`force: true` prints it)"
    if against.change is None:
        return "; change not measured"
    change = against.change
    held = f", {against.not_inferior}" if against.not_inferior else ""
    flags = f" [{', '.join(against.flags)}]" if against.flags else ""
    return (
        f"; change {change.value:+.1%} ({change.low:+.1%} to {change.high:+.1%}), p {change.p_value:.3g}{held}{flags}"
    )
