"""A training by rewards on the page: its rounds, its curves, and what its reward model is worth."""

import json
import shutil
from pathlib import Path
from typing import Any

from tests.report.conftest import FinishedRun

from spavl.config import RlConfig, TrainConfig
from spavl.judge_config import EmbeddedJudgeConfig
from spavl.loss_config import SftLossConfig
from spavl.report.gather import ReportData, gather
from spavl.report.page import render_page
from spavl.report.rewarded import reward_lines, round_figures, round_lines, source_lines, start_lines
from spavl.report.rounds import RewardModel, Round, read_rounds, reward_model
from spavl.report.summary import summary
from spavl.report.tables import beside_table
from spavl.rl_config import JudgeRewardConfig, ModelRewardConfig, PtxConfig

SHARE = {"value": 0.75, "n": 8, "low": 0.41, "high": 0.93}
HELD_OUT: dict[str, Any] = {
    "pairs": 8,
    "pictures": 2,
    "accuracy": SHARE,
    "accuracy_by_picture": SHARE,
    "accuracy_by_type": {"benign_question": None, "easy_question": SHARE, "hard_question": SHARE},
    "accuracy_by_length": {"shorter": SHARE, "alike": None, "longer": None},
    "shorter_is_better": {**SHARE, "value": 0.5},
    "length_correlation": -0.5,
    "calibration_error": 0.125,
}


def line(step: int, **changes: Any) -> dict[str, Any]:
    """Returns a line of the log as the loop writes it: reward = round, KL a tenth of it, 10 tokens an answer."""
    shares = {"ended": 1.0, "refused_harmful": 0.25, "refused_benign": None}
    return (
        {"step": step, "reward": float(step), "kl": step / 10, "length": 10.0, "answers": 4}
        | shares
        | {
            "alarms": ["length"] if step == 9 else [],
            "seconds": 2.0,
            "scores": {"0_reward": 1.0},
            **changes,
        }
    )


def write(folder: Path, lines: list[dict[str, Any]]) -> Path:
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


def rounds_of(folder: Path) -> tuple[Round, ...]:
    return read_rounds(write(folder, [line(step) for step in range(1, 11)]))


def test_the_first_and_the_last_rounds_are_compared_and_alarms_named(tmp_path: Path) -> None:
    """Ten rounds of 4 answers and 2 s; rewards 1…5 mean 3, 6…10 mean 8; KL .3 and .8; one alarm."""
    said = round_lines(rounds_of(tmp_path))
    assert said[0] == "10 rounds, 40 answers, 20 s."
    assert said[1] == "Reward: 3 over the first 5 rounds, 8 over the last."
    assert said[2] == "KL divergence in nats: 0.3 over the first 5 rounds, 0.8 over the last."
    assert said[-1] == "Alarms: length in 1 rounds."


def test_what_was_not_measured_is_left_out_and_not_0(tmp_path: Path) -> None:
    assert read_rounds(tmp_path / "gone.jsonl") == () and round_lines(()) == [] and round_figures(()) == ()
    silent = read_rounds(write(tmp_path, [line(1, reward=None), line(2, reward=None)]))
    assert not any("Reward" in one for one in round_lines(silent))
    assert len(round_figures(silent)) == 3 and len(round_figures(rounds_of(tmp_path))) == 4
    assert reward_model(None) is None and reward_model({"held_out": None}) is None and reward_lines(None) == []


def test_what_the_critic_knew_what_was_clipped_and_what_prices_became_is_said(tmp_path: Path) -> None:
    """Explained variances .1…1 mean .3 and .8; a fixed price of divergence is not named, a moving one is."""

    def steered(step: int, **more: Any) -> dict[str, Any]:
        return line(step, explained_variance={"reward": step / 10}, clipped=0.25, kl_weight=0.02, **more)

    plain = round_lines(read_rounds(write(tmp_path, [steered(step) for step in range(1, 11)])))
    assert any("critic explained 0.3 over the first rounds, 0.8 over the last" in one for one in plain)
    assert "Tokens whose step was clipped: 25 %." in plain
    assert not any("Price" in one or "Cost" in one for one in plain)
    costly = [
        steered(step, cost=1 - step / 10, cost_weight=float(step)) | {"kl_weight": 0.1 * step} for step in range(1, 11)
    ]
    said = round_lines(read_rounds(write(tmp_path, costly)))
    assert "Price of a nat of divergence: 0.1 in the first round, 1 in the last." in said
    assert "Price of cost, λ: 1 in the first round, 10 in the last." in said
    assert "Cost of an answer: 0.7 over the first rounds, 0.2 over the last." in said


def test_an_alarm_is_marked_on_the_curve_that_it_is_about(tmp_path: Path) -> None:
    curves = [str(one) for one in round_figures(rounds_of(tmp_path))]
    assert [("striped: alarm length" in one) for one in curves] == [False, False, True, False]
    assert [("var(--alarm)" in one) for one in curves] == [False, False, True, False]


