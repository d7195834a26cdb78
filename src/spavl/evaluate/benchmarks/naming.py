"""Open-ended naming of pictures: does the model still see after alignment?"""

from collections.abc import Sequence

from spavl.records import Sample

PROMPT = "What is in this picture?"


def naming_sample(sha256: str, names: Sequence[str]) -> Sample:
    """Returns the sample that asks for the name of a picture.

    Args:
        sha256: The picture's digest in the run's store.
        names: Every name that counts as right.
    """
    return Sample(benchmark="naming", image_id=sha256, prompt=PROMPT, expect="name", references=tuple(names))
