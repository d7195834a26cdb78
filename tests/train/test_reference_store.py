"""Reference log-probabilities are computed once, and anew when anything they depend on changes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.train.material import make_pairs

from spavl.errors import RunError, UserError
from spavl.models.loading import Vlm
from spavl.train import reference_store
from spavl.train.corrupted import MARK, Shown
from spavl.train.engine import Engine
from spavl.train.families import family_of
from spavl.train.logprobs import AnswerLogprobs
from spavl.train.reference_store import ReferenceStore, reference_fingerprint
from spavl.train.render import Renderer, Row
from spavl.train.tree import PackedTrees
from spavl.train.vision_cache import Pictures

DIGESTS = [f"{number}" for number in range(5)]


@pytest.fixture
def rows(renderer: Renderer, picture: Callable[[str], Path]) -> list[Row]:
    return renderer.rows(make_pairs(5), picture)


@pytest.fixture
def filled(engine: Engine, rows: list[Row], tmp_path: Path) -> ReferenceStore:
    store = ReferenceStore(tmp_path, "f", rows)
    store.fill(engine.pack(rows, range(5)), engine.run)
    return store


def test_a_second_run_reads_what_the_first_wrote(filled: ReferenceStore, rows: list[Row], tmp_path: Path) -> None:
    again = ReferenceStore(tmp_path, "f", rows)
    assert again.missing() == []
    assert torch.equal(again.pair_logprobs(range(5)).rejected, filled.pair_logprobs(range(5)).rejected)


def test_values_are_kept_token_by_token(filled: ReferenceStore, rows: list[Row]) -> None:
    for place, row in enumerate(rows):
        answers = filled.answers(place)
        assert [len(answer) for answer in answers] == [len(row.chosen), len(row.rejected)]
        assert all((answer < 0).all() for answer in answers)
        assert filled.pair_logprobs([place]).chosen.item() == pytest.approx(float(answers[0].sum()))


def test_another_fingerprint_has_numbers_of_its_own(filled: ReferenceStore, rows: list[Row], tmp_path: Path) -> None:
    other = ReferenceStore(tmp_path, "g", rows)
    assert filled.missing() == [] and other.missing() == [0, 1, 2, 3, 4]
    assert other.pair_logprobs([0]).chosen.isnan().all()


def test_a_killed_pass_computes_only_what_is_missing(
    engine: Engine, filled: ReferenceStore, rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in its third pass, with the last write after the second: rows 0 and 1 are there, and are not run again."""
    batches = [packed for place in range(5) for packed in engine.pack(rows, [place])]
    killed, ran = ReferenceStore(tmp_path, "k", rows), list[int]()

    def run(packed: PackedTrees) -> AnswerLogprobs:
        if len(ran) == 2:
            raise KeyboardInterrupt
        ran.extend(packed.rows)
        return engine.run(packed)

    monkeypatch.setattr(reference_store, "SAVE_INTERVAL_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        killed.fill(batches, run)
    again = ReferenceStore(tmp_path, "k", rows)
    assert again.missing() == [2, 3, 4]
    assert all(answer.isnan().all() for row in again.missing() for answer in again.answers(row))
    ran.clear()
    again.fill(batches, lambda packed: (ran.extend(packed.rows), engine.run(packed))[1])
    assert ran == [2, 3, 4] and again.missing() == []
    for row in range(5):
        assert torch.allclose(again.answers(row)[0], filled.answers(row)[0], atol=1e-5)


def test_a_cache_folder_that_cannot_be_made_is_one_clear_line(
    engine: Engine, vlm: Vlm, rows: list[Row], picture: Callable[[str], Path]
) -> None:
    """`train.cache=/proc/none`, for each of what is kept there, and for corrupted pictures."""
    none = Path("/proc/none")
    with pytest.raises(RunError, match=r"Cannot write /proc/none"):
        ReferenceStore(none / "reference", "f", rows).fill(engine.pack(rows, range(5)), engine.run)
    with pytest.raises(RunError, match=r"Cannot write /proc/none"):
        Pictures(vlm, family_of(vlm.model), picture, cache=none / "vision").fill([rows[0].image_id])
    with pytest.raises(RunError, match=r"Cannot write /proc/none"):
        Shown(picture, none / "corrupted", seed=0)(rows[0].image_id + MARK)


def test_a_cut_file_is_computed_again(filled: ReferenceStore, rows: list[Row], tmp_path: Path) -> None:
    filled.path.write_bytes(filled.path.read_bytes()[:-8])
    assert len(ReferenceStore(tmp_path, "f", rows).missing()) == 5


@pytest.mark.parametrize("name", ["per_token", "crc32"])
def test_a_row_with_a_turned_bit_is_computed_again_and_no_other(
    name: str, engine: Engine, filled: ReferenceStore, rows: list[Row], tmp_path: Path
) -> None:
    """The lowest bit of row 3's first value, or of its checksum, is turned in the file; both are little-endian."""
    sound = [answer.clone() for row in range(5) for answer in filled.answers(row)]
    row_3 = sum(len(answer) for row in rows[:3] for answer in row.answers) * 4 if name == "per_token" else 3 * 8
    content = bytearray(filled.path.read_bytes())
    header = int.from_bytes(content[:8], "little")
    begin = json.loads(content[8 : 8 + header])[name]["data_offsets"][0]
    content[8 + header + begin + row_3] ^= 1
    filled.path.write_bytes(content)
    again = ReferenceStore(tmp_path, "f", rows)
    assert again.missing() == [3] and again.pair_logprobs([3]).chosen.isnan().all()
    again.fill(engine.pack(rows, range(5)), engine.run)
    mended = ReferenceStore(tmp_path, "f", rows)
    assert mended.missing() == []
    after = [answer for row in range(5) for answer in mended.answers(row)]
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(after, sound, strict=True))


