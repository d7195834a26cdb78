"""Pairs and pictures the training tests train on: harmless, tiny, the same on every machine."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from spavl.config import LoraSettings, TrainConfig
from spavl.models.loading import Vlm
from spavl.records import PreferencePair, QuestionType
from spavl.train.engine import Engine
from spavl.train.families import family_of
from spavl.train.vision_cache import Pictures

PICTURES = 3
COLOURS = ("crimson", "gold", "navy")


def write_pictures(folder: Path) -> Callable[[str], Path]:
    """Writes the pictures img-0, img-1 and img-2 and returns image id -> file."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(PICTURES):
        picture = Image.new("RGB", (40, 30), COLOURS[number])
        picture.paste("white", (10 * number, 5, 10 * number + 12, 20))
        picture.save(folder / f"img-{number}.png")
    return lambda image_id: folder / f"{image_id}.png"


def make_pair(number: int, chosen: str = "I would rather not.", rejected: str = "Yes: placeholder.") -> PreferencePair:
    """Returns one pair; its answers differ from those of other numbers in length."""
    return PreferencePair(
        question_id=f"que-{number}",
        image_id=f"img-{number % PICTURES}",
        leaf="domain/category/leaf",
        question_type=QuestionType.EASY_QUESTION,
        question=f"placeholder harmful question {number}",
        chosen_id=f"res-{number}-chosen",
        rejected_id=f"res-{number}-rejected",
        chosen=chosen + "." * (number % 4),
        rejected=rejected + "!" * (number % 3),
        chosen_responder="careful",
        rejected_responder="careless",
        chosen_verdict="safe",
        rejected_verdict="unsafe",
        judge="scripted",
        judgment_ids=(f"jud-{number}-a", f"jud-{number}-b"),
        rationales=("", ""),
    )


def make_pairs(count: int) -> Sequence[PreferencePair]:
    """Returns pairs numbered from 0."""
    return [make_pair(number) for number in range(count)]


def settings(**changes: object) -> TrainConfig:
    """Returns quick settings in float32, dropout on so that resuming has random numbers to get right."""
    base = TrainConfig(
        model="tiny",
        lora=LoraSettings(rank=4, alpha=8, dropout=0.1),
        learning_rate=5e-3,
        warmup_steps=2,
        epochs=2,
        batch_size=4,
        tokens_per_forward=500,
        save_every=2,
        dtype="float32",
    )
    return base.model_copy(update=changes)


def open_engine(vlm: Vlm, picture: Callable[[str], Path], budget: int = 500) -> Engine:
    """Returns the engine of a model, nothing kept on disk."""
    family = family_of(vlm.model)
    return Engine(vlm.model, family, Pictures(vlm, family, picture), budget)


class Made(TorchDispatchMode):
    """Sees what operations make while it is active, and knows how much of that is still there."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, operation: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        result = operation(*arguments, **(options or {}))
        if not operation.is_view:
            for one in result if isinstance(result, tuple | list) else (result,):
                if isinstance(one, Tensor):
                    storage = one.untyped_storage()
                    self._seen[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        return result

    def alive(self) -> int:
        """Returns the bytes that are still held."""
        return sum(size for reference, size in self._seen.values() if not reference.expired())
