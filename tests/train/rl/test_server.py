"""Rollouts by a server that is given the policy's adapter each round; the stand-in answers from the real tiny model."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.material import open_engine
from tests.train.rl.material import PROMPTS, learn, rl_settings
from tests.train.rl.sampling_server import SamplingServer

from spavl.errors import RunError
from spavl.models.base import ImageInput
from spavl.models.loading import Vlm
from spavl.rl_config import LocalConfig, ServerConfig
from spavl.train.export import export_adapter
from spavl.train.families import family_of
from spavl.train.policy import open_policy
from spavl.train.render import Renderer, Row, picture_digest
from spavl.train.rl.reading import Body
from spavl.train.rl.sampling import LocalSampler
from spavl.train.rl.server import Served, ServerSampler

Picture = Callable[[str], Path]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spavl.train.rl.server.FIRST_WAIT_S", 0.01)


def served(url: str, **changes: Any) -> dict[str, Any]:
    return {"rollouts": ServerConfig(kind="server", base_url=url), **changes}


@pytest.mark.parametrize("batch_size", [1, 16])
def test_the_server_answers_with_the_policys_newest_weights(
    vlm: Vlm, renderer: Renderer, tiny: Path, picture: Picture, tmp_path: Path, batch_size: int
) -> None:
    """Near temperature 0 there is one answer, so the server's have to be those of the policy in this process."""
    local = rl_settings(temperature=1e-4, rollouts=LocalConfig(batch_size=batch_size))
    policy = open_policy(vlm, family_of(vlm.model), local, seed=0)
    rows = [Row(one.id, one.image_id, renderer.prompt_at(one.question, picture(one.image_id)), ()) for one in PROMPTS]
    here = LocalSampler(Body(open_engine(vlm, picture)), local, (renderer.end_id,))
    assert local.lora is not None

    def write_adapter(folder: Path) -> None:
        export_adapter(tiny, {name: one.detach() for name, one in policy.trainable().items()}, local.lora, folder)

    def show(image_id: str) -> ImageInput:
        return ImageInput(sha256=picture_digest(picture(image_id)), path=picture(image_id))

    questions = {one.id: one.question for one in PROMPTS}
    image_token = vlm.model.config.image_token_id
    vocabulary = vlm.model.config.get_text_config().vocab_size
    served = Served(write_adapter, tmp_path, questions, show, (renderer.end_id,), image_token, vocabulary)
    found = []
    with SamplingServer(tiny).running() as url:
        away = ServerSampler(local, ServerConfig(kind="server", base_url=url), served)
        for number in (1, 2):
            with torch.no_grad():
                for name, parameter in policy.trainable().items():
                    parameter.add_(0.2 * number if "lora_B" in name else 0.0)
            away.follow(number)
            found.append(away.sample(rows, 0))
            assert found[-1] == here.sample(rows, 0)
    assert found[0] != found[1]


