"""SPA-VL's pool of responders: the recipe is checked, forecast, and run for two pictures against a loopback server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.judge_marks import with_mark
from PIL import Image, ImageDraw
from tests.models.faulty_server import FaultyServer, digest
from tests.tiny_vlm import build_tiny_vlm

from spavl.cli.check import check_references
from spavl.cli.road import build
from spavl.config import RunConfig, load_config
from spavl.pipeline.forecast import forecast_build
from spavl.pipeline.road import BUILD_STAGES
from spavl.store import RunDirectory

RECIPE = Path(__file__).parents[2] / "configs" / "build" / "spa_vl_pool.yaml"
SPA_VL_RESPONDERS = 12


def answer(body: dict[str, Any]) -> str:
    """Writes a question, judges, or answers, by who is asked."""
    text = next(part["text"] for part in body["messages"][-1]["content"] if part["type"] == "text")
    if body["model"] == "qwen3-vl-30b":
        return f"What would placeholder plan {digest(body) % 1000} need to work here?"
    if body["model"] != "internvl3-78b":
        return f"Placeholder answer {digest(body) % 1000} of {body['model']}."
    if "how safely" in text:
        verdict = "SAFE" if digest(body) % 2 else "UNSAFE"
        return with_mark(text, f"Placeholder reasons.\n[[{verdict}]] [[ANSWERED]]")
    first, second = (text.split(f"Answer {name}:\n\n```text\n")[1].split("\n```")[0] for name in "AB")
    return with_mark(text, f"Placeholder reasons.\n[[{'A' if first < second else 'B'}]]")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FaultyServer, str]]:
    monkeypatch.setenv("HOSTED_API_KEY", "placeholder")
    served = FaultyServer(answer=lambda body: answer(with_parts(body)))
    with served.running() as url:
        yield served, url


def with_parts(body: dict[str, Any]) -> dict[str, Any]:
    """Leaves out an answer's beginning, so that the question stands last."""
    return body | {"messages": [turn for turn in body["messages"] if turn["role"] != "assistant"]}


def pictures(folder: Path) -> Path:
    folder.mkdir()
    for number, caption in enumerate(("padlock", "pistol")):
        picture = Image.new("RGB", (96, 96), (120 * number, 255 - 120 * number, 120))
        ImageDraw.Draw(picture).line([(0, 96 * number), (96, 40)], fill=(255, 20, 0), width=9)
        picture.save(folder / f"{caption}.png")
    return folder


def overrides(tmp_path: Path, url: str) -> list[str]:
    """Points the recipe at two pictures, the loopback server, and a tiny local model."""
    recipe = load_config(RECIPE)
    local = str(build_tiny_vlm(tmp_path / "tiny"))
    models = []
    for name, model in recipe.models.items():
        if model.kind == "hf":
            models += [f"models.{name}.{field}" for field in (f"path={local}", "device=cpu", "dtype=float32")]
        else:
            models.append(f"models.{name}.base_url={url}")
    return [
        *models,
        *(f"responses.responders.{name}.max_tokens=16" for name in recipe.responses.responders),
        f"run={tmp_path / 'run'}",
        f"calls={tmp_path / 'calls.sqlite'}",
        f"images.source.path={pictures(tmp_path / 'pictures')}",
        "images.leaves=[theft, weapon]",
        "images.per_leaf=1",
        "images.min_similarity=0.1",
        "dataset.test_pictures=1",
        "dataset.validation_pictures=0",
    ]


def conditions(config: RunConfig) -> set[str]:
    return {one.model for one in config.responses.responders.values()}


def test_the_recipe_fits_its_own_budgets() -> None:
    assert forecast_build(load_config(RECIPE)).short == ()


def test_the_pool_has_spa_vls_responders_and_passes_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTED_API_KEY", "placeholder")
    config = load_config(RECIPE, [f"images.source.path={pictures(tmp_path / 'pictures')}"])
    assert check_references(config) == 53
    assert len(config.responses.responders) >= SPA_VL_RESPONDERS
    assert {config.models[name].kind for name in conditions(config)} == {"openai", "hf"}
    assert any(one.answer_prefix for one in config.responses.responders.values())


@pytest.mark.slow
def test_two_pictures_through_the_whole_pool_and_the_forecast_before_and_after(
    tmp_path: Path, server: tuple[FaultyServer, str]
) -> None:
    """Before: 2 pictures x 4 questions, 4 of them answered by 14 responders, 56 labels, 4 x 2 judgments.

    After the build every one of these calls is in the store and costs nothing. With a budget of 4 calls the hosted
    model answers 4 of 8, of each of its two responders some, and what is left is forecast.
    """
    changed = overrides(tmp_path, server[1])
    config = load_config(RECIPE, changed)
    before = forecast_build(config)
    assert sum(line.calls for line in before.lines) == 8 + 4 * 14 + 4 * 14 + 8

    build(RECIPE, [*changed, "models.hosted.budget={tokens: 1620}"])
    manifests = RunDirectory(config.run).manifests(BUILD_STAGES)
    responses = manifests["responses"]
    by_responder = responses.facts["answers_by_responder"]
    shares = by_responder["hosted"], by_responder["hosted_jailbroken"]
    assert responses.counts.items == 56
    assert responses.counts.by_reason["budget"] == 8 - sum(shares) > 0
    assert max(shares) - min(shares) <= 1
    assert responses.usage.cost["USD"] == pytest.approx(sum(shares) * (20 * 0.15 + 5 * 0.6) / 1e6)
    assert manifests["dataset"].counts.records > 0
    assert max(server[0].answered.values()) == 1

    RunDirectory(config.run).restart_from("responses", BUILD_STAGES)
    asked = server[0].answered.total()
    again = {(line.stage, line.responder): line for line in forecast_build(config).lines}
    left = sum(line.calls - line.stored for (stage, _), line in again.items() if stage in ("questions", "responses"))
    assert left == responses.counts.by_reason["budget"] + responses.counts.by_reason.get("empty", 0)
    assert all(again["responses", name].exact for name in config.responses.responders)

    build(RECIPE, changed)
    whole = RunDirectory(config.run).manifests(BUILD_STAGES)["responses"]
    assert "budget" not in whole.counts.by_reason
    assert whole.usage.calls == left
    assert server[0].answered.total() > asked
    assert all(line.calls == line.stored for line in forecast_build(config).lines)
