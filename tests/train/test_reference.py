"""Reference log-probabilities are computed once, and anew when anything they depend on changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.train.material import make_pairs

from spavl.train.logprobs import Features
from spavl.train.policy import Policy
from spavl.train.reference import reference_fingerprint, reference_logprobs
from spavl.train.render import Renderer, Row


@pytest.fixture
def rows(renderer: Renderer, picture: Callable[[str], Path]) -> list[Row]:
    return renderer.rows(make_pairs(5), picture)


def forbidden(image_id: str) -> list[torch.Tensor]:
    raise AssertionError(f"{image_id} was looked at again")


def test_a_second_call_reads_the_file(tmp_path: Path, policy: Policy, rows: list[Row], features: Features) -> None:
    path = tmp_path / "reference.safetensors"
    first = reference_logprobs(path, "f", policy, rows, features, 2)
    second = reference_logprobs(path, "f", policy, rows, forbidden, 2)
    assert torch.equal(first.chosen, second.chosen) and torch.equal(first.rejected, second.rejected)
    assert torch.isfinite(first.chosen).all() and (first.chosen < 0).all()


def test_another_fingerprint_computes_them_again(
    tmp_path: Path, policy: Policy, rows: list[Row], features: Features
) -> None:
    path = tmp_path / "reference.safetensors"
    reference_logprobs(path, "f", policy, rows, features, 2)
    with pytest.raises(AssertionError, match="looked at again"):
        reference_logprobs(path, "g", policy, rows, forbidden, 2)


def test_a_killed_pass_computes_only_what_is_missing(
    tmp_path: Path, policy: Policy, rows: list[Row], features: Features
) -> None:
    """Of five rows only row 3 is unknown; a value planted in row 0 stays, the missing one comes back as it was."""
    path = tmp_path / "reference.safetensors"
    whole = reference_logprobs(path, "f", policy, rows, features, 1)
    tensors = load_file(path)
    tensors["known"][3], tensors["chosen"][3], tensors["chosen"][0] = False, torch.nan, -1.0
    save_file(tensors, path, metadata={"fingerprint": "f"})
    seen: list[str] = []

    def counted(image_id: str) -> Any:
        seen.append(image_id)
        return features(image_id)

    again = reference_logprobs(path, "f", policy, rows, counted, 1)
    assert set(seen) == {"img-0"}
    assert again.chosen[3] == whole.chosen[3] and again.chosen[0] == -1


def test_a_cut_file_is_computed_again(tmp_path: Path, policy: Policy, rows: list[Row], features: Features) -> None:
    path = tmp_path / "reference.safetensors"
    first = reference_logprobs(path, "f", policy, rows, features, 2)
    path.write_bytes(path.read_bytes()[:-8])
    assert torch.equal(reference_logprobs(path, "f", policy, rows, features, 2).chosen, first.chosen)


def test_fingerprint_covers_weights_precision_groups_and_rendering(rows: list[Row]) -> None:
    changed = [rows[0]._replace(prompt=(*rows[0].prompt, 1)), *rows[1:]]
    variants = [("w", "float32", 2, rows), ("x", "float32", 2, rows), ("w", "bfloat16", 2, rows)]
    variants += [("w", "float32", 4, rows), ("w", "float32", 2, changed)]
    assert len({reference_fingerprint(*variant) for variant in variants}) == 5
    assert reference_fingerprint(*variants[0]) == reference_fingerprint("w", "float32", 2, list(rows))
