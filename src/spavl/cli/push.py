"""`spavl push`: publishes a finished dataset on the hub."""

from pathlib import Path
from typing import Annotated

import typer

from spavl.cli.options import AsJson, say
from spavl.errors import UserError


def push(  # noqa: PLR0913  # a verb's options
    dataset: Annotated[Path, typer.Argument(help="A run's directory, or the folder of a dataset.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Dataset repository on the hub.")],
    private: Annotated[bool, typer.Option("--private", help="Only with a repository that is private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
    allow_unknown_licence: Annotated[
        bool, typer.Option("--allow-unknown-licence", help="Send rows whose picture's licence nobody says, too.")
    ] = False,
    token_env: Annotated[
        str | None, typer.Option(help="Environment variable that holds the key; otherwise HF_TOKEN, or your login.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Publish a dataset on the hub in one commit, after checking that it is what was finished, and whose pictures."""
    from spavl.dataset.push import prepare, push  # the hub's client loads here, and not for `--help`

    upload = prepare(dataset)
    result = {
        "repository": repository,
        "files": upload.files,
        "bytes": upload.total_bytes,
        "rows": upload.rows,
        "unknown_licence": upload.unknown_licence,
    }
    lines = [*(f"{size:>14,} bytes  {name}" for name, size in upload.files.items())]
    lines.append(
        f"{upload.total_bytes:>14,} bytes, {upload.rows:,} rows, {upload.unknown_licence:,} of unknown licence"
    )
    if dry_run:
        say(result | {"pushed": False}, [*lines, f"nothing was sent to {repository}"], as_json)
        return
    if upload.unknown_licence and not allow_unknown_licence:
        raise UserError(
            f"{upload.unknown_licence} of {upload.rows} rows show pictures whose licence nobody says. Build without "
            "them, or publish them all the same with --allow-unknown-licence."
        )
    done = push(upload, repository, private=private, token_env=token_env)
    lines += [*(f"deleted there: {name}" for name in done.deleted), f"{done.url} at {done.commit}"]
    say(result | {"pushed": True, "url": done.url, "commit": done.commit, "deleted": done.deleted}, lines, as_json)
