"""Puts the verbs together, and turns every error made for people into one line and an exit code."""

import json
import sys

import typer

from spavl import __version__
from spavl.cli.check import check
from spavl.cli.contamination import contamination
from spavl.cli.demo import demo
from spavl.cli.export import export
from spavl.cli.merge import merge
from spavl.cli.prompts import prompts
from spavl.cli.push import push
from spavl.cli.remove import remove
from spavl.cli.road import build, evaluate, report, run, train
from spavl.cli.show import show
from spavl.cli.taxonomy import taxonomy
from spavl.errors import SpavlError

INTERRUPTED = 130
"""The exit code that typer makes of Ctrl-C."""
VERBS = (
    demo,
    run,
    build,
    train,
    evaluate,
    report,
    check,
    show,
    taxonomy,
    prompts,
    merge,
    contamination,
    export,
    push,
    remove,
)

app = typer.Typer(
    name="spavl",
    help="Safety preference alignment for vision-language models: build the data, align the model, measure the change.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for verb in VERBS:
    app.command()(verb)


@app.callback(invoke_without_command=True)
def _options(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Runs the command line; exit code 2 is the user's to mend, 1 is a run that could not go on."""
    try:
        app()
    except SpavlError as error:
        if "--json" in sys.argv:
            print(json.dumps({"error": str(error), "exit_code": error.exit_code}))
        print(f"spavl: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            print("spavl: stopped; what was finished is kept, the same command goes on from here.", file=sys.stderr)
        raise
    except BrokenPipeError:
        raise SystemExit(0) from None
