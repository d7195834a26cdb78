"""Which stored calls are about some pictures: those that showed one, and those that pass on what was said of it.

A judge that reads text alone is shown no picture; its call is known by the question or the answer in its words.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import orjson

from spavl.texts.passages import Passages

WORDS = ("prompt", "answered", "system", "answer_prefix")
"""Fields of a request that hold words."""
Rows = Callable[[], Iterable[tuple[str, bytes, bytes]]]
"""Begins the list of (key, request, completion) anew."""


def keys_about(
    rows: Rows, pictures: Collection[str], texts: Collection[str], forms: Callable[[str], Collection[str]]
) -> list[str]:
    """Returns the keys of the calls about some pictures.

    Args:
        rows: Every call.
        pictures: Digests of the pictures.
        texts: What is known to be said of them, and of nothing else.
        forms: What a text looks like where a judge reads it.
    """
    said = set(texts) | _said_of(rows, pictures)
    passages = Passages(form for text in said for form in forms(text))
    return [key for key, request, _ in rows() if _is_about(orjson.loads(request), pictures, passages)]


def _said_of(rows: Rows, pictures: Collection[str]) -> set[str]:
    """Returns what was asked and answered where one of the pictures was shown, and where no other one was."""
    own: set[str] = set()
    for theirs in (False, True):
        for _, request, completion in rows():
            asked = orjson.loads(request)
            if (shown := asked["image"]) is not None and (shown in pictures) is not theirs:
                said = {asked["prompt"], orjson.loads(completion)["text"]}
                own = own - said if theirs else own | said
    return own


def _is_about(request: dict[str, Any], pictures: Collection[str], passages: Passages) -> bool:
    words = (request[name] for name in WORDS if request.get(name))
    return request["image"] in pictures or any(passages.any_in(one) for one in words)