def test_several_rewards_are_told_apart(tmp_path: Path) -> None:
    """Ten rounds; the judge's score is the round's number over 10, and unknown in the last: .3 and (.6+.7+.8+.9)/4."""
    lines = [
        line(step, scores={"0_reward": 1.0, "1_embedded": step / 10 if step < 10 else None}) for step in range(1, 11)
    ]
    said = round_lines(read_rounds(write(tmp_path, lines)))
    assert "Score by 0_reward: 1 over the first rounds, 1 over the last." in said
    assert "Score by 1_embedded: 0.3 over the first rounds, 0.75 over the last." in said
    assert not any("Score by" in one for one in round_lines(rounds_of(tmp_path)))


def test_what_was_rewarded_is_said_and_whether_the_same_judge_measures() -> None:
    model = ModelRewardConfig(kind="model", path=Path("somewhere"), weight=0.5)
    judge = JudgeRewardConfig(judge=EmbeddedJudgeConfig(), unsafe=-2)
    (plain,) = source_lines(RlConfig(method="ppo", model="m", reward=(model,)), "embedded")
    assert plain == "An answer was worth 0.5 x what head reward of a reward model says."
    both = RlConfig(method="ppo", model="m", reward=(model, judge), ptx=PtxConfig(weight=0.5, only_benign=False))
    worth, imitated, same = source_lines(both, "embedded")
    assert worth.endswith(
        "plus 1 where the embedded judge finds it right (-2 if unsafe, -1 for declining a benign question)."
    )
    assert "preferred answers to all questions were imitated (weight 0.5)" in imitated
    assert same.startswith("The embedded judge gave rewards, and it also reads the answers on this page")
    assert len(source_lines(both, "rubric")) == 2


def test_a_training_before_is_said_with_where_divergence_counts_from() -> None:
    (said,) = start_lines(TrainConfig(model="m", loss=(SftLossConfig(),), epochs=2), 7)
    assert said.startswith("First the model was trained on 7 pairs (loss sft, epochs 2).")
    assert "KL divergence counts from there" in said


def test_a_reward_model_is_said_beside_what_length_alone_would_do() -> None:
    said = reward_lines(reward_model({"held_out": HELD_OUT}))
    assert "75 % (41–93) of 8 pairs about 2 pictures" in said[0] and "error is 0.125" in said[0]
    assert "shorter answer alone would be right in 50 % (41–93) of 8" in said[1]
    assert "easy_question 75 %" in said[2] and "benign" not in said[2]


def test_the_page_shows_rounds_in_place_of_steps(data: ReportData, tmp_path: Path) -> None:
    config = data.config.model_copy(update={"train": RlConfig(method="ppo", model=data.config.train.model)})
    rewarded = data._replace(
        config=config, steps=(), rounds=rounds_of(tmp_path), reward_model=RewardModel.model_validate(HELD_OUT)
    )
    page = render_page(rewarded)
    assert "Trained by rewards (ppo)" in page and "Reward: 3 over the first 5 rounds" in page
    assert (
        "75 % (41–93) of 8" in page and "KL divergence from the reference" in page and "Pairs of the last" not in page
    )
    told = summary(rewarded)
    assert len(told["training"]["rounds"]) == 10 and told["reward_model"]["accuracy"]["n"] == 8
    assert summary(data)["reward_model"] is None and summary(data)["training"]["rounds"] == []


def test_another_run_of_the_same_questions_stands_beside(
    data: ReportData, finished: FinishedRun, tmp_path: Path
) -> None:
    """A copy of the run itself: its rates after alignment stand in the last column."""
    run, config = finished
    other = Path(shutil.copytree(run.path, tmp_path / "other"))
    found = gather(run, config.model_copy(update={"beside": other}))
    assert found.beside is not None and found.beside.method == "dpo" and not found.beside.why_not
    assert found.beside.metrics == data.evaluation.results.metrics
    table = beside_table(found.evaluation.results, found.beside, "ppo")
    assert table.headings == ("", "before", "after ppo", "after dpo")
    assert len(table.rows) == len(data.evaluation.results.metrics) and all(row[2] == row[3] for row in table.rows)
    assert "after dpo in other" in render_page(found) and summary(found)["beside"]["run"] == "other"


def test_a_run_of_other_data_or_one_that_is_gone_says_why_it_does_not_stand_there(
    finished: FinishedRun, tmp_path: Path
) -> None:
    run, config = finished
    other = Path(shutil.copytree(run.path, tmp_path / "other"))
    with (other / "samples" / "results.jsonl").open("ab") as file:
        file.write(b"\n")
    found = gather(run, config.model_copy(update={"beside": other})).beside
    assert found is not None and found.why_not == "its questions are others" and not found.metrics
    gone = gather(run, config.model_copy(update={"beside": tmp_path / "gone"}))
    assert gone.beside is not None and gone.beside.why_not.startswith("it cannot be read")
    assert "gone does not stand beside it" in render_page(gone)
