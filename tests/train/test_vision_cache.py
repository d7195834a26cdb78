"""Kept pictures against the model run from pixels, gradients and all, in float64; and the files they are kept in."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load
from tests.tiny_families import IMAGE_ID, TEXT, build, make_pictures, model_inputs, prompt_ids
from torch import Tensor, nn
from transformers import CLIPImageProcessorPil, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from spavl.embedded.tower import EfficientNetLiteConfig
from spavl.errors import UserError
from spavl.models.loading import Vlm
from spavl.train.families import FAMILIES, Encoded, family_of
from spavl.train.families.tower import Tower
from spavl.train.render import open_picture, picture_digest
from spavl.train.vision_cache import Pictures, VisionTraining, vision_parameters

TYPES = tuple(family.model_type for family in FAMILIES)
NOTHING = VisionTraining()
PROJECTOR = VisionTraining(projector=True)
LAST_BLOCK = VisionTraining(projector=True, tower=1)
LAST_TWO = VisionTraining(tower=2)
ALL_BLOCKS = VisionTraining(projector=True, tower="all")
TRAININGS = (NOTHING, PROJECTOR, LAST_BLOCK, LAST_TWO, ALL_BLOCKS)
Picture = Callable[[str], Path]


@pytest.fixture
def picture(tmp_path: Path) -> Picture:
    (tmp_path / "pictures").mkdir()
    return make_pictures(tmp_path / "pictures")


def make(vlm: Vlm, picture: Picture, cache: Path, trains: VisionTraining = PROJECTOR) -> Pictures:
    return Pictures(vlm, family_of(vlm.model), picture, trains, cache)


def opened(picture: Picture, image_id: str) -> Any:
    return open_picture(picture(image_id))


def training(vlm: Vlm, trains: VisionTraining) -> dict[str, nn.Parameter]:
    """Freezes the model but for the vision part's trained parameters, which are returned by name."""
    vlm.model.requires_grad_(False)
    parameters = vision_parameters(vlm.model, family_of(vlm.model), trains)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
        parameter.grad = None
    return parameters


def gradients(hidden: Tensor, parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """The gradients of a sum of the hidden states with random weights."""
    weights = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(3), dtype=hidden.dtype)
    grads = torch.autograd.grad((hidden * weights).sum(), list(parameters.values()), allow_unused=True)
    return {name: grad for name, grad in zip(parameters, grads, strict=True) if grad is not None}


def hidden_from_pixels(vlm: Vlm, ids: list[int], picture: Picture, *image_ids: str) -> Tensor:
    inputs = model_inputs(vlm, ids, [open_picture(picture(image_id)) for image_id in image_ids])
    return vlm.model.base_model(**inputs, use_cache=False).last_hidden_state[0]


def hidden_from_kept(vlm: Vlm, ids: list[int], encoded: list[Encoded], picture: Picture, *image_ids: str) -> Tensor:
    inputs = model_inputs(vlm, ids, [open_picture(picture(image_id)) for image_id in image_ids])
    keep = {"input_ids", "mm_token_type_ids", "token_type_ids", "image_grid_thw"}  # all but the pixels
    inputs = {name: value for name, value in inputs.items() if name in keep}
    outputs = family_of(vlm.model).encoder_outputs(encoded)
    return vlm.model.base_model(**inputs, mm_encoder_outputs=outputs, use_cache=False).last_hidden_state[0]


@pytest.mark.parametrize("trains", TRAININGS, ids=str)
@pytest.mark.parametrize("model_type", TYPES)
def test_kept_pictures_give_the_models_own_hidden_states_and_gradients(
    model_type: str, trains: VisionTraining, picture: Picture, tmp_path: Path
) -> None:
    vlm = build(model_type)
    parameters = training(vlm, trains)
    ids = [token for seed, name in enumerate(("red", "blue")) for token in prompt_ids(vlm, opened(picture, name), seed)]
    theirs = hidden_from_pixels(vlm, ids, picture, "red", "blue")
    expected = gradients(theirs, parameters) if parameters else {}
    computed, read = (
        hidden_from_kept(vlm, ids, [pictures("red"), pictures("blue")], picture, "red", "blue")
        for pictures in (make(vlm, picture, tmp_path / "cache", trains) for _ in range(2))
    )
    assert (computed - theirs).abs().max() < 1e-10
    assert torch.equal(computed, read)
    assert computed.requires_grad == bool(parameters)
    if parameters:
        got = gradients(read, parameters)
        scale = max(grad.abs().max() for grad in expected.values())
        assert got.keys() == expected.keys() and scale > 1e-3
        assert max((got[name] - expected[name]).abs().max() for name in expected) < 1e-7 * scale
    kept = list((tmp_path / "cache").rglob("*.safetensors"))
    assert len(kept) == (0 if trains.tower == "all" else 2)


