"""What the safety judge said of the answers of pairs, as the losses read it."""

from collections.abc import Sequence

import torch

from spavl.records import PreferencePair
from spavl.train.loss_formulas import SAFE, UNKNOWN, UNSAFE, PairSafety


def safety_flags(pairs: Sequence[PreferencePair]) -> PairSafety:
    """Returns what the safety judge said of both answers of each pair."""
    codes: dict[str | None, int] = {"safe": SAFE, "unsafe": UNSAFE}
    return PairSafety(
        torch.tensor([codes.get(pair.chosen_verdict, UNKNOWN) for pair in pairs]),
        torch.tensor([codes.get(pair.rejected_verdict, UNKNOWN) for pair in pairs]),
    )
