"""Scalar heads: one number a hidden state, which is an answer's score at its last token and a token's value before it.

    score(x, y) = w·h[P+R-1]          V_t = w·h[P+t-1], t = 0 … R-1, expected before token t is chosen

with h after the final norm, P prompt and R answer tokens. Where to read is said by the layout, by index: what a token
is has no say in it, so an end token may have id 0, be the padding, or stand within the answer.
"""

import torch
from torch import Tensor, nn

from spavl.train.tree import PackedTrees


class ScalarHead(nn.Module):
    """w·h without bias, in float32 or better whatever the model computes in.

    Args:
        width: H.
        zero: Whether the weights are 0 at first, so that a new head says 0 of everything; otherwise they are drawn
            with standard deviation 1/√(H+1) (Stiennon et al. 2020, arXiv 2009.01325).
    """

    def __init__(self, width: int, *, zero: bool = False) -> None:
        super().__init__()
        first = torch.zeros(width) if zero else torch.randn(width) * (width + 1) ** -0.5
        self.weight = nn.Parameter(first)  # (H,)

    def forward(self, states: Tensor) -> Tensor:
        """Returns (N,) of hidden states (N, H)."""
        with torch.autocast(states.device.type, enabled=False):
            exact = torch.promote_types(states.dtype, self.weight.dtype)
            return states.to(exact) @ self.weight.to(exact)


def score_places(packed: PackedTrees) -> list[int]:
    """Returns the position of each answer's last token; with `predicting_places`, where values are read."""
    return [answer.last for answer in packed.answers]
