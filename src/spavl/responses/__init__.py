"""The responses station: every responder answers every question, one model at a time."""

from spavl.responses.respond import respond, response_request, say_unanswering

__all__ = ["respond", "response_request", "say_unanswering"]
