"""Tables in a terminal: side by side where they fit, broken at spaces, or in strips that repeat what names the rows."""

from spavl.report.plain_table import plain_lines, plain_tables
from spavl.report.tables import Link, Table

TABLE = Table(
    "Placeholder caption",
    ("Model", "first", "n"),
    [("base", "60.0\u00a0% (44.6–73.7)", 40), ("aligned, change", "−45.0\u00a0points (−61.2 to −28.8)", 7)],
    "A note.",
)


def test_columns_are_as_wide_as_their_cells_and_numbers_stand_to_the_right() -> None:
    """The widest cells have 15, 29 and 2 characters; all of them become ASCII."""
    assert list(plain_lines(TABLE, 80)) == [
        "Placeholder caption",
        "Model            first                           n",
        "---------------  -----------------------------  --",
        "base             60.0 % (44.6-73.7)             40",
        "aligned, change  -45.0 points (-61.2 to -28.8)   7",
        "A note.",
    ]


def test_a_cell_is_broken_at_spaces_and_never_between_a_number_and_its_sign() -> None:
    lines = list(plain_lines(TABLE, 40))
    assert max(map(len, lines)) <= 40
    assert any(line.startswith("aligned, change  -45.0 points") for line in lines)


def test_what_does_not_fit_stands_below_beside_what_names_the_rows() -> None:
    """Two columns name the rows; with one of the others a row has 27 letters and blanks, with two of them 50."""
    wide = [f"{'word' * 5}{number}" for number in range(3)]
    table = Table("Caption", ("A", "B", "C", "D", "E"), [("a", "x", *wide), ("a", "y", *wide)])
    lines = [line for line in plain_lines(table, 40) if line and set(line) - set("- ")]
    assert [line.split() for line in lines] == [
        ["Caption"],
        *(
            row
            for place, heading in enumerate("CDE")
            for row in (["A", "B", heading], ["a", "x", wide[place]], ["a", "y", wide[place]])
        ),
    ]


def test_everything_printed_is_ascii_and_a_link_is_its_text() -> None:
    table = Table("The judge’s “figures”", ("A", "B"), [("–", Link("manifest", "samples/manifest.json"))])
    said = "\n".join(plain_lines(table, 80))
    assert said.isascii() and 'The judge\'s "figures"' in said and said.endswith("manifest")


def test_a_note_of_several_tables_is_said_once() -> None:
    other = TABLE._replace(note="Another note.")
    lines = list(plain_tables([TABLE, TABLE, other], 80))
    assert lines.count("A note.") == 1 and lines.count("Another note.") == 1
    assert lines.index("A note.") < lines.index("Another note.") and lines.count("Placeholder caption") == 3
