"""Who takes part: the policy, its reference, the critic, and reward models, over as few weights as they can share.

With adapters all of them are one frozen base: the policy is one adapter, the critic another, and the reference is the
base with all adapters off, so that each further role costs its adapter and a head. Without adapters each has weights of
its own.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor
from torch.nn import Parameter

from spavl.errors import RunError
from spavl.models.loading import Vlm, load_vlm
from spavl.rl_config import RlConfig
from spavl.train.engine import Engine
from spavl.train.export import LORA_A
from spavl.train.families import Encoded, Family, family_of
from spavl.train.policy import Policy, open_policy
from spavl.train.rl.reading import Body, adapter_active
from spavl.train.scalar_head import ScalarHead
from spavl.train.vision_cache import Pictures, VisionTraining
from spavl.train_config import LoraSettings

POLICY, CRITIC = "default", "critic"
"""What the adapters are called; the policy's name is PEFT's own, and stands in its live names."""


class Start(NamedTuple):
    """What a critic or a frozen role begins as: a reward model over the same base."""

    model: Path
    """Its merged model's folder."""
    head: Tensor  # (H,)
    lora: LoraSettings | None = None
    adapter: Mapping[str, Tensor] | None = None
    """Live name, as if it were the only adapter -> tensor; None where it is not made of adapters over this base."""


class Roles(NamedTuple):
    """All roles but the reward models."""

    policy: Policy
    actor: Body
    reference: Body
    critic: Body | None
    """None without PPO, and where it shares the policy's weights."""
    heads: dict[str, ScalarHead]
    """What the critic expects: `reward`, and `cost` where harm has a price; empty without a critic."""
    critic_weights: dict[str, Parameter]
    """Live name -> what is trained beside the policy, heads included."""
    beside: "Beside | None" = None
    """Makes bodies of further adapters over the policy's base; None without adapters."""

    def trainable(self) -> dict[str, Parameter]:
        """Returns live name -> everything that is trained, in the optimiser's order."""
        return {**self.policy.trainable(), **self.critic_weights}

    def parameter_groups(self, config: RlConfig) -> list[dict[str, Any]]:
        """Returns AdamW's groups: the policy's, and the critic's, which do not decay."""
        groups = self.policy.parameter_groups(config)
        if self.critic_weights:
            rate = config.critic.learning_rate or config.learning_rate
            shared = {"part": CRITIC, "lr": rate, "initial_lr": rate, "weight_decay": 0.0}
            groups.append({"params": list(self.critic_weights.values()), **shared})
        return groups


class Base(NamedTuple):
    """The model everything starts from."""

    vlm: Vlm
    family: Family
    folder: Path
    shown: Callable[[str], Path]
    """Image id -> file."""


def open_roles(base: Base, config: RlConfig, seed: int, start: Start | None) -> Roles:
    """Opens the policy, its reference and its critic.

    Args:
        base: The model as it was loaded.
        config: What is trained.
        seed: Decides first weights.
        start: What the critic begins as; None for the policy, and a head that expects nothing.

    Raises:
        UserError: The model has no such layers or blocks, or a model cannot be loaded.
    """
    vlm, family = base.vlm, base.family
    policy = open_policy(vlm, family, config, seed, base.folder)
    engine = _engine(vlm, family, base, config, policy.precision)
    if policy.peft is None:
        actor, reference = Body(engine), frozen_body(base, base.folder, config)
        beside = None
    else:
        actor, beside = Body(engine, partial(adapter_active, policy.peft, POLICY)), Beside(policy, engine)
        reference = beside.body(None)
    if config.method != "ppo":
        return Roles(policy, actor, reference, None, {}, {}, beside)
    heads = _heads(base, config, start)
    critic, weights = None, dict[str, Parameter]()
    if config.critic.kind == "own":
        critic, weights = _own_critic(base, config, beside, start)
    weights |= {f"{CRITIC}.{name}.weight": head.weight for name, head in heads.items()}
    return Roles(policy, actor, reference, critic, heads, weights, beside)


class Beside:
    """What lies over the policy's base beside the policy: other adapters, and none; all see pictures as at first.

    Args:
        policy: The policy before its first step; it has adapters.
        engine: Its engine.
    """

    def __init__(self, policy: Policy, engine: Engine) -> None:
        self.policy = policy
        own = [parameter for part in ("projector", "vision") for parameter in policy.parts[part].values()]
        self._first = [(parameter, parameter.detach().clone()) for parameter in own]
        self._engine = engine._replace(pictures=self._picture)
        self._pictures = engine.pictures

    def body(self, name: str | None) -> Body:
        """Returns an adapter over the base as a body; None for the base alone, which is the reference."""
        return Body(self._engine, partial(self._active, name))

    def holds(self, adapter: Mapping[str, Tensor]) -> bool:
        """Returns whether every layer that an adapter changes is one that the policy's own adapter changes."""
        return adapter.keys() <= {name for name, _ in self.policy.model.named_parameters()}

    @contextmanager
    def _active(self, name: str | None) -> Iterator[None]:
        """Lets what is trained between pixels and language model be what it was, for as long as the body is asked."""
        now = [parameter.data for parameter, _ in self._first]
        for parameter, first in self._first:
            parameter.data = first
        try:
            with adapter_active(self.policy.peft, name):
                yield
        finally:
            for (parameter, _), data in zip(self._first, now, strict=True):
                parameter.data = data

    @torch.no_grad()
    def _picture(self, image_id: str) -> Encoded:
        return self._pictures(image_id)


