"""`spavl contamination`: finds a dataset's rows that benchmarks have too, and leaves them out where asked."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spavl.cli.options import AsJson, say
from spavl.errors import UserError

if TYPE_CHECKING:
    from spavl.dataset.gallery import Embed


def contamination(  # noqa: PLR0913  # a verb's options
    dataset: Annotated[Path, typer.Argument(help="Folder of a dataset in the hub's layout (Parquet).")],
    against: Annotated[
        list[Path], typer.Option(help="Folder of a benchmark: Parquet, or pictures and prompts. May be given again.")
    ],
    remove: Annotated[
        bool, typer.Option("--remove", help="Write DATASET-clean without the rows that were found.")
    ] = False,
    image_bits: Annotated[
        int, typer.Option(min=0, max=32, help="Bits of 64 in which hashes of look-alikes differ.")
    ] = 8,
    encoder: Annotated[
        str | None,
        typer.Option(help="Compare pictures' vectors too: `packaged`, or a vision model's folder (needs torch)."),
    ] = None,
    image_cosine: Annotated[
        float, typer.Option(min=0.01, max=1, help="With --encoder: least cosine of pictures' vectors.")
    ] = 0.85,
    kinds: Annotated[str | None, typer.Option(help="Kinds that count, such as image_exact,image_near.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find the rows of a dataset whose picture or prompt a benchmark has too; nothing in the dataset is changed."""
    from spavl.dataset.clean import check_target, clean_place, write_clean  # pyarrow loads here, and not for `--help`
    from spavl.dataset.contamination import KINDS, CheckLimits, check_contamination, parse_kinds, write_report

    limits = CheckLimits(image_bits=image_bits, image_cosine=image_cosine)
    if kinds is not None or encoder is not None:
        limits = limits._replace(kinds=KINDS if kinds is None else parse_kinds(kinds))
    place = dataset.resolve()
    target = clean_place(place)
    if remove:
        check_target(dataset, target)
    found = check_contamination(dataset, against, limits, None if encoder is None else open_encoder(encoder))
    file = place.with_name(f"{place.name}.contamination.json")
    write_report(found, dataset, limits, file)
    counts = found.counts()
    lines = [
        f"{counts['contaminated_rows']} of {counts['rows']} rows are in the benchmarks "
        f"({counts['benchmark_rows_met']} of their {counts['benchmark_rows']} rows)",
        *(
            f"  {kind:<16}{one['findings']:>7} findings, {one['rows']:>7} rows"
            for kind, one in counts["by_kind"].items()
        ),
    ]
    if counts["unreadable_pictures"]:
        lines.append(f"  {counts['unreadable_pictures']} pictures cannot be read and were compared by their bytes only")
    result = counts | {"report": str(file)}
    lines.append(f"report: {file}")
    if remove:
        cleaned = write_clean(dataset, target, found.contaminated)
        result |= {"clean": str(cleaned.folder), "kept": cleaned.kept, "removed": cleaned.removed}
        lines.append(f"clean:  {cleaned.folder}, {cleaned.kept} rows; {cleaned.removed} left out")
    say(result, lines, as_json)


def open_encoder(name: str) -> "Embed":
    """Opens a vision encoder.

    Raises:
        UserError: torch is not installed, or there is no such encoder.
    """
    try:
        from spavl.models.picture_vectors import picture_encoder  # torch loads here, and only where it is asked for
    except ImportError as error:
        raise UserError(
            f"--encoder {name} needs packages that are not installed ({error.name}). Run `pip install 'spavl[hf]'`."
        ) from error
    return picture_encoder(name)
