"""What autograd keeps of cheap operations is made again in the backward pass: a recipe is kept, not the result.

Norms, activations and products of two tensors cost almost nothing beside matrix products, but what they make is as
large as what these make, and autograd keeps it as the next product's input. While `cheap_recomputed` is active such a
result is remembered as the operation and its inputs, which are kept anyway or are recipes themselves. The operation is
the model's own and is done twice the same way, so no number changes, whatever the model: before an input is changed in
place its recipe's result is made and kept, and a change that goes unseen is an error in the backward pass, as it is in
autograd's own.
"""

import math
import re
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

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
CHANGING = re.compile(r".*[^_]_|__setitem__")
"""Names of operations that change a tensor in place."""


class _Kept(NamedTuple):
    """A tensor as it was."""

    tensor: Tensor
    version: int
    """How often it had been changed in place."""

    def unchanged(self) -> Tensor:
        """Returns the tensor.

        Raises:
            RuntimeError: It was changed since; autograd without recipes raises the same.
        """
        if self.tensor._version != self.version:  # torch's own
            raise RuntimeError(
                f"A tensor of shape {tuple(self.tensor.shape)} that the backward pass needs was changed in place after "
                "the forward pass had used it; the model's code must change a copy."
            )
        return self.tensor


class _Recipe:
    """How a tensor is made; it is made once for all its uses, and held from the first to the last."""

    def __init__(self, operation: Callable[..., Tensor], arguments: Sequence[Any], options: Mapping[str, Any]) -> None:
        self._operation, self._arguments, self._options = operation, arguments, options
        self._uses = 0
        self._left: float = 0
        self._made: Tensor | None = None

    def used(self) -> "_Recipe":
        """Counts one more use."""
        self._uses += 1
        return self

    def reads(self, storage: int) -> bool:
        """Returns whether an input lies at this address still; FSDP lets go of a weight's memory, which others get."""
        inputs = (*self._arguments, *self._options.values())
        return any(isinstance(one, _Kept) and _storage(one.tensor) == storage for one in inputs)

    def settle(self) -> None:
        """Makes the tensor while its inputs are what they were, and keeps it."""
        if self._made is None:
            self._made = self._run()
        self._left, self._arguments, self._options = math.inf, (), {}

    def make(self) -> Tensor:
        """Returns the tensor, for one of its uses.

        Raises:
            RuntimeError: An input was changed in place.
        """
        if self._made is None:
            self._made, self._left = self._run(), self._uses
        made = self._made
        self._left -= 1
        if not self._left:
            self._made = None
        return made

    def _run(self) -> Tensor:
        arguments = [_unpack(one) for one in self._arguments]
        with torch.no_grad():
            return self._operation(*arguments, **{name: _unpack(one) for name, one in self._options.items()})


class _View:
    """A recipe's result in another shape."""

    def __init__(self, recipe: _Recipe, shape: torch.Size) -> None:
        self.recipe, self.shape = recipe, shape


class _Remembering(TorchFunctionMode):
    """Knows the results of cheap operations as long as the model holds them."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, tuple[weakref.ref[Tensor], int, _Recipe]] = {}
        self._readers: dict[int, weakref.WeakSet[_Recipe]] = {}
        """Address of a storage -> the recipes that read it."""

    def __torch_function__(
        self,
        operation: Callable[..., Any],
        types: Any,  # noqa: ANN401  # torch's own
        arguments: tuple[Any, ...] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Runs an operation; a new tensor that a cheap one has made is remembered."""
        options = options or {}
        values = [*arguments, *options.values()]
        if _changes(operation, options):
            self._settle(values)
        result = operation(*arguments, **options)
        if operation in CHEAP and result.requires_grad and not any(result is one for one in values):
            self._remember(result, operation, arguments, options)
        return result

    def pack(self, value: Any) -> Any:  # noqa: ANN401  # tensors, and what operations take beside them
        """Returns what is kept of a value: a recipe where one is known, or else itself."""
        if not isinstance(value, Tensor):
            return value
        known = self._known.get(value.data_ptr())
        result = known and known[0]()
        if known is None or result is None or not _same_numbers(value, result, known[1]):
            return _Kept(value.detach(), value._version)  # torch's own
        return _View(known[2].used(), value.shape)

    def _remember(
        self, result: Tensor, operation: Callable[..., Any], arguments: Sequence[Any], options: Mapping[str, Any]
    ) -> None:
        inputs = [self.pack(one) for one in arguments], {name: self.pack(one) for name, one in options.items()}
        recipe = _Recipe(operation, *inputs)
        for one in (*inputs[0], *inputs[1].values()):
            if isinstance(one, _Kept):
                self._readers.setdefault(_storage(one.tensor), weakref.WeakSet()).add(recipe)
        place = result.data_ptr()
        forget = weakref.ref(result, lambda _: self._known.pop(place, None))
        self._known[place] = (forget, result._version, recipe)

    def _settle(self, values: Sequence[Any]) -> None:
        """Lets the recipes that read what is about to be changed keep their results."""
        for value in values:
            if isinstance(value, Tensor):
                place = _storage(value)
                for recipe in self._readers.pop(place, ()):
                    if recipe.reads(place):
                        recipe.settle()


def _changes(operation: Callable[..., Any], options: Mapping[str, Any]) -> bool:
    """Returns whether an operation changes a tensor that it is given, as far as its name and options say."""
    by_name = _changes_by_name(getattr(operation, "__name__", ""))
    return by_name or bool(options.get("inplace")) or options.get("out") is not None


@cache
def _changes_by_name(name: str) -> bool:
    return bool(CHANGING.fullmatch(name))


def _storage(value: Tensor) -> int:
    return value.untyped_storage().data_ptr()


def _same_numbers(value: Tensor, result: Tensor, version: int) -> bool:
    whole = value.numel() == result.numel() and value.is_contiguous() and result.is_contiguous()
    return whole and value.dtype == result.dtype and value._version == version


def _unpack(packed: Any) -> Any:  # noqa: ANN401
    match packed:
        case _View():
            return packed.recipe.make().view(packed.shape)
        case _Kept():
            return packed.unchanged()
    return packed


@contextmanager
def cheap_recomputed() -> Iterator[None]:
    """Lets the backward pass of what is computed in the block make cheap results again."""
    remembering = _Remembering()
    with remembering, saved_tensors_hooks(remembering.pack, _unpack):
        yield
