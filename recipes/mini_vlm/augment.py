"""Pastes cut-outs on backgrounds: the variety that keeps the small model from memorising drawings.

A cut-out is jittered in size, place, rotation, colour and direction, and laid on white, a plain
colour, a gradient, noise, or a blurred scrap of a CC0 photograph of scikit-image.
"""

from functools import cache
from pathlib import Path

import numpy as np
import skimage
from PIL import Image, ImageEnhance, ImageFilter

SIDE = 224
_SCENES = ("grass.png", "gravel.png", "brick.png", "coffee.png", "chelsea.png", "rocket.jpg")


def on_white(picture: Image.Image) -> Image.Image:
    """Returns the picture as RGB, transparent parts white."""
    rgba = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


@cache
def _scene(name: str) -> Image.Image:
    path = Path(skimage.__file__).parent / "data" / name
    return Image.open(path).convert("RGB")


def background(rng: np.random.Generator) -> Image.Image:
    """Returns a random background of the tower's size."""
    kind = rng.choice(["white", "plain", "gradient", "noise", "scene"], p=[0.4, 0.2, 0.1, 0.1, 0.2])
    colour = rng.integers(0, 256, 3)
    if kind == "white":
        shade = int(rng.integers(225, 256))
        return Image.new("RGB", (SIDE, SIDE), (shade, shade, shade))
    if kind == "plain":
        return Image.new("RGB", (SIDE, SIDE), (int(colour[0]), int(colour[1]), int(colour[2])))
    if kind == "scene":
        scene = _scene(str(rng.choice(_SCENES)))
        side = int(rng.integers(100, min(scene.size)))
        left = int(rng.integers(0, scene.width - side + 1))
        top = int(rng.integers(0, scene.height - side + 1))
        patch = scene.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
        return patch.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 4))))
    cells = 2 if kind == "gradient" else int(rng.integers(4, 40))
    noise = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def augmented(drawing: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Returns the cut-out, jittered, on a random background."""
    picture = drawing.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else drawing
    if rng.random() < 0.6:
        picture = picture.rotate(float(rng.uniform(-18, 18)), Image.Resampling.BILINEAR)
    width, height = (int(SIDE * rng.uniform(0.55, 1.0)) for _ in range(2))
    if rng.random() < 0.6:
        height = width
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    alpha = picture.getchannel("A")
    colours = picture.convert("RGB")
    for enhance in (ImageEnhance.Color, ImageEnhance.Brightness, ImageEnhance.Contrast):
        if rng.random() < 0.5:
            colours = enhance(colours).enhance(float(rng.uniform(0.65, 1.35)))
    if rng.random() < 0.2:
        colours = colours.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 2))))
    canvas = background(rng)
    left, top = int(rng.integers(0, SIDE - width + 1)), int(rng.integers(0, SIDE - height + 1))
    canvas.paste(colours, (left, top), alpha)
    return canvas
