"""Runs a vision tower as a whole, up to a cut, or from the cut on.

Up to the cut the outputs of the skipped blocks that anything reads later are kept: the last one's, and those that
other layers take in (DeepStack, `vision_feature_layer` lists). From the cut on the model's own `get_image_features`
is called with blank pixels, while the skipped blocks stand aside: each hands on what was kept of it. So norms, window
order, pooling and projector are the model's own code, and only the patch embedding runs in vain (0.2 % of CLIP-L).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from spavl.train.families.base import Encoded, Family, Model


class Tower:
    """A model's vision tower and projector.

    Args:
        model: The model.
        family: What is known of its kind.
    """

    def __init__(self, model: Model, family: Family) -> None:
        self._model, self._family = model, family
        path = family.blocks_path(model)
        self.is_one_block = path is None
        """Whether it has no blocks to cut between; it then counts as one."""
        self._blocks = [family.vision(model)] if path is None else list(model.get_submodule(path))
        self._read = family.read_blocks(model, len(self._blocks)) if path else (0,)
        self.depth = self._read[-1] + 1
        """How many blocks reach the projector; LLaVA-1.5's last one does not."""

    def encode(self, inputs: Mapping[str, Tensor]) -> Encoded:
        """Returns the picture as the language model takes it in, run from the pixels."""
        with _standing_in(dict.fromkeys(self._blocks[self.depth :], _hand_on)):
            return self._encode(inputs)

    @torch.no_grad()
    def record(self, inputs: Mapping[str, Tensor], skipped: int) -> list[Tensor]:
        """Returns what is kept of the first blocks, which are `skipped` many."""
        states: list[Tensor] = []
        hooks = [self._blocks[place].register_forward_hook(partial(_keep, states)) for place in self.kept(skipped)]
        try:
            with _standing_in(dict.fromkeys(self._blocks[skipped:], _hand_on)):
                self._encode(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return states

    def replay(self, inputs: Mapping[str, Tensor], states: Sequence[Tensor], skipped: int) -> Encoded:
        """Returns the picture as `encode` would, with the first blocks' work taken from `states`.

        Args:
            inputs: Those of `encode`; of the pixels only the shape matters, but SmolVLM drops tiles of zeros.
            states: What `record` returned.
            skipped: The same number as there.
        """
        stand_ins = dict.fromkeys([*self._blocks[:skipped], *self._blocks[self.depth :]], _hand_on)
        for place, state in zip(self.kept(skipped), states, strict=True):
            whole = BaseModelOutputWithPooling(last_hidden_state=state, hidden_states=(state,))
            stand_ins[self._blocks[place]] = partial(_answer, whole if self.is_one_block else state)
        with _standing_in(stand_ins):
            return self._encode(inputs)

    def kept(self, skipped: int) -> list[int]:
        """Returns the blocks whose output is kept if the first `skipped` many are not run again."""
        return sorted({place for place in self._read if place < skipped} | {skipped - 1})

    def _encode(self, inputs: Mapping[str, Tensor]) -> Encoded:
        output = self._model.get_image_features(**inputs, return_dict=True)
        grid = self._family.grid_input
        return Encoded(
            features=torch.cat(list(output.pooler_output)),
            deepstack=tuple(torch.cat(list(layer)) for layer in output.get("deepstack_features", ())),
            grid=None if grid is None else inputs[grid].cpu(),
        )


def _keep(states: list[Tensor], module: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ANN401  # a hook
    states.append(output if isinstance(output, Tensor) else output.last_hidden_state)


def _hand_on(hidden: Tensor, *_: object, **__: object) -> Tensor:
    return hidden


def _answer(output: Any, *_: object, **__: object) -> Any:  # noqa: ANN401  # a state, or a tower's whole output
    return output


@contextmanager
def _standing_in(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Lets modules compute something else while the block lasts; their hooks still run."""
    before = {module: vars(module).get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            vars(module)["forward"] = forward
        yield
    finally:
        for module, own in before.items():
            del vars(module)["forward"]
            if own is not None:
                vars(module)["forward"] = own
