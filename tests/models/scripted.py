"""A model that answers from a function, with the face that stations see."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from spavl.models import Completion, Reply, Request


def echo(request: Request) -> Reply:
    """Answers with the prompt; 2 prompt tokens, 1 completion token."""
    return Completion(text=request.prompt, prompt_tokens=2, completion_tokens=1)


class ScriptedModel:
    """Notes the groups it was asked."""

    def __init__(self, answer: Callable[[Request], Reply] = echo, group_size: int = 1, concurrency: int = 1) -> None:
        self.answer = answer
        self.group_size = group_size
        self.concurrency = concurrency
        self.fingerprint: dict[str, Any] = {"kind": "scripted"}
        self.groups: list[list[str]] = []
        self.closed = False

    async def generate(self, requests: Sequence[Request]) -> list[Reply]:
        """Answers after a turn of the event loop, as a server would."""
        self.groups.append([request.prompt for request in requests])
        await asyncio.sleep(0)
        return [self.answer(request) for request in requests]

    async def close(self) -> None:
        """Notes that it was closed."""
        self.closed = True
