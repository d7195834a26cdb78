"""`spavl show`: walks from any id back to the picture it came from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spavl.cli.options import AsJson, say
from spavl.errors import UserError

if TYPE_CHECKING:
    from spavl.store import RunDirectory

PARENTS = (
    "comparison_id",
    "judgment_ids",
    "answer_id",
    "sample_id",
    "before_id",
    "after_id",
    "pair_id",
    "chosen_id",
    "rejected_id",
    "response_id",
    "first_id",
    "second_id",
    "question_id",
    "image_id",
)
"""Fields that name what a record was made from, nearest first."""
LONGEST = 160
DIGEST_LENGTH = 64


def show(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Id of a record, or its beginning.")],
    run: Annotated[Path, typer.Option(help="The run's directory.")] = Path("runs/demo"),
    as_json: AsJson = False,
) -> None:
    """Show a record and everything it was made from, back to the picture."""
    from spavl.store import ImageStore, RunDirectory  # numpy loads here, and not for `--help`

    if not run.is_dir():
        raise UserError(f"--run {run}: there is no such run. Give the directory of a run.")
    chain = lineage(RunDirectory(run), identifier)
    if not chain:
        raise UserError(f"{identifier}: no record of {run} has this id. Ids stand in the results.jsonl of each stage.")
    lines = []
    for depth, (stage, record) in enumerate(chain):
        lines.append(f"{'  ' * min(depth, 1)}{record['id']}  ({stage})")
        for name, value in record.items():
            text = str(value).replace("\n", " ")
            if name != "id" and text:
                lines.append(f"{'  ' * min(depth, 1)}  {name}: {text[:LONGEST]}{'…' if len(text) > LONGEST else ''}")
        digest = record.get("sha256") or record.get("image_id", "")
        if len(digest) == DIGEST_LENGTH:  # an image record, or a sample about a picture that has none
            picture = ImageStore(run / "pictures").path(digest)
            lines.append(f"    file: {picture}")
    say({"lineage": [{"stage": stage} | record for stage, record in chain]}, lines, as_json)


def lineage(run: "RunDirectory", identifier: str) -> list[tuple[str, dict[str, Any]]]:
    """Returns the record and its ancestors as (stage, body), each once, nearest first."""
    chain: list[tuple[str, dict[str, Any]]] = []
    seen: set[str] = set()
    waiting = [identifier]
    while waiting:
        found = run.find(waiting.pop(0))
        if found is None or found[1]["id"] in seen:
            continue
        seen.add(found[1]["id"])
        chain.append(found)
        for field in PARENTS:
            value = found[1].get(field) or ()
            waiting += [value] if isinstance(value, str) else list(value)
    return chain
