"""Under which licence data is that others made: as its rows say, or else who gives it, or else its card; or unknown."""

import re
from pathlib import Path
from typing import Any

from spavl.errors import UserError
from spavl.strict_yaml import parse_yaml

CARD = "README.md"
UNSAID = frozenset({"", "?", "unknown", "none"})
"""What stands where nobody says a licence, in small letters."""
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)


def front_matter(folder: Path) -> dict[str, Any]:
    """Returns what the hub reads of a dataset's card; nothing where there is none, or it is damaged."""
    card = folder / CARD
    found = _FRONT_MATTER.match(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else None
    try:
        said = parse_yaml(found[1], CARD) if found else None
    except UserError:
        return {}
    return said if isinstance(said, dict) else {}


def card_licence(folder: Path) -> str | None:
    """Returns the licence that a dataset's card names, or None."""
    said = front_matter(folder)
    licence = said.get("license")
    if licence == "other":  # the hub's word for a licence that it has no word for
        licence = said.get("license_name")
    return said_licence(", ".join(map(str, licence)) if isinstance(licence, list) else licence)


def said_licence(value: object, otherwise: str | None = None) -> str | None:
    """Returns a licence as a row says it; where that says nothing, another."""
    text = value.strip() if isinstance(value, str) else ""
    return otherwise if text.casefold() in UNSAID else text
