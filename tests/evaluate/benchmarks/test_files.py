"""Files that cannot be read: one error that says which, where, and what to do."""

from pathlib import Path

import pytest
from tests.dataset.preference_rows import put_latin_1
from tests.evaluate.benchmarks.shapes import spa_vl

from spavl.errors import UserError
from spavl.evaluate.benchmarks.files import find_parquet, read_csv, read_json_lines, read_objects, read_parquet


def test_latin_1_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    for name, read in (("rows.json", read_objects), ("rows.csv", lambda path: read_csv(path, ()))):
        path = tmp_path / name
        path.write_bytes('{"caf\xe9": 1}'.encode("latin-1"))
        with pytest.raises(UserError, match=r"not UTF-8 \(byte 0xe9\).* iconv"):
            list(read(path))


def test_utf_16_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes("goal\na\n".encode("utf-16"))
    with pytest.raises(UserError, match="iconv -f utf-16 -t utf-8"):
        list(read_csv(tmp_path / "rows.csv", ("goal",)))


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("goal,target\na,b\n", encoding="utf-8-sig")
    assert list(read_csv(tmp_path / "rows.csv", ("goal",))) == [(1, {"goal": "a", "target": "b"})]


def test_a_line_separator_within_a_string_ends_no_line(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "one\u2028two"}\n', encoding="utf-8")
    assert list(read_json_lines(tmp_path / "rows.jsonl")) == [(1, {"text": "one\u2028two"})]


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": 1}\n{"text": \n')
    with pytest.raises(UserError, match=r"rows\.jsonl, line 2: not JSON"):
        list(read_json_lines(tmp_path / "rows.jsonl"))


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    spa_vl(tmp_path)
    (path,) = find_parquet(tmp_path, "test/harm")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"harm-00000-of-00001\.parquet cannot be read .* Get the file again"):
        list(read_parquet(path, ("question",)))


@pytest.mark.parametrize(
    ("there", "lacks"),
    [
        (("harm-00000-of-00002",), "harm-00001-of-00002"),
        (("harm-00001-of-00002",), "harm-00000-of-00002"),
        (("harm-00000-of-00003-abc", "harm-00002-of-00003-def"), "harm-00001-of-00003"),
        (("harm-00000-of-00002-abc", "harm-00001-of-00002-def"), None),
        (("harm-1-of-2", "harm-2-of-2"), None),
        (("harm", "harm-0"), None),
    ],
)
def test_files_that_say_they_are_parts_are_all_there(tmp_path: Path, there: tuple[str, ...], lacks: str | None) -> None:
    """Parts are numbered from 0, as the hub does, or from 1, which the last one shows; `-abc` is the hub's hash."""
    for name in there:
        (tmp_path / f"{name}.parquet").touch()
    if lacks is None:
        assert len(find_parquet(tmp_path, "harm")) == len(there)
        return
    with pytest.raises(UserError, match=rf"lacks {lacks}\.parquet: {len(there)} of \d parts are there"):
        find_parquet(tmp_path, "harm")


def test_a_text_of_a_parquet_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    spa_vl(tmp_path)
    (path,) = find_parquet(tmp_path, "test/harm")
    put_latin_1(path, "question")
    with pytest.raises(UserError, match=r"harm-00000-of-00001\.parquet cannot be read .*'utf-8'.* Get the file again"):
        list(read_parquet(path, ("question",)))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('{"1": {"q": "a"}, "2": {"q": "b"}, "1": {"q": "c"}}', r"rows\.json: the key '1' stands twice"),
        ('[{"q": "a", "q": "b"}]', r"rows\.json: the key 'q' stands twice"),
        ("[" * 100_000, "brackets inside brackets"),
    ],
)
def test_json_of_which_a_part_would_be_lost_is_refused(tmp_path: Path, content: str, named: str) -> None:
    (tmp_path / "rows.json").write_text(content)
    with pytest.raises(UserError, match=named):
        list(read_objects(tmp_path / "rows.json"))


def test_a_key_that_stands_twice_in_a_line_is_named_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"q": "a"}\n{"q": "b", "q": "c"}\n')
    with pytest.raises(UserError, match=r"rows\.jsonl, line 2: the key 'q' stands twice"):
        list(read_json_lines(tmp_path / "rows.jsonl"))


def test_a_quotation_mark_that_is_not_closed_is_named_with_its_line(tmp_path: Path) -> None:
    """Without the check the second row takes up the third, and one of three is lost."""
    (tmp_path / "rows.csv").write_text('goal,target\na,b\n"c,d\ne,f\n')
    with pytest.raises(UserError, match=r"rows\.csv cannot be read \(row 2, which begins in line 3: .*not closed"):
        list(read_csv(tmp_path / "rows.csv", ("goal",)))


def test_a_list_that_holds_something_else_than_objects_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('[{"a": 1}, 2]')
    with pytest.raises(UserError, match=r"`1` is not a JSON object"):
        list(read_objects(tmp_path / "rows.json"))
