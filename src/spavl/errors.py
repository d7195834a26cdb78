"""The errors spavl raises on purpose; the command line turns each into one line and an exit code.

It does not hold failures of single items: those are `records.Failure`, counted in manifests and never raised.
"""


class SpavlError(Exception):
    """Base of every error whose text is written for the person at the terminal."""

    exit_code = 1


class UserError(SpavlError):
    """Something the user gave is wrong; the text names the field, the value, what is allowed and the next step."""

    exit_code = 2


class RunError(SpavlError):
    """A run could not go on (disk full, server gone, manifest that does not add up); what was done is kept."""


class NoUseError(RunError):
    """A model was out of reach too often, died, or gave nothing that could be used.

    The stage stays open: the same command asks what failed again, and nothing else.
    """
