"""Open-ended naming of pictures: does the model still see after alignment?"""

from collections.abc import Mapping, Sequence

from spavl.records import Sample

PROMPT = "What is in this picture?"


def naming_samples(pictures: Mapping[str, Sequence[str]]) -> list[Sample]:
    """Returns a sample for each picture.

    Args:
        pictures: SHA-256 of a picture in the run's store -> every name that counts as right.
    """
    return [
        Sample(benchmark="naming", image_id=sha256, prompt=PROMPT, expect="name", references=tuple(names))
        for sha256, names in pictures.items()
    ]