def test_numbers_of_another_number_of_tokens_are_refused(
    filled: ReferenceStore, rows: list[Row], tmp_path: Path
) -> None:
    longer = [rows[0]._replace(answers=(rows[0].chosen, (*rows[0].rejected, 1))), *rows[1:]]
    for others in (longer, rows[:4]):
        with pytest.raises(UserError, match=r"f\.safetensors holds the numbers of other data"):
            ReferenceStore(tmp_path, "f", others)


def test_two_processes_may_fill_a_file_at_once(engine: Engine, rows: list[Row], tmp_path: Path) -> None:
    """Both begin with nothing; the second replaces the first's file, and who is reading that one has it to its end."""
    one, other = ReferenceStore(tmp_path, "f", rows), ReferenceStore(tmp_path, "f", rows)
    packed = engine.pack(rows, range(5))
    one.fill(packed, engine.run)
    first = one.path.read_bytes()
    with one.path.open("rb") as reader:
        other.fill(packed, lambda packed: (found := engine.run(packed))._replace(per_token=found.per_token - 1))
        assert reader.read() == first
    last = ReferenceStore(tmp_path, "f", rows)
    assert last.missing() == [] and torch.equal(last.pair_logprobs([0]).chosen, other.pair_logprobs([0]).chosen)
    assert [path.name for path in tmp_path.iterdir()] == ["f.safetensors"], "no half-written file stays"


def test_a_file_of_something_else_is_refused(filled: ReferenceStore, rows: list[Row], tmp_path: Path) -> None:
    filled.path.rename(tmp_path / "g.safetensors")
    with pytest.raises(UserError, match=r"g\.safetensors holds the numbers of other data or another model"):
        ReferenceStore(tmp_path, "g", rows)


def test_the_fingerprint_covers_weights_precision_rendering_pictures_and_the_library(
    rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = [rows[0]._replace(prompt=(*rows[0].prompt, 1)), *rows[1:]]
    variants = [("w", "float32", rows, DIGESTS), ("x", "float32", rows, DIGESTS), ("w", "bfloat16", rows, DIGESTS)]
    variants += [("w", "float32", changed, DIGESTS), ("w", "float32", rows, [*DIGESTS[:4], "9"])]
    known = {reference_fingerprint(*variant) for variant in variants}
    assert len(known) == 5
    assert reference_fingerprint(*variants[0]) == reference_fingerprint("w", "float32", list(rows), DIGESTS)
    monkeypatch.setattr("transformers.__version__", "0")
    assert reference_fingerprint(*variants[0]) not in known
