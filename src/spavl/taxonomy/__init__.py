"""The tree of harms that pictures, questions and pairs are sorted by: SPA-VL's, or your own of the same form."""

from spavl.taxonomy.choice import ChosenLeaves, chosen_leaves, leaf_quotas
from spavl.taxonomy.reading import load_taxonomy
from spavl.taxonomy.tree import Category, Domain, Leaf, Taxonomy, coverage, render

__all__ = [
    "Category",
    "ChosenLeaves",
    "Domain",
    "Leaf",
    "Taxonomy",
    "chosen_leaves",
    "coverage",
    "leaf_quotas",
    "load_taxonomy",
    "render",
]
