"""What a training by rewards did and what its reward model is worth, in sentences and curves."""

import statistics
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from spavl.report.rounds import Held, RewardModel, Round
from spavl.report.svg import COLOURS, Axes, draw, whole_ticks
from spavl.report.wording import percent
from spavl.rl_config import JudgeRewardConfig, ModelRewardConfig, RewardConfig, RlSettings
from spavl.train_config import TrainConfig

LAST = 5
"""Rounds that the last figures are means over."""
CURVES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "reward": ("Reward of an answer", {"reward": "ink"}),
    "divergence": ("KL divergence from the reference (nats an answer)", {"kl": "ink"}),
    "length": ("Tokens of an answer", {"length": "ink"}),
    "refusals": ("Answers that decline (%), by rules", {"refused_harmful": "chosen", "refused_benign": "rejected"}),
}
"""Name -> title, and the figures that are drawn in which colour."""
ALARMS: Mapping[str, Sequence[str]] = {
    "reward": ("critic", "clipped"),
    "divergence": ("kl",),
    "length": ("length", "ending"),
    "refusals": ("refusals",),
}
"""Curve -> the alarms whose rounds are marked on it."""
LABELS = {"refused_harmful": "harmful questions", "refused_benign": "benign questions"}


def round_lines(rounds: Sequence[Round]) -> list[str]:
    """Returns sentences on what changed from the first rounds to the last, and on alarms."""
    if not rounds:
        return []
    lines = [f"{len(rounds)} rounds, {sum(one.answers for one in rounds):,} answers, {_seconds(rounds):.0f} s."]
    lines += [
        f"{title}: {_mean(rounds[:LAST], name):.3g} over the first {min(LAST, len(rounds))} rounds, "
        f"{_mean(rounds[-LAST:], name):.3g} over the last."
        for title, name in (("Reward", "reward"), ("KL divergence in nats", "kl"), ("Tokens of an answer", "length"))
        if _known(rounds[:LAST], name) and _known(rounds[-LAST:], name)
    ]
    lines += _steering_lines(rounds)
    lines += [_score_line(rounds, name) for name in rounds[0].scores if len(rounds[0].scores) > 1]
    raised = {name: sum(name in one.alarms for one in rounds) for one in rounds for name in one.alarms}
    alarms = ", ".join(f"{name} in {count} rounds" for name, count in sorted(raised.items()))
    return [*lines, f"Alarms: {alarms or 'none'}."]


def start_lines(config: TrainConfig, pairs: int) -> list[str]:
    """Returns a sentence on the training that the others went on from.

    Args:
        config: Its settings.
        pairs: What it was trained on.
    """
    losses = " + ".join(loss.kind for loss in config.loss)
    return [
        f"First the model was trained on {pairs} pairs (loss {losses}, epochs {config.epochs}). What follows went on "
        "from there, and KL divergence counts from there; before and after on this page hold both trainings together."
    ]


def source_lines(config: RlSettings, judge: str) -> list[str]:
    """Returns sentences on what an answer was worth, and on what of it this page measures with too.

    Args:
        config: The training's settings.
        judge: Kind of the judge that reads this page's answers.
    """
    lines = [f"An answer was worth {', plus '.join(map(_source, config.reward))}."]
    if config.ptx is not None:
        whose = "benign questions" if config.ptx.only_benign else "all questions"
        lines.append(
            f"Beside the rewards the preferred answers to {whose} were imitated (weight {config.ptx.weight:g}): what "
            "was learnt from them and what from the rewards is not told apart here."
        )
    if any(isinstance(one, JudgeRewardConfig) and one.judge.kind == judge for one in config.reward):
        lines.append(
            f"The {judge} judge gave rewards, and it also reads the answers on this page: it finds what it was asked "
            "to reward. Another judge, or people, may see a smaller change."
        )
    return lines


def reward_lines(model: RewardModel | None) -> list[str]:
    """Returns sentences on what the reward model is worth."""
    if model is None:
        return []
    lines = [
        f"The reward model is right in {_rate(model.accuracy)} pairs about {model.pictures} pictures that it has "
        f"not learnt from; its calibration error is {model.calibration_error:.3f}."
    ]
    if model.shorter_is_better is not None:
        lines.append(f"Preferring the shorter answer alone would be right in {_rate(model.shorter_is_better)}.")
    known = {name: one for name, one in model.accuracy_by_type.items() if one is not None}
    if len(known) > 1:
        lines.append("By question type: " + ", ".join(f"{name} {_rate(one)}" for name, one in known.items()) + ".")
    return lines


