"""The responses station: every responder answers every question, one responder at a time."""

from spavl.responses.respond import respond

__all__ = ["respond"]
