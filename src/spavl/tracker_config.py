"""The trackers that `train.trackers` can name, and whether their packages are there; it opens none of them."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from typing import Literal

from spavl.errors import UserError

TrackerName = Literal["tensorboard", "trackio", "wandb"]
"""A tracker's name is that of its package."""


def check_trackers(names: Sequence[TrackerName]) -> None:
    """Checks that the packages of these trackers are installed.

    Raises:
        UserError: One is not.
    """
    for name in names:
        try:
            distribution(name)
        except PackageNotFoundError as error:
            raise UserError(
                f"train.trackers: {name} is not installed. Run `pip install 'spavl[tracking]'`, or leave {name} out."
            ) from error
