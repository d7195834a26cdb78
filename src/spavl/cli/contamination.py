"""`spavl contamination`: finds a dataset's rows that benchmarks have too, and leaves them out where asked."""

from pathlib import Path
from typing import Annotated

import typer

from spavl.cli.options import AsJson, say


def contamination(
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
    kinds: Annotated[str | None, typer.Option(help="Kinds that count, such as image_exact,image_near.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find the rows of a dataset whose picture or prompt a benchmark has too; nothing in the dataset is changed."""
    from spavl.dataset.clean import check_target, write_clean  # pyarrow loads here, and not for `--help`
    from spavl.dataset.contamination import CheckLimits, check_contamination, parse_kinds, write_report

    limits = CheckLimits(image_bits=image_bits)
    if kinds is not None:
        limits = limits._replace(kinds=parse_kinds(kinds))
    place = dataset.resolve()
    target = place.with_name(f"{place.name}-clean")
    if remove:
        check_target(dataset, target)
    found = check_contamination(dataset, against, limits)
    file = place.with_name(f"{place.name}.contamination.json")
    write_report(found, dataset, limits, file)
    counts = found.counts()
    lines = [
        f"{counts['contaminated_rows']} of {counts['rows']} rows are in the benchmarks "
        f"({counts['benchmark_rows_met']} of their {counts['benchmark_rows']} rows)",
        *(
            f"  {kind:<13}{one['findings']:>7} findings, {one['rows']:>7} rows"
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
