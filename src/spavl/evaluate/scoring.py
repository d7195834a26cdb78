"""Scores answers that no judge is needed for: a choice's letter, yes or no, a reference answer.

What an answer says is read strictly: one that says nothing that can be told is unscored, never taken for some choice
or for "yes", and never for wrong. Public harnesses draw a random choice for it, or count it as yes.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from string import ascii_uppercase
from typing import NamedTuple

from spavl.evaluate.benchmarks.base import Scoring
from spavl.evaluate.vqa_wording import vqa_words


class Score(NamedTuple):
    """What an answer said, and how right that is."""

    value: float | None
    """0 to 1; None where the answer cannot be read."""
    said: str
    """The letter, `yes` or `no`, or the words that were compared; empty where the answer cannot be read."""


_ALONE = re.compile(r"\(?([A-Za-z])\)?[.:]?")
_LEADING = re.compile(r"\(?([A-Z])[).:\n](?!\s*(?:(?:or|and)\s*|[/,]\s*)?\(?[A-Z](?:[).:]|$))")
_STATED = re.compile(r"(?i:\b(?:answer|option|choice)(?:\s+is)?(?:\s+option)?\s*:?)\s*\(?([A-Z])(?=[).:,\n]|\s*$)")


_DECLINES_OR_DOUBTS = re.compile(
    r"\b(?:sorry|apologi[sz]e|unable|cannot|(?:can|could|won|would)(?:'t|n't)|not (?:able|sure|certain|clear))\b"
)


def score_choice(answer: str, references: Sequence[str], choices: Sequence[str]) -> Score:
    """Scores a multiple-choice answer: 1 where it says the right choice's letter, or that choice's text and no more."""
    said = read_choice(answer, choices)
    return Score(None, "") if said is None else Score(float(said == references[0]), said)


def read_choice(answer: str, choices: Sequence[str]) -> str | None:
    """Returns the letter of the choice that an answer says, or None where it says none, or more than one.

    Read are the letter alone or in front (`B`, `(b)`, `B. a dog`), a statement (`The answer is B.`), and a choice's
    whole text. "A dog" is not the letter A.
    """
    plain = answer.replace("*", "").strip()
    alone, leading = _ALONE.fullmatch(plain), _LEADING.match(plain)
    stated = {*_STATED.findall(plain)}
    if alone or leading:
        stated.add((alone or leading)[1].upper())  # type: ignore[index]  # one of them matched
    letters = ascii_uppercase[: len(choices)]
    if not stated:
        texts = [_plain(choice) for choice in choices]
        stated = {letter for letter, one in zip(letters, texts, strict=True) if one and one == _plain(plain)}
    return stated.pop() if len(stated) == 1 and stated <= {*letters} else None


def score_yes_no(answer: str, references: Sequence[str], choices: Sequence[str]) -> Score:
    """Scores an answer to a question whose right answer is yes or no."""
    said = read_yes_no(answer)
    return Score(None, "") if said is None else Score(float(said == references[0]), said)


def read_yes_no(answer: str) -> str | None:
    """Returns `yes` or `no` as the first sentence says it, or None where it says neither, or both.

    The first word decides where it is one of them; otherwise `not` and words in n't are a no, unless the answer
    declines or is in doubt: "I can't help with that" says nothing of the picture. POPE's own evaluation takes it for a
    yes, as it does every answer without `no` or `not`.
    """
    sentence = re.split(r"[.!?\n]", answer.strip())[0].lower().replace("’", "'")
    words: list[str] = re.findall(r"[a-z']+", sentence)
    if words[:1] in (["yes"], ["no"]) and " ".join(words[1:3]) not in ("and no", "or no", "and yes", "or yes"):
        return words[0]
    if _DECLINES_OR_DOUBTS.search(sentence):
        return None
    said = {"yes" if word == "yes" else "no" for word in words if word in ("yes", "no", "not") or word.endswith("n't")}
    return said.pop() if len(said) == 1 else None


def score_exact(answer: str, references: Sequence[str], choices: Sequence[str]) -> Score:
    """Scores by equality with the reference, as GQA does, without regard to case and a full stop."""
    said = _plain(answer)
    return Score(float(said == _plain(references[0])), said) if said else Score(None, "")


def score_vqa(answer: str, references: Sequence[str], choices: Sequence[str]) -> Score:
    """Scores by VQA accuracy (Antol et al. 2015, section 4; the evaluation code's average over nine of ten people).

    For each person in turn, min(matches among the other nine / 3, 1); the mean of the ten. Answer and references are
    brought to the official wording first; the official code leaves them as they are where all ten agree.
    """
    said = vqa_words(answer)
    if not said:
        return Score(None, "")
    matches = [vqa_words(one) == said for one in references]
    parts = [min((sum(matches) - match) / 3, 1.0) for match in matches]
    return Score(sum(parts) / len(parts), said)


SCORERS: Mapping[Scoring, Callable[[str, Sequence[str], Sequence[str]], Score]] = {
    "choice": score_choice,
    "yes_no": score_yes_no,
    "exact": score_exact,
    "vqa": score_vqa,
}
"""Rule -> (answer, references, choices) -> score."""


def _plain(words: str) -> str:
    return " ".join(words.casefold().replace("’", "'").split()).rstrip(".").strip()
