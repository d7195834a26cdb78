"""Finds texts that say the same: equal words, many words in the same order, or nearly the same letters.

Between two sets it has three measures, the strongest counting: equal words; the share of a benchmark text's runs of
eight words that the other text has (PaLM's contamination check, Chowdhery et al. 2022, counts such runs); and Jaccard's
index of runs of five letters, for which MinHash proposes the pairs and the sets themselves decide. Within one set it
has the last alone. It does not know meanings: a paraphrase or a translation is not found.
"""

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, NamedTuple

from spavl.errors import UserError

if TYPE_CHECKING:
    from datasketch import MinHash

WORDS_OF_A_RUN = 8
LETTERS_OF_A_RUN = 5
PERMUTATIONS = 128
HIGHEST_INDEXED = 0.95
"""Highest limit that MinHash's index is made for; above it the sets decide alone."""
TextKind = Literal["text_exact", "text_ngram", "text_minhash"]


class TextMatch(NamedTuple):
    """Two texts that say the same."""

    left: int
    right: int
    kind: TextKind
    distance: float
    """0 for equal words, else 1 minus the share of common runs."""


class TextLimits(NamedTuple):
    """From where on two texts count as the same."""

    ngram_share: float = 0.5
    """Least share of the right text's runs of eight words that the left one has."""
    jaccard: float = 0.7
    """Least Jaccard index of their runs of five letters."""


def check_minhash(what: str) -> None:
    """Checks that MinHash can be computed.

    Args:
        what: What needs it, for the error.

    Raises:
        UserError: datasketch is not installed.
    """
    if find_spec("datasketch") is None:
        raise UserError(f"{what} needs datasketch, which is not installed. Run `pip install 'spavl[contamination]'`.")


def near_duplicates(texts: Sequence[str], jaccard: float) -> dict[int, int]:
    """Returns place of a text -> place of the earlier one that it repeats; that one repeats none itself.

    A text repeats another where Jaccard's index of their runs of five letters is at least `jaccard`. MinHash proposes
    and the sets decide, so none is found wrongly, and of those just at the limit about one in fifty is missed. Texts
    shorter than such a run repeat none.

    Raises:
        UserError: datasketch is not installed.
    """
    check_minhash("Finding near-duplicate texts")
    from datasketch import MinHashLSH  # it loads SciPy, 60 MB that most builds do without

    index = MinHashLSH(threshold=min(jaccard, HIGHEST_INDEXED), num_perm=PERMUTATIONS, weights=(0.02, 0.98))
    found: dict[int, int] = {}
    places = [place for place, text in enumerate(texts) if _letters(words_of(text))]
    hashes = _min_hashes(_letters(words_of(texts[place])) for place in places)
    for place, made in zip(places, hashes, strict=True):
        letters = _letters(words_of(texts[place]))
        alike = [one for one in index.query(made) if _jaccard(letters, _letters(words_of(texts[one]))) >= jaccard]
        if alike:
            found[place] = min(alike)
        else:
            index.insert(place, made)
    return found


def find_same_texts(left: Sequence[str], right: Sequence[str], limits: TextLimits) -> list[TextMatch]:
    """Returns the pairs of texts that say the same, each once, in order; texts without a word are in none.

    Args:
        left: Texts of the dataset.
        right: Texts of the benchmark.
        limits: From where on two texts count as the same.
    """
    ours, theirs = [words_of(text) for text in left], [words_of(text) for text in right]
    found: dict[tuple[int, int], TextMatch] = {}
    for matches in (_equal(ours, theirs), _common_runs(ours, theirs, limits), _near_sets(ours, theirs, limits)):
        for match in matches:
            found.setdefault((match.left, match.right), match)
    return [found[pair] for pair in sorted(found)]


def words_of(text: str) -> tuple[str, ...]:
    """Returns the words of a text, without case, punctuation and differences of encoding."""
    return tuple(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def _equal(left: Sequence[tuple[str, ...]], right: Sequence[tuple[str, ...]]) -> list[TextMatch]:
    places: dict[tuple[str, ...], list[int]] = {}
    for place, words in enumerate(right):
        if words:
            places.setdefault(words, []).append(place)
    return [
        TextMatch(one, other, "text_exact", 0.0) for one, words in enumerate(left) for other in places.get(words, ())
    ]


def _common_runs(
    left: Sequence[tuple[str, ...]], right: Sequence[tuple[str, ...]], limits: TextLimits
) -> list[TextMatch]:
    runs_of_right = [_runs(words) for words in right]
    places: dict[tuple[str, ...], list[int]] = {}
    for place, runs in enumerate(runs_of_right):
        for run in runs:
            places.setdefault(run, []).append(place)
    matches = []
    for one, words in enumerate(left):
        common = Counter(place for run in _runs(words) for place in places.get(run, ()))
        for other, count in common.items():
            share = count / len(runs_of_right[other])
            if share >= limits.ngram_share:
                matches.append(TextMatch(one, other, "text_ngram", round(1 - share, 4)))
    return matches


def _near_sets(
    left: Sequence[tuple[str, ...]], right: Sequence[tuple[str, ...]], limits: TextLimits
) -> list[TextMatch]:
    ours, theirs = (
        {place: letters for place, words in enumerate(side) if (letters := _letters(words))} for side in (left, right)
    )
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=limits.jaccard, num_perm=PERMUTATIONS, weights=(0.1, 0.9))
    for place, made in zip(theirs, _min_hashes(theirs.values()), strict=True):
        index.insert(place, made)
    matches = []
    for (one, letters), made in zip(ours.items(), _min_hashes(ours.values()), strict=True):
        for other in index.query(made):
            jaccard = _jaccard(letters, theirs[other])
            if jaccard >= limits.jaccard:
                matches.append(TextMatch(one, other, "text_minhash", round(1 - jaccard, 4)))
    return matches


def _min_hashes(sets: Iterable[frozenset[bytes]]) -> "Iterable[MinHash]":
    from datasketch import MinHash

    made: Iterable[MinHash] = MinHash.generator(sets, num_perm=PERMUTATIONS, hashfunc=zlib.crc32)
    return made


def _jaccard(left: frozenset[bytes], right: frozenset[bytes]) -> float:
    return len(left & right) / len(left | right)


def _runs(words: tuple[str, ...]) -> set[tuple[str, ...]]:
    return {words[start : start + WORDS_OF_A_RUN] for start in range(len(words) - WORDS_OF_A_RUN + 1)}


def _letters(words: tuple[str, ...]) -> frozenset[bytes]:
    text = " ".join(words)
    return frozenset(
        text[start : start + LETTERS_OF_A_RUN].encode() for start in range(len(text) - LETTERS_OF_A_RUN + 1)
    )