@pytest.mark.parametrize("model_type", TYPES)
def test_what_trains_is_the_projector_and_the_last_blocks_that_reach_it(model_type: str) -> None:
    """The towers have 4 blocks; LLaVA and LLaVA-NeXT read the last but one, number 2."""
    model = build(model_type).model
    family = family_of(model)
    last = 2 if model_type in ("llava", "llava_next") else 3
    one = vision_parameters(model, family, VisionTraining(tower=1))
    assert one and all(name.startswith(f"{family.blocks_path(model)}.{last}.") for name in one)
    both = vision_parameters(model, family, LAST_BLOCK)
    assert {family.part(name) for name in both} == {"projector", "vision"}
    whole = vision_parameters(model, family, VisionTraining(tower="all"))
    assert {name for name in whole if family.part(name) != "vision"} == set()
    unread = [
        name for name, _ in model.named_parameters() if name.startswith(f"{family.blocks_path(model)}.{last + 1}.")
    ]
    assert not set(unread) & set(whole) and bool(unread) == (last == 2)
    assert vision_parameters(model, family, NOTHING) == {}


@pytest.mark.parametrize("layers", [[-3, -2], [1, 4]])
def test_features_of_several_layers_are_kept_each(layers: list[int], picture: Picture, tmp_path: Path) -> None:
    """State 1 is what block 0 puts out; it lies before every cut, and is handed to the projector from the file."""
    vlm = build("llava", vision_feature_layer=layers)
    parameters = training(vlm, LAST_BLOCK)
    ids = prompt_ids(vlm, opened(picture, "red"))
    pictures = Pictures(vlm, family_of(vlm.model), picture, LAST_BLOCK, tmp_path)
    ours = hidden_from_kept(vlm, ids, [pictures("red")], picture, "red")
    theirs = hidden_from_pixels(vlm, ids, picture, "red")
    assert (ours - theirs).abs().max() < 1e-10
    expected, got = gradients(theirs, parameters), gradients(ours, parameters)
    assert all(torch.allclose(got[name], expected[name], rtol=1e-7, atol=1e-9) for name in expected)


@pytest.mark.parametrize("model_type", TYPES)
def test_skipped_blocks_do_no_work_and_stand_again_afterwards(model_type: str, picture: Picture) -> None:
    vlm = build(model_type)
    family = family_of(vlm.model)
    blocks = vlm.model.get_submodule(family.blocks_path(vlm.model))
    pictures = Pictures(vlm, family, picture, VisionTraining(tower=1))
    pictures("red")
    ran: list[int] = []
    for place, block in enumerate(blocks):
        next(block.children()).register_forward_hook(lambda *_, place=place: ran.append(place))
    pictures("red")
    assert ran == [2 if "llava" in model_type else 3]
    assert all("forward" not in vars(block) for block in blocks)


def test_blocks_stand_again_after_an_error(picture: Picture) -> None:
    vlm = build("llava")
    tower = Tower(vlm.model, family_of(vlm.model))
    with pytest.raises(RuntimeError):
        tower.replay({"pixel_values": torch.ones(1, 3, 56, 56, dtype=torch.float64)}, [torch.ones(1, 2, 3)], 3)
    assert not any("forward" in vars(module) for module in vlm.model.modules())


@pytest.mark.parametrize("trains", [VisionTraining(tower=5), VisionTraining(tower=-1)])
def test_more_blocks_than_there_are_is_an_error(trains: VisionTraining, picture: Picture) -> None:
    vlm = build("gemma3")
    with pytest.raises(UserError, match=rf"vision_blocks={trains.tower}; allowed: 0 to 4 blocks, or all"):
        Pictures(vlm, family_of(vlm.model), picture, trains)


# -- the embedded model's tower ----------------------------------------------------------------------------------------


def embedded() -> Vlm:
    """A LLaVA with the embedded model's convolutional tower, random and in float64."""
    config = LlavaConfig(
        vision_config=EfficientNetLiteConfig(image_size=64, grid_size=2).to_dict(),
        text_config=LlamaConfig(**TEXT),
        image_token_index=IMAGE_ID,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config).double().eval()
    side = {"height": 64, "width": 64}
    processor = CLIPImageProcessorPil(size=side, crop_size=side, do_center_crop=False)
    return Vlm(model, SimpleNamespace(image_processor=processor, images_kwargs={}))


