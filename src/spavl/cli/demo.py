"""`spavl demo`: the whole road on the embedded model, with no network."""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import yaml

from spavl.cli.options import AsJson, Overrides, RestartFrom
from spavl.cli.road import PARTS, travel
from spavl.config import RunConfig
from spavl.config_file import read_body, validate_body
from spavl.strict_yaml import apply_override

Method = Annotated[
    Literal["dpo", "ppo"],
    typer.Option("--method", help="Align by preferences (dpo), or by a reward model made from them (ppo)."),
]


def demo(
    overrides: Overrides = None,
    method: Method = "dpo",
    print_config: Annotated[bool, typer.Option(help="Print the demo's configuration and exit.")] = False,
    restart_from: RestartFrom = None,
    as_json: AsJson = False,
) -> None:
    """Align the embedded model on packaged pictures and write a report, in minutes on two cores."""
    with resources.as_file(resources.files("spavl.cli") / "demo.yaml") as path:
        if print_config and method == "dpo":
            print(Path(path).read_text(encoding="utf-8"), end="")
            return
        body = demo_body(method, path, overrides or ())
        if print_config:
            print(yaml.safe_dump(body, sort_keys=False), end="")
            return
        config = validate_body(RunConfig, body, path)
    travel(config, PARTS, restart_from, as_json)


def demo_body(method: str, path: Path, overrides: "tuple[str, ...] | list[str]") -> dict[str, Any]:
    """Returns the demo's configuration as it stands in a file; nothing is checked yet.

    Args:
        method: How the model is aligned.
        path: The demo's file; what another method has in its place lies beside it.
        overrides: `key.path=value`, which come last.

    Raises:
        UserError: An override cannot be read.
    """
    if method == "dpo":
        return read_body(path, overrides)
    body = read_body(path) | read_body(path.with_name(f"demo_{method}.yaml"))
    for override in overrides:
        apply_override(body, override)
    for source in body["train"]["reward"]:
        if "path" in source:
            source["path"] = str(source["path"]).replace("{run}", str(body["run"]))
    return body
