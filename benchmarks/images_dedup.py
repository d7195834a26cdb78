"""Measures the images station's inner loop: pictures a second through decoding, hashing and the search for copies.

The pictures are made here, from a seed: JPEG photographs of 640 x 480 with noise, every tenth a re-encoded copy of an
earlier one. Reading them into the file cache is not counted, nor is writing to the store. One process, one thread.

    python -m benchmarks.images_dedup [--quick] [--json PATH]

With `--scale` it makes no picture, but a million random hashes with near copies, one in a hundred, and measures the
search alone: as pictures come (`images/dedup.py`), and all at once (`store/near.py`, all threads), with peak memory.
"""

import argparse
import json
import platform
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from spavl.images.dedup import KeptPictures
from spavl.store import DecodeLimits, ImageStore
from spavl.store.near import Hashes, near_pairs

SIZE = (640, 480)
COPY_EVERY = 10
DUPLICATE_BITS = 4


def make_pictures(folder: Path, count: int) -> list[Path]:
    """Writes `count` JPEG files."""
    rng = np.random.default_rng(0)
    paths: list[Path] = []
    for number in range(count):
        path = folder / f"{number:05}.jpg"
        if number % COPY_EVERY == COPY_EVERY - 1:
            Image.open(paths[-1]).save(path, quality=70)
        else:
            colours = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(
                SIZE, Image.Resampling.BICUBIC
            )
            noise = rng.normal(0, 8, (SIZE[1], SIZE[0], 3))
            Image.fromarray((np.asarray(colours) + noise).clip(0, 255).astype(np.uint8)).save(path, quality=90)
        paths.append(path)
    return paths


def run_once(paths: list[Path], stored_side: int) -> tuple[float, int]:
    """Returns the seconds for all pictures, and how many were copies."""
    store = ImageStore(Path("never-written"), DecodeLimits(stored_side=stored_side))
    kept, copies = KeptPictures(DUPLICATE_BITS), 0
    started = time.perf_counter()
    for path in paths:
        perceptual_hash = store.read(path).stored.perceptual_hash
        if kept.twin(perceptual_hash) is None:
            kept.add(path.name, perceptual_hash)
        else:
            copies += 1
    return time.perf_counter() - started, copies


def make_hashes(count: int) -> Hashes:
    """Returns random hashes; each hundredth is an earlier one with up to `DUPLICATE_BITS` bits flipped."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    for place in range(99, count, 100):
        origin = int(rng.integers(place))
        origin -= origin % 100 == 99  # a copy of a copy need not be near the picture that was kept
        flipped = rng.choice(64, rng.integers(DUPLICATE_BITS + 1), replace=False)
        hashes[place] = int(hashes[origin]) ^ sum(1 << int(bit) for bit in flipped)
    return hashes


def measure_scale(count: int) -> list[dict[str, object]]:
    """Prints and returns seconds, copies found and peak memory of both searches."""
    hashes = make_hashes(count)
    kept, copies = KeptPictures(DUPLICATE_BITS), 0
    started = time.perf_counter()
    for place, one in enumerate(hashes.tolist()):
        perceptual_hash = f"{one:016x}"
        if kept.twin(perceptual_hash) is None:
            kept.add(f"pictures/{place:09}.png", perceptual_hash)
        else:
            copies += 1
    results = [_scale_row("as they come", DUPLICATE_BITS, count, copies, time.perf_counter() - started)]
    for bits in (DUPLICATE_BITS, 2 * DUPLICATE_BITS):
        started = time.perf_counter()
        pairs = near_pairs(hashes, hashes, bits)
        found = int((pairs.left < pairs.right).sum())
        results.append(_scale_row("all at once", bits, count, found, time.perf_counter() - started))
    return results


def _scale_row(search: str, bits: int, count: int, found: int, seconds: float) -> dict[str, object]:
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{search}, {bits} bits: {count:,} hashes in {seconds:.1f} s; {found:,} found, {count // 100:,} planted; "
        f"peak memory so far {peak_mb:.0f} MB"
    )
    row = {"search": search, "bits": bits, "hashes": count, "found": found, "planted": count // 100}
    return row | {"seconds": seconds, "peak_mb": peak_mb}


def measure_pictures(count: int, repetitions: int) -> list[dict[str, object]]:
    """Prints and returns pictures per second, for two sizes of the stored copy."""
    results: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        paths = make_pictures(Path(folder), count)
        for stored_side in (512, 224):
            runs = [run_once(paths, stored_side) for _ in range(repetitions)]
            rates = sorted(count / seconds for seconds, _ in runs)
            results.append(
                {
                    "stored_side": stored_side,
                    "pictures": count,
                    "copies_made": count // COPY_EVERY,
                    "copies_found": runs[0][1],
                    "pictures_per_s": {"median": statistics.median(rates), "least": rates[0], "most": rates[-1]},
                }
            )
            print(
                f"stored_side {stored_side}: {statistics.median(rates):.0f} pictures/s "
                f"({rates[0]:.0f} to {rates[-1]:.0f}, {repetitions} repetitions); "
                f"{runs[0][1]} of {count // COPY_EVERY} copies found"
            )
    return results


def main() -> None:
    """Prints pictures per second, or what the search costs, and writes it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="few pictures, to see that it runs")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--scale", action="store_true", help="a million hashes and no picture")
    arguments = parser.parse_args()
    if arguments.scale:
        results = measure_scale(100_000 if arguments.quick else 1_000_000)
    else:
        results = measure_pictures(*((40, 2) if arguments.quick else (500, 5)))
    if arguments.json:
        body = {
            "benchmark": "images_dedup",
            "picture": f"JPEG {SIZE[0]} x {SIZE[1]}",
            "versions": {"python": platform.python_version(), "pillow": PIL.__version__, "numpy": np.__version__},
            "machine": platform.processor() or platform.machine(),
            "results": results,
        }
        arguments.json.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
