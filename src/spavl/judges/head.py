"""A small logistic model that reads answers which do not say outright that they decline: do they comply or object?

Its features are the objections in the answer's opening and how near the opening comes to thirty sentences of our own,
by the packaged sentence encoder. The weights are data, `head.json`, made by `recipes/embedded_judge`.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from spavl.embedded.sentences import SentenceEncoder
from spavl.judges.acts import OBJECTIONS, list_items, normalise, objections, sentences, turns
from spavl.judges.refusal import OPENING

HEAD_FILE = Path(__file__).parent / "head.json"
LIST_LENGTH = 3

Features = npt.NDArray[np.float64]


class Head(BaseModel):
    """The weights, by the name of the feature, and where they come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    trained_on: dict[str, str]
    """File -> SHA-256."""
    encoder: str
    """SHA-256 of the sentence encoder's weights."""
    prototypes: tuple[str, ...]
    """Sentences an opening is compared with."""
    intercept: float
    weights: dict[str, float]
    """One for each of `feature_names`, in their order; positive means complying."""

    def complying(self, answers: Sequence[str], encoder: SentenceEncoder) -> Features:
        """Returns the probability, from 0 to 1, that each answer complies: (N,)."""
        logits = features(answers, self.prototypes, encoder) @ np.array(list(self.weights.values())) + self.intercept
        probabilities: Features = 1 / (1 + np.exp(-logits))
        return probabilities


@cache
def packaged_head() -> Head:
    """Returns the head that comes with spavl."""
    return Head.model_validate_json(HEAD_FILE.read_bytes())


def feature_names(prototypes: Sequence[str]) -> list[str]:
    """Returns the names of the columns of `features`."""
    return [
        *(f"first sentence {act}" for act in OBJECTIONS),
        *(f"second sentence {act}" for act in OBJECTIONS),
        "turns round",
        "lists",
        *(f"like: {prototype}" for prototype in prototypes),
    ]


def features(answers: Sequence[str], prototypes: Sequence[str], encoder: SentenceEncoder) -> Features:
    """Returns what the head sees of each answer: (N, F)."""
    texts = [normalise(answer) for answer in answers]
    parts = [sentences(text) for text in texts]
    openings = [part[:OPENING] or [""] for part in parts]
    vectors = encoder.encode([sentence for opening in openings for sentence in opening])
    likeness = vectors @ encoder.encode(prototypes).T
    ends = np.cumsum([len(opening) for opening in openings])
    rows = []
    for text, part, opening, end in zip(texts, parts, openings, ends, strict=True):
        found = [objections(sentence) for sentence in [*opening, ""][:OPENING]]
        rows.append(
            [
                *(float(act in sentence) for sentence in found for act in OBJECTIONS),
                float(any(turns(sentence) for sentence in part)),
                float(list_items(text) >= LIST_LENGTH),
                *likeness[end - len(opening) : end].max(axis=0),
            ]
        )
    return np.array(rows, np.float64).reshape(len(rows), 2 * len(OBJECTIONS) + 2 + len(prototypes))
