"""Measures the contamination check: the time of its comparison of looks, and its recall on planted copies.

Scale: hashes of 100,000 pictures against those of 10,000, made from a seed, with copies planted eight bits away. Looks:
pictures that installed packages carry, each against copies of all of them that were scaled down, re-encoded, mirrored,
or cut by a tenth of width and height at a random place; what is found beside the copies is a false positive, or looks
alike before anything is edited. Vectors: the same by the packaged encoder, and with a quarter cut off. Texts: prompts
of random words, some with one word changed, and some that lack words at random places. As many threads as cores.

    python -m benchmarks.contamination [--quick] [--photographs] [--deletions] [--json PATH]
"""

import argparse
import io
import json
import os
import platform
import random
import string
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from spavl.dataset.contamination import CheckLimits
from spavl.dataset.fingerprints import PARTS, find_lookalikes, fingerprint
from spavl.embedded.pictures import packaged_pictures
from spavl.models.picture_vectors import picture_encoder
from spavl.stats.rates import wilson
from spavl.store.near import Hashes
from spavl.store.near_vectors import near_vectors
from spavl.texts.near import TextLimits, find_same_texts

BITS = 8
COSINE = CheckLimits().image_cosine
EDITS = ("scaled to half", "JPEG quality 30", "mirrored", "cut by a tenth", "cut, mirrored, JPEG 50")
QUARTER = "cut by a quarter"
PHOTOGRAPHS = (
    "skimage/data astronaut.png brick.png camera.png chelsea.png coffee.png coins.png grass.png gravel.png ihc.png "
    "hubble_deep_field.jpg moon.png motorcycle_left.png retina.jpg rocket.jpg",
    "sklearn/datasets/images china.jpg flower.jpg",
)
"""Photographs in installed packages, by their folder."""
MARGINS = {
    "5 % off each side": (0.05, 0.05, 0.05, 0.05),
    "5 % off the left side": (0.05, 0.0, 0.0, 0.0),
    "2 % off each side": (0.02, 0.02, 0.02, 0.02),
}
"""Name -> what is cut off left, top, right and bottom."""
LETTERS = random.Random(0)
WORDS = ["".join(LETTERS.choices(string.ascii_lowercase, k=LETTERS.randint(2, 10))) for _ in range(5000)]
LENGTHS, DELETED = (18, 40), (1, 2, 3, 5, 9)
"""Words of a prompt, and how many of them a copy lacks."""
COPIES = 1000
TURNED = "turned upside down"


def measure_scale(ours: int, theirs: int, planted: int) -> dict[str, Any]:
    """Compares random fingerprints, of which some were planted `BITS` bits away from one of the other side's."""
    rng = np.random.default_rng(0)
    left, right = (rng.integers(1, 2**63, (size, 2 * len(PARTS)), dtype=np.uint64) for size in (ours, theirs))
    rows, columns = rng.choice(ours, planted, replace=False), rng.choice(theirs, planted, replace=False)
    flips = np.stack([rng.choice(64, BITS, replace=False) for _ in range(planted)]).astype(np.uint64)
    parts = rng.integers(0, 2 * len(PARTS), planted)
    left[rows, 0] = right[columns, parts] ^ np.bitwise_or.reduce(np.uint64(1) << flips, axis=1)
    started = time.perf_counter()
    found = find_lookalikes(left, right, BITS)
    seconds = time.perf_counter() - started
    pairs = set(zip(found.left.tolist(), found.right.tolist(), strict=True))
    wanted = set(zip(rows.tolist(), columns.tolist(), strict=True))
    return {
        "pictures": ours,
        "benchmark_pictures": theirs,
        "seconds": round(seconds, 2),
        "planted": planted,
        "found": len(pairs & wanted),
        "others": len(pairs - wanted),
    }


def measure_looks(count: int) -> dict[str, Any]:
    """Compares packaged pictures with edited copies of them."""
    paths = [one.path for one in packaged_pictures()]
    pictures = [_opened(path) for path in random.Random(0).sample(paths, min(count, len(paths)))]
    files = [_encoded(picture, "JPEG") for picture in pictures]
    started = time.perf_counter()
    originals = np.stack([fingerprint(content) for content in files])
    each = (time.perf_counter() - started) / len(pictures)
    alike = _pairs(originals, originals)
    rows = []
    for edit in EDITS:
        copies = np.stack([fingerprint(_edited(picture, edit, number)) for number, picture in enumerate(pictures)])
        found = _pairs(originals, copies)
        own = {(number, number) for number in range(len(pictures))}
        rows.append(
            {
                "edit": edit,
                "planted": len(pictures),
                "found": len(found & own),
                "other_pairs": len(pictures) * (len(pictures) - 1),
                "others_found": len(found - own),
                "others_found_that_look_alike_unedited": len((found - own) & alike),
            }
        )
    return {"pictures": len(pictures), "ms_a_picture": round(1000 * each, 1), "edits": rows}


