"""Whether a text speaks of a picture, by its words alone.

English only. It does not know whether the text can be understood without the picture: that takes a judge.
"""

import re
from typing import Literal

Mention = Literal["names", "points", "none"]
"""`names`: it speaks of the picture or of what is shown; `points`: it says "this ..." of something; `none`: neither."""

_PICTURE = r"(?:image|picture|photo(?:graph)?|screenshot|illustration|drawing|painting|scene|snapshot|poster)s?"
_NAMES = re.compile(
    rf"\b(?:this|that|these|those|the|your|my|attached|given|above|provided|uploaded)(?: \w+)? {_PICTURE}\b"
    r"|\b(?:shown|depicted|pictured|displayed|illustrated|visible|portrayed|seen) (?:here|in|on|above|below)\b"
    r"|\b(?:is|are|was|were|as) (?:\w+ly )?(?:shown|depicted|pictured|displayed|portrayed)\b"
    r"|\b(?:see|look(?:ing)? at) (?:here|this|that|these|those)\b",
    re.IGNORECASE,
)
_NOT_SHOWN = (
    r"(?:(?:year|month|week|day|morning|evening|time|way|case|point|question|reason|topic|regard)s?|to|for|of|in|on|at|by|"
    r"with(?:out)?|from|as|is|was|will|would|can|could|should|may|might|must|has|had|be|and|or|but|so|if|when|while|that)"
)
"""What follows "this" where it speaks of no thing."""
_POINTS = re.compile(rf"\b(?:is|are|was|were) (?:this|these)\b|\b(?:this|these) (?!{_NOT_SHOWN}\b)[a-z]", re.IGNORECASE)


def mention(text: str) -> Mention:
    """Says how a text speaks of a picture."""
    plain = " ".join(text.split())
    return "names" if _NAMES.search(plain) else "points" if _POINTS.search(plain) else "none"
