"""Real files of every awkward kind, through the picture store."""

import hashlib
import io
import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.fft import dctn

from spavl.store import DecodeLimits, ImageStore, UnreadableImage, perceptual_hash

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store")


def blocks(seed: int, side: int = 64) -> Image.Image:
    """Returns a picture of 8 x 8 random colour blocks: no two seeds are alike, and every seed survives scaling."""
    colours = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((side, side), Image.Resampling.NEAREST)


def halves(left: Any, right: Any, size: tuple[int, int] = (80, 40), mode: str = "RGB") -> Image.Image:
    picture = Image.new(mode, size, left)
    picture.paste(right, (size[0] // 2, 0, *size))
    return picture


def saved(path: Path, picture: Image.Image, **options: Any) -> Path:
    picture.save(path, **options)
    return path


def opened(store: ImageStore, source: Path) -> Image.Image:
    stored = store.add(source)
    return Image.open(store.path(stored.sha256))


def refusal(store: ImageStore, source: Path) -> UnreadableImage:
    with pytest.raises(UnreadableImage) as caught:
        store.add(source)
    assert str(source.parent) not in str(caught.value), "a message must not depend on where the file lies"
    assert "\n" not in str(caught.value)
    return caught.value


def png_of(width: int, height: int) -> bytes:
    """Returns a true 1-bit PNG, written row by row so that making it needs no memory."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer, row = zlib.compressobj(1), bytes(1 + (width + 7) // 8)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_a_picture_lies_under_the_digest_of_its_stored_bytes(store: ImageStore, tmp_path: Path) -> None:
    stored = store.add(saved(tmp_path / "a.png", blocks(1)))
    path = store.path(stored.sha256)
    assert path == store.root / stored.sha256[:2] / f"{stored.sha256}.png"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == stored.sha256
    assert (stored.format, stored.width, stored.height) == ("png", 64, 64)


def test_reading_stores_nothing(store: ImageStore, tmp_path: Path) -> None:
    store.read(saved(tmp_path / "a.png", blocks(1)))
    assert not store.root.exists()


def test_the_same_pixels_from_two_formats_lie_on_the_disk_once(store: ImageStore, tmp_path: Path) -> None:
    first = store.add(saved(tmp_path / "a.png", blocks(1), compress_level=1))
    second = store.add(saved(tmp_path / "b.bmp", blocks(1)))
    assert first == second
    assert len(list(store.root.rglob("*.png"))) == 1


@pytest.mark.parametrize(
    ("size", "expected"), [((1000, 500), (512, 256)), ((512, 100), (512, 100)), ((100, 2048), (25, 512))]
)
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_the_longer_side_is_at_most_stored_side(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int], suffix: str
) -> None:
    """1000 x 500 at most 512 long is 512 x 256; 100 x 2048 is 25 x 512; what is smaller stays."""
    store = ImageStore(tmp_path / "store", DecodeLimits(stored_side=512, min_side=25))
    assert opened(store, saved(tmp_path / f"a.{suffix}", blocks(1).resize(size))).size == expected


def test_a_truncated_png_is_unreadable(store: ImageStore, tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.png", blocks(1)).read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    assert refusal(store, tmp_path / "a.png").reason == "unreadable"


@pytest.mark.parametrize(
    ("content", "cause"),
    [(b"", "none of PNG, JPEG"), (b"these are words", "none of PNG, JPEG"), (b"%!PS-Adobe-3.0 EPSF-3.0\n", "none of")],
    ids=["zero bytes", "text", "postscript, which Pillow would run a program for"],
)
def test_what_is_no_picture_is_unreadable(store: ImageStore, tmp_path: Path, content: bytes, cause: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    error = refusal(store, tmp_path / "a.png")
    assert error.reason == "unreadable"
    assert cause in str(error)


@pytest.mark.parametrize(
    ("kind", "content"),
    [("TIFF", None), ("AVIF", None), ("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), ("TIFF", b"MM\0*\0\0\0\x08")],
)
def test_kinds_of_pictures_that_are_not_read_have_a_reason_that_says_what_to_do(
    store: ImageStore, tmp_path: Path, kind: str, content: bytes | None
) -> None:
    """A TIFF and an AVIF by Pillow, the other two as their specifications have the first bytes."""
    path = tmp_path / "a.picture"
    if content is None:
        blocks(0).save(path, kind)
    else:
        path.write_bytes(content)
    error = refusal(store, path)
    assert error.reason == "unsupported_format"
    assert str(error) == f"{kind} is not read; save it as one of PNG, JPEG, WEBP, GIF, BMP"
    with pytest.raises(UnreadableImage, match=f"{kind} is not read"):
        store.add(path.read_bytes())


def test_a_folder_a_pipe_and_a_missing_file_are_unreadable_and_do_not_hang(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for name, cause in (("folder.png", "not a file"), ("pipe.png", "not a file"), ("none.png", "No such file")):
        error = refusal(store, tmp_path / name)
        assert error.reason == "unreadable"
        assert cause in str(error)


@pytest.mark.parametrize("side", [10_000, 30_000])
def test_a_decompression_bomb_is_refused_from_its_header(tmp_path: Path, side: int) -> None:
    """100 and 900 million pixels: above our limit, and above Pillow's own. A decoded one would take 0.1 and 0.9 GB."""
    (tmp_path / "bomb.png").write_bytes(png_of(side, side))
    script = (
        "import resource, sys, time\n"
        "from pathlib import Path\n"
        "from spavl.store import ImageStore, UnreadableImage\n"
        "store, source = ImageStore(Path(sys.argv[1])), Path(sys.argv[2])\n"
        "before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()\n"
        "try:\n    store.add(source)\nexcept UnreadableImage as error:\n    reason = error.reason\n"
        "print(reason, time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "store"), str(tmp_path / "bomb.png")]
    reason, seconds, kilobytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert reason == "too_large"
    assert float(seconds) < 0.25  # first use of Pillow loads its plug-ins; decoding would take seconds
    assert int(kilobytes) < 30_000


def test_a_bomb_is_refused_within_milliseconds(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png_of(30_000, 30_000))
    refusal(store, tmp_path / "bomb.png")
    started = time.perf_counter()
    refusal(store, tmp_path / "bomb.png")
    assert time.perf_counter() - started < 0.05


def test_a_file_of_too_many_bytes_is_refused_unopened(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store", DecodeLimits(max_bytes=1000))
    (tmp_path / "a.png").write_bytes(bytes(1001))
    assert refusal(store, tmp_path / "a.png").reason == "too_large"
    (tmp_path / "a.png").write_bytes(bytes(1000))
    assert refusal(store, tmp_path / "a.png").reason == "unreadable"


def test_the_shorter_side_has_a_least_length(store: ImageStore, tmp_path: Path) -> None:
    assert refusal(store, saved(tmp_path / "a.png", Image.new("RGB", (31, 400)))).reason == "too_small"
    assert store.add(saved(tmp_path / "b.png", Image.new("RGB", (32, 400)))).width == 32


@pytest.mark.parametrize(("suffix", "options"), [("gif", {}), ("webp", {"lossless": True})])
def test_of_an_animation_the_first_frame_is_kept(
    store: ImageStore, tmp_path: Path, suffix: str, options: dict[str, Any]
) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in (RED, BLUE)]
    source = saved(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:], **options)
    assert Image.open(source).n_frames == 2
    assert opened(store, source).getcolors() == [(1600, RED)]


def test_a_cmyk_jpeg_keeps_its_colours(store: ImageStore, tmp_path: Path) -> None:
    """No cyan, full magenta and yellow is red."""
    picture = opened(store, saved(tmp_path / "a.jpg", Image.new("CMYK", (40, 40), (0, 255, 255, 0)), quality=95))
    assert picture.mode == "RGB"
    assert np.abs(np.asarray(picture, dtype=int) - RED).max() <= 6


def test_sixteen_bit_grey_is_scaled_and_not_clipped(store: ImageStore, tmp_path: Path) -> None:
    """Half of 65,536 is half of 256: grey 128. Clipping would make it white."""
    source = saved(tmp_path / "a.png", Image.fromarray(np.full((40, 40), 32_768, dtype=np.uint16)))
    assert Image.open(source).mode == "I;16"
    assert opened(store, source).getcolors() == [(1600, (128, 128, 128))]


def test_transparent_palette_entries_become_white(store: ImageStore, tmp_path: Path) -> None:
    picture = halves(0, 1, mode="P")
    picture.putpalette([*BLUE, *RED])
    stored = opened(store, saved(tmp_path / "a.png", picture, transparency=0))
    assert stored.getpixel((10, 20)) == WHITE
    assert stored.getpixel((70, 20)) == RED


def test_half_transparent_black_on_white_is_grey(store: ImageStore, tmp_path: Path) -> None:
    """Alpha 128/255 of black over white leaves 255 x 127/255 = 127."""
    stored = opened(store, saved(tmp_path / "a.png", Image.new("RGBA", (40, 40), (0, 0, 0, 128))))
    assert stored.getcolors() == [(1600, (127, 127, 127))]


def photograph(path: Path, orientation: int) -> Path:
    """Saves an 80 x 40 JPEG, left half red and right half blue, with an orientation and a place."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "CameraMaker"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    return saved(path, halves(RED, BLUE), exif=exif, quality=95)


def test_a_turned_photograph_is_upright_and_forgets_where_it_was_taken(store: ImageStore, tmp_path: Path) -> None:
    """Orientation 6 is shown turned clockwise by a quarter: the left, red half comes to the top."""
    source = photograph(tmp_path / "a.jpg", 6)
    assert Image.open(source).getexif().get_ifd(0x8825), "the source must have a place to forget"
    picture = opened(store, source)
    assert picture.size == (40, 80)
    assert np.abs(np.asarray(picture.getpixel((20, 10))) - RED).max() <= 6
    assert np.abs(np.asarray(picture.getpixel((20, 70))) - BLUE).max() <= 6
    assert not picture.getexif()
    assert not picture.info
    content = Path(picture.filename).read_bytes()
    assert b"CameraMaker" in source.read_bytes()
    assert b"CameraMaker" not in content
    assert b"eXIf" not in content


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(store: ImageStore, tmp_path: Path, orientation: int) -> None:
    source = photograph(tmp_path / "a.jpg", orientation)
    expected = ImageOps.exif_transpose(Image.open(source)).convert("RGB")
    assert opened(store, source).tobytes() == expected.tobytes()


def test_a_jpeg_is_decoded_small_and_looks_the_same(tmp_path: Path) -> None:
    """The decoder's shortcut (an eighth of 4096 x 4096 is 512) stays within 4 bits of the full decode's hash."""
    source = saved(tmp_path / "a.jpg", blocks(3, 4096), quality=90)
    small = ImageStore(tmp_path / "store", DecodeLimits(stored_side=128)).read(source).stored
    full = Image.open(source).convert("RGB").resize((128, 128), Image.Resampling.LANCZOS)
    assert distance(small.perceptual_hash, perceptual_hash(full)) <= 4


def distance(first: str, second: str) -> int:
    return (int(first, 16) ^ int(second, 16)).bit_count()


def test_the_perceptual_hash_is_the_sign_of_low_cosine_frequencies_about_their_median() -> None:
    """Against scipy's transform: frequencies 1 to 8 of each side, as bits, most significant first."""
    picture = blocks(5)
    grey = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BILINEAR), dtype=float)
    frequencies = dctn(grey, type=2)[1:9, 1:9]
    bits = "".join("1" if value > np.median(frequencies) else "0" for value in frequencies.ravel())
    assert perceptual_hash(picture) == f"{int(bits, 2):016x}"
    assert bits.count("1") == 32


def test_a_flat_picture_hashes_to_nothing() -> None:
    assert perceptual_hash(Image.new("RGB", (64, 64), WHITE)) == "0" * 16
    assert perceptual_hash(Image.new("RGB", (64, 64), RED)) == "0" * 16


@pytest.mark.parametrize("seed", range(5))
def test_a_copy_hashes_near_and_another_picture_far(seed: int) -> None:
    """Of 64 bits, two unlike pictures differ in about 32."""
    picture, buffer = soft(seed), io.BytesIO()
    picture.resize((200, 200)).save(buffer, "JPEG", quality=60)
    own = perceptual_hash(picture)
    assert distance(own, perceptual_hash(Image.open(buffer))) <= 4
    assert distance(own, perceptual_hash(soft(seed + 100))) > 12
    assert distance(own, perceptual_hash(ImageOps.mirror(picture))) > 12


def soft(seed: int) -> Image.Image:
    """Returns a picture that, like a photograph, has more of the low frequencies."""
    colours = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((256, 256), Image.Resampling.BICUBIC)
