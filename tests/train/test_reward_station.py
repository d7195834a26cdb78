"""A reward model from pairs to a folder: it learns, goes on bit for bit, and is read as it was written."""

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.tiny_families import build, make_pictures
from tests.train.material import make_pair, make_pairs, open_engine, settings, write_pictures
from tests.train.test_placeholders import PROCESSORS, START, make_processor
from transformers import AutoModelForImageTextToText, AutoProcessor

from spavl.config import LoraSettings
from spavl.errors import RunError, UserError
from spavl.models.loading import Vlm, load_vlm
from spavl.records import PreferencePair
from spavl.train.export import LORA_A
from spavl.train.families import family_of
from spavl.train.parallel import Processes
from spavl.train.policy import open_policy
from spavl.train.render import Renderer, stop_ids
from spavl.train.reward import RewardModel, accumulate_gradients, add_heads, reward_data
from spavl.train.reward_model import check_reads_alike, read_reward_model
from spavl.train.reward_station import RewardPairs, RewardResult, hold_out, train_reward
from spavl.train.scalar_head import ScalarHead
from spavl.train_config import CostSettings, RewardModelConfig

PAGE = Path(__file__).parents[2] / "docs" / "reward_model.md"
PAIRS = make_pairs(12)
SPLIT = RewardPairs(PAIRS[:9], [pair.model_copy(update={"image_id": "img-3"}) for pair in PAIRS[9:]])
Picture = Callable[[str], Path]


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Picture:
    folder = tmp_path_factory.mktemp("pictures")
    show = write_pictures(folder)
    shutil.copy(show("img-0"), folder / "img-3.png")
    return show


def reward_settings(**changes: object) -> RewardModelConfig:
    """Returns quick settings with everything that a reward model may have."""
    shared = settings().model_dump(exclude={"method", "beta", "loss"})
    own = {"method": "reward", "cost": CostSettings(), "safety_margin": 0.5, "epochs": 4}
    return RewardModelConfig.model_validate({**shared, **own, **changes})


def train(tiny: Path, picture: Picture, output: Path, pairs: RewardPairs = SPLIT, **changes: object) -> RewardResult:
    config = reward_settings(cache=output.parent / "cache", **changes)
    return train_reward(config, pairs, picture, tiny, output, seed=3)


@pytest.fixture(scope="module")
def trained(tiny: Path, picture: Picture, tmp_path_factory: pytest.TempPathFactory) -> RewardResult:
    return train(tiny, picture, tmp_path_factory.mktemp("reward") / "train")


def lines_of(result: RewardResult) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.metrics.read_bytes().splitlines()]


def test_it_learns_to_tell_pairs_apart_and_says_what_it_is_worth(trained: RewardResult) -> None:
    lines = lines_of(trained)
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert sum(line["terms"]["reward"] for line in lines[-3:]) < 0.5 * sum(
        line["terms"]["reward"] for line in lines[:3]
    )
    assert sum(line["terms"]["cost"] for line in lines[-3:]) < 0.7 * sum(line["terms"]["cost"] for line in lines[:3])
    assert trained.trainable["head"] == 64 and trained.trainable["vision"] == 0
    figures = trained.figures
    assert figures is not None and (figures.pairs, figures.pictures) == (3, 1)
    assert figures.accuracy.n == 3 and figures.cost_sign is not None and figures.cost_sign.n == 6
    assert len(trained.held_out.read_bytes().splitlines()) == 3


