"""What one process measures of its training: time, memory, tokens, FLOPs and losses, noted at the end of each epoch.

Time and memory are meant to be read from a run that does not count FLOPs: counting slows it down.
"""

import time
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

_STATUS = Path("/proc/self/status")
_RESET_PEAK = Path("/proc/self/clear_refs")


class Mark(NamedTuple):
    """What had been used when an epoch ended."""

    seconds: float
    """Since the training began; the model was loaded before."""
    peak_bytes: int
    """Most memory so far, less what the loaded policy took."""
    tokens: int
    """That entered the language model: policy and reference, padding included."""
    flops: int
    losses: list[float]
    """The loss of every optimiser step so far."""


class Meter(AbstractContextManager["Meter"]):
    """Watches one training run; entered when the policy is loaded.

    Args:
        device: The training device.
        count_flops: Count FLOPs, at the price of time and memory.
        losses_per_step: How many losses `add_loss` gets for one optimiser step, all of equally many pairs.
    """

    def __init__(self, device: str, count_flops: bool, losses_per_step: int = 1) -> None:
        self._device, self._losses_per_step = device, losses_per_step
        self._counter = FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION) if count_flops else None
        self._tokens = 0
        self._losses: list[Tensor] = []
        self._started = 0.0
        self.marks: list[Mark] = []

    def __enter__(self) -> "Meter":
        """Takes the memory in use as the zero from which the peak is counted."""
        if self._device == "cpu":
            _RESET_PEAK.write_text("5")  # sets VmHWM back to VmRSS
        else:
            torch.cuda.reset_peak_memory_stats()
        self._before = self._memory(peak=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops counting FLOPs."""
        if self._counter is not None and self._started:
            self._counter.__exit__(kind, error, trace)

    def count_tokens(self, language: Any) -> None:  # noqa: ANN401  # the language model of any family
        """Counts what enters this language model from now on."""
        language.register_forward_pre_hook(self._see, with_kwargs=True)

    def start(self) -> None:
        """Starts the clock and sets the counts to zero: what came before was warming up."""
        self._tokens = 0
        self._losses.clear()
        if self._counter is not None:
            self._counter.__enter__()
        self._synchronise()
        self._started = time.perf_counter()

    def add_loss(self, loss: Tensor) -> None:
        """Keeps a loss; nothing waits for it."""
        self._losses.append(loss.detach())

    def mark(self) -> None:
        """Notes what has been used; called when an epoch ends."""
        self._synchronise()
        seconds = time.perf_counter() - self._started
        flops = self._counter.get_total_flops() if self._counter is not None else 0
        losses = torch.stack(self._losses).view(-1, self._losses_per_step).mean(dim=1).tolist()
        self.marks.append(Mark(seconds, self._memory(peak=True) - self._before, self._tokens, flops, losses))

    def _see(self, _: object, __: object, options: dict[str, Any]) -> None:
        given = options["inputs_embeds"] if options.get("inputs_embeds") is not None else options["input_ids"]
        self._tokens += given.shape[0] * given.shape[1]

    def _memory(self, *, peak: bool) -> int:
        if self._device != "cpu":
            return torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()
        field = "VmHWM:" if peak else "VmRSS:"
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
        return int(line.split()[1]) * 1024  # kB

    def _synchronise(self) -> None:
        if self._device != "cpu":
            torch.cuda.synchronize()


def _attention(query: Tensor, key: Tensor, value: Tensor, *options: Any, **named: Any) -> int:  # noqa: ANN401
    """Scores and mixing: 2·Sq·Sk·D + 2·Sq·Sk·Dv a head; half of it when causal, which the kernel leaves out."""
    causal = named.get("is_causal", options[1] if len(options) > 1 else False)
    batch, heads, queries, width = query.shape
    pairs = batch * heads * queries * key.shape[2]
    return pairs * 2 * (width + value.shape[-1]) // (2 if causal else 1)


def _attention_backward(gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, *options: Any, **_: Any) -> int:  # noqa: ANN401
    """Five products where forward has two: the scores again, and the gradients of query, key, value and weights."""
    causal = options[3]  # out, logsumexp, dropout_p, is_causal
    return _attention(query, key, value, 0.0, causal) * 5 // 2


_attention._get_raw = True  # type: ignore[attr-defined]  # torch's mark: tensors, not shapes
_attention_backward._get_raw = True  # type: ignore[attr-defined]
_CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""torch 2.13 counts no attention on the CPU."""
