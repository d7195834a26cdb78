"""A frozen linear layer and its LoRA adapter as one step: no sum, no product by a number, no copy of what comes out.

    y = x·Wᵀ + b + s·(m∘x)·Aᵀ·Bᵀ                       m: dropout's mask over 1 - p, or 1
    ∂x = g·W + m∘(s·(g·B)·A)      ∂A = (s·g·B)ᵀ·(m∘x)      ∂B = s·gᵀ·((m∘x)·Aᵀ)

(LoRA: Hu et al. 2021, arXiv 2106.09685, equation 3.) PEFT does the same in six passes over what comes out and keeps
x a second time under dropout; here both products are added where the first one lies. Layers of another kind, layers
whose adapter is off, merged or not alone, and all of them in bfloat16 on the CPU keep PEFT's own way.
Shapes: T tokens, I in, O out, r rank.
"""

from functools import partial
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional


def join_adapters(model: nn.Module) -> None:
    """Has every LoRA layer of a model compute with its adapter in one step; what it computes stays the same."""
    for module in model.modules():
        if type(module) is LoraLinear and type(module.base_layer) is nn.Linear:
            module.forward = partial(_forward, module)


def _forward(layer: Any, x: Tensor, *others: Any, **options: Any) -> Tensor:  # noqa: ANN401  # PEFT's own face
    name = _only_adapter(layer, x) if not others and not options else None
    if name is None:
        peft: Tensor = LoraLinear.forward(layer, x, *others, **options)
        return peft
    weight, bias = layer.base_layer.weight, layer.base_layer.bias
    a, b, dropout = layer.lora_A[name].weight, layer.lora_B[name].weight, layer.lora_dropout[name]
    p = dropout.p if isinstance(dropout, nn.Dropout) and dropout.training else 0.0
    mask = torch.empty_like(x).bernoulli_(1 - p).bool() if p else None  # drawn as `nn.Dropout` draws it on the CPU
    dtype = _precision(x) or x.dtype
    x, weight, a, b = (one.to(dtype) for one in (x, weight, a, b))
    return _joined(x, weight, bias if bias is None else bias.to(dtype), a, b, mask, layer.scaling[name], 1 - p)


def _only_adapter(layer: Any, x: Tensor) -> str | None:  # noqa: ANN401  # untyped library
    """Returns the name of the one adapter that is on, where the formula above is all that the layer does."""
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if layer.disable_adapters or layer.merged or len(active) != 1 or active[0] in layer.lora_variant:
        return None
    adapter = layer.lora_A[active[0]], layer.lora_B[active[0]]
    one_kind = {x.dtype, layer.base_layer.weight.dtype, *(one.weight.dtype for one in adapter)}
    plain = all(one.bias is None for one in adapter) and not layer.base_layer.weight.requires_grad
    slow = x.device.type == "cpu" and _precision(x) is not None  # adding to a bfloat16 product costs more than a copy
    return active[0] if plain and not slow and (len(one_kind) == 1 or _precision(x)) else None


def _precision(x: Tensor) -> torch.dtype | None:
    """Returns what autocast computes a product in, where it is on."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None


def _joined(*arguments: Any) -> Tensor:  # noqa: ANN401  # those of `_LoraLinear.forward`
    output: Tensor = _LoraLinear.apply(*arguments)  # type: ignore[no-untyped-call]  # untyped in torch
    return output


class _LoraLinear(Function):
    @staticmethod
    def forward(  # noqa: PLR0913  # torch's own form
        ctx: Any,  # noqa: ANN401
        x: Tensor,  # (..., I)
        weight: Tensor,  # (O, I)
        bias: Tensor | None,
        a: Tensor,  # (r, I)
        b: Tensor,  # (O, r)
        mask: Tensor | None,
        scale: float,
        kept: float,
    ) -> Tensor:
        down = functional.linear(_dropped(x, mask, kept), a).flatten(0, -2)  # (T, r)
        output = functional.linear(x, weight, bias)  # (..., O)
        output.view(-1, output.shape[-1]).addmm_(down, b.T, alpha=scale)
        ctx.save_for_backward(x, weight, a, b, down, mask)
        ctx.scale, ctx.kept = scale, kept
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, weight, a, b, down, mask = ctx.saved_tensors
        wants_x, _, wants_bias, wants_a, wants_b, *_ = ctx.needs_input_grad
        g = gradients[0].flatten(0, -2)  # (T, O)
        up = (g @ b).mul_(ctx.scale)  # (T, r): s·g·B
        d_x = d_a = d_b = None
        if wants_x:
            d_x = g @ weight  # (T, I)
            if mask is None:
                d_x.addmm_(up, a)
            else:
                d_x += _dropped(up @ a, mask.flatten(0, -2), ctx.kept)
            d_x = d_x.view(x.shape)
        if wants_a:
            d_a = up.T @ _dropped(x, mask, ctx.kept).flatten(0, -2)
        if wants_b:
            d_b = (g.T @ down).mul_(ctx.scale)
        return d_x, None, g.sum(dim=0) if wants_bias else None, d_a, d_b, None, None, None


def _dropped(x: Tensor, mask: Tensor | None, kept: float) -> Tensor:
    return x if mask is None else x * mask / kept
