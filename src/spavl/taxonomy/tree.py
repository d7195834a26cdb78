"""The taxonomy as a value: what a leaf is called, where it hangs, how to find it, and how to show the tree.

A label is the exact string that data sets use, spelling mistakes included; a name is what people are shown. Nothing
here reads a file.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import cached_property

from rich.text import Text
from rich.tree import Tree

from spavl.errors import UserError
from spavl.records import content_id


@dataclass(frozen=True)
class Leaf:
    """A subcategory: the kind of harm a picture is collected for."""

    domain: str
    """The domain's label."""
    category: str
    """The category's label."""
    label: str
    name: str
    keywords: tuple[str, ...]
    """Harmless things a picture's caption may name."""

    @property
    def path(self) -> str:
        """`domain/category/subcategory`, of exact labels; no label contains a slash."""
        return f"{self.domain}/{self.category}/{self.label}"


@dataclass(frozen=True)
class Category:
    """A group of leaves."""

    label: str
    name: str
    leaves: tuple[Leaf, ...]


@dataclass(frozen=True)
class Domain:
    """A group of categories."""

    label: str
    name: str
    categories: tuple[Category, ...]


@dataclass(frozen=True)
class Taxonomy:
    """The whole tree, in its file's order."""

    name: str
    source: str
    """Where the tree comes from; may be empty."""
    note: str
    """What a reader of the tree should know; may be empty."""
    domains: tuple[Domain, ...]

    @cached_property
    def categories(self) -> tuple[Category, ...]:
        """Every category."""
        return tuple(category for domain in self.domains for category in domain.categories)

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """Every leaf."""
        return tuple(leaf for category in self.categories for leaf in category.leaves)

    @cached_property
    def fingerprint(self) -> str:
        """A content id of the whole tree: another label, name or keyword, or another order, is another tree."""
        return content_id("tax", asdict(self))

    @cached_property
    def _by_path(self) -> dict[str, Leaf]:
        return {leaf.path: leaf for leaf in self.leaves}

    def leaf(self, text: str) -> Leaf:
        """Finds a leaf.

        Args:
            text: The full path, or the exact label or the name of a subcategory.

        Raises:
            UserError: No leaf is called that, or several are.
        """
        if text in self._by_path:
            return self._by_path[text]
        called = [leaf for leaf in self.leaves if text in (leaf.label, leaf.name)]
        if len(called) == 1:
            return called[0]
        if called:
            paths = ", ".join(f"'{leaf.path}'" for leaf in called)
            raise UserError(f"'{text}' is the name of several subcategories of {self.name}; choose one of {paths}.")
        raise UserError(f"{self.name} has no subcategory '{text}'; {self._nearest(text)}.")

    def _nearest(self, text: str) -> str:
        known = {known.casefold(): known for leaf in self.leaves for known in (leaf.path, leaf.label, leaf.name)}
        close = get_close_matches(text.casefold(), known, n=3)
        if not close:
            return "`spavl taxonomy` lists them all"
        return "the nearest are " + ", ".join(f"'{known[match]}'" for match in close)


def coverage(taxonomy: Taxonomy, leaves: Iterable[str]) -> dict[str, int]:
    """Counts how often each leaf occurs.

    Args:
        taxonomy: The tree.
        leaves: Leaves, in any form that `Taxonomy.leaf` accepts.

    Returns:
        Leaf path -> count, in the tree's order, with 0 for a leaf that does not occur.

    Raises:
        UserError: One of `leaves` is not in the tree.
    """
    counts = dict.fromkeys((leaf.path for leaf in taxonomy.leaves), 0)
    for text in leaves:
        counts[taxonomy.leaf(text).path] += 1
    return counts


def render(taxonomy: Taxonomy) -> Tree:
    """Returns the tree for the terminal: names, with the exact label beside a corrected one, and counts."""
    heading = Text(taxonomy.name, style="bold")
    heading.append(f" ({taxonomy.source})" if taxonomy.source else "", style="not bold")
    heading.append(f"\n{_sizes(taxonomy)}", style="not bold")
    heading.append(f"\n{taxonomy.note}" if taxonomy.note else "", style="not bold dim")
    tree = Tree(heading)
    for domain in taxonomy.domains:
        below = sum(len(category.leaves) for category in domain.categories)
        branch = tree.add(_title(domain, below))
        for category in domain.categories:
            twig = branch.add(_title(category, len(category.leaves)))
            for leaf in category.leaves:
                twig.add(_title(leaf))
    return tree


def _sizes(taxonomy: Taxonomy) -> str:
    keywords = sum(len(leaf.keywords) for leaf in taxonomy.leaves)
    domains, categories, leaves = len(taxonomy.domains), len(taxonomy.categories), len(taxonomy.leaves)
    return f"domains: {domains}, categories: {categories}, subcategories: {leaves}, keywords: {keywords}"


def _title(node: Domain | Category | Leaf, below: int | None = None) -> Text:
    title = Text(node.name)
    if node.name != node.label:
        title.append(f"  label: {node.label}", style="yellow")
    if below is not None:
        title.append(f"  {below}", style="cyan")
    return title
