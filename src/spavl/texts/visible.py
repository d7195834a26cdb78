"""Takes out of a text what nobody sees: control characters, terminals' sequences, and letters without a look.

Such characters steer terminals, turn the order of what is read round, or hide words that a model reads and a person
does not. Two of them have a look, for they join letters and emoji, and stay: U+200C and U+200D.
"""

import re

_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x1f\x7f-\x9f]")
"""A terminal's sequence, or a single control character; tabs and line ends are among them."""
_UNSEEN = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Soft hyphens, spaces without width, marks of direction, and the letters of tags."""
_HALF = re.compile("[\ud800-\udfff]")
"""One of the two numbers that stand for a character in UTF-16, alone, as an escape in JSON may have it: no encoding
writes it, so a text with it can be put into no file and no request."""


def whole(text: str) -> str:
    """Returns the text with U+FFFD, which stands for what could not be read, for every half of a character."""
    return _HALF.sub("\ufffd", text)


def visible(text: str) -> str:
    """Returns the text with a space for every control character, and without what has no look."""
    return _UNSEEN.sub("", _CONTROL.sub(" ", text))


def escaped(text: str) -> str:
    """Returns the text with every control character as an escape, so that no two texts become one."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
