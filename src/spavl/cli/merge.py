"""`spavl merge`: a model between the base and the aligned one."""

from pathlib import Path
from typing import Annotated

import typer

from spavl.cli.options import AsJson, say
from spavl.config import HfModelConfig


def merge(
    base: Annotated[str, typer.Argument(help="Folder or hub id of the model as it was before alignment.")],
    aligned: Annotated[str, typer.Argument(help="Folder of the aligned model, for example runs/NAME/train/model.")],
    alpha: Annotated[float, typer.Option(help="Share of the aligned model, 0 to 1; up to 2 goes beyond it.")],
    out: Annotated[Path, typer.Option(help="The new model's folder.")],
    as_json: AsJson = False,
) -> None:
    """Mix a model with what alignment made of it: (1 - alpha) base + alpha aligned, tensor by tensor."""
    from spavl.models.weights import snapshot_folder
    from spavl.train.merge import merge_models  # torch loads here, and not for `--help`

    before, after = (snapshot_folder(HfModelConfig(kind="hf", path=path)) for path in (base, aligned))
    merged = merge_models(before, after, alpha, out)
    beyond = " This goes beyond the aligned model: measure it before you trust it." if alpha > 1 else ""
    result = {"model": str(merged.model), "alpha": alpha, "tensors": merged.tensors, "mixed": merged.mixed}
    copied = merged.tensors - merged.mixed
    say(result, [f"{merged.model}: {merged.mixed} tensors mixed, {copied} equal and copied.{beyond}"], as_json)