@pytest.mark.parametrize("trains", [NOTHING, PROJECTOR], ids=str)
def test_a_tower_without_blocks_is_kept_whole(trains: VisionTraining, picture: Picture, tmp_path: Path) -> None:
    vlm = embedded()
    parameters = training(vlm, trains)
    theirs = vlm.model.get_image_features(**inputs_of(vlm, opened(picture, "red"))).pooler_output[0]
    computed = make(vlm, picture, tmp_path, trains)("red").features
    ran: list[object] = []
    vlm.model.model.vision_tower.net._conv_stem.register_forward_hook(lambda *_: ran.append(1))
    ours = make(vlm, picture, tmp_path, trains)("red").features
    assert torch.equal(ours, computed)
    assert (ours - theirs).abs().max() < 1e-12 and theirs.abs().max() > 0
    assert not ran
    expected, got = (gradients(features, parameters) if parameters else {} for features in (theirs, ours))
    assert all(torch.allclose(got[name], expected[name], rtol=1e-7) for name in expected)


def test_a_tower_without_blocks_cannot_train_in_part(picture: Picture) -> None:
    vlm = embedded()
    with pytest.raises(UserError, match=r"vision_blocks=1: this tower has no blocks to part; allowed: 0 or all"):
        Pictures(vlm, family_of(vlm.model), picture, LAST_BLOCK)


def inputs_of(vlm: Vlm, image: Any) -> dict[str, Tensor]:
    return dict(vlm.processor.image_processor(image, return_tensors="pt").to(dtype=torch.float64))


# -- files -------------------------------------------------------------------------------------------------------------


def by_digest(picture: Picture, folder: Path) -> Picture:
    """Copies the pictures to where the image store would keep them: under the SHA-256 of their bytes."""
    stored = {}
    for image_id in ("red", "blue"):
        content = picture(image_id).read_bytes()
        stored[image_id] = folder / f"{hashlib.sha256(content).hexdigest()}.png"
        stored[image_id].write_bytes(content)
    return stored.__getitem__


def only_file(folder: Path) -> Path:
    (path,) = folder.rglob("*.safetensors")
    return path


def test_a_picture_whose_file_is_gone_is_read_from_the_cache(picture: Picture, tmp_path: Path) -> None:
    vlm = build("smolvlm")
    stored = by_digest(picture, tmp_path)
    before = make(vlm, stored, tmp_path / "cache")("red")
    stored("red").unlink()
    assert torch.equal(make(vlm, stored, tmp_path / "cache")("red").features, before.features)
    stored("blue").unlink()
    with pytest.raises(UserError, match="cannot be opened"):
        make(vlm, stored, tmp_path / "cache")("blue")


def test_files_are_named_by_fingerprint_and_digest(picture: Picture, tmp_path: Path) -> None:
    make(build("llava"), picture, tmp_path / "cache")("red")
    path = only_file(tmp_path / "cache")
    digest = hashlib.sha256(picture("red").read_bytes()).hexdigest()
    assert (path.stem, path.parent.name) == (digest, digest[:2])
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["fingerprint"] == path.parent.parent.name


