"""Brings an answer to the wording that VQA's official evaluation compares.

As in GT-Vision-Lab/VQA's vqaEval.py: lower case, punctuation out, numbers in digits, articles out, apostrophes put back
into contractions. Its table of contractions is made here from the contractions themselves; of it, only slang is left
out.
"""

import re
from itertools import product

PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}
ARTICLES = frozenset({"a", "an", "the"})
_NOT = (
    "ain't aren't can't couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't isn't mightn't "
    "mightn't've mustn't needn't oughtn't shan't shouldn't shouldn't've wasn't weren't won't wouldn't wouldn't've"
)
_PRONOUN = (
    "he'd he'd've he's i'd've i'm i've it'd it'd've it'll let's she'd've she's somebody'd've somebody'll somebody's "
    "someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've "
    "there're there's they'd they'd've they'll they're they've we'd've we've who'd who'd've who'll who's who've y'all "
    "y'all'll y'all'd've you'd you'd've you'll you're you've"
)
_OTHER = (
    "could've how'd how'll how's ma'am might've must've not've o'clock should've 'twas what'll what're what's what've "
    "when's where'd where's where've why'll why're why's would've"
)


def _spellings(contraction: str) -> list[str]:
    """Returns the ways to write a contraction that lack one apostrophe or more."""
    parts = contraction.split("'")
    ways = product(("", "'"), repeat=len(parts) - 1)
    return [parts[0] + "".join(mark + part for mark, part in zip(way, parts[1:], strict=True)) for way in ways][:-1]


CONTRACTIONS = {way: full for full in f"{_NOT} {_PRONOUN} {_OTHER}".split() for way in _spellings(full)}
"""Spelling without apostrophes, all or some -> with all."""

_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")


def vqa_words(answer: str) -> str:
    """Returns an answer in the official wording: `2 dogs` for "Two dogs."."""
    words = _unpunctuated(" ".join(answer.replace("’", "'").split())).lower().split()
    kept = [NUMBERS.get(word, word) for word in words]
    return " ".join(CONTRACTIONS.get(word, word) for word in kept if word not in ARTICLES)


def _unpunctuated(answer: str) -> str:
    """Returns an answer without punctuation: a mark beside a blank is taken out, one within a word becomes a blank.

    Where a number has a comma (`1,000`), every mark is taken out.
    """
    out = answer
    for mark in PUNCTUATION:
        beside_blank = f"{mark} " in answer or f" {mark}" in answer
        out = out.replace(mark, "" if beside_blank or _COMMA_IN_NUMBER.search(answer) else " ")
    return _FULL_STOP.sub("", out)
