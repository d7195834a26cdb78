"""Reads a taxonomy file: YAML, strict, and one line for each kind of mistake.

The file is `name`, `source`, `note` and `domains`; a domain has `categories`, a category has `leaves`, a leaf has
`keywords`; each of the three has a `label` and, where people should read something else, a `name`. The packaged
`spa_vl.yaml` is the example to copy.
"""

import reprlib
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from spavl.config import Config
from spavl.errors import UserError
from spavl.strict_yaml import parse_yaml
from spavl.taxonomy.tree import Category, Domain, Leaf, Taxonomy

PACKAGED = "spa_vl"
_EXAMPLE = "copy the form of `spavl/taxonomy/spa_vl.yaml`"
_MESSAGES = {
    "extra_forbidden": "{where} has the unknown key `{key}`; look for a typing error",
    "missing": f"{{where}} has no `{{key}}`; {_EXAMPLE}",
    "too_short": "{where} has an empty list of `{key}`; give at least one, or take the entry out",
    "tuple_type": f"{{where}}: `{{key}}` is {{value}}, not a list; {_EXAMPLE}",
    "model_type": f"{{where}}: `{{key}}` holds {{value}}, which is not an entry with a `label`; {_EXAMPLE}",
    "string_pattern_mismatch": "{where}: `{key}` is {value}; a label has no slash, and no space at its ends",
}
"""Pydantic's kind of error -> our words for it."""

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Label = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^/\s]([^/\n]*[^/\s])?$")]


class _Node(Config):
    label: Label
    name: Words | None = None

    @property
    def shown(self) -> str:
        return self.name or self.label


class _LeafEntry(_Node):
    keywords: tuple[Words, ...] = Field(min_length=1)


class _CategoryEntry(_Node):
    leaves: tuple[_LeafEntry, ...] = Field(min_length=1)


class _DomainEntry(_Node):
    categories: tuple[_CategoryEntry, ...] = Field(min_length=1)


class _TaxonomyFile(Config):
    name: Words
    source: str = ""
    note: str = ""
    domains: tuple[_DomainEntry, ...] = Field(min_length=1)


def load_taxonomy(name_or_path: str) -> Taxonomy:
    """Reads a taxonomy.

    Args:
        name_or_path: `spa_vl` for the packaged tree of SPA-VL, or the path of a YAML file of the same form.

    Raises:
        UserError: The file is missing, is not YAML, has an unknown, missing, empty or repeated key, or names something
            twice.
    """
    body = _read(name_or_path)
    if not isinstance(body, dict):
        raise UserError(f"{name_or_path}: a taxonomy is a mapping with `name` and `domains`; {_EXAMPLE}.")
    try:
        file = _TaxonomyFile.model_validate(body)
    except ValidationError as error:
        first, *others = error.errors()
        more = f" ({len(others)} more like this)" if others else ""
        raise UserError(f"{name_or_path}: {_describe(first, body)}{more}.") from error
    _refuse_twins(name_or_path, file)
    return Taxonomy(file.name, file.source, file.note, tuple(_domain(entry) for entry in file.domains))


def _read(name_or_path: str) -> object:
    packaged = name_or_path == PACKAGED
    path = resources.files("spavl.taxonomy") / f"{PACKAGED}.yaml" if packaged else Path(name_or_path)
    try:
        return parse_yaml(path.read_bytes(), name_or_path)
    except OSError as error:
        raise UserError(
            f"`taxonomy`: {name_or_path}: {error.strerror}. Write {PACKAGED}, or the path of your own taxonomy file."
        ) from error


def _domain(entry: _DomainEntry) -> Domain:
    categories = tuple(
        Category(
            category.label,
            category.shown,
            tuple(Leaf(entry.label, category.label, leaf.label, leaf.shown, leaf.keywords) for leaf in category.leaves),
        )
        for category in entry.categories
    )
    return Domain(entry.label, entry.shown, categories)


def _refuse_twins(source: str, file: _TaxonomyFile) -> None:
    """Refuses two nodes of one label under one parent, and a keyword that one leaf has twice."""
    _refuse_twin(source, "domain", file.name, (domain.label for domain in file.domains))
    for domain in file.domains:
        _refuse_twin(source, "category", domain.label, (category.label for category in domain.categories))
        for category in domain.categories:
            path = f"{domain.label}/{category.label}"
            _refuse_twin(source, "leaf", path, (leaf.label for leaf in category.leaves))
            for leaf in category.leaves:
                _refuse_twin(source, "keyword", f"{path}/{leaf.label}", leaf.keywords)


def _refuse_twin(source: str, kind: str, parent: str, texts: Iterable[str]) -> None:
    for text, count in Counter(texts).items():
        if count > 1:
            raise UserError(f"{source}: the {kind} '{text}' stands {count} times under '{parent}'; keep one.")


def _describe(detail: ErrorDetails, body: object) -> str:
    """Says what is wrong and where, by labels instead of positions."""
    *parents, key = detail["loc"]
    if isinstance(key, int):
        *parents, key = parents
    message = _MESSAGES.get(detail["type"], "{where}: `{key}`: {message} (value: {value})")
    return message.format(
        where=_where(parents, body), key=key, message=detail["msg"], value=reprlib.repr(detail["input"])
    )


def _where(parents: Sequence[str | int], body: object) -> str:
    """Returns the labels on the way down, such as `Malicious Use/Defamation`; a node without one is numbered."""
    names = []
    node: Any = body
    for part in parents:
        node = node[part]
        if isinstance(part, int):
            label = node.get("label") if isinstance(node, dict) else None
            names.append(str(label) if label else f"entry {part + 1}")
    return f"'{'/'.join(names)}'" if names else "the file"