def test_each_round_has_an_adapter_of_its_own(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    """Two prompts a round with three answers each are two requests for three."""
    server = SamplingServer(tiny)
    with server.running() as url:
        learn(tiny, picture, tmp_path, **served(url))
    assert server.calls == ["load spavl-policy-1", "load spavl-policy-2", "unload spavl-policy-1"]
    assert [body["model"] for body in server.asked] == ["spavl-policy-1"] * 2 + ["spavl-policy-2"] * 2
    assert all(body["n"] == 3 for body in server.asked)
    assert [path.name for path in (tmp_path / "served").iterdir()] == ["round-00002"]


def test_a_passing_fault_is_waited_out(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    server = SamplingServer(tiny)
    server.down = 2
    with server.running() as url:
        assert learn(tiny, picture, tmp_path, **served(url, rounds=1)).rounds == 1


def test_a_server_that_is_away_stops_and_the_same_command_goes_on(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    server = SamplingServer(tiny)
    server.down = 99
    with server.running() as url:
        with pytest.raises(RunError, match=r"load_lora_adapter failed \(503: .*kept"):
            learn(tiny, picture, tmp_path, **served(url, rounds=1))
        server.down = 0
        assert learn(tiny, picture, tmp_path, **served(url, rounds=1)).rounds == 1


def test_a_training_that_stopped_inside_a_round_goes_on(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    """The second round's second request is refused: its adapter is loaded anew, and the answers there are stay."""
    server = SamplingServer(tiny)
    server.asks_before_fault = 3
    with server.running() as url:
        settings = {"rollouts": ServerConfig(kind="server", base_url=url, concurrency=1), "save_every": 1}
        with pytest.raises(RunError, match=r"chat/completions failed \(400: .*placeholder refusal"):
            learn(tiny, picture, tmp_path, **settings)
        server.asks_before_fault, server.calls = None, []
        assert learn(tiny, picture, tmp_path, **settings).rounds == 2
    assert len(server.asked) == 4
    assert server.calls == ["unload spavl-policy-2", "load spavl-policy-2"]


def test_what_a_stopped_attempt_left_loaded_is_taken_away(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    """Folders of rounds 8 and 9 are left; the server knows 9 still, and 8 no more."""
    server = SamplingServer(tiny)
    with server.running() as url:
        learn(tiny, picture, tmp_path / "first", **served(url, rounds=1))
        made, left = tmp_path / "first" / "served" / "round-00001", tmp_path / "out" / "served"
        for name in ("round-00008", "round-00009"):
            shutil.copytree(made, left / name)
        server.answer("load_lora_adapter", {"lora_name": "spavl-policy-9", "lora_path": str(left / "round-00009")})
        server.calls = []
        learn(tiny, picture, tmp_path / "out", **served(url, rounds=1))
    assert server.calls == ["unload spavl-policy-1", "load spavl-policy-1", "unload spavl-policy-9"]
    assert [path.name for path in left.iterdir()] == ["round-00001"]


def test_another_template_at_the_server_is_noticed(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    differs = pytest.raises(RunError, match=r"reads prompt prm-\w+ as .* differ from token")
    with SamplingServer(tiny, template_mark="!").running() as url, differs:
        learn(tiny, picture, tmp_path, **served(url, rounds=1))


def test_a_server_without_token_ids_is_refused(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    server = SamplingServer(tiny)
    server.gives_ids = False
    with server.running() as url, pytest.raises(RunError, match=r"gives no token ids \(choices.0.token_ids"):
        learn(tiny, picture, tmp_path, **served(url, rounds=1))


@pytest.mark.parametrize("name", ["abort", None])
def test_answers_that_the_server_gave_up_are_asked_for_again(
    name: str | None, tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    """The first two replies hold one; a server that always gives up is a stop, and nothing is kept of it."""
    server = SamplingServer(tiny)
    given_up = 2

    def spoilt(reply: dict[str, Any]) -> dict[str, Any]:
        if len(server.asked) <= given_up:
            reply["choices"][1]["finish_reason"] = name
        return reply

    server.spoil = spoilt
    with server.running() as url:
        assert learn(tiny, picture, tmp_path / "twice", **served(url, rounds=1)).rounds == 1
        assert len(server.asked) == 4
        given_up = 99
        with pytest.raises(RunError, match=r"choices.1.finish_reason is .* gave it up"):
            learn(tiny, picture, tmp_path / "always", **served(url, rounds=1))
    assert not list((tmp_path / "always").rglob("round-*.json"))


def test_what_a_server_spoils_is_not_kept_and_the_same_command_goes_on(
    tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    server = SamplingServer(tiny)

    def spoilt(reply: dict[str, Any]) -> dict[str, Any]:
        reply["choices"][0]["token_ids"] = [99_999]
        return reply

    with server.running() as url:
        server.spoil = spoilt
        with pytest.raises(RunError, match=rf"{url}: choices.0.token_ids has 99999, and the model's ids go from 0"):
            learn(tiny, picture, tmp_path, **served(url, rounds=1))
        server.spoil = None
        assert learn(tiny, picture, tmp_path, **served(url, rounds=1)).rounds == 1
