"""What a training writes, estimated before it starts, and whether the disk has room for the least of it.

Counted are checkpoints, exports, the pictures' features and the reference's log-probabilities; metrics and trackers
are small. What the main process needs of its own memory while it writes a checkpoint is here too.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

from spavl.config import WeightSettings
from spavl.errors import RunError
from spavl.store.files import size_text
from spavl.train.checkpoint import KEPT
from spavl.train.memory import MemoryLine

CHECKPOINT_BYTES = 12
"""Bytes of a trained parameter in a checkpoint: 4 of the weight, 8 of AdamW's two moments."""
SAVING_BYTES, GATHERED_BYTES = 8, 12
"""Main memory for a trained parameter while a checkpoint is written: the moments as bytes on their way to the file; and
with weights cut up among processes the whole of weight and moments."""
MARGIN = 1.02
"""Room that is asked for, as a multiple of what is written: files' headers, logs."""


class Written(NamedTuple):
    """Bytes that a training writes at once."""

    checkpoint: int
    """One of them."""
    adapter: int
    model: int
    """The merged model: the base's size."""

    @property
    def least(self) -> int:
        """The least room it takes: one checkpoint, and what is exported beside it."""
        return self.checkpoint + self.adapter + self.model


class Kept(NamedTuple):
    """What is kept of pictures and pairs."""

    pictures: int
    picture_bytes: int
    """What is kept of one picture; 0 where the whole tower trains."""
    answer_tokens: int
    """Of all pairs; the reference keeps a number for each. 0 where no loss reads it."""
    stored_bytes: int = 0
    """Of the pictures' copies, where reading the data has yet to write them."""


def written_bytes(trained: int, config: WeightSettings, folder: Path) -> Written:
    """Returns what a training writes.

    Args:
        trained: Trained parameters.
        config: Says whether there are adapters.
        folder: The model it starts from.
    """
    model = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return Written(CHECKPOINT_BYTES * trained, 4 * trained if config.lora else 0, model)


def check_room(output: Path, written: Written) -> None:
    """Refuses to start a training that its disk has no room for.

    Raises:
        RunError: There is less room than one checkpoint and the export take.
    """
    free = shutil.disk_usage(output).free
    if free < MARGIN * written.least:
        raise RunError(
            f"{output}: {size_text(free)} are free on this disk, and a checkpoint with the export needs "
            f"{size_text(written.checkpoint)} + {size_text(written.adapter + written.model)}. "
            "Free some space, or let `run` name a folder on a larger disk."
        )


def disk_lines(written: Written, kept: Kept | None) -> tuple[MemoryLine, ...]:
    """Returns what a training writes, need by need, in order of time.

    Args:
        written: Checkpoint and exports.
        kept: What the cache keeps; None where the number of pictures is unknown.
    """
    lines = []
    if kept is not None:
        picture = f"{kept.pictures:,} pictures x {kept.picture_bytes:,} B" if kept.picture_bytes else "the tower trains"
        if kept.stored_bytes:
            lines.append(MemoryLine("copies", kept.stored_bytes, "the pictures themselves, as the sample's are stored"))
        lines.append(MemoryLine("pictures", kept.pictures * kept.picture_bytes, picture))
        reference = "4 B x answer tokens" if kept.answer_tokens else "no loss reads it"
        lines.append(MemoryLine("reference", 4 * kept.answer_tokens, reference))
    checkpoints = f"{KEPT} kept and one being written, each {CHECKPOINT_BYTES} B x trained"
    return (
        *lines,
        MemoryLine("checkpoints", (KEPT + 1) * written.checkpoint, checkpoints),
        MemoryLine("adapter", written.adapter, "4 B x trained" if written.adapter else "none"),
        MemoryLine("model", written.model, "as large as the one it starts from"),
    )


def saving_line(trained: int, gathers: bool) -> MemoryLine:
    """Returns what the main process needs of its own memory while it writes a checkpoint.

    Args:
        trained: Trained parameters.
        gathers: Whether weights are cut up among processes.
    """
    each = SAVING_BYTES + (GATHERED_BYTES if gathers else 0)
    return MemoryLine("saving", each * trained, f"{each} B x trained, in the main process's own memory")
