"""Counts what a dataset's rows are, and says it as the tables and the datasheet of its card.

The questions of the datasheet are those of Gebru et al., Datasheets for Datasets (2021). What the rows do not say is
said to be unknown.
"""

import sys
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np

from spavl.stats import cluster_bootstrap_rate
from spavl.store import Places
from spavl.texts.mentions import Mention, mention

COUNTED = {
    "question_type": "question type",
    "class1": "domain",
    "chosen_responder": "chosen responder",
    "rejected_responder": "rejected responder",
    "judge": "judge",
    "licence": "licence",
}
"""Label -> what its table is called."""
UNKNOWN = "not said"
DATASHEET = """## Datasheet

- **Motivation.** Preferences for training vision-language models to be safe and helpful, in the manner of SPA-VL (arXiv
  2406.12030).
- **Composition.** A row is a picture, a question or statement about it and, outside the tests, two answers of which one
  was preferred: {rows} rows about {pictures} pictures. {classes} It may hold harmful requests and harmful answers.
  Whether it shows people, and whether they agreed to it, is as in the sources of the pictures.
- **Collection.** Models wrote the questions and the answers; {judges}. Nobody was asked for personal data.
- **Preprocessing.** Rows that could not be used were left out and counted where they were made.
- **Uses.** Training and studying safety. Not for training a model to do harm: `rejected` must not be imitated.
- **Distribution.** Licences of the pictures: {licences}.
- **Maintenance.** To have a picture taken out, name its file; rows are found by it.
"""


class Tally:
    """Counts rows one after the other."""

    def __init__(self) -> None:
        self._splits: Counter[str] = Counter()
        self._labels: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}
        self._verdicts: Counter[str] = Counter()
        self._words: dict[str, list[int]] = {"question": [], "chosen": [], "rejected": []}
        self._pictures: dict[str, int] = {}
        self._asked = Places()
        self._kinds: list[str] = []
        self._mentions: list[Mention] = []
        self._about = array("I")
        self.rows = self.pairs = 0

    def add(
        self, split: str, question: str, answers: tuple[str, str] | None, picture: str, labels: Mapping[str, Any]
    ) -> None:
        """Counts a row; `picture` is any name that is the same for the same picture."""
        self.rows += 1
        self._splits[split] += 1
        self._mention(picture, question, str(labels.get("question_type") or UNKNOWN))
        self._words["question"].append(len(question.split()))
        for name, counts in self._labels.items():
            if answers is not None or name not in ("chosen_responder", "rejected_responder", "judge"):
                counts[str(labels.get(name) or UNKNOWN)] += 1
        if answers is not None:
            self.pairs += 1
            verdicts = [str(labels.get(f"{side}_verdict") or UNKNOWN) for side in ("chosen", "rejected")]
            self._verdicts[", ".join(verdicts)] += 1
            for side, text in zip(("chosen", "rejected"), answers, strict=True):
                self._words[side].append(len(text.split()))

    def _mention(self, picture: str, question: str, kind: str) -> None:
        """Counts a question about a picture once; `_asked` has its place in the columns."""
        number = self._pictures.setdefault(picture, len(self._pictures))
        name = f"{picture}\n{question}"
        place = self._asked.get(name)
        if place is None:
            self._asked.put(name, len(self._kinds))
            self._kinds.append(sys.intern(kind))
            self._mentions.append(mention(question))
            self._about.append(number)
        else:
            self._kinds[place] = sys.intern(kind)

    @property
    def pictures(self) -> Set[str]:
        """The pictures of the rows."""
        return self._pictures.keys()

    @property
    def licences(self) -> list[str]:
        """The licences that rows name, and `unknown` where some name none."""
        return sorted("unknown" if name == UNKNOWN else name for name in self._labels["licence"])

    def tables(self) -> str:
        """Returns every count as Markdown."""
        counted = [("split", self._splits), *((COUNTED[name], counts) for name, counts in self._labels.items())]
        counted.append(("chosen, rejected", self._verdicts))
        return "\n".join(
            [self.lengths(), self.mentions(), *(table(heading, counts) for heading, counts in counted if counts)]
        )

    def lengths(self) -> str:
        """Returns how many words questions and answers have, and how often the chosen answer is the longer one."""
        lines = ["| words | n | mean | median | 95th percentile |", "|---|---|---|---|---|"]
        for name, numbers in self._words.items():
            if numbers:
                middle, high = np.percentile(numbers, [50, 95])
                lines.append(f"| {name} | {len(numbers)} | {np.mean(numbers):.1f} | {middle:.0f} | {high:.0f} |")
        if self.pairs:
            longer = sum(one > other for one, other in zip(self._words["chosen"], self._words["rejected"], strict=True))
            lines.append(f"\nThe chosen answer has more words than the rejected one in {longer} of {self.pairs} pairs.")
        return "\n".join([*lines, ""])

    def mentions(self) -> str:
        """Returns how many questions speak of their picture, each question about a picture counting once."""
        lines = ["| question type | n | name the picture | only point (this ...) | neither |", "|---|---|---|---|---|"]
        by_name = np.unique(list(self._pictures), return_inverse=True)[1].tolist()
        for kind in sorted(set(self._kinds)):
            rows = [row for row, other in enumerate(self._kinds) if other == kind]
            said = [self._mentions[row] for row in rows]
            rate = cluster_bootstrap_rate([one == "none" for one in said], [by_name[self._about[row]] for row in rows])
            neither = f"{rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%})"
            lines.append(f"| {kind} | {rate.n} | {said.count('names')} | {said.count('points')} | {neither} |")
        note = (
            "By rule; 95 % intervals over pictures. A question that does neither may need its picture, and one that "
            "points may be clear without."
        )
        return "\n".join([*lines, f"\n{note}", ""])

    def datasheet(self) -> str:
        """Returns the datasheet, its numbers filled in."""
        judges = sorted(set(self._labels["judge"]) - {UNKNOWN, ""})
        known = self._labels["class1"].keys() - {UNKNOWN}
        return DATASHEET.format(
            rows=self.rows,
            pictures=len(self.pictures),
            classes=f"Rows are of {len(known)} domains of harm."
            if known
            else "Rows do not say which harm they are about.",
            judges=f"the preferences are those of {', '.join(judges)}"
            if judges
            else "whose the preferences are is not said",
            licences=", ".join(self.licences),
        )


def table(heading: str, counts: Mapping[str, int]) -> str:
    """Returns counts as a Markdown table, by name."""
    rows = [f"| {_cell(name)} | {count} |" for name, count in sorted(counts.items())]
    return "\n".join([f"| {heading} | n |", "|---|---|", *rows, ""])


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def joined(parts: Sequence[str]) -> str:
    """Returns parts of a card, a blank line between each."""
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)
