"""`spavl demo`: the whole road on the embedded model, with no network."""

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from spavl.cli.options import AsJson, Overrides, RestartFrom
from spavl.cli.road import PARTS, travel
from spavl.config import load_config


def demo(
    overrides: Overrides = None,
    print_config: Annotated[bool, typer.Option(help="Print the demo's configuration and exit.")] = False,
    restart_from: RestartFrom = None,
    as_json: AsJson = False,
) -> None:
    """Align the embedded model on packaged pictures and write a report, in minutes on two cores."""
    with resources.as_file(resources.files("spavl.cli") / "demo.yaml") as path:
        if print_config:
            print(Path(path).read_text(encoding="utf-8"), end="")
            return
        config = load_config(path, overrides or ())
    travel(config, PARTS, restart_from, as_json)
