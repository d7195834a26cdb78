"""The whole of reinforcement learning on the tiny model: it learns, goes on where it stopped, and exports."""

import json
import math
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.train.material import make_pairs
from tests.train.rl.material import PROMPTS, even_share, learn, rl_settings
from transformers import AutoModelForImageTextToText

from spavl.errors import RunError, UserError
from spavl.records import Failure
from spavl.rl_config import AdaptiveKlConfig, CostConfig, CriticConfig, PtxConfig, RuleRewardConfig
from spavl.train.rl.rewards import RuleReward
from spavl.train.rl.rollouts import Rollout, Score
from spavl.train.rl.sources import Sources
from spavl.train.rl.station import Asked, RlResult, train_rl

Picture = Callable[[str], Path]
ROOT = Path(__file__).parents[3]
FULL = {
    "rounds": 4,
    "save_every": 2,
    "kl": AdaptiveKlConfig(kind="adaptive", weight=0.1, target=1.0, horizon=10),
    "cost": CostConfig(source=RuleRewardConfig(kind="rule", name="even"), threshold=0.2),
    "warmup_steps": 2,
}
"""Four rounds with all that a checkpoint has to keep: two controllers, running scale, critic with two heads."""


def lines_of(output: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if "seconds" not in name} for line in lines]


def assert_same(one: Path, other: Path, step: int) -> None:
    for name in ("trained.safetensors", "optimizer.safetensors", "state.json"):
        place = Path("checkpoints") / f"step-{step}" / name
        assert (one / place).read_bytes() == (other / place).read_bytes(), name
    assert lines_of(one) == lines_of(other)


@pytest.fixture(scope="module")
def learnt(tiny: Path, picture: Picture, tmp_path_factory: pytest.TempPathFactory) -> RlResult:
    return learn(tiny, picture, tmp_path_factory.mktemp("learnt"), **FULL)


@pytest.fixture
def copy(learnt: RlResult, tmp_path: Path) -> Path:
    """As if killed in the fourth round: its answers and scores are there, the newest checkpoint is of round 2."""
    output = Path(shutil.copytree(learnt.model.parent, tmp_path / "copy"))
    for name in ("checkpoints/step-4", "model", "adapter"):
        shutil.rmtree(output / name)
    return output


def test_a_training_says_what_it_did(learnt: RlResult) -> None:
    """2 prompts with 3 answers in minibatches of 3 and 2 inner epochs: 4 steps a round; adapters and heads alone."""
    lines = lines_of(learnt.model.parent)
    assert [line["step"] for line in lines] == [1, 2, 3, 4] and learnt.rounds == 4
    assert all(line["steps"] == 4 and line["answers"] == 6 and line["unscored"]["0_even"] == 0 for line in lines)
    assert learnt.trainable == {"language": 4096, "projector": 0, "vision": 0, "critic": 4096 + 2 * 32}
    assert lines[0]["kl"] == 0 and lines[1]["kl"] != 0
    assert all(line["row_tokens"] > 1.2 * line["tokens"] for line in lines)
    assert len(list(learnt.rollouts.iterdir())) == 8


def test_the_first_rounds_policy_is_the_reference_to_the_last_bit(learnt: RlResult) -> None:
    first = lines_of(learnt.model.parent)[0]
    assert first["kl"] == 0.0 and first["kl3"] == 0.0


def test_the_policy_alone_is_exported_and_loads(learnt: RlResult, tiny: Path) -> None:
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny, learnt.model))
    assert before.keys() == after.keys()
    assert any(not before[name].equal(after[name]) for name in before)
    AutoModelForImageTextToText.from_pretrained(learnt.model)
    assert learnt.adapter is not None
    assert not any("critic" in name for name in load_file(learnt.adapter / "adapter_model.safetensors"))


