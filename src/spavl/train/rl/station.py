"""Reinforcement learning as a station: prompts, rewards and a model folder in, an aligned model folder out.

It may be killed at any moment and called again: it goes on from the last checkpoint, reads the answers that are there
already, and once finished it answers from `train.json` without opening the model. It runs in one process.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file
from torch.optim import AdamW

from spavl.errors import UserError
from spavl.models.base import ImageInput
from spavl.models.loading import load_vlm
from spavl.models.weights import weights_digest
from spavl.records import PreferencePair
from spavl.rl_config import RlConfig
from spavl.tracker_config import check_trackers
from spavl.train.attempt import note_attempt, open_attempt, pairs_digest, settings_identity
from spavl.train.checkpoint import TrainingState
from spavl.train.disk import check_room, written_bytes
from spavl.train.export import export_adapter, export_model
from spavl.train.families import check_type, family_of
from spavl.train.parallel import check_device
from spavl.train.render import Renderer, Row, picture_digest, stop_ids
from spavl.train.rl.loop import Learner, Material, run_rounds
from spavl.train.rl.prompts import Prompt
from spavl.train.rl.roles import Base, Roles, open_roles
from spavl.train.rl.sampling import LocalSampler, Sampler
from spavl.train.rl.server import Served, ServerSampler
from spavl.train.rl.sources import Sources


class Asked(NamedTuple):
    """What the policy is asked, and what it may imitate beside."""

    prompts: Sequence[Prompt]
    picture: Callable[[str], Path]
    """Image id -> file."""
    imitated: Sequence[PreferencePair] = ()
    """Pairs whose chosen answers are imitated, where the settings ask for it."""


class RlResult(NamedTuple):
    """What training made."""

    model: Path
    """The merged model, a folder in the hub's layout."""
    adapter: Path | None
    """The adapter alone, in PEFT's layout; None where there is none."""
    rollouts: Path
    """Every round's answers and their scores."""
    metrics: Path
    """One JSON line a round."""
    rounds: int
    alarms: dict[str, int]
    """Alarm -> rounds in which it was raised."""
    trainable: dict[str, int]
    """Part (`language`, `projector`, `vision`, `critic`) -> trained parameters."""
    weights_sha256: str
    """SHA-256 over the merged model's folder."""
    dropped: dict[str, int]
    """Reason -> prompts that a rule left out, or answers to imitate."""