def _engine(
    vlm: Vlm, family: Family, base: Base, config: RlConfig, precision: Callable[[], AbstractContextManager[Any]]
) -> Engine:
    trains = VisionTraining(config.projector, config.vision_blocks)
    pictures = Pictures(vlm, family, base.shown, trains, config.cache / "vision")
    flex = config.attention == "flex"
    return Engine(vlm.model, family, pictures, config.tokens_per_forward, precision, flex=flex)


def add_adapter(
    policy: Policy, name: str, settings: LoraSettings, start: Mapping[str, Tensor] | None
) -> dict[str, Parameter]:
    """Puts one more adapter over a policy's base, and returns its weights by live name; what was trained stays so.

    Args:
        policy: It has adapters already.
        name: What the new one is called.
        settings: Its shape.
        start: Live name, as if it were the policy's -> first weights; None for an adapter that changes nothing yet.

    Raises:
        RunError: The policy has no adapter at one of the layers of `start`.
    """
    model = policy.model
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    lora = LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, target_modules=_layers(policy, settings, start), bias="none"
    )
    policy.peft.add_adapter(name, lora)
    added = {live: parameter for live, parameter in model.named_parameters() if f".{name}." in live}
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_(True)
    with torch.no_grad():
        for live, parameter in added.items():
            parameter.data = parameter.data.float()
            if start is not None:
                parameter.copy_(start[live.replace(f".{name}.", f".{POLICY}.")])
    return added


def _layers(policy: Policy, settings: LoraSettings, start: Mapping[str, Tensor] | None) -> list[str]:
    """Returns the layers that get a further adapter: those of `start`, or else those of the policy's that are named."""
    layers = [name for name, module in policy.model.named_modules() if isinstance(module, LoraLayer)]
    if start is not None:
        left = {name.partition(".lora_")[0] for name in start} - set(layers)
        if left:
            raise RunError(f"An adapter changes {sorted(left)[0]}, where the policy has none. This is a bug.")
        return [layer for layer in layers if layer + LORA_A in start]
    if settings.targets == "all_linear":
        return layers
    return [layer for layer in layers if f".{layer}".endswith(tuple(f".{target}" for target in settings.targets))]


def frozen_body(base: Base, folder: Path, config: RlConfig) -> Body:
    """Returns a model as it lies in a folder, as a body of its own that nobody trains.

    Where the policy trains all weights, which are float32, these are float32 too, so that the reference says to the
    last bit what the policy says before its first step.
    """
    vlm = load_vlm(folder, config.dtype, config.device)
    family = family_of(vlm.model)
    if config.lora is None:
        open_policy(vlm, family, config, 0, folder)
    vlm.model.requires_grad_(False)
    precision = Policy(vlm.model, None, {}, config.dtype, {}).precision
    return Body(_engine(vlm, family, base, config, precision))


def _own_critic(
    base: Base, config: RlConfig, beside: Beside | None, start: Start | None
) -> tuple[Body, dict[str, Parameter]]:
    lora = (start.lora if start else None) or config.critic.lora or config.lora
    first = start.adapter if start else None
    if beside is not None and lora is not None and (start is None or (first is not None and beside.holds(first))):
        weights = add_adapter(beside.policy, CRITIC, lora, first)
        for parameter in weights.values():
            parameter.requires_grad_(True)
        return beside.body(CRITIC), weights
    folder = start.model if start else base.folder
    vlm = load_vlm(folder, config.dtype, config.device)
    family = family_of(vlm.model)
    alone = config.model_copy(update={"projector": False, "vision_blocks": 0})
    own = open_policy(vlm, family, alone, 0, folder)
    active = partial(adapter_active, own.peft, POLICY) if own.peft is not None else nullcontext
    body = Body(_engine(vlm, family, base, alone, own.precision), active)
    return body, {f"{CRITIC}.{name}": parameter for name, parameter in own.trainable().items()}


def _heads(base: Base, config: RlConfig, start: Start | None) -> dict[str, ScalarHead]:
    """Returns the critic's heads: the reward's as the reward model's, or one that expects nothing."""
    width = base.vlm.model.config.get_text_config().hidden_size
    heads = {name: ScalarHead(width, zero=True) for name in ("reward", *(["cost"] if config.cost else []))}
    if start is not None and config.critic.kind == "own":
        with torch.no_grad():
            heads["reward"].weight.copy_(start.head)
    return {name: head.to(base.vlm.model.device) for name, head in heads.items()}
