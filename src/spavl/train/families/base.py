"""What is known of a kind of model: where its parts lie, its positions, how pictures enter, and what it refuses.

A family is data and small functions. A model whose mask or position rule is not written down in one is refused, for
a guess would train on wrong numbers without an error.
Shapes: C position components, L tokens of a sequence, P picture tokens, H hidden.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from spavl.errors import UserError

PLAIN_TEXT_MODELS = ("llama", "mistral", "qwen2", "qwen3")
"""Language models with rotary positions and a causal mask, with a window on some layers or none."""

STATIC_ROPE = ("default", "linear", "llama3", "yarn")
"""Rotary position rules under which a token's angle depends on its own position alone; the others (`dynamic`,
`longrope`) look at the longest sequence of the batch, which a packed row changes."""

SOFTCAPS = ("attn_logit_softcapping", "final_logit_softcapping")


class Encoded(NamedTuple):
    """A picture as the language model takes it in."""

    features: Tensor  # (P, H)
    deepstack: tuple[Tensor, ...] = ()  # (P, H) each, added behind the first layers of the language model (Qwen3-VL)
    grid: Tensor | None = None  # (1, 3): frames, rows, columns of patches, where positions depend on them (Qwen-VL)


EncoderOutputs = dict[str, BaseModelOutputWithPooling]
Model = Any
"""A `...ForConditionalGeneration` of transformers, with or without adapters in it."""


def plain_positions(model: Model, ids: Tensor, encoded: Encoded) -> Tensor:
    """Counts tokens: 0, 1, 2 …, (1, L), whatever the picture."""
    return torch.arange(len(ids))[None]


def as_list(pictures: Sequence[Encoded]) -> EncoderOutputs:
    """Hands over a list of one tensor a picture."""
    return {"image": BaseModelOutputWithPooling(pooler_output=[picture.features for picture in pictures])}


def as_tensor(pictures: Sequence[Encoded]) -> EncoderOutputs:
    """Hands over the tokens of all pictures as one tensor."""
    return {"image": BaseModelOutputWithPooling(pooler_output=torch.cat([picture.features for picture in pictures]))}


def no_spans(model: Model, ids: Sequence[int]) -> list[tuple[int, int]]:
    """Says that every token is seen only by those behind it."""
    return []


def last_block(model: Model, blocks: int) -> tuple[int, ...]:
    """Says that the projector reads the last block."""
    return (blocks - 1,)


def chosen_layers(model: Model, blocks: int) -> tuple[int, ...]:
    """Returns the blocks that `vision_feature_layer` names; state 0 there is what enters block 0.

    Raises:
        UserError: It names a state that no block makes.
    """
    setting = model.config.vision_feature_layer
    states = [layer % (blocks + 1) for layer in ([setting] if isinstance(setting, int) else setting)]
    if not all(states):
        raise UserError(
            f"train.model: vision_feature_layer={setting} reads what enters the tower's first block, which cannot be "
            "cached. Choose a model that reads a block's output."
        )
    return tuple(sorted({state - 1 for state in states}))


def nothing_more(config: Any) -> tuple[str, ...]:  # noqa: ANN401  # every family has its own configuration
    """Refuses nothing."""
    return ()


class Family(NamedTuple):
    """One kind of model (`config.model_type`) and its rules. Paths are dotted, from the model downwards."""

    model_type: str
    language_path: str
    vision_path: str
    projector_paths: tuple[str, ...]
    """Everything between tower and language model, be it a module or a parameter; may lie within the tower."""
    towers: Mapping[str, str | None]
    """Type of the tower -> where its blocks lie, from the tower downwards; None for one that has none."""
    text_models: tuple[str, ...] = PLAIN_TEXT_MODELS
    inputs: tuple[str, ...] = ()
    """What `get_image_features` takes beside `pixel_values`."""
    grid_input: str | None = None
    """The one of `inputs` that positions depend on."""
    position_components: int = 1
    positions: Callable[[Model, Tensor, Encoded], Tensor] = plain_positions
    """(model, ids (L,) of a sequence that holds one picture, the picture) -> positions (C, L). What follows goes on
    from the largest of them plus 1, in every component."""
    encoder_outputs: Callable[[Sequence[Encoded]], EncoderOutputs] = as_list
    """The pictures of a row, from left to right -> the model's argument `mm_encoder_outputs`."""
    bidirectional_spans: Callable[[Model, Sequence[int]], list[tuple[int, int]]] = no_spans
    """(model, ids) -> (start, end) of the stretches within which every token sees every other, as far as a layer's
    window lets it see back."""
    read_blocks: Callable[[Model, int], tuple[int, ...]] = last_block
    """(model, number of blocks) -> the blocks whose output something besides the next block reads, in order."""
    refusal: Callable[[Any], tuple[str, ...]] = nothing_more
    """Configuration -> why such a model is refused, beside the reasons that hold for every family."""

    def language(self, model: Model) -> nn.Module:
        """Returns the language model without its head."""
        return model.get_submodule(self.language_path)  # type: ignore[no-any-return]  # untyped library

    def vision(self, model: Model) -> nn.Module:
        """Returns the tower."""
        return model.get_submodule(self.vision_path)  # type: ignore[no-any-return]  # untyped library

    def blocks_path(self, model: Model) -> str | None:
        """Returns where the tower's blocks lie, or None if it has none."""
        below = self.towers[model.config.vision_config.model_type]
        return None if below is None else f"{self.vision_path}.{below}"

    def part(self, name: str) -> Literal["projector", "vision", "language"] | None:
        """Returns the part that a parameter belongs to, by its name in the model; None for the head."""
        if any(_within(path, name) for path in self.projector_paths):
            return "projector"
        if _within(self.vision_path, name):
            return "vision"
        return "language" if _within(self.language_path, name) else None

    def check(self, model: Model) -> None:
        """Refuses a model of this type whose mask, positions or logits are not those this family knows.

        Raises:
            UserError: With the setting, its value and what is allowed.
        """
        for reason in self._reasons(model.config):
            raise UserError(
                f"train.model: this model of type '{self.model_type}' cannot be trained: {reason}. Unknown mask and "
                "position rules are refused, not guessed; choose another model."
            )

    def _reasons(self, config: Any) -> Iterator[str]:  # noqa: ANN401  # untyped library
        text = config.get_text_config()
        if config.vision_config.model_type not in self.towers:
            yield f"its vision tower is '{config.vision_config.model_type}'; allowed: {', '.join(self.towers)}"
        if text.model_type not in self.text_models:
            yield f"its language model is '{text.model_type}'; allowed: {', '.join(self.text_models)}"
        for rule in _rope_types(text):
            if rule not in STATIC_ROPE:
                yield f"its rope_type is '{rule}'; allowed: {', '.join(STATIC_ROPE)}"
        for name in SOFTCAPS:
            if text.to_dict().get(name) is not None:
                yield f"it sets {name}, which training does not carry over"
        yield from self.refusal(config)


def _within(path: str, name: str) -> bool:
    return name == path or name.startswith(f"{path}.")


def _rope_types(text: Any) -> list[str]:  # noqa: ANN401  # every language model has its own configuration
    """Returns the rotary rules of a language model, of which there may be one for each kind of layer (Gemma-3)."""
    rules = text.rope_parameters
    return [rules["rope_type"]] if "rope_type" in rules else [rule["rope_type"] for rule in rules.values()]
