"""Leaves take turns; a picture goes to one leaf; what cannot be taken is replaced by the next best."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from spavl.images import affinity as affinities
from spavl.images import assign as assigning
from spavl.images.affinity import SCALE, Affinity, affinity
from spavl.images.assign import assign


def near(similarity: list[list[float]]) -> Affinity:
    rows = np.array(similarity)
    made = Affinity(*rows.shape, Path(tempfile.gettempdir()))
    made.put(0, np.rint(rows * SCALE).astype(np.int32), np.zeros(rows.shape, np.uint16))
    return made


def taken(
    similarity: list[list[float]], quotas: int | list[int], least: float = 0.25, unusable: Sequence[int] = ()
) -> list[tuple[int, int]]:
    """Returns the (leaf, picture) that were taken, in order; `unusable` pictures are offered in vain."""
    found = []

    async def take(leaf: int, picture: int) -> bool:
        offered.append(picture)
        if picture not in unusable:
            found.append((leaf, picture))
        return picture not in unusable

    offered: list[int] = []
    each = [quotas] * len(similarity) if isinstance(quotas, int) else quotas
    asyncio.run(assign(near(similarity), each, least, take))
    assert len(offered) == len(set(offered)), "a picture is offered once"
    return found


def test_leaves_take_turns_the_most_similar_picture_first() -> None:
    """Leaf 0 would like pictures 0, 1, 2 before all others, but in each round every leaf takes one.

    Round 1: leaf 0 takes 0 (.9), leaf 1 takes 3 (.5). Round 2: leaf 0 takes 1 (.8), leaf 1 takes 2 (.4).
    """
    similarity = [[0.9, 0.8, 0.7, 0.1], [0.3, 0.3, 0.4, 0.5]]
    assert taken(similarity, 2) == [(0, 0), (1, 3), (0, 1), (1, 2)]


def test_a_picture_two_leaves_want_goes_to_the_nearer_and_the_other_takes_its_next_best() -> None:
    """Both want picture 0: leaf 1 is nearer (.9 against .8) and takes it; leaf 0 takes picture 1 (.3)."""
    assert taken([[0.8, 0.3, 0.0], [0.9, 0.7, 0.0]], 1) == [(1, 0), (0, 1)]


def test_a_leaf_of_a_larger_quota_goes_on_alone() -> None:
    """Round 1: leaf 0 takes 2 (.9), leaf 1 takes 0 (.9). Then leaf 1 alone takes 3 (.5); 1 is too far (.1)."""
    assert taken([[0.7, 0.8, 0.9, 0.3], [0.9, 0.1, 0.6, 0.5]], [1, 3]) == [(0, 2), (1, 0), (1, 3)]


def test_nothing_below_the_least_similarity_is_taken() -> None:
    assert taken([[0.25, 0.2499]], 2, least=0.25) == [(0, 0)]


def test_a_picture_that_cannot_be_used_gives_its_place_to_the_leafs_next_best_in_the_same_round() -> None:
    """Leaf 0 finds 0 and 1 damaged and takes 2 (.7) before leaf 1 takes 3 (.5)."""
    similarity = [[0.9, 0.8, 0.7, 0.0], [0.0, 0.0, 0.6, 0.5]]
    assert taken(similarity, 1, unusable=[0, 1]) == [(0, 2), (1, 3)]


def test_a_leaf_whose_pictures_are_all_unusable_ends_with_fewer() -> None:
    assert taken([[0.9, 0.8], [0.0, 0.0]], 1, unusable=[0, 1]) == []


def test_equal_similarities_are_decided_by_order() -> None:
    assert taken([[0.5, 0.5], [0.5, 0.5]], 1) == [(0, 0), (1, 1)]


def test_full_leaves_leave_the_rest_unopened() -> None:
    offered = []

    async def take(leaf: int, picture: int) -> bool:
        offered.append(picture)
        return True

    asyncio.run(assign(near(np.ones((2, 50)).tolist()), [3, 3], 0.25, take))
    assert offered == list(range(6))


@pytest.mark.parametrize("window", [assigning.WINDOW, 2])
@pytest.mark.parametrize("seed", range(20))
def test_a_round_is_the_greedy_choice_over_all_pairs(seed: int, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the definition, written plainly: the best (leaf, free picture) of the leaves not yet served.

    Whether a ranking is in memory as a whole or two pictures of it makes no difference; nor does reading it in pieces.
    """
    monkeypatch.setattr(assigning, "WINDOW", window)
    monkeypatch.setattr(assigning, "AHEAD", window)
    monkeypatch.setattr(affinities, "READ_AT_ONCE", 5)
    rng = np.random.default_rng(seed)
    similarity = rng.random((4, 12)).round(1)
    unusable = rng.choice(12, 3, replace=False).tolist()
    free, expected = set(range(12)), []
    for _ in range(2):
        unserved = set(range(4))
        while unserved:
            pairs = [(-similarity[leaf, one], leaf, one) for leaf in unserved for one in free]
            choice = min((pair for pair in pairs if -pair[0] >= 0.25), default=None)
            if choice is None:
                break
            free.discard(choice[2])
            if choice[2] not in unusable:
                unserved.discard(choice[1])
                expected.append(choice[1:])
    assert taken(similarity.tolist(), 2, unusable=unusable) == expected


def test_a_leaf_is_as_near_to_a_caption_as_its_nearest_keyword(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit vectors in the plane: cos 0 = 1, cos 60 = .5, cos 90 = 0, cos 30 = .86603 (degrees between the texts)."""
    angles = {"east": 0, "north": 90, "northish": 60, "eastish": 30}

    def encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        radians = np.radians([angles[text] for text in texts])
        return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)

    monkeypatch.setattr(affinities, "CAPTIONS_AT_ONCE", 2)
    found = affinity([("east", "north"), ("north",)], ["northish", "eastish", "east"], 3, encode, tmp_path)
    similarity = [[found.similarity(leaf, picture) for picture in range(3)] for leaf in range(2)]
    assert similarity == [[0.86603, 0.86603, 1.0], [0.86603, 0.5, 0.0]]
    assert [[found.keyword(leaf, picture) for picture in range(3)] for leaf in range(2)] == [[1, 0, 0], [0, 0, 0]]
    assert [found.nearest_leaf(picture) for picture in range(3)] == [(0, 0.86603), (0, 0.86603), (0, 1.0)]
    assert list(tmp_path.iterdir()) == [], "the file has no name"