@pytest.mark.parametrize(
    ("trains", "weight", "same"),
    [
        (PROJECTOR, "model.vision_tower.embeddings.patch_embedding.weight", False),
        (PROJECTOR, "model.vision_tower.encoder.layers.0.mlp.fc1.weight", False),
        (PROJECTOR, "model.vision_tower.encoder.layers.1.mlp.fc1.weight", False),
        (PROJECTOR, "model.multi_modal_projector.linear_1.weight", True),
        (NOTHING, "model.multi_modal_projector.linear_1.weight", False),
        (LAST_BLOCK, "model.vision_tower.encoder.layers.2.mlp.fc1.weight", True),
        (LAST_BLOCK, "model.vision_tower.encoder.layers.1.mlp.fc1.weight", False),
        (NOTHING, "model.language_model.layers.0.mlp.up_proj.weight", True),
    ],
)
def test_a_changed_weight_before_the_cut_makes_new_files(
    trains: VisionTraining, weight: str, same: bool, picture: Picture, tmp_path: Path
) -> None:
    vlm = build("llava")
    make(vlm, picture, tmp_path, trains)("red")
    vlm.model.get_parameter(weight).data[0, 0] += 1
    make(vlm, picture, tmp_path, trains)("red")
    assert len({path.parent.parent for path in tmp_path.rglob("*.safetensors")}) == (1 if same else 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda vlm, _: vlm.processor.images_kwargs.update(crop_to_patches=False),
        lambda vlm, _: setattr(vlm.processor.image_processor, "image_mean", [0.1, 0.2, 0.3]),
        lambda vlm, _: setattr(vlm.model.config.vision_config, "layer_norm_eps", 0.5),
        lambda _, monkeypatch: monkeypatch.setattr(transformers, "__version__", "0.0.1"),
    ],
    ids=["tiles", "pixel mean", "the tower's settings", "version of transformers"],
)
def test_other_settings_make_new_files(
    change: Callable[..., object], picture: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vlm = build("internvl")
    make(vlm, picture, tmp_path)("red")
    change(vlm, monkeypatch)
    make(vlm, picture, tmp_path)("red")
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_a_mask_over_pixels_is_kept_as_truth_values(picture: Picture, tmp_path: Path) -> None:
    """As transformers takes it: a mask of numbers would count patches where it should choose them."""
    make(build("smolvlm"), picture, tmp_path)("red")
    shape, mask, *_ = (tensor for _, tensor in sorted(load(only_file(tmp_path).read_bytes()).items()))
    assert mask.dtype == torch.bool and mask.shape == (*shape[:2], *shape[-2:])


def test_a_file_that_something_else_made_is_an_error_that_names_it(picture: Picture, tmp_path: Path) -> None:
    vlm = build("llava")
    make(vlm, picture, tmp_path / "one", NOTHING)("red")
    make(vlm, picture, tmp_path / "two", PROJECTOR)("red")
    stale, place = only_file(tmp_path / "one"), only_file(tmp_path / "two")
    place.write_bytes(stale.read_bytes())
    with pytest.raises(UserError, match=rf"{place} was made by another model.*{stale.parent.parent.name}"):
        make(vlm, picture, tmp_path / "two")("red")


@pytest.mark.parametrize("damage", ["cut short", "empty", "a bit turned"])
def test_a_damaged_file_is_computed_again(damage: str, picture: Picture, tmp_path: Path) -> None:
    vlm = build("qwen3_vl")
    before = make(vlm, picture, tmp_path / "cache")("red")
    path = only_file(tmp_path / "cache")
    whole = path.read_bytes()
    sound = load(whole)
    turned = whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:]
    path.write_bytes({"cut short": whole[:-8], "empty": b"", "a bit turned": turned}[damage])
    after = make(vlm, picture, tmp_path / "cache")("red")
    assert torch.equal(after.features, before.features)
    assert all(torch.equal(one, other) for one, other in zip(after.deepstack, before.deepstack, strict=True))
    mended = load(path.read_bytes())
    assert mended.keys() == sound.keys() and all(torch.equal(mended[name], sound[name]) for name in sound)


def test_filling_computes_what_is_missing_and_no_more(picture: Picture, tmp_path: Path) -> None:
    vlm = build("gemma3")
    pictures = make(vlm, picture, tmp_path / "cache")
    pictures.fill(["red", "red"])
    times = only_file(tmp_path / "cache").stat().st_mtime_ns
    path = only_file(tmp_path / "cache")
    pictures.fill(["red", "blue"])
    assert path.stat().st_mtime_ns == times
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 2
    Pictures(vlm, family_of(vlm.model), picture, PROJECTOR).fill(["red"])


def test_a_picture_is_known_by_its_bytes(picture: Picture, tmp_path: Path) -> None:
    content = picture("red").read_bytes()
    (tmp_path / "copy.png").write_bytes(content)
    assert picture_digest(tmp_path / "copy.png") == picture_digest(picture("red"))
    assert picture_digest(picture("red")) == hashlib.sha256(content).hexdigest()
    with pytest.raises(UserError, match=r"missing\.png cannot be opened"):
        picture_digest(tmp_path / "missing.png")


@pytest.mark.parametrize(("content", "moment"), [(b"two", 2), (b"four", 1)], ids=["same size", "same time"])
def test_a_changed_file_is_another_picture(content: bytes, moment: int, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    for written, at in ((b"one", 1), (content, moment)):
        path.write_bytes(written)
        os.utime(path, (at, at))
        assert picture_digest(path) == hashlib.sha256(written).hexdigest()


FILL = """
import sys
from pathlib import Path
from tests.tiny_families import build
from spavl.train.families import family_of
from spavl.train.vision_cache import Pictures, VisionTraining
vlm, folder = build("llava"), Path(sys.argv[1])
show = lambda name: folder / f"{name}.png"
pictures = Pictures(vlm, family_of(vlm.model), show, VisionTraining(True), folder / "cache")
print("ready", flush=True)
sys.stdin.readline()
for _ in range(30):
    for name in ("red", "blue"):
        pictures._files.write(pictures._digest(name), pictures._compute(name))
        pictures._files.read(pictures._digest(name))[0]
"""


@pytest.mark.slow
def test_two_processes_may_fill_a_folder_at_once(picture: Picture, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FILL, str(tmp_path / "pictures")]
    both = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    cache = tmp_path / "pictures" / "cache"
    assert len([path for path in cache.rglob("*") if path.is_file()]) == 2, "no half-written file stays"
    vlm = build("llava")
    fresh = Pictures(vlm, family_of(vlm.model), picture, PROJECTOR)("red").features
    assert torch.equal(make(vlm, picture, cache)("red").features, fresh)
