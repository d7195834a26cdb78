"""The pair that the losses' tests work by hand.

log π = (-10, -9), log π_ref = (-12, -5), so log-ratios (2, -4); with β = 0.5 the rewards are 1 and -2 and the margin is
3; the answers have 4 and 2 tokens. -log σ(3) = log(1 + e^-3) = 0.048587.
"""

import torch
from torch import Tensor

from spavl.train.loss_formulas import LogRatios, PairLengths, PairLogprobs, PairSafety

POLICY = PairLogprobs(torch.tensor([-10.0]), torch.tensor([-9.0]))
REFERENCE = PairLogprobs(torch.tensor([-12.0]), torch.tensor([-5.0]))
RATIOS = LogRatios(torch.tensor([2.0]), torch.tensor([-4.0]))
LENGTHS = PairLengths(torch.tensor([4]), torch.tensor([2]))


def flags(chosen: int, rejected: int) -> PairSafety:
    """Returns the safety flags of one pair."""
    return PairSafety(torch.tensor([chosen], dtype=torch.int8), torch.tensor([rejected], dtype=torch.int8))


def near(found: Tensor, wanted: float) -> bool:
    """Says whether a loss of one pair has the value worked by hand."""
    return found.shape == (1,) and abs(found.item() - wanted) < 2e-6