class _Finished(BaseModel):
    """What is noted of a finished training; `RlResult` says more of it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    rounds: int
    alarms: dict[str, int]
    trainable: dict[str, int]
    weights_sha256: str
    dropped: dict[str, int]


def train_rl(  # what a training is made of
    config: RlConfig, asked: Asked, sources: Sources, model_folder: Path, output: Path, seed: int
) -> RlResult:
    """Aligns a model with rewards.

    Args:
        config: Settings; `config.model` is only a name here.
        asked: The prompts.
        sources: Opens what the settings name as rewards.
        model_folder: The model to start from, in the hub's layout.
        output: Gets `model/`, `adapter/`, `rollouts/`, `checkpoints/step-N/`, `metrics.jsonl` and `train.json`.
        seed: Decides first weights, order, sampling.

    Raises:
        UserError: There are no prompts, one does not fit, the model cannot be trained or a reward model is not of its
            kind, `output` was begun otherwise, or a tracker's package is missing.
        RunError: A reward or the loss is not finite, no answer ends, a file is damaged, or the disk is full.
    """
    _check_some(config, asked)
    identity = _identity(config, asked, sources, model_folder, seed)
    rollouts = output / "rollouts" / hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    finished = open_attempt(output, identity, _Finished)
    if finished is None:
        check_device(config.device)
        check_trackers(config.trackers)
        counts, names = _align(config, asked, sources, _Place(model_folder, output, rollouts, seed))
        _export(config, model_folder, output, names, counts["rounds"])
        finished = _Finished(weights_sha256=weights_digest(output / "model"), **counts)
        note_attempt(output, identity, finished)
    return RlResult(
        model=output / "model",
        adapter=None if config.lora is None else output / "adapter",
        rollouts=rollouts,
        metrics=output / "metrics.jsonl",
        **finished.model_dump(),
    )


class _Place(NamedTuple):
    """Where a training reads and writes."""

    model_folder: Path
    output: Path
    rollouts: Path
    seed: int


def _align(config: RlConfig, asked: Asked, sources: Sources, place: _Place) -> tuple[dict[str, Any], list[str]]:
    """Trains, and returns what is noted of it and the live names of the policy's weights."""
    check_type(place.model_folder)
    vlm = load_vlm(place.model_folder, config.dtype, config.device)
    family = family_of(vlm.model)
    ends = stop_ids(vlm.model)
    renderer = Renderer(vlm.processor, ends, config.cache / "placeholders")
    prompts, rows = _rendered(renderer, asked, config)
    imitated = _imitated(renderer, asked, config)
    base = Base(vlm, family, place.model_folder, asked.picture)
    opened = sources.open(base, config, renderer.end_id)
    roles = open_roles(base, config, place.seed, opened.start())
    rewards, cost = opened.rewards(roles)
    trained = sum(parameter.numel() for parameter in roles.trainable().values())
    check_room(place.output, written_bytes(trained, config, place.model_folder))
    optimizer = AdamW(roles.parameter_groups(config), betas=(0.9, 0.999), eps=1e-8, fused=True)
    tokenizer = vlm.processor.tokenizer
    material = Material(
        prompts=prompts,
        rows=rows,
        rewards=rewards,
        cost=cost,
        imitated=imitated,
        decode=lambda tokens: tokenizer.decode(list(tokens), skip_special_tokens=True).strip(),
    )
    state = TrainingState(roles.trainable(), optimizer)
    sampler = _sampler(roles, config, asked, tuple(dict.fromkeys((renderer.end_id, *ends))), place)
    learner = Learner(roles, state, sampler, place.output, place.rollouts)
    result = run_rounds(learner, material, config, place.seed)
    critic = sum(parameter.numel() for parameter in roles.critic_weights.values())
    counts = roles.policy.count_trainable() | ({"critic": critic} if critic else {})
    names = list(roles.policy.trainable())
    dropped = {"too_long": len(asked.prompts) - len(prompts)}
    if config.ptx is not None:
        dropped["imitated_too_long"] = len(asked.imitated) - len(imitated)
    return {"rounds": result.rounds, "alarms": result.alarms, "trainable": counts, "dropped": dropped}, names


def _sampler(roles: Roles, config: RlConfig, asked: Asked, ends: tuple[int, ...], place: _Place) -> Sampler:
    """Opens what answers the prompts; `ends` are the tokens that end an answer, the template's own first."""
    lora = config.lora
    if config.rollouts.kind == "local" or lora is None:  # a server is given adapters, which the settings have seen to
        return LocalSampler(roles.actor, config, ends)

    def write_adapter(folder: Path) -> None:
        weights = {name: parameter.detach() for name, parameter in roles.policy.trainable().items()}
        export_adapter(place.model_folder, weights, lora, folder)

    def show(image_id: str) -> ImageInput:
        path = asked.picture(image_id)
        return ImageInput(sha256=picture_digest(path), path=path)

    served = Served(
        write_adapter=write_adapter,
        folder=place.output / "served",
        questions={prompt.id: prompt.question for prompt in asked.prompts},
        show=show,
        stop_ids=ends,
        image_token=roles.policy.model.config.image_token_id,
        vocabulary=roles.policy.model.config.get_text_config().vocab_size,
    )
    return ServerSampler(config, config.rollouts, served)


