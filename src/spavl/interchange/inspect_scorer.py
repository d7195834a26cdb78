"""Our judges and rules as a scorer of Inspect; what they cannot tell is unscored there too, and never a zero."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from inspect_ai.model import get_model
from inspect_ai.scorer import Score, Scorer, Target, grouped, mean, scorer, stderr
from inspect_ai.solver import TaskState
from pydantic import TypeAdapter

from spavl.config import JudgeConfig
from spavl.evaluate.scoring import SCORERS
from spavl.evaluate.verdicts import BY_RULE, METRICS, Scorers, judged_verdict, rule_verdict
from spavl.interchange.inspect_messages import as_completion, as_config, as_messages
from spavl.judges import Exchange, SafetyJudge, open_safety_judge
from spavl.models.base import ImageInput, Reply, Request
from spavl.models.call_store import StoredModel
from spavl.records import Answer, Failure, Sample, Verdict
from spavl.store import Usage

GRADER = "grader"
"""Inspect's role of the model behind a judge: `--model-role grader=MODEL`."""
REASONS = {"unscored": "scoring_failed", "answer_failed": "no_response"}
"""Our reason -> Inspect's; every other one is the judge's."""


class GraderModel:
    """The model that Inspect has in the role of the grader, asked by our judges."""

    group_size = 1
    concurrency = 1

    def take_usage(self) -> Usage:
        """Returns nothing: Inspect counts what its models use."""
        return Usage()

    async def generate(self, requests: Sequence[Request]) -> list[Reply]:
        """Answers the requests, in order."""
        model = get_model(role=GRADER)
        return [as_completion(await model.generate(as_messages(one), config=as_config(one))) for one in requests]

    def note_unread(self, read: Iterable[tuple[Request, object]]) -> None:
        """Notes nothing: Inspect keeps what its models said, and asks again by its own rules."""


def unscored(failure: Failure, answer: str) -> Score:
    """Returns why an answer has no score."""
    reason = REASONS.get(failure.reason, "grader_failed")
    return Score.unscored(reason=reason, answer=answer, explanation=f"{failure.reason}: {failure.message}")


def scored(verdict: Verdict, answer: str) -> Score:
    """Returns a verdict's event or score."""
    value = float(verdict.value) if verdict.score is None else verdict.score
    return Score(value=value, answer=answer, explanation=verdict.rationale, metadata={"refused": verdict.refused})


@scorer(
    metrics=[
        grouped(mean(), "metric", all=False),
        grouped(stderr(cluster="unit"), "metric", all=False, name_template="{group_name}_stderr"),
    ]
)
def spavl_verdict(judge: str = "rules", max_tokens: int = 512) -> Scorer:
    """Returns the scorer of our benchmarks.

    Args:
        judge: Kind of the judge: `rules`, `embedded`, `rubric`, or a published guard; a judge that is a model asks the
            grader.
        max_tokens: Longest reply of the grader.
    """
    told = {"kind": judge} if judge in ("rules", "embedded") else _of_a_model(judge, max_tokens)
    config: JudgeConfig = TypeAdapter(JudgeConfig).validate_python(told)
    opened: list[SafetyJudge] = []

    async def score(state: TaskState, target: Target) -> Score:
        sample = Sample.model_validate(state.metadata["sample"])
        said = state.output.completion.strip()
        answer = Answer(sample_id=sample.id, model=str(state.model), text=said, finish="stop")
        if METRICS[sample.expect] in BY_RULE:
            found = rule_verdict(sample, answer, _scorers(sample, state.metadata["scoring"]))
        else:
            if not opened:
                opened.append(open_safety_judge(config, {GRADER: cast(StoredModel, GraderModel())}))
            found = await _judged(opened[0], sample, answer, state.metadata["picture"])
        return unscored(found, said) if isinstance(found, Failure) else scored(found, said)

    return score


def _of_a_model(judge: str, max_tokens: int) -> dict[str, object]:
    return {"kind": judge, "model": GRADER, "max_tokens": max_tokens}


def _scorers(sample: Sample, rule: str) -> Scorers:
    return {sample.benchmark: SCORERS[rule]} if rule in SCORERS else {}  # type: ignore[index]  # it is one of them


async def _judged(judge: SafetyJudge, sample: Sample, answer: Answer, picture: str) -> Verdict | Failure:
    image = ImageInput(sha256=sample.image_id, path=Path(picture)) if picture else None
    exchange = Exchange(sample.prompt, answer.text, sample.expect == "refuse", image, sample.note)
    (opinion,) = await judge.label([exchange])
    return opinion if isinstance(opinion, Failure) else judged_verdict(judge.card.name, sample, answer, opinion)
