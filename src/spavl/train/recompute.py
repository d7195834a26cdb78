"""What autograd keeps of cheap operations is made again in the backward pass: a recipe is kept, not the result.

Norms, activations and products of two tensors cost almost nothing beside matrix products, but what they make is as
large as what these make, and autograd keeps it as the next product's input. While `cheap_recomputed` is active such a
result is remembered as the operation and its inputs, which are kept anyway or are recipes themselves. The operation is
the model's own and is done twice the same way, so no number changes, whatever the model.
"""

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.overrides import TorchFunctionMode

CHEAP = frozenset(
    {torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, functional.silu, functional.gelu}
    | {Tensor.to, Tensor.float, Tensor.type_as}
)
"""One pass over the numbers, the same at any time."""


class _Recipe:
    """How a tensor is made; it is made once for all its uses, and held from the first to the last."""

    def __init__(
        self, operation: Callable[..., Tensor], arguments: tuple[Any, ...], options: Mapping[str, Any]
    ) -> None:
        self._operation, self._arguments, self._options = operation, arguments, options
        self._uses = self._left = 0
        self._made: Tensor | None = None

    def used(self) -> "_Recipe":
        """Counts one more use."""
        self._uses += 1
        return self

    def make(self) -> Tensor:
        """Returns the tensor, for one of its uses."""
        if self._made is None:
            with torch.no_grad():
                self._made = self._operation(*(_unpack(one) for one in self._arguments), **self._options)
            self._left = self._uses
        made = self._made
        self._left -= 1
        if not self._left:
            self._made = None
        return made


class _View:
    """A recipe's result in another shape."""

    def __init__(self, recipe: _Recipe, shape: torch.Size) -> None:
        self.recipe, self.shape = recipe, shape


class _Remembering(TorchFunctionMode):
    """Knows the results of cheap operations as long as the model holds them."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, tuple[weakref.ref[Tensor], int, _Recipe]] = {}

    def __torch_function__(
        self,
        operation: Callable[..., Any],
        types: Any,  # noqa: ANN401  # torch's own
        arguments: tuple[Any, ...] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Runs an operation; a new tensor that a cheap one has made is remembered."""
        options = options or {}
        result = operation(*arguments, **options)
        if operation in CHEAP and result.requires_grad and not any(result is one for one in arguments):
            recipe = _Recipe(operation, tuple(self.pack(one) for one in arguments), options)
            place = result.data_ptr()
            forget = weakref.ref(result, lambda _: self._known.pop(place, None))
            self._known[place] = (forget, result._version, recipe)  # torch's own
        return result

    def pack(self, value: Any) -> Any:  # noqa: ANN401  # tensors, and what operations take beside them
        """Returns what is kept of a value: a recipe where one is known, or else itself."""
        if not isinstance(value, Tensor):
            return value
        known = self._known.get(value.data_ptr())
        result = known and known[0]()
        if known is None or result is None or not _same_numbers(value, result, known[1]):
            return value.detach()
        return _View(known[2].used(), value.shape)


def _same_numbers(value: Tensor, result: Tensor, version: int) -> bool:
    whole = value.numel() == result.numel() and value.is_contiguous() and result.is_contiguous()
    return whole and value.dtype == result.dtype and value._version == version


def _unpack(packed: Any) -> Any:  # noqa: ANN401
    return packed.recipe.make().view(packed.shape) if isinstance(packed, _View) else packed


@contextmanager
def cheap_recomputed() -> Iterator[None]:
    """Lets the backward pass of what is computed in the block make cheap results again."""
    remembering = _Remembering()
    with remembering, saved_tensors_hooks(remembering.pack, _unpack):
        yield
