"""The model between two models: the mixture by hand, what is refused, and what stays as it was."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from spavl.cli.merge import merge
from spavl.errors import UserError
from spavl.models.loading import load_vlm
from spavl.train.merge import merge_models

Q = "language_model.model.layers.0.self_attn.q_proj.weight"
FROZEN = "vision_tower.embeddings.class_embedding"


@pytest.fixture
def base(tiny: Path, tmp_path: Path) -> Path:
    """In bfloat16, one weight known."""
    folder = Path(shutil.copytree(tiny, tmp_path / "base"))
    return rewritten(folder, {Q: torch.tensor(1.0)}, torch.bfloat16)


@pytest.fixture
def aligned(base: Path, tmp_path: Path) -> Path:
    return rewritten(Path(shutil.copytree(base, tmp_path / "aligned")), {Q: torch.tensor(1.5)})


def rewritten(folder: Path, values: dict[str, torch.Tensor], dtype: torch.dtype = torch.bfloat16) -> Path:
    path = folder / "model.safetensors"
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(path).items()}
    for name, value in values.items():
        tensors[name][0, 0] = value
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(("alpha", "value"), [(0.0, 1.0), (0.5, 1.25), (1.0, 1.5), (2.0, 2.0)])
def test_the_mixture_by_hand(base: Path, aligned: Path, tmp_path: Path, alpha: float, value: float) -> None:
    """1 in the base and 1.5 in the aligned model: 1 + alpha / 2; every other tensor is equal and keeps its bits."""
    merged = merge_models(base, aligned, alpha, tmp_path / "merged")
    before, after = load_file(base / "model.safetensors"), load_file(merged.model / "model.safetensors")
    assert float(after[Q][0, 0]) == value
    assert after[Q].dtype == torch.bfloat16
    assert (merged.mixed, merged.tensors) == (1, len(before))
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items() if name != Q)
    assert load_vlm(merged.model).model is not None


def test_what_neither_changed_is_copied_bit_for_bit(base: Path, aligned: Path, tmp_path: Path) -> None:
    """0.3 x + 0.7 x is not x for every float32 x, so equal tensors are not computed."""
    for folder in (base, aligned):
        rewritten(folder, {}, torch.float32)
    merged = merge_models(base, aligned, 0.7, tmp_path / "merged")
    before = load_file(base / "model.safetensors")[FROZEN]
    assert torch.equal(load_file(merged.model / "model.safetensors")[FROZEN], before)


def test_everything_else_is_the_aligned_models(base: Path, aligned: Path, tmp_path: Path) -> None:
    (aligned / "chat_template.jinja").write_text("{{ messages }}")
    merged = merge_models(base, aligned, 0.5, tmp_path / "merged")
    assert (merged.model / "chat_template.jinja").read_text() == "{{ messages }}"
    assert sorted(one.name for one in merged.model.iterdir()) == sorted(one.name for one in aligned.iterdir())


@pytest.mark.parametrize("alpha", [-0.1, 2.1, float("nan")])
def test_alpha_out_of_range_is_refused(base: Path, aligned: Path, tmp_path: Path, alpha: float) -> None:
    with pytest.raises(UserError, match=rf"--alpha {alpha}: it is the aligned model's share, 0 to 1"):
        merge_models(base, aligned, alpha, tmp_path / "merged")


def test_models_of_different_kinds_are_refused(base: Path, aligned: Path, tmp_path: Path) -> None:
    config = json.loads((base / "config.json").read_bytes())
    config["text_config"]["rms_norm_eps"] = 0.5
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"different kinds: `text_config\.rms_norm_eps` in config\.json is 0\.5 and"):
        merge_models(base, aligned, 0.5, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_version_of_transformers_is_no_different_kind(base: Path, aligned: Path, tmp_path: Path) -> None:
    config = json.loads((base / "config.json").read_bytes()) | {"transformers_version": "5.0.0"}
    (base / "config.json").write_text(json.dumps(config))
    assert merge_models(base, aligned, 0.5, tmp_path / "merged").mixed == 1


def test_a_missing_tensor_and_another_shape_are_refused(base: Path, aligned: Path, tmp_path: Path) -> None:
    path = base / "model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, Q: torch.zeros(2, 2)}, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=rf"{Q} has shape \(2, 2\) in .*base and \(32, 32\) in .*aligned"):
        merge_models(base, aligned, 0.5, tmp_path / "merged")
    del tensors[Q]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=rf"same tensors: 1 differ, the first is {Q}, which only .*aligned has"):
        merge_models(base, aligned, 0.5, tmp_path / "merged")


def test_nothing_is_overwritten(base: Path, aligned: Path) -> None:
    with pytest.raises(UserError, match="it exists already"):
        merge_models(base, aligned, 0.5, aligned)


def test_the_verb_says_what_it_did(
    base: Path, aligned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    merge(str(base), str(aligned), 0.5, tmp_path / "half", as_json=True)
    assert json.loads(capsys.readouterr().out)["mixed"] == 1
    merge(str(base), str(aligned), 1.5, tmp_path / "beyond")
    assert "1 tensors mixed" in (text := capsys.readouterr().out) and "beyond the aligned model" in text


def test_a_path_that_is_no_model_is_one_line(base: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no \*\.safetensors"):
        merge_models(base, tmp_path / "empty", 0.5, tmp_path / "merged")
