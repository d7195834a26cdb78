"""How fast attention over a packed picture can be on the CPU: torch's flash kernel, dense products, and a bare product.

The root node of a tree at LLaVA-1.5's proportions: 616 keys (a picture and its question), seen causally by themselves
and by the 972 tokens below, in 8 heads of width 64, float32, forward and backward. `dense` computes the same by matrix
products and a mask, 256 queries at a time. FLOPs are those of the pairs that are seen, 2 products forward and 5
backward, so that what is masked counts as waste. `product` is one of the language model's own products, which nothing
is faster than. Systems take turns; each one's best CPU second counts, of one thread.

    python -m benchmarks.attention_kernels [--quick] [--json PATH]
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

HEADS, WIDTH, KEYS, QUERIES = 8, 64, 616, 1588
ROWS = 256
"""Queries that the dense form takes at a time."""
PRODUCT = (1588, 512, 1408)
"""Tokens, width and inner width of an MLP's product."""
PASSES = 2 + 5
"""Products of a pair: two forward, and backward one of them again and four."""

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def flash(query: Tensor, key: Tensor, value: Tensor, upstream: Tensor) -> tuple[Tensor, ...]:
    """Returns the gradients of query (1, H, Q, D), key and value (1, H, K, D) by torch's kernel, as our engine does."""
    output, log_sum = _forward(query, key, value, 0.0, True, scale=WIDTH**-0.5)
    gradients: tuple[Tensor, ...] = _backward(
        upstream, query, key, value, output, log_sum, 0.0, True, scale=WIDTH**-0.5
    )
    return gradients


def dense(query: Tensor, key: Tensor, value: Tensor, upstream: Tensor) -> tuple[Tensor, ...]:
    """Returns the same by products and a mask: dP = dO Vᵀ, dS = P (dP - Σ P dP), dQ = dS K / √D, dK = dSᵀ Q / √D."""
    d_query, d_key, d_value = (torch.zeros_like(one) for one in (query, key, value))
    for again in (False, True):  # forward, and what backward computes again
        for start in range(0, QUERIES, ROWS):
            rows, keys = slice(start, min(start + ROWS, QUERIES)), slice(0, min(start + ROWS, KEYS))
            seen = torch.arange(rows.start, rows.stop)[:, None] >= torch.arange(keys.stop)
            scores = (query[0, :, rows] @ key[0, :, keys].mT * WIDTH**-0.5).masked_fill_(~seen, -torch.inf)
            shares = scores.softmax(-1)  # (H, rows, keys)
            if not again:
                shares @ value[0, :, keys]
                continue
            d_value[0, :, keys] += shares.mT @ upstream[0, :, rows]
            d_shares = upstream[0, :, rows] @ value[0, :, keys].mT
            d_scores = shares * (d_shares - (shares * d_shares).sum(-1, keepdim=True)) * WIDTH**-0.5
            d_query[0, :, rows] = d_scores @ key[0, :, keys]
            d_key[0, :, keys] += d_scores.mT @ query[0, :, rows]
    return d_query, d_key, d_value


def measure(rounds: int) -> dict[str, float]:
    """Returns name -> GFLOP a CPU second, after proving that both forms give the same gradients."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes = (QUERIES, KEYS, KEYS, QUERIES)
    query, key, value, upstream = (torch.randn(1, HEADS, size, WIDTH) for size in sizes)
    one, other = flash(query, key, value, upstream), dense(query, key, value, upstream)
    for ours, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    left, right = torch.randn(*PRODUCT[:2]), torch.randn(*PRODUCT[1:])
    pairs = HEADS * (KEYS * (KEYS + 1) // 2 + (QUERIES - KEYS) * KEYS)
    work: dict[str, tuple[Callable[[], object], float]] = {
        "flash": (lambda: flash(query, key, value, upstream), PASSES * 2 * WIDTH * pairs),
        "dense": (lambda: dense(query, key, value, upstream), PASSES * 2 * WIDTH * pairs),
        "product": (lambda: left @ right, 2.0 * PRODUCT[0] * PRODUCT[1] * PRODUCT[2]),
    }
    best = dict.fromkeys(work, float("inf"))
    for _ in range(rounds):
        for name, (run, _) in work.items():
            start = time.process_time()
            run()
            best[name] = min(best[name], time.process_time() - start)
    return {name: flops / best[name] / 1e9 for name, (_, flops) in work.items()}


def main() -> None:
    """Measures, prints the rates and writes them."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attention_kernels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="3 rounds instead of 30")
    parser.add_argument("--json", type=Path, help="also write the rates here")
    options = parser.parse_args()
    rates = measure(3 if options.quick else 30)
    for name, rate in rates.items():
        print(f"{name:8} {rate:6.0f} GFLOP a CPU second, {rate / rates['product']:.2f} of the product's")
    if options.json:
        options.json.write_text(json.dumps(rates, indent=2) + "\n")


if __name__ == "__main__":
    main()