def test_a_finished_one_answers_without_opening_the_model(
    trained: RewardResult, tiny: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spavl.train.opening.load_vlm", lambda *_: pytest.fail("it was opened"))
    again = train_reward(
        reward_settings(cache=trained.model.parents[1] / "cache"), SPLIT, picture, tiny, trained.model.parent, seed=3
    )
    assert again == trained


@pytest.mark.parametrize("lora", [LoraSettings(rank=4, alpha=8, dropout=0.1), None])
def test_a_stopped_training_goes_on_bit_for_bit(
    tiny: Path, picture: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lora: LoraSettings | None
) -> None:
    """Stopped in step 4, after the checkpoint of step 2; steps 3 and 4 are done again, and nothing differs."""
    settings = {"lora": lora, "projector": True, "epochs": 2}
    whole = train(tiny, picture, tmp_path / "whole" / "train", **settings)
    output, steps = tmp_path / "stopped" / "train", []

    def failing(*arguments: Any) -> Any:
        steps.append(1)
        if len(steps) == 4:
            raise RunError("the machine went away")
        return accumulate_gradients(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("spavl.train.reward.accumulate_gradients", failing)
        with pytest.raises(RunError, match="went away"):
            train(tiny, picture, output, **settings)
    resumed = train(tiny, picture, output, **settings)
    assert resumed.weights_sha256 == whole.weights_sha256
    assert resumed.held_out.read_bytes() == whole.held_out.read_bytes()
    for one, other in zip(lines_of(resumed), lines_of(whole), strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


@pytest.mark.parametrize("field", ["held_out", "labels", "centring", "cost", "safety_margin"])
def test_another_training_in_its_folder_is_refused(
    trained: RewardResult, tiny: Path, picture: Picture, field: str
) -> None:
    changed = [pair.model_copy(update={"chosen_verdict": "unsafe"}) for pair in SPLIT.training]
    pairs = {"held_out": SPLIT._replace(held_out=()), "labels": SPLIT._replace(training=changed)}.get(field, SPLIT)
    changes: dict[str, object] = {"centring": 0.5, "cost": None, "safety_margin": 1.0}
    config = reward_settings(cache=trained.model.parents[1] / "cache")
    if field in changes:
        config = config.model_copy(update={field: changes[field]})
    with pytest.raises(UserError, match=rf"`{field}` was .*--restart-from train"):
        train_reward(config, pairs, picture, tiny, trained.model.parent, seed=3)


def test_the_first_tokens_of_answers_are_all_it_knows_and_pairs_that_begin_alike_are_counted(
    tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    """What stands behind two tokens changes no weight and no score; a pair of each part begins alike."""
    longer = [pair.model_copy(update={"chosen": f"{pair.chosen} placeholder"}) for pair in SPLIT.training]
    alike = make_pair(20, chosen="Yes: placeholder.")
    results = [
        train(
            tiny,
            picture,
            tmp_path / name / "train",
            RewardPairs([*pairs, alike], [*SPLIT.held_out, alike]),
            answer_tokens=2,
        )
        for name, pairs in (("short", SPLIT.training), ("long", longer))
    ]
    assert results[0].weights_sha256 == results[1].weights_sha256
    for one in results:
        assert one.dropped == {"too_long": 0, "alike": 1, "held_out_too_long": 0, "held_out_alike": 1}
        assert one.figures is not None and one.figures.pairs == 3
        scores = [json.loads(line) for line in one.held_out.read_bytes().splitlines()]
        assert {(score["chosen_tokens"], score["rejected_tokens"]) for score in scores} == {(2, 2)}
    assert read_reward_model(results[0].model.parent, "path").card.answer_tokens == 2


def test_answers_that_all_begin_alike_are_one_line(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    alike = RewardPairs([make_pair(number, chosen="Yes: placeholder, no.") for number in range(3)])
    with pytest.raises(UserError, match=r"train\.answer_tokens: the answers of all 3 pairs begin alike"):
        train(tiny, picture, tmp_path / "train", alike, answer_tokens=1)


def documented(folder: Path, dtype: str) -> Callable[..., float]:
    """Returns the page's own function, which knows plain transformers and safetensors alone."""
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    assert 20 <= len([line for line in code.splitlines() if line.strip()]) <= 30 and "spavl" not in code
    names: dict[str, Any] = {}
    exec(code.replace("runs/reward/train/model", str(folder)).replace("float32", dtype), names)  # the page's own code
    score: Callable[..., float] = names["score"]
    return score


def test_the_documented_lines_score_as_it_does(trained: RewardResult, picture: Picture) -> None:
    """Against the scores that were measured, but for adapters that were merged and rounded since."""
    score = documented(trained.model, "float32")
    for line in map(json.loads, trained.held_out.read_bytes().splitlines()):
        pair = next(one for one in SPLIT.held_out if one.id == line["pair_id"])
        for side in ("chosen", "rejected"):
            asked = (picture(pair.image_id), pair.question, getattr(pair, side))
            assert score(*asked) == pytest.approx(line[side], abs=1e-5)
            assert score(*asked, "cost") == pytest.approx(line[f"{side}_cost"], abs=1e-5)


def test_the_documented_lines_and_the_engine_are_equal_in_float64(trained: RewardResult, picture: Picture) -> None:
    score, vlm = documented(trained.model, "float64"), load_vlm(trained.model, "float64")
    head = ScalarHead(32).double()
    head.weight.data = read_reward_model(trained.model, "x").heads["reward"].double()
    engine = open_engine(vlm, picture)
    (packed,) = engine.pack(Renderer(vlm.processor, stop_ids(vlm.model)).rows(SPLIT.held_out, picture), range(3))
    with torch.no_grad():
        scores = packed.by_row(engine.scores(packed, head).tolist())
    for row, pair in enumerate(SPLIT.held_out):
        for side, answer in enumerate((pair.chosen, pair.rejected)):
            assert score(picture(pair.image_id), pair.question, answer) == pytest.approx(scores[row][side], abs=1e-10)


@pytest.mark.parametrize("begins", ["", START], ids=["tokenizer says the first mark", "template says it"])
@pytest.mark.parametrize("model_type", PROCESSORS)
def test_the_documented_lines_read_every_family_as_the_engine_does(
    model_type: str, begins: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tokenizer puts a mark first; token types say what is picture; an answer holds the picture's own mark."""
    processor, picture = make_processor(model_type, monkeypatch), make_pictures(tmp_path)
    processor.chat_template = begins + processor.chat_template
    speaking(build(model_type).model, processor).save_pretrained(tmp_path / "model")
    head = ScalarHead(32).double()
    save_file({"reward": head.weight.detach()}, tmp_path / "model" / "scalar_heads.safetensors")
    renderer = Renderer(processor, ())
    (tmp_path / "model" / "reward_model.json").write_text(json.dumps({"end_id": renderer.end_id}))
    monkeypatch.setattr(AutoProcessor, "from_pretrained", lambda *_: processor)
    score = documented(tmp_path / "model", "float64")
    answers = ("A plain one.", f"With {processor.image_token} in it.")
    pair = make_pair(0).model_copy(update={"image_id": "red", "chosen": answers[0], "rejected": answers[1]})
    kept = AutoModelForImageTextToText.from_pretrained(tmp_path / "model", dtype=torch.float64).eval()
    engine = open_engine(Vlm(kept, processor), picture, 5000)
    (packed,) = engine.pack(renderer.rows([pair], picture), [0])
    with torch.no_grad():
        (expected,) = packed.by_row(engine.scores(packed, head).tolist()).values()
    found = [score(picture("red"), pair.question, answer) for answer in answers]
    assert found == pytest.approx(expected, abs=1e-9)


def speaking(model: Any, processor: Any) -> Any:
    """Gives a family's tiny model the vocabulary of a processor."""
    tokenizer, config = processor.tokenizer, model.config
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        torch.nn.init.normal_(model.get_input_embeddings().weight)
    config.image_token_id = tokenizer.convert_tokens_to_ids(getattr(tokenizer, "image_token", processor.image_token))
    if "qwen" in config.model_type:
        for name in ("vision_start", "vision_end"):
            setattr(config, f"{name}_token_id", tokenizer.convert_tokens_to_ids(f"<|{name}|>"))
        config.video_token_id = processor.video_token_id
    return model


def test_adapters_and_heads_over_the_base_are_the_whole_model(
    trained: RewardResult, tiny: Path, picture: Picture
) -> None:
    """The adapter's tensors put into a fresh policy by live name, and the head's into a head: the same scores."""
    saved = read_reward_model(trained.model.parent, "x")
    assert saved.card.heads == ("reward", "cost") and saved.adapter is not None
    vlm = load_vlm(tiny)
    policy = open_policy(vlm, family_of(vlm.model), settings(lora=saved.card.lora), seed=9)
    live = policy.trainable()
    assert live.keys() == saved.adapter.keys() and any(name.endswith(LORA_A) for name in live)
    head = ScalarHead(32)
    with torch.no_grad():
        for name, tensor in saved.adapter.items():
            live[name].copy_(tensor)
        head.weight.copy_(saved.heads["reward"])
        vlm.model.eval()
        engine = open_engine(vlm, picture)
        rows = Renderer(vlm.processor, stop_ids(vlm.model)).rows(SPLIT.held_out, picture)
        (packed,) = engine.pack(rows, range(3))
        scores = packed.by_row(engine.scores(packed, head).tolist())
    for row, line in enumerate(map(json.loads, trained.held_out.read_bytes().splitlines())):
        assert scores[row] == pytest.approx((line["chosen"], line["rejected"]), abs=1e-6)


def test_where_more_than_adapters_was_trained_they_are_not_the_model(
    tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    made = train(tiny, picture, tmp_path / "train", projector=True, epochs=1)
    assert read_reward_model(made.model, "x").adapter is None


def test_what_is_no_reward_model_is_one_line(tiny: Path, trained: RewardResult, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.reward\.0\.path: .* is no reward model .*method: reward"):
        read_reward_model(tiny, "train.reward.0.path")
    torn = Path(shutil.copytree(trained.model, tmp_path / "torn"))
    (torn / "scalar_heads.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(UserError, match="is no reward model that can be read"):
        read_reward_model(torn, "x")
    other = Path(shutil.copytree(trained.model, tmp_path / "other"))
    card = json.loads((other / "reward_model.json").read_text())
    (other / "reward_model.json").write_text(json.dumps(card | {"heads": ["reward"]}))
    with pytest.raises(UserError, match="is no reward model that can be read"):
        read_reward_model(other, "x")


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("model_type", "another family"),
        ("vocabulary_sha256", "another vocabulary"),
        ("template_sha256", "another chat template"),
        ("end_id", "another end token"),
    ],
)
def test_a_reward_model_that_would_misread_the_policy_is_refused(
    trained: RewardResult, tiny: Path, field: str, said: str
) -> None:
    saved, vlm = read_reward_model(trained.model, "x"), load_vlm(tiny)
    end = saved.card.end_id
    check_reads_alike(saved, vlm, end, "x")
    other = saved._replace(card=saved.card.model_copy(update={field: 7 if field == "end_id" else "other"}))
    with pytest.raises(UserError, match=rf"^train\.reward\.0\.path: the reward model .* has {said} than"):
        check_reads_alike(other, vlm, end, "train.reward.0.path")


def test_held_out_pictures_share_nothing_with_training_and_follow_the_seed() -> None:
    """12 pairs about 3 pictures; a share of .4 holds out one picture's 4 pairs, .3 none."""
    split = hold_out(PAIRS, 0.4, seed=0)
    assert len(split.held_out) == 4 and len(split.training) == 8
    assert not {one.image_id for one in split.training} & {one.image_id for one in split.held_out}
    assert hold_out(PAIRS, 0.3, seed=0).held_out == []
    assert len({hold_out(PAIRS, 0.4, seed).held_out[0].image_id for seed in range(9)}) == 3


def test_labels_that_are_asked_for_and_not_there_are_one_line(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    blind = [pair.model_copy(update={"chosen_verdict": None, "rejected_verdict": None}) for pair in PAIRS]
    with pytest.raises(UserError, match=r"train\.cost: .* none of 12 pairs"):
        train(tiny, picture, tmp_path / "train", RewardPairs(blind))
    with pytest.raises(UserError, match=r"train\.safety_margin: .* none of 12 pairs"):
        train(tiny, picture, tmp_path / "train", RewardPairs(blind), cost=None)
    with pytest.raises(UserError, match=r"train\.strength_margin: none of 12 pairs has a `strength`"):
        train(tiny, picture, tmp_path / "train", RewardPairs(PAIRS), strength_margin=1.0)


def gradients_of(
    tiny: Path, picture: Picture, budget: int, processes: int = 1
) -> tuple[float, dict[str, torch.Tensor]]:
    """Returns the loss and all gradients of a batch of 9, cut by a budget and dealt to so many processes in turn."""
    config = reward_settings(lora=LoraSettings(rank=4, alpha=8), dtype="float32")
    vlm = load_vlm(tiny)
    policy, heads = add_heads(open_policy(vlm, family_of(vlm.model), config, 0), config, 0)
    rows = Renderer(vlm.processor, stop_ids(vlm.model)).rows(SPLIT.training, picture)
    engine = open_engine(vlm, picture, budget)
    loss = 0.0
    for rank in range(processes):
        one = engine._replace(processes=_Alone(rank, processes))
        found = accumulate_gradients(RewardModel(one, heads), reward_data(SPLIT.training, rows), range(9), config)
        loss += found.loss
    return loss / processes, {name: one.grad for name, one in policy.trainable().items() if one.grad is not None}


class _Alone(Processes):
    """One of several processes whose gradients add up in the same parameters, one after the other."""

    def gather(self, value: Any) -> list[Any]:
        return [value]

    def sum_gradients(self, parameters: Any) -> None:
        pass


def test_how_a_batch_is_cut_and_dealt_changes_no_gradient(tiny: Path, picture: Picture) -> None:
    _, whole = gradients_of(tiny, picture, budget=5000)
    assert "reward_head.weight" in whole and "cost_head.weight" in whole
    for budget, processes in ((150, 1), (5000, 2)):
        _, other = gradients_of(tiny, picture, budget, processes)
        assert other.keys() == whole.keys()
        for name, gradient in whole.items():
            assert torch.allclose(gradient, other[name], rtol=1e-3, atol=1e-6), name


def test_one_pairs_loss_is_the_sum_of_its_terms(tiny: Path, picture: Picture) -> None:
    """Safe over unsafe by strength 2: margin .5 + .25 · 2 = 1; centring .01; by the formula from the logged scores."""
    config = reward_settings(lora=LoraSettings(rank=4, alpha=8), cost=None, strength_margin=0.25)
    vlm = load_vlm(tiny)
    _, heads = add_heads(open_policy(vlm, family_of(vlm.model), config, 0), config, 0)
    pairs: list[PreferencePair] = [make_pair(0).model_copy(update={"strength": 2.0})]
    rows = Renderer(vlm.processor, stop_ids(vlm.model)).rows(pairs, picture)
    found = accumulate_gradients(RewardModel(open_engine(vlm, picture), heads), reward_data(pairs, rows), [0], config)
    chosen, rejected = torch.tensor(found.chosen_score), torch.tensor(found.rejected_score)
    expected = torch.log1p(torch.exp(-(chosen - rejected - 1.0))) + 0.01 * (chosen + rejected) ** 2
    assert found.loss == pytest.approx(float(expected), rel=1e-5)
    assert found.terms == {"reward": pytest.approx(found.loss)}


def test_zero_heads_begin_with_the_loss_of_equal_scores(tiny: Path, picture: Picture) -> None:
    """Every score is 0: log 2 without margin, and a cost of 2 log σ(0) more for the signs, log 2 for the order."""
    config = reward_settings(lora=LoraSettings(rank=4, alpha=8), zero_heads=True, safety_margin=0.0)
    vlm = load_vlm(tiny)
    _, heads = add_heads(open_policy(vlm, family_of(vlm.model), config, 0), config, 0)
    rows = Renderer(vlm.processor, stop_ids(vlm.model)).rows(PAIRS[:3], picture)
    model = RewardModel(open_engine(vlm, picture), heads)
    found = accumulate_gradients(model, reward_data(PAIRS[:3], rows), range(3), config)
    assert found.terms == {"reward": pytest.approx(math.log(2)), "cost": pytest.approx(3 * math.log(2))}


def test_the_tiny_model_pads_with_its_end_token(tiny: Path) -> None:
    """What makes the tests above see a score that is read by token values."""
    tokenizer = load_vlm(tiny).processor.tokenizer
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