def round_figures(rounds: Sequence[Round]) -> tuple[Markup, ...]:
    """Draws reward, divergence, length and refusals by round; an alarm's rounds are marked."""
    return tuple(
        _curve(name, title, rounds, lines)
        for name, (title, lines) in CURVES.items()
        if any(_known(rounds, field) for field in lines)
    )


def _source(source: RewardConfig) -> str:
    match source:
        case ModelRewardConfig():
            what = f"what head {source.head} of a reward model says"
        case JudgeRewardConfig():
            what = f"{source.safe:g} where the {source.judge.kind} judge finds it right"
            what += f" ({source.unsafe:g} if unsafe, {source.refused_benign:g} for declining a benign question)"
        case _:
            what = f"rule {source.name}"
    return what if source.weight == 1 else f"{source.weight:g} x {what}"


def _steering_lines(rounds: Sequence[Round]) -> list[str]:
    """Says what the critic knew, how many steps were clipped, and what divergence and cost came to cost."""
    lines = []
    if _known(rounds[:LAST], "critic") and _known(rounds[-LAST:], "critic"):
        lines.append(
            f"Of the returns' variance the critic explained {_mean(rounds[:LAST], 'critic'):.2g} over the first "
            f"rounds, {_mean(rounds[-LAST:], 'critic'):.2g} over the last (0: no more than a constant would)."
        )
    if _known(rounds, "clipped"):
        lines.append(f"Tokens whose step was clipped: {percent(_mean(rounds, 'clipped'))} %.")
    for title, name in (("Price of a nat of divergence", "kl_weight"), ("Price of cost, λ", "cost_weight")):
        known = _known(rounds, name)
        if known and (name == "cost_weight" or known[0] != known[-1]):
            lines.append(f"{title}: {known[0]:.3g} in the first round, {known[-1]:.3g} in the last.")
    if _known(rounds[:LAST], "cost") and _known(rounds[-LAST:], "cost"):
        first, last = _mean(rounds[:LAST], "cost"), _mean(rounds[-LAST:], "cost")
        lines.append(f"Cost of an answer: {first:.3g} over the first rounds, {last:.3g} over the last.")
    return lines


def _score_line(rounds: Sequence[Round], name: str) -> str:
    first, last = (
        [score for one in some if (score := one.scores.get(name)) is not None]
        for some in (rounds[:LAST], rounds[-LAST:])
    )
    if not first or not last:
        return f"Score by {name}: not measured."
    means = statistics.fmean(first), statistics.fmean(last)
    return f"Score by {name}: {means[0]:.3g} over the first rounds, {means[1]:.3g} over the last."


def _curve(name: str, title: str, rounds: Sequence[Round], lines: Mapping[str, str]) -> Markup:
    shares = name == "refusals"
    raised = {alarm for one in rounds for alarm in one.alarms if alarm in ALARMS.get(name, ())}
    striped = f"; striped: alarm {', '.join(sorted(raised))}" if raised else ""

    def paint(axes: Axes) -> None:
        for field, colour in lines.items():
            points = [(one.step, getattr(one, field)) for one in rounds if getattr(one, field) is not None]
            style, marker = "--" if colour == "rejected" else "-", "o" if len(points) == 1 else None
            steps, values = [step for step, _ in points], [value for _, value in points]
            axes.plot(steps, values, style, color=COLOURS[colour], label=LABELS.get(field, field), marker=marker)
        axes.set_title(f"{title}{striped}", loc="left", fontsize=10)
        axes.set_xlabel("Round")
        whole_ticks(axes)
        if shares:
            axes.set_ylim(-0.03, 1.4)  # the legend stands above, where no line runs
            axes.set_yticks((0, 0.5, 1), [percent(tick) for tick in (0, 0.5, 1)])
            axes.legend(loc="upper right", ncols=len(lines))
        for one in rounds:
            if raised.intersection(one.alarms):
                axes.axvline(one.step, color=COLOURS["alarm"], linewidth=3, alpha=0.15, zorder=0)

    said = "; ".join(
        f"{LABELS.get(field, field)}: {_mean(rounds[:LAST], field):.3g} at first, "
        f"{_mean(rounds[-LAST:], field):.3g} at last"
        for field in lines
        if _known(rounds[:LAST], field) and _known(rounds[-LAST:], field)
    )
    return draw(name, title, said, 190, paint)


def _known(rounds: Sequence[Round], field: str) -> list[float]:
    return [value for one in rounds if (value := getattr(one, field)) is not None]


def _mean(rounds: Sequence[Round], field: str) -> float:
    return statistics.fmean(_known(rounds, field))


def _seconds(rounds: Sequence[Round]) -> float:
    return sum(one.seconds for one in rounds)


def _rate(share: Held) -> str:
    return f"{percent(share.value)} % ({percent(share.low)}–{percent(share.high)}) of {share.n}"