def measure_photographs() -> dict[str, Any]:
    """Compares photographs with edited copies of them, by looks and by vectors."""
    pictures, encode = [_opened(path) for path in _photographs()], picture_encoder("packaged")
    contents = [_encoded(picture, "JPEG") for picture in pictures]
    originals, vectors = np.stack([fingerprint(content) for content in contents]), encode(contents)
    rows = []
    for edit in ("the same", *EDITS, QUARTER, *MARGINS, TURNED):
        copies = [_edited(picture, edit, number) for number, picture in enumerate(pictures)]
        found = _pairs(originals, np.stack([fingerprint(content) for content in copies]))
        near = near_vectors(vectors, encode(copies), COSINE)
        own = sum((number, number) in found for number in range(len(pictures)))
        rate = wilson(own, len(pictures))
        rows.append({"edit": edit, "found": own, "low": rate.low, "high": rate.high, "others_found": len(found) - own,
                     "found_by_vectors": int((near.left == near.right).sum()),
                     "others_found_by_vectors": int((near.left != near.right).sum())})  # fmt: skip
    return {"photographs": len(pictures), "edits": rows}


def _photographs() -> list[Path]:
    paths = []
    for line in PHOTOGRAPHS:
        folder, *names = line.split()
        package, _, inside = folder.partition("/")
        paths += [Path(str(files(package))) / inside / name for name in names]
    return paths


def measure_vectors(count: int) -> dict[str, Any]:
    """Compares packaged pictures with edited copies of them by vectors, and counts what hashes find of the same."""
    paths = [one.path for one in packaged_pictures()]
    pictures = [_opened(path) for path in random.Random(0).sample(paths, min(count, len(paths)))]
    files, encode = [_encoded(picture, "JPEG") for picture in pictures], picture_encoder("packaged")
    started = time.perf_counter()
    vectors = encode(files)
    each = (time.perf_counter() - started) / len(pictures)
    hashes = np.stack([fingerprint(content) for content in files])
    own = {(number, number) for number in range(len(pictures))}
    rows = []
    for edit in (*EDITS, QUARTER):
        copies = [_edited(picture, edit, number) for number, picture in enumerate(pictures)]
        found = near_vectors(vectors, encode(copies), COSINE)
        near = set(zip(found.left.tolist(), found.right.tolist(), strict=True))
        looks = _pairs(hashes, np.stack([fingerprint(content) for content in copies]))
        rows.append(
            {
                "edit": edit,
                "planted": len(pictures),
                "found": len(near & own),
                "found_by_hashes": len(looks & own),
                "other_pairs": len(pictures) * (len(pictures) - 1),
                "others_found": len(near - own),
            }
        )
    return {"pictures": len(pictures), "cosine": COSINE, "ms_a_picture": round(1000 * each, 1), "edits": rows}


def measure_texts(ours: int, theirs: int) -> dict[str, Any]:
    """Compares prompts of random words with a tenth of the benchmark's planted among them, one word changed."""
    rng = random.Random(0)
    left, right = _prompts(rng, ours), _prompts(rng, theirs)
    planted = range(0, theirs, 10)
    for number in planted:
        changed = right[number].split()
        changed[rng.randrange(len(changed))] = "changed"
        left[number] = " ".join(changed)
    started = time.perf_counter()
    pairs = _same_texts(left, right)
    seconds = time.perf_counter() - started
    own = {(number, number) for number in planted}
    return {
        "prompts": ours,
        "benchmark_prompts": theirs,
        "seconds": round(seconds, 1),
        "planted": len(own),
        "found": len(pairs & own),
        "others": len(pairs - own),
    }


def measure_deletions(copies: int) -> list[dict[str, Any]]:
    """Compares prompts of a length with copies that lack some words, each of them at a random place."""
    rows = []
    for length in LENGTHS:
        for lost in DELETED:
            rng = random.Random(f"{length} {lost}")
            right = _prompts(rng, copies, length, length)
            kept = [sorted(rng.sample(range(length), length - lost)) for _ in right]
            left = [" ".join(text.split()[place] for place in places) for text, places in zip(right, kept, strict=True)]
            pairs = _same_texts(left, right)
            own = sum(one == other for one, other in pairs)
            rate = wilson(own, copies)
            rows.append({"words": length, "deleted": lost, "planted": copies, "found": own, "low": rate.low,
                         "high": rate.high, "others": len(pairs) - own})  # fmt: skip
    return rows


def _prompts(rng: random.Random, count: int, shortest: int = 10, longest: int = 30) -> list[str]:
    return [" ".join(rng.choices(WORDS, k=rng.randint(shortest, longest))) for _ in range(count)]


def _same_texts(left: Sequence[str], right: Sequence[str]) -> set[tuple[int, int]]:
    return {(match.left, match.right) for match in find_same_texts(left, right, TextLimits())}


