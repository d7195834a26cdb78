"""Decides whether a free-form answer names the thing in a picture.

The rule, whole: the answer is reduced to its first noun phrase (opening words such as "the
picture shows", articles and closing punctuation removed; also tried cut at
its first preposition or -ing form), and it matches when that phrase *equals* one of the picture's
names, plural or singular, with or without adjectives of colour, size, age or number in front. A shared word is
never enough: "fire" does not name a fire engine, and "horse" does not name a sea horse.

It does not know synonyms: whoever has the picture supplies every name that counts.
"""

import re
from collections.abc import Sequence

_OPENING = re.compile(
    r"^(?:yes|no|sure|well)?[,.! ]*"
    r"(?:(?:in |on )?(?:the|this|that) (?:picture|image|photo|photograph|drawing|object|thing)"
    r"(?: here)?,? ?(?:there (?:is|are)|shows?|depicts?|displays?|contains?|features?|is of|is|"
    r"in (?:the|this) (?:picture|image) is)|"
    r"it(?: is|'s| shows| depicts| looks like)|(?:this|that|there) (?:is|are)|i (?:can )?see|"
    r"you can see|what you see is|these are|they are)\s+"
)
_NESTED = re.compile(r"^(?:a |an |the )?(?:picture|image|photo|photograph|drawing) of\s+")
_ARTICLE = re.compile(r"^(?:a|an|the|some|one|two|three|several|pair of|a pair of)\s+")
_CUT = re.compile(r"\s+(?:with|on|in|at|against|near|from|and|that|which|for|under|over|next)\s.*$")
_DOING = re.compile(r"\s+\w+ing\b.*$")
_ADJECTIVES = frozenset(
    {
        "red",
        "orange",
        "yellow",
        "green",
        "blue",
        "purple",
        "pink",
        "brown",
        "black",
        "white",
        "gray",
        "grey",
        "golden",
        "silver",
        "colorful",
        "colourful",
        "small",
        "little",
        "tiny",
        "big",
        "large",
        "huge",
        "old",
        "new",
        "young",
        "simple",
        "single",
        "cartoon",
        "bright",
        "dark",
        "light",
        "two",
        "three",
        "several",
        "many",
        "beautiful",
        "cute",
    }
)


_IRREGULAR = {
    "knives": "knife",
    "leaves": "leaf",
    "wolves": "wolf",
    "loaves": "loaf",
    "mice": "mouse",
    "geese": "goose",
    "feet": "foot",
    "teeth": "tooth",
    "men": "man",
    "women": "woman",
    "people": "person",
    "children": "child",
}


def singular(word: str) -> str:
    """Returns the word in the singular, by a short list and the regular English endings."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def plain(phrase: str) -> str:
    """Returns the phrase in lower case, unpunctuated, its last word in the singular."""
    words = re.sub(r"[^a-z0-9' ]+", " ", phrase.casefold().replace("’", "'")).split()
    return " ".join([*words[:-1], singular(words[-1])]) if words else ""


def candidates(answer: str) -> tuple[str, ...]:
    """Returns the noun phrases an answer offers: its first sentence, whole and cut short."""
    sentence = re.split(r"(?<=[a-z])[.!?\n;:]", answer.strip().casefold().replace("’", "'"))[0]
    phrase = _OPENING.sub("", sentence.strip() + " ").strip()
    phrase = _ARTICLE.sub("", _NESTED.sub("", phrase))
    phrase = _ARTICLE.sub("", phrase).split(",")[0]
    found: list[str] = []
    for text in (plain(phrase), plain(_CUT.sub("", phrase)), plain(_DOING.sub("", phrase))):
        words = text.split()
        while True:
            if words and " ".join(words) not in found:
                found.append(" ".join(words))
            if len(words) < 2 or words[0] not in _ADJECTIVES:
                break
            words = words[1:]
    return tuple(found)


def matches(answer: str, names: Sequence[str]) -> bool:
    """Tells whether the answer names the thing that goes by any of the names.

    Args:
        answer: what a model said, one word or whole sentences; only the first sentence counts.
        names: the caption and every synonym that counts as right.
    """
    wanted = {plain(name) for name in names} - {""}
    return any(phrase in wanted for phrase in candidates(answer))
