"""`spavl export`: a finished dataset in the format that another trainer reads."""

from pathlib import Path
from typing import Annotated

import typer

from spavl.cli.options import AsJson, say


def export(
    dataset: Annotated[Path, typer.Argument(help="Folder of a dataset, for example runs/NAME/dataset.")],
    form: Annotated[str, typer.Option("--format", help="trl, spa_vl, llamafactory or swift.")],
    out: Annotated[Path, typer.Option(help="The new folder.")],
    meta_files: Annotated[
        Path | None,
        typer.Option(help="Folder of the meta files of SPA-VL's release, whose training rows lack classes and types."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence of rows that name none, in place of what the dataset's card says.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a dataset in the format of TRL, SPA-VL's release, LLaMA-Factory or ms-swift, with a card."""
    from spavl.dataset.export import export_dataset  # pyarrow loads here, and not for `--help`

    exported = export_dataset(dataset, form, out, meta_files, licence)
    rows = ", ".join(f"{split} {count}" for split, count in exported.rows.items())
    lines = [f"{exported.folder}: {rows}"]
    lines += [f"left out: {reason} {count}" for reason, count in exported.left_out.items()]
    say({"folder": str(exported.folder), "rows": exported.rows, "left_out": exported.left_out}, lines, as_json)