def _pairs(left: Hashes, right: Hashes) -> set[tuple[int, int]]:
    found = find_lookalikes(left, right, BITS)
    return set(zip(found.left.tolist(), found.right.tolist(), strict=True))


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as opened:
        picture = opened.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _encoded(picture: Image.Image, kind: str, quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": quality} if kind == "JPEG" else {}))
    return buffer.getvalue()


def _edited(picture: Image.Image, edit: str, seed: int) -> bytes:
    rng, (width, height) = random.Random(seed), picture.size
    left, top = rng.uniform(0, 0.1) * width, rng.uniform(0, 0.1) * height
    cut = picture.crop((round(left), round(top), round(left + 0.9 * width), round(top + 0.9 * height)))
    corner = round(2.5 * left), round(2.5 * top)
    quarter = picture.crop((*corner, corner[0] + 3 * width // 4, corner[1] + 3 * height // 4))
    margins = {
        name: picture.crop((round(a * width), round(b * height), round((1 - c) * width), round((1 - d) * height)))
        for name, (a, b, c, d) in MARGINS.items()
    }
    made = {
        **{name: (margin, "JPEG", 90) for name, margin in margins.items()},
        "the same": (picture, "JPEG", 90),
        TURNED: (picture.rotate(180), "JPEG", 90),
        QUARTER: (quarter, "PNG", 0),
        "scaled to half": (picture.resize((width // 2, height // 2), Image.Resampling.LANCZOS), "PNG", 0),
        "JPEG quality 30": (picture, "JPEG", 30),
        "mirrored": (ImageOps.mirror(picture), "PNG", 0),
        "cut by a tenth": (cut, "PNG", 0),
        "cut, mirrored, JPEG 50": (ImageOps.mirror(cut), "JPEG", 50),
    }
    return _encoded(*made[edit])


def say(scale: dict[str, Any], looks: dict[str, Any], vectors: dict[str, Any], texts: dict[str, Any]) -> None:
    """Prints the figures."""
    print(
        "{pictures:,} x {benchmark_pictures:,} pictures: {seconds} s; {found} of {planted} planted copies found, "
        "{others} other pairs".format(**scale)
    )
    print("{pictures} packaged pictures, {ms_a_picture} ms each to decode and hash:".format(**looks))
    for row in looks["edits"]:
        print(
            "  {edit}: {found} of {planted} copies found; {others_found} of {other_pairs:,} other pairs, of which "
            "{others_found_that_look_alike_unedited} look alike unedited".format(**row)
        )
    print("{pictures} of them by vectors, cosine {cosine} or more, {ms_a_picture} ms each:".format(**vectors))
    for row in vectors["edits"]:
        print(
            "  {edit}: {found} of {planted} copies found, {found_by_hashes} by hashes; {others_found} of "
            "{other_pairs:,} other pairs".format(**row)
        )
    print(
        "{prompts:,} x {benchmark_prompts:,} prompts: {seconds} s; {found} of {planted} with one word changed found, "
        "{others} other pairs".format(**texts)
    )


def say_deletions(rows: Sequence[dict[str, Any]]) -> None:
    """Prints the figures of prompts that lack words."""
    for row in rows:
        found = "{words} words, {deleted} deleted: {found} of {planted} found (95 % {low:.1%} to {high:.1%})".format(
            **row
        )
        print(f"{found}, {row['others']} other pairs")


def say_photographs(found: dict[str, Any]) -> None:
    """Prints the figures of photographs."""
    count = found["photographs"]
    for row in found["edits"]:
        print(f"{row['edit']}: {row['found']} of {count} found (95 % {row['low']:.0%} to {row['high']:.0%}), "
              f"{row['others_found']} of {count * (count - 1)} other pairs; by vectors {row['found_by_vectors']} and "
              f"{row['others_found_by_vectors']}")  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the figures, and writes them as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="fewer pictures, to see that it runs")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument(
        "--photographs", action="store_true", help="only photographs and edited copies of them: seconds"
    )
    parser.add_argument("--deletions", action="store_true", help="only prompts that lack words: seconds")
    given = parser.parse_args(arguments)
    if given.deletions:
        say_deletions(measure_deletions(COPIES))
        return
    if given.photographs:
        say_photographs(measure_photographs())
        return
    if given.quick:
        results = measure_scale(10_000, 1_000, 100), measure_looks(40), measure_vectors(20), measure_texts(1_000, 200)
    else:
        results = (
            measure_scale(100_000, 10_000, 1_000),
            measure_looks(951),
            measure_vectors(200),
            measure_texts(100_000, 10_000),
        )
    say(*results)
    deletions = measure_deletions(COPIES // 10 if given.quick else COPIES)
    say_deletions(deletions)
    if given.json:
        body = {
            "benchmark": "contamination",
            "bits": BITS,
            "versions": {"python": platform.python_version(), "numpy": np.__version__},
            "cores": os.cpu_count(),
            "scale": results[0],
            "looks": results[1],
            "vectors": results[2],
            "texts": results[3],
            "deletions": deletions,
        }
        given.json.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
