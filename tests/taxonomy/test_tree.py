"""The packaged tree of SPA-VL, and how leaves are found, counted and shown."""

import re
from collections import Counter

import pytest
from rich.console import Console

from spavl.errors import UserError
from spavl.records import leaf_parts
from spavl.taxonomy import Taxonomy, coverage, load_taxonomy, render


@pytest.fixture(scope="module")
def spa_vl() -> Taxonomy:
    return load_taxonomy("spa_vl")


def shown(taxonomy: Taxonomy) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(render(taxonomy))
    return capture.get()


def test_spa_vl_has_6_domains_15_categories_53_leaves_and_318_keywords(spa_vl: Taxonomy) -> None:
    """The leaves of the domains are the release's: 13 + 5 + 5 + 3 + 22 + 5 = 53; six keywords each make 318."""
    assert len(spa_vl.domains) == 6
    assert len(spa_vl.categories) == 15
    assert len(spa_vl.leaves) == 53
    assert list(Counter(leaf.domain for leaf in spa_vl.leaves).values()) == [13, 5, 5, 3, 22, 5]
    assert [len(category.leaves) for category in spa_vl.categories] == [7, 6, 2, 3, 3, 2, 1, 2, 1, 8, 6, 3, 4, 2, 3]
    assert sum(len(leaf.keywords) for leaf in spa_vl.leaves) == 318


def test_every_leaf_has_six_keywords_and_no_keyword_stands_twice_in_the_tree(spa_vl: Taxonomy) -> None:
    assert {len(leaf.keywords) for leaf in spa_vl.leaves} == {6}
    keywords = [keyword.casefold() for leaf in spa_vl.leaves for keyword in leaf.keywords]
    assert [keyword for keyword, count in Counter(keywords).items() if count > 1] == []


def test_labels_keep_the_spelling_of_the_release_and_names_correct_it(spa_vl: Taxonomy) -> None:
    nodes = (*spa_vl.domains, *spa_vl.categories, *spa_vl.leaves)
    assert {node.label: node.name for node in nodes if node.label != node.name} == {
        "Representation & ToxicityHarms": "Representation & Toxicity Harms",
        "Human Autonomy & IntegrityHarms": "Human Autonomy & Integrity Harms",
        "disablity discrimination": "disability discrimination",
        "paypal lending": "payday lending",
        "scamns": "scams",
    }


def test_every_path_splits_back_into_its_three_labels(spa_vl: Taxonomy) -> None:
    for leaf in spa_vl.leaves:
        assert leaf_parts(leaf.path) == (leaf.domain, leaf.category, leaf.label)


def test_a_leaf_is_found_by_path_label_and_name(spa_vl: Taxonomy) -> None:
    path = "Malicious Use/Fraud or deceptive action/scamns"
    assert spa_vl.leaf(path) is spa_vl.leaf("scamns") is spa_vl.leaf("scams")
    assert spa_vl.leaf("scams").path == path


@pytest.mark.parametrize("wrong", ["Theft", "thefts", "Malicious Use/Illegal activities/thefts"])
def test_an_unknown_leaf_is_refused_with_near_ones(spa_vl: Taxonomy, wrong: str) -> None:
    with pytest.raises(UserError, match=rf"no subcategory '{wrong}'; the nearest are .*theft"):
        spa_vl.leaf(wrong)


def test_an_unknown_leaf_like_no_other_points_to_the_list(spa_vl: Taxonomy) -> None:
    with pytest.raises(UserError, match="`spavl taxonomy` lists them all"):
        spa_vl.leaf("qqqq")


def test_a_category_is_not_a_leaf(spa_vl: Taxonomy) -> None:
    with pytest.raises(UserError, match="no subcategory 'Privacy'"):
        spa_vl.leaf("Privacy")


def test_coverage_counts_every_leaf_and_gives_0_to_the_absent(spa_vl: Taxonomy) -> None:
    counts = coverage(spa_vl, ["scamns", "scams", "Malicious Use/Illegal activities/theft"])
    assert list(counts) == [leaf.path for leaf in spa_vl.leaves]
    assert {path: count for path, count in counts.items() if count} == {
        "Malicious Use/Fraud or deceptive action/scamns": 2,
        "Malicious Use/Illegal activities/theft": 1,
    }


def test_coverage_refuses_a_leaf_that_is_not_in_the_tree(spa_vl: Taxonomy) -> None:
    with pytest.raises(UserError, match="no subcategory"):
        coverage(spa_vl, ["a/b/c"])


def test_the_rendered_tree_shows_names_labels_counts_and_the_note(spa_vl: Taxonomy) -> None:
    text = shown(spa_vl)
    assert "SPA-VL (arXiv 2406.12030)" in text
    assert "domains: 6, categories: 15, subcategories: 53, keywords: 318" in text
    assert re.search(r"abstract says 13 categories; its section 3.1, .* have 15", text)
    assert re.search(r"payday lending +label: paypal lending", text)
    assert re.search(r"Malicious Use +22\n", text)
    assert len(text.splitlines()) == 3 + 6 + 15 + 53
