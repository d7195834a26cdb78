"""Judged text as data: no question or answer can end its place in a judge's prompt, or pass for a turn of its own.

What stands inside a picture is out of reach here; that a judge's reply is read strictly is the other half.
"""

import re

_MARK = re.compile(
    r"<(?=[|｜]|/?(?:s|bos|eos|image|sys|begin|end|(?:start|end)_of_\w+)\b)"
    r"|\[(?=/?inst\]|unused_token|result\]|unsafe category\])",
    re.IGNORECASE,
)
"""Where a chat template's control token, or a delimiter of a judge's own form, would begin."""
_TURN = re.compile(r"^(\W*)(user|agent|human|assistant|system|model)(\W*:)", re.IGNORECASE | re.MULTILINE)


def unmarked(text: str) -> str:
    """Returns the text with every control token and delimiter broken by a space: `<|eot|>` becomes `< |eot|>`."""
    return _MARK.sub(r"\g<0> ", text)


def fenced(text: str) -> str:
    """Returns the text in a fence longer than any fence inside it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{unmarked(text)}\n{fence}"


def as_turn(text: str) -> str:
    """Returns the text as one turn of a conversation: a line that names a speaker, `Agent:`, becomes `(Agent):`."""
    return _TURN.sub(r"\1(\2)\3", unmarked(text))


def judged_forms(text: str) -> set[str]:
    """Returns what a text may look like where a judge reads it; `fenced` and `as_turn` hold one of these."""
    return {text, unmarked(text), as_turn(text)}
