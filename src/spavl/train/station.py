"""The training station: preference pairs and a model folder in, an aligned model folder out.

It may be killed at any moment and called again: it goes on from the last checkpoint, and once finished it answers
from `train.json` without opening the model. A folder begun with other settings or data is refused.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch.optim import AdamW

from spavl.config import TrainConfig
from spavl.errors import UserError
from spavl.models.loading import load_vlm
from spavl.models.weights import weights_digest
from spavl.records import PreferencePair
from spavl.store.files import write_atomically
from spavl.train.checkpoint import TrainingState, new_folder
from spavl.train.dpo import TrainingPairs
from spavl.train.export import export_merged
from spavl.train.loop import run_loop
from spavl.train.policy import add_adapters
from spavl.train.reference import reference_fingerprint, reference_logprobs
from spavl.train.render import Renderer
from spavl.train.vision import PictureFeatures

NOT_IDENTITY = {"save_every": "how often the state is saved changes nothing in it"}
"""Training settings that may change between two attempts, and why."""


class TrainResult(NamedTuple):
    """What training made."""

    model: Path
    """The merged model, a folder in the hub's layout."""
    adapter: Path
    """The adapter alone, in PEFT's layout."""
    checkpoint: Path
    metrics: Path
    """One JSON line an optimiser step."""
    steps: int
    alarms: int
    """Steps at which the chosen answers' log-probability had fallen below the reference's."""
    trainable: dict[str, int]
    """Part (`language`, `projector`, `vision`) -> trained parameters."""
    weights_sha256: str
    """SHA-256 over the merged model's folder."""

    @property
    def trainable_parameters(self) -> int:
        """Trained parameters of all parts."""
        return sum(self.trainable.values())


def train_dpo(
    config: TrainConfig,
    pairs: Sequence[PreferencePair],
    picture: Callable[[str], Path],
    model_folder: Path,
    output: Path,
    seed: int,
) -> TrainResult:
    """Aligns a model with direct preference optimisation.

    Args:
        config: Settings; `config.model` is only a name here.
        pairs: The training pairs.
        picture: Image id -> file.
        model_folder: The model to start from, in the hub's layout.
        output: Gets `model/`, `adapter/`, `checkpoints/step-N/`, `metrics.jsonl`, `reference.safetensors` and
            `train.json`.
        seed: Decides adapters' first weights, order and dropout.

    Raises:
        UserError: There are no pairs, one does not fit, the model cannot be trained, or `output` was begun otherwise.
        RunError: The loss is not finite, a checkpoint is damaged, or the disk is full.
    """
    if not pairs:
        raise UserError("There are no training pairs. Look at the dataset stage's manifest for what became of them.")
    identity = _identity(config, pairs, model_folder, seed)
    finished = _open(output, identity)
    if finished is None:
        finished = _align(config, pairs, picture, model_folder, output, seed)
        export_merged(model_folder, output / "adapter", output / "model")
        finished["weights_sha256"] = weights_digest(output / "model")
        _note(output, identity, finished)
    return TrainResult(
        model=output / "model",
        adapter=output / "adapter",
        checkpoint=output / "checkpoints" / f"step-{finished['steps']}",
        metrics=output / "metrics.jsonl",
        **finished,
    )


def _align(
    config: TrainConfig,
    pairs: Sequence[PreferencePair],
    picture: Callable[[str], Path],
    model_folder: Path,
    output: Path,
    seed: int,
) -> dict[str, Any]:
    """Trains and writes the adapter; the model's memory is given back before the merged one is made."""
    vlm = load_vlm(model_folder, config.dtype, config.device)
    policy = add_adapters(vlm.model, config.lora, seed)
    trainable = policy.count_trainable()
    rows = Renderer(vlm.processor, policy.stop_ids(), config.max_length).rows(pairs, picture)
    features = PictureFeatures(vlm, picture)
    size = config.micro_batch_size
    fingerprint = reference_fingerprint(weights_digest(model_folder), config.dtype, size, rows)
    reference = reference_logprobs(output / "reference.safetensors", fingerprint, policy, rows, features, size)
    parameters = policy.trainable()
    optimizer = AdamW(parameters.values(), lr=config.learning_rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    state = TrainingState(parameters, optimizer)
    result = run_loop(policy, state, TrainingPairs(rows, reference, features), config, output, seed)
    with new_folder(output / "adapter") as folder:
        policy.peft.save_pretrained(folder)
    return {"steps": result.steps, "alarms": result.alarms, "trainable": trainable}


def _identity(config: TrainConfig, pairs: Sequence[PreferencePair], model_folder: Path, seed: int) -> dict[str, Any]:
    trained_on = [
        (pair.id, pair.image_id, pair.question, pair.chosen, pair.rejected, pair.chosen_finish, pair.rejected_finish)
        for pair in pairs
    ]
    return config.model_dump(mode="json", exclude=set(NOT_IDENTITY)) | {
        "pairs": hashlib.sha256(json.dumps(trained_on).encode()).hexdigest(),
        "weights": weights_digest(model_folder),
        "seed": seed,
    }


def _open(output: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the result of a finished training, or None after noting what is trained here.

    Raises:
        UserError: The folder was begun with something else.
    """
    path = output / "train.json"
    if not path.exists():
        _note(output, identity, None)
        return None
    known = json.loads(path.read_bytes())
    for field in sorted({*known["identity"], *identity}):
        before, now = known["identity"].get(field), identity.get(field)
        if before != now:
            raise UserError(
                f"{output} was made with other settings: `{field}` was {before} and is now {now}. Give the run another "
                "name (`run=runs/NAME`), or make this stage and those after it again with `--restart-from train`."
            )
    finished: dict[str, Any] | None = known["result"]
    return finished if (output / "model").is_dir() else None


def _note(output: Path, identity: dict[str, Any], result: dict[str, Any] | None) -> None:
    body = {"identity": identity, "result": result}
    write_atomically(output / "train.json", json.dumps(body, indent=2).encode() + b"\n")