def _rendered(renderer: Renderer, asked: Asked, config: RlConfig) -> tuple[list[Prompt], list[Row]]:
    """Renders the prompts; what leaves no room for the longest answer is named, or left out, before any is given.

    Raises:
        UserError: A prompt is too long and shall not be left out, or none fits.
    """
    name, limit = _limit(config)
    rows = []
    for prompt in asked.prompts:
        ids = renderer.prompt_at(prompt.question, asked.picture(prompt.image_id))
        rows.append(Row(prompt.id, prompt.image_id, ids, ()))
    room = limit - config.max_tokens
    fitting = [both for both in zip(asked.prompts, rows, strict=True) if len(both[1].prompt) <= room]
    if len(fitting) < len(rows) and (config.too_long == "error" or not fitting):
        longest = max(rows, key=lambda row: len(row.prompt))
        raise UserError(
            f"{len(rows) - len(fitting)} of {len(rows)} prompts leave no room for an answer of train.max_tokens="
            f"{config.max_tokens} within train.{name}={limit}; the longest, {longest.id}, has "
            f"{len(longest.prompt)} tokens. Set train.{name}={len(longest.prompt) + config.max_tokens} or more, a "
            "smaller train.max_tokens, or leave them out with train.too_long=drop; prompts and answers are never cut."
        )
    return [prompt for prompt, _ in fitting], [row for _, row in fitting]


def _imitated(renderer: Renderer, asked: Asked, config: RlConfig) -> list[Row]:
    """Renders the answers to imitate; what is too long is named, or left out, as with prompts.

    Raises:
        UserError: One is too long and shall not be left out, or none fits.
    """
    if config.ptx is None:
        return []
    name, limit = _limit(config)
    rows = [row._replace(answers=(row.chosen,)) for row in renderer.rows(asked.imitated, asked.picture)]
    fitting = [row for row in rows if row.length <= limit]
    if len(fitting) < len(rows) and (config.too_long == "error" or not fitting):
        longest = max(rows, key=lambda row: row.length)
        raise UserError(
            f"train.ptx: {len(rows) - len(fitting)} of {len(rows)} answers to imitate do not fit within train.{name}="
            f"{limit}; the longest, {longest.id}, has {longest.length} tokens with its prompt. Set train.{name}="
            f"{longest.length} or more, or leave them out with train.too_long=drop; they are never cut."
        )
    return fitting


def _limit(config: RlConfig) -> tuple[str, int]:
    """Returns which setting bounds a prompt with its answer, and to how many tokens."""
    name = "max_length" if config.max_length <= config.tokens_per_forward else "tokens_per_forward"
    return name, getattr(config, name)


def _check_some(config: RlConfig, asked: Asked) -> None:
    if not asked.prompts:
        raise UserError("There are no prompts. Look at the dataset stage's manifest for what became of them.")
    if config.ptx is not None and not asked.imitated:
        what = "a benign question" if config.ptx.only_benign else "a preferred answer"
        raise UserError(f"train.ptx: none of the pairs has {what} to imitate. Add some, or set train.ptx=null.")


def _identity(config: RlConfig, asked: Asked, sources: Sources, model_folder: Path, seed: int) -> dict[str, Any]:
    prompts = [(prompt.image_id, prompt.question, prompt.harmful) for prompt in asked.prompts]
    return settings_identity(config) | {
        "prompts": hashlib.sha256(json.dumps(prompts).encode()).hexdigest(),
        "imitated": pairs_digest(asked.imitated),
        "sources": sources.fingerprints(config),
        "weights": weights_digest(model_folder),
        "seed": seed,
    }


def _export(config: RlConfig, model_folder: Path, output: Path, names: Sequence[str], rounds: int) -> None:
    """Writes the policy alone: the critic is of no use to anybody who asks the model."""
    saved = load_file(output / "checkpoints" / f"step-{rounds}" / "trained.safetensors")
    trained = {name: saved[name] for name in names}
    if config.lora is not None:
        export_adapter(model_folder, trained, config.lora, output / "adapter")
    export_model(model_folder, trained, config.lora, output / "model")
