"""What an evaluation's samples have in common with the data that its models were trained on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from spavl.dataset.contamination import USUAL_KINDS, CheckLimits, compare
from spavl.dataset.gallery import gather
from spavl.dataset.shown import Shown, read_shown
from spavl.errors import UserError
from spavl.evaluate.figures import Met
from spavl.records import Sample
from spavl.store import ImageStore
from spavl.texts.near import check_minhash


def check_training(training: Path) -> None:
    """Checks that training data can be compared with, before anything is asked.

    Raises:
        UserError: There is no such folder, or datasketch is not installed.
    """
    check_minhash("training")
    if not training.is_dir():
        raise UserError(f"training: {training} is not a folder. Give a run, or a preference dataset's folder.")


def overlap(training: Path, samples: Sequence[Sample], pictures: ImageStore) -> Met:
    """Finds the samples whose picture or question the training data has too.

    Args:
        training: A run, or a dataset's folder.
        samples: The samples; pictures that stand in for none are not compared.
        pictures: Where their pictures lie.

    Raises:
        UserError: The data cannot be read.
    """
    inside = training / "dataset"
    theirs = gather(read_shown(inside if inside.is_dir() else training))
    found = list(compare(theirs, gather(_shown(samples, pictures)), str(training), CheckLimits()))
    kinds: dict[str, frozenset[str]] = {
        kind: frozenset(row for one in found if one.kind == kind for row in one.benchmark_rows) for kind in USUAL_KINDS
    }
    return Met(str(training), kinds, len(theirs.texts), len(theirs.pictures) - theirs.unreadable)


def _shown(samples: Sequence[Sample], pictures: ImageStore) -> Iterator[Shown]:
    for sample in samples:
        own = (pictures.path(sample.own_picture).read_bytes(),) if sample.own_picture else ()
        yield Shown(sample.id, sample.prompt, own)
