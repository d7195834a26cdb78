"""The tree of harms that pictures, questions and pairs are sorted by: SPA-VL's, or your own of the same form."""

from spavl.taxonomy.choice import ChosenLeaves, chosen_leaves
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
    "load_taxonomy",
    "render",
]