def test_going_on_is_bitwise_the_uninterrupted_run_and_no_answer_is_made_twice(
    copy: Path, learnt: RlResult, tiny: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an answer was generated again")

    def never(rollout: Rollout) -> Score:
        raise AssertionError("an answer was scored again")

    monkeypatch.setattr("spavl.train.rl.sampling.generate", refuse)
    found = learn(tiny, picture, copy, rule=never, **{**FULL, "cache": learnt.model.parent / "cache"})
    assert found.weights_sha256 == learnt.weights_sha256
    assert_same(learnt.model.parent, copy, 4)


def test_a_finished_training_answers_without_opening_the_model(
    learnt: RlResult, tiny: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spavl.train.rl.station.load_vlm", lambda *_: pytest.fail("the model was opened"))
    assert learn(tiny, picture, learnt.model.parent, **FULL) == learnt


def test_other_settings_in_the_same_folder_are_refused(learnt: RlResult, tiny: Path, picture: Picture) -> None:
    with pytest.raises(UserError, match=r"`clip` was 0.2 and is now 0.3"):
        learn(tiny, picture, learnt.model.parent, **FULL, clip=0.3)


@pytest.mark.slow
def test_a_killed_training_goes_on_bit_for_bit(learnt: RlResult, tiny: Path, picture: Picture, tmp_path: Path) -> None:
    """SIGKILL while the third round is scored: its answers are on the disk, its scores are not."""
    script = f"""
import os, signal
from pathlib import Path
from tests.train.rl.material import even_share, learn
from tests.train.rl.test_station import FULL
asked = 0
def rule(rollout):
    global asked
    asked += 1
    if asked > 30:
        os.kill(os.getpid(), signal.SIGKILL)
    return even_share(rollout)
learn(Path({str(tiny)!r}), lambda name: Path({str(picture("img-0").parent)!r}) / f"{{name}}.png",
      Path({str(tmp_path)!r}), rule=rule, **FULL)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    (rollouts,) = (tmp_path / "rollouts").iterdir()
    assert len(list(rollouts.glob("round-00003*"))) == 1
    found = learn(tiny, picture, tmp_path, **FULL)
    assert found.weights_sha256 == learnt.weights_sha256
    assert_same(learnt.model.parent, tmp_path, 4)


VARIANTS: dict[str, dict[str, Any]] = {
    "rloo": {"method": "rloo"},
    "grpo": {"method": "grpo"},
    "shared critic": {"critic": CriticConfig(kind="shared")},
    "all weights": {"lora": None, "learning_rate": 1e-4},
    "projector too": {"projector": True},
    "critic first": {"critic": CriticConfig(head_only_rounds=1)},
    "checkpointing": {"gradient_checkpointing": True},
    "bfloat16": {"dtype": "bfloat16"},
    "bfloat16, projector and tower too": {"dtype": "bfloat16", "projector": True, "vision_blocks": 1},
    "bfloat16, all weights": {"dtype": "bfloat16", "lora": None, "projector": True, "learning_rate": 1e-4},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_every_variant_starts_from_the_reference_and_moves(
    changes: dict[str, Any], tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    """In all of them the first step's ratios are 1 (or training stops), and the second round has moved."""
    learn(tiny, picture, tmp_path, **changes)
    first, second = lines_of(tmp_path)
    assert first["kl"] == 0 and second["kl"] != (
        0 if "critic" not in changes or changes["critic"].kind == "shared" else 1
    )
    assert first["moved"] is not None and first["steps"] == 4


def test_a_resting_policy_does_not_move(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    learn(tiny, picture, tmp_path, critic=CriticConfig(head_only_rounds=2))
    assert [line["kl"] for line in lines_of(tmp_path)] == [0, 0]


def test_trackers_get_every_rounds_numbers(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    learn(tiny, picture, tmp_path, trackers=("tensorboard",))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train/kl")] == [1, 2]
    assert {"train/scores/0_even", "train/explained_variance/reward", "train/alarms"} <= set(events.Tags()["scalars"])


def test_an_update_ends_where_the_policy_has_moved_too_far(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    """A limit of almost nothing: the first step is taken, for it has not moved, and the second is not."""
    learn(tiny, picture, tmp_path, max_update_kl=1e-12)
    assert all(line["steps"] == 1 and line["stopped_early"] for line in lines_of(tmp_path))


def test_an_answer_is_worth_its_centred_scaled_reward_less_the_price_of_no_end(
    tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    """The first round's mean is taken from every score, which is divided by the deviation of all scores so far."""
    found = learn(tiny, picture, tmp_path, no_end_penalty=0.5)
    scores = [
        json.loads((found.rollouts / f"round-0000{number}-scores.json").read_text())["scores"]["0_even"]
        for number in (1, 2)
    ]
    lines, first = lines_of(tmp_path), statistics.fmean(scores[0])
    assert first > 0.1 and all(line["ended"] < 1 for line in lines)
    for line, ours, so_far in zip(lines, scores, (scores[0], scores[0] + scores[1]), strict=True):
        worth = (statistics.fmean(ours) - first) / statistics.stdev(so_far) - 0.5 * (1 - line["ended"])
        assert line["reward"] == pytest.approx(worth)


@pytest.mark.parametrize(("centred", "limited"), [(True, 0.0), (False, 1.0)])
def test_rewards_far_from_0_teach_unless_they_are_all_cut_to_the_limit(
    centred: bool, limited: float, tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    """Shares of even tokens, 20 higher: uncentred all are worth 10, so that RLOO's advantages and gradients are 0."""

    def rule(rollout: Rollout) -> Score:
        return 20 + cast(float, even_share(rollout))

    learn(tiny, picture, tmp_path, rule=rule, method="rloo", no_end_penalty=0, rounds=1, centre_rewards=centred)
    (line,) = lines_of(tmp_path)
    assert line["limited"] == limited and (line["grad_norm"] > 0) == centred


def test_answers_that_cannot_be_scored_are_left_out_and_counted(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    """Of each round's answers those to harmful questions have no score."""

    def rule(rollout: Rollout) -> Score:
        return Failure(reason="unscored", message="cannot tell") if rollout.harmful else even_share(rollout)

    learn(tiny, picture, tmp_path, rule=rule, rounds=1, prompts_per_round=6)
    (line,) = lines_of(tmp_path)
    assert line["answers"] == 18 and line["unscored"]["0_even"] == 9 and line["steps"] == 6


def test_what_harm_costs_is_weight_times_score(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    """Weight -2: where the scores' mean is s, an answer costs -2 s; λ goes from 1 to e^(0.1 (-2 s - 0.2))."""
    source = RuleRewardConfig(kind="rule", name="even", weight=-2.0)
    learn(tiny, picture, tmp_path, cost=CostConfig(source=source, rate=0.1, threshold=0.2))
    first, second = lines_of(tmp_path)
    assert first["scores"]["cost"] > 0 and first["cost_weight"] == 1
    assert first["cost"] == pytest.approx(-2 * first["scores"]["cost"])
    assert second["cost_weight"] == pytest.approx(math.exp(0.1 * (-2 * first["scores"]["cost"] - 0.2)))


def test_preferred_answers_are_imitated_beside_the_reward(tiny: Path, picture: Picture, tmp_path: Path) -> None:

    config = rl_settings(ptx=PtxConfig(weight=0.5, batch_size=2, only_benign=False), cache=tmp_path / "cache")
    sources = Sources(rules={"even": lambda scored: [even_share(one) for one in scored.rollouts]})
    train_rl(config, Asked(PROMPTS, picture, make_pairs(3)), sources, tiny, tmp_path, 3)
    assert all(line["imitation_loss"] > 0 for line in lines_of(tmp_path))


def test_an_answer_to_imitate_that_is_too_long_is_named_before_anything_is_generated_or_left_out(
    tiny: Path, picture: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs' prompts have 54 tokens: an answer of one letter and the end token fit into 60, and one of 80 does not."""
    pairs = [pair.model_copy(update={"chosen": "x"}) for pair in make_pairs(3)]
    pairs[1] = pairs[1].model_copy(update={"chosen": "y" * 80})
    sources = Sources(rules={"even": RuleReward(even_share)})

    def run(ptx: PtxConfig, rule: str) -> RlResult:
        config = rl_settings(ptx=ptx, too_long=rule, tokens_per_forward=60, rounds=1, cache=tmp_path / "cache")
        return train_rl(config, Asked(PROMPTS, picture, pairs), sources, tiny, tmp_path / rule, 3)

    ptx = PtxConfig(weight=0.5, batch_size=2, only_benign=False)
    assert run(ptx, "drop").dropped == {"too_long": 0, "imitated_too_long": 1}
    monkeypatch.setattr("spavl.train.rl.sampling.generate", lambda *_: pytest.fail("generated"))
    with pytest.raises(UserError, match=r"train.ptx: 1 of 3 answers to imitate .* train.tokens_per_forward=60; .*drop"):
        run(ptx, "error")


def nan(rollout: Rollout) -> Score:
    return float("nan")


def unscored(rollout: Rollout) -> Score:
    return Failure(reason="unscored", message="cannot tell")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (nan, "reward 0_even: the score .* is nan"),
        (
            unscored,
            r"6 of 6 answers .* 6 times.*train.max_tokens is 6.*--restart-from train and a greater train.max_tokens",
        ),
    ],
)
def test_a_reward_that_fails_stops_and_loses_no_answer(
    rule: Callable[[Rollout], Score],
    message: str,
    tiny: Path,
    picture: Picture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once the reward is mended, the same command goes on with the answers that are there."""
    with pytest.raises(RunError, match=message):
        learn(tiny, picture, tmp_path, rule=rule, rounds=1)
    monkeypatch.setattr("spavl.train.rl.sampling.generate", lambda *_: pytest.fail("generated again"))
    assert learn(tiny, picture, tmp_path, rounds=1).rounds == 1


def test_answers_that_never_end_stop_the_training(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    """The end token is 1 of 259; with two tokens an answer almost none ends."""
    with pytest.raises(RunError, match=r"No answer of the last 2 rounds ended within max_tokens=2"):
        learn(tiny, picture, tmp_path, max_tokens=2, no_end_rounds=2, rounds=9, save_every=1)
    assert (tmp_path / "checkpoints" / "step-1").is_dir()
    with pytest.raises(RunError, match=r"No answer of the last 3 rounds"):  # it goes on, and is patient for one more
        learn(tiny, picture, tmp_path, max_tokens=2, no_end_rounds=3, rounds=9, save_every=1)


def test_answers_that_never_end_are_said_before_anybody_is_asked_for_a_score(
    tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    """What judges cannot read for want of an end would be said to be the judges' fault."""
    with pytest.raises(RunError, match="No answer of the last 1 rounds ended"):
        learn(tiny, picture, tmp_path, rule=unscored, max_tokens=2, no_end_rounds=1)


def test_nothing_to_ask_is_an_error(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There are no prompts"):
        train_rl(rl_settings(), Asked([], picture), Sources(), tiny, tmp_path, 0)


def test_a_prompt_that_leaves_no_room_is_named_or_left_out(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    """Prompts have 46 tokens, the long one 73; answers of 6 in 60 tokens leave room for 54."""
    long = PROMPTS[0]._replace(question="a placeholder question that is much longer than others")
    with pytest.raises(UserError, match=r"1 of 7 prompts .* train.max_tokens=6 within train.tokens_per_forward=60;"):
        learn(tiny, picture, tmp_path, tokens_per_forward=60, prompts=[*PROMPTS, long])
    found = learn(tiny, picture, tmp_path, tokens_per_forward=60, prompts=[*PROMPTS, long], too_long="drop", rounds=1)
    assert found.dropped == {"too_long": 1}
    with pytest.raises(UserError, match=r"`tokens_per_forward` was 60 and is now 500"):
        learn(tiny, picture, tmp_path, tokens_per_forward=500, prompts=[*PROMPTS, long], too_long="drop", rounds=1)


def test_a_rule_that_nobody_gave_is_an_error(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    config = rl_settings(reward=(RuleRewardConfig(kind="rule", name="other"),), cache=tmp_path / "cache")
    with pytest.raises(UserError, match="there is no rule 'other'"):
        train_rl(config, Asked(PROMPTS, picture), Sources(), tiny, tmp_path, 0)
