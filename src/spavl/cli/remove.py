"""`spavl remove`: takes pictures down, with everything that a run made from them."""

from typing import Annotated

import typer

from spavl.cli.options import AsJson, ConfigPath, say
from spavl.config import load_config


def remove(
    config: ConfigPath,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE_ID]...", help="Image ids or SHA-256; `key.path=value` overrides the file."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove pictures and all that was made from them, and keep them out; without an id, end an interrupted removal."""
    from spavl.pipeline.take_down import take_down  # the models' libraries load here, and not for `--help`

    given = names or []
    loaded = load_config(config, [one for one in given if "=" in one])
    done = take_down(loaded, [one for one in given if "=" not in one])
    lines = [f"{count:>6} {kind}" for kind, count in done.removed.items()] or ["nothing of them is left"]
    lines += [f"{name}: nothing of it is left, and it is on the list" for name in done.absent if done.removed]
    say(
        {"removed": done.removed, "absent": done.absent, "list": str(done.removal_list), "left": done.left},
        [*lines, f"list:  {done.removal_list}", *(f"left:  {said}" for said in done.left)],
        as_json,
    )
