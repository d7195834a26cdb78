"""Reference log-probabilities are computed once, and anew when anything they depend on changes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.train.material import make_pairs

from spavl.errors import RunError, UserError
from spavl.models.loading import Vlm
from spavl.train.corrupted import MARK, Shown
from spavl.train.dpo import Engine
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
    engine: Engine, filled: ReferenceStore, rows: list[Row], tmp_path: Path
) -> None:
    """Only row 3 is unknown; a value planted in row 1, of another picture, stays; the missing one comes back."""
    tensors = load_file(filled.path)
    tensors["known"][3] = False
    tensors["per_token"][len(rows[0].chosen) + len(rows[0].rejected)] = -77.0
    save_file(tensors, filled.path, metadata={"fingerprint": "f"})
    again = ReferenceStore(tmp_path, "f", rows)
    assert again.missing() == [3]
    ran: list[int] = []

    def counted(packed: PackedTrees) -> AnswerLogprobs:
        ran.extend(packed.rows)
        return engine.run(packed)

    again.fill([packed for place in range(5) for packed in engine.pack(rows, [place])], counted)
    assert ran == [3] and again.missing() == []
    assert torch.allclose(again.answers(3)[0], filled.answers(3)[0], atol=1e-5)
    assert again.answers(1)[0][0] == -77.0


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


def test_a_file_of_something_else_is_refused(filled: ReferenceStore, rows: list[Row], tmp_path: Path) -> None:
    filled.path.rename(tmp_path / "g.safetensors")
    with pytest.raises(UserError, match=r"g\.safetensors holds the numbers of other data or another model"):
        ReferenceStore(tmp_path, "g", rows)


def test_the_fingerprint_covers_weights_precision_rendering_and_pictures(rows: list[Row]) -> None:
    changed = [rows[0]._replace(prompt=(*rows[0].prompt, 1)), *rows[1:]]
    variants = [("w", "float32", rows, DIGESTS), ("x", "float32", rows, DIGESTS), ("w", "bfloat16", rows, DIGESTS)]
    variants += [("w", "float32", changed, DIGESTS), ("w", "float32", rows, [*DIGESTS[:4], "9"])]
    assert len({reference_fingerprint(*variant) for variant in variants}) == 5
    assert reference_fingerprint(*variants[0]) == reference_fingerprint("w", "float32", list(rows), DIGESTS)
