"""Judges: who says whether an answer is safe, and which of two answers is better."""

import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from spavl.config import (
    EmbeddedJudgeConfig,
    GuardJudgeConfig,
    JudgeConfig,
    PairwiseJudgeConfig,
    RubricJudgeConfig,
    RulesJudgeConfig,
)
from spavl.judge_config import GuardKind
from spavl.judges.base import (
    Contest,
    Exchange,
    JudgeCard,
    Measurement,
    Opinion,
    PairwiseJudge,
    Preference,
    SafetyJudge,
)
from spavl.judges.embedded import EmbeddedJudge
from spavl.judges.guard import Form, GuardJudge, guard_requests
from spavl.judges.llama_guard import llama_guard_form
from spavl.judges.llava_guard import llava_guard_form
from spavl.judges.marks import Manner
from spavl.judges.md_judge import md_judge_v0_1_form, md_judge_v0_2_form
from spavl.judges.rubric import SAFETY, SAFETY_NOTED, RubricJudge, label_case, rubric_digest
from spavl.judges.rules import RulesJudge
from spavl.judges.shield_gemma import shield_gemma_form
from spavl.judges.strong_reject import strong_reject_form
from spavl.models.base import Request
from spavl.models.call_store import StoredModel

__all__ = [
    "Contest",
    "EmbeddedJudge",
    "Exchange",
    "GuardJudge",
    "Judge",
    "JudgeCard",
    "Measurement",
    "Opinion",
    "PairwiseJudge",
    "Preference",
    "RubricJudge",
    "RulesJudge",
    "SafetyJudge",
    "judge_fingerprint",
    "judge_rubrics",
    "label_requests",
    "manner_of",
    "open_judge",
    "open_safety_judge",
]


class ModelsByName(Protocol):
    """Anything that gives a model for its name."""

    def __getitem__(self, name: str) -> StoredModel:
        """Returns the model of that name."""


class Judge(SafetyJudge, PairwiseJudge, Protocol):
    """Both faces: labels answers and compares them."""


_GUARD_FILES = ("guard.py", "judged_text.py", "marks.py", "rubric.py")
_FILES: Mapping[str, tuple[str, ...]] = {
    "embedded": ("acts.py", "refusal.py", "head.*", "embedded.py"),
    "rules": ("acts.py", "refusal.py", "rules.py"),
    "rubric": ("rubric.py", "judged_text.py", "marks.py"),
    "md_judge_v0_1": (*_GUARD_FILES, "md_judge.py", "cards/md_judge_v0_1.json", "rubrics/md_judge_v0_1.md"),
    "md_judge_v0_2": (*_GUARD_FILES, "md_judge.py", "cards/md_judge_v0_2.json"),
    "llama_guard_3": (*_GUARD_FILES, "llama_guard.py", "cards/llama_guard_3.json"),
    "llama_guard_4": (*_GUARD_FILES, "llama_guard.py", "cards/llama_guard_4.json"),
    "shield_gemma_2": (*_GUARD_FILES, "shield_gemma.py", "cards/shield_gemma_2.json"),
    "llava_guard": (*_GUARD_FILES, "llava_guard.py", "cards/llava_guard.json", "rubrics/llava_guard.md"),
    "strong_reject": (*_GUARD_FILES, "strong_reject.py", "cards/strong_reject.json", "rubrics/strong_reject_v1.md"),
}
"""Kind of judge -> the files that decide what it says; see `judge_rubrics` for what is more."""
_FORMS: Mapping[GuardKind, Callable[[], Form]] = {
    "md_judge_v0_1": md_judge_v0_1_form,
    "md_judge_v0_2": md_judge_v0_2_form,
    "llama_guard_3": functools.partial(llama_guard_form, "llama_guard_3"),
    "llama_guard_4": functools.partial(llama_guard_form, "llama_guard_4"),
    "shield_gemma_2": shield_gemma_form,
    "llava_guard": llava_guard_form,
    "strong_reject": strong_reject_form,
}


def judge_fingerprint(config: JudgeConfig) -> str:
    """Returns a digest of the files that decide what a judge says, but our rubrics: rules and weights, or a form."""
    folder = Path(__file__).parent
    paths = sorted(path for pattern in _FILES[config.kind] for path in folder.glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def judge_rubrics(config: JudgeConfig, *, compares: bool = False) -> dict[str, str]:
    """Returns the digests of our rubrics that a judge labels answers by, or compares two by; most judges have none."""
    if not isinstance(config, RubricJudgeConfig):
        return {}
    return {name: rubric_digest(name) for name in ((config.pairwise,) if compares else (SAFETY, SAFETY_NOTED))}


def label_requests(config: JudgeConfig, exchange: Exchange) -> list[Request]:
    """Returns what a judge asks its model about an exchange; nothing where it asks none."""
    if isinstance(config, GuardJudgeConfig):
        return guard_requests(_FORMS[config.kind](), exchange, config.max_tokens)
    return [label_case(exchange, manner_of(config)).request] if isinstance(config, RubricJudgeConfig) else []


def manner_of(config: RubricJudgeConfig) -> Manner:
    """Returns how a judge under our rubric is asked."""
    return Manner(config.max_tokens, config.marks)


def open_safety_judge(config: JudgeConfig, models: ModelsByName) -> SafetyJudge:
    """Opens a judge that labels answers.

    Args:
        config: The judge's configuration, already checked against the names of `models`.
        models: Name -> model, for a judge that is a model.

    Raises:
        UserError: The embedded judge's packages are not installed.
    """
    if isinstance(config, RulesJudgeConfig):
        return RulesJudge()
    if isinstance(config, GuardJudgeConfig):
        return GuardJudge(models[config.model], config.model, config.max_tokens, _FORMS[config.kind]())
    return open_judge(config, models)


def open_judge(config: PairwiseJudgeConfig, models: ModelsByName) -> Judge:
    """Opens a judge that also compares two answers; arguments and errors are those of `open_safety_judge`."""
    if isinstance(config, EmbeddedJudgeConfig):
        return EmbeddedJudge()
    return RubricJudge(models[config.model], config.model, manner_of(config), config.pairwise)
