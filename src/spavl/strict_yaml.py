"""Reads YAML as plain values; a key that stands twice in one mapping is an error, where PyYAML would take the last."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from spavl.errors import UserError


class RepeatedKey(NamedTuple):
    """A key that one mapping has twice, and the lines on which it stands."""

    key: str
    first_line: int
    line: int


def parse_yaml(content: bytes | str, source: str) -> Any:  # noqa: ANN401  # any YAML value
    """Returns the value that a YAML text writes down.

    Args:
        content: The text; bytes are UTF-8.
        source: What an error calls the text, such as its path.

    Raises:
        UserError: It is not YAML, or a mapping has a key twice.
    """
    try:
        loader = yaml.SafeLoader(content if isinstance(content, str) else content.decode("utf-8"))
        root = loader.get_single_node()
        for key, first_line, line in repeated_keys(root):
            lines = f"line {line}" if line == first_line else f"lines {first_line} and {line}"
            raise UserError(f"{source}: the key `{key}` stands twice ({lines}); keep one.")
        return loader.construct_document(root) if root else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, or no date, as 2026-13-01
        raise UserError(f"{source} is not YAML: {' '.join(str(error).split())}") from error


def repeated_keys(root: yaml.Node | None) -> Iterator[RepeatedKey]:
    """Yields the keys that a mapping under `root` has twice, in their order; what `<<` merges in may be said anew."""
    waiting, met = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in met:  # it was met under another alias
            continue
        met.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += reversed(node.value)
        elif isinstance(node, yaml.MappingNode):
            yield from _repeated(node)
            waiting += [value for _, value in reversed(node.value)]


def _repeated(mapping: yaml.MappingNode) -> Iterator[RepeatedKey]:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in mapping.value:
        if isinstance(key, yaml.ScalarNode):  # any other key is refused when the value is made
            line = key.start_mark.line + 1
            if (key.tag, key.value) in lines:
                yield RepeatedKey(key.value, lines[key.tag, key.value], line)
            lines[key.tag, key.value] = line


def apply_override(body: dict[str, Any], override: str) -> None:
    """Puts the value of `key.path=value` into the mapping; keys on its way are made.

    Raises:
        UserError: It is no such text, its value is not YAML, or a key on its way holds a value.
    """
    path, separator, text = override.partition("=")
    if not separator or not path:
        raise UserError(f"'{override}' is not an override; write key.path=value, for example train.epochs=2.")
    value = parse_yaml(text, f"The value of '{override}'")
    *parents, last = path.split(".")
    node = body
    for parent in parents:
        if node.get(parent) is None:
            node[parent] = {}
        child = node[parent]
        if not isinstance(child, dict):
            raise UserError(f"'{override}': {parent} is a value, it has no keys below it.")
        node = child
    node[last] = value
