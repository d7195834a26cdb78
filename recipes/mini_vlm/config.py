"""Holds what the recipe fixes: seeds, folders (named by the environment, or under the working one), held-out rule."""

import hashlib
import os
from pathlib import Path

SEED = 20261121
WORK = Path(os.environ.get("MINI_VLM_WORK", "build/mini_vlm"))
NODE_MODULES = Path(os.environ.get("MINI_VLM_NODE_MODULES", "node_modules"))
LABELS = NODE_MODULES / "emojibase-data/en"
FLUENT_3D = NODE_MODULES / "@lobehub/fluent-emoji-3d/assets"
STREAMLINE = Path(os.environ.get("MINI_VLM_STREAMLINE", WORK / "iconify-json-streamline-emojis-1.2.4/package"))
OPENCLIPART = WORK / "deb/openclipart-png/usr/share/openclipart/png"
STAMPS = WORK / "deb/tuxpaint-stamps-default/usr/share/tuxpaint/stamps"
HELD_OUT_PERCENT = 10


def bucket(text: str) -> int:
    """Returns a stable number from 0 to 99 for a text."""
    return int(hashlib.sha256(text.casefold().encode()).hexdigest()[:8], 16) % 100


def is_held_out(caption: str) -> bool:
    """Tells whether a concept is kept out of training altogether."""
    return bucket(caption) < HELD_OUT_PERCENT
