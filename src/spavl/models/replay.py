"""Replay: a run is made again from what is stored, and nobody is asked.

Every answer comes from the store of calls and every download from the run's folder of downloads. What is not there is a
failure of its own reason; unless such items may be left out, it ends the stage, which stays open.
"""

from collections import Counter
from typing import NamedTuple

from spavl.errors import RunError
from spavl.records import Failure
from spavl.store import StageDirectory

NOT_STORED = "not_stored"


class Replay(NamedTuple):
    """How a run is replayed."""

    allow_missing: bool = False
    """Whether items whose call is not stored are left out, counted, instead of ending the stage."""

    def failure(self, what: str) -> Failure:
        """Returns what becomes of an item that needs something that is not stored."""
        return Failure(reason=NOT_STORED, message=f"{what} is not stored", transient=not self.allow_missing)


def check_replayed(stage: StageDirectory, items: int) -> None:
    """Refuses to finish a stage that lacks stored calls; it stays open, so these items alone are looked at again.

    Raises:
        RunError: Something was not stored, and may not be left out.
    """
    missing = (one for _, one in stage.each_failure() if one.reason == NOT_STORED and one.transient)
    whats = Counter(one.message.rpartition(": ")[2] for one in missing)  # before it may stand a picture's name
    if whats:
        counted = "; ".join(f"{count} times {what}" for what, count in whats.items())
        raise RunError(
            f"Stage {stage.name}: {whats.total()} of {items} items need what is not stored ({counted}). Run the same "
            "command without --replay to ask for it, and for nothing else; or add --allow-missing to leave these "
            "items out, counted."
        )
