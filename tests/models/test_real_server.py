"""The client against a real model behind a real server: llama.cpp with the packaged SmolLM2."""

import asyncio
from collections.abc import Iterator

import pytest

from spavl.config import OpenAIModelConfig
from spavl.embedded.assembly import text_model_file
from spavl.models import Completion, Reply, Request
from spavl.models.openai import OpenAIModel

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    xllamacpp = pytest.importorskip("xllamacpp")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(text_model_file())
    parameters.n_ctx, parameters.n_parallel = 2048, 4
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(parameters)
    yield server.listening_address + "/v1"


def ask(base_url: str, *requests: Request) -> list[Reply]:
    model = OpenAIModel(OpenAIModelConfig(kind="openai", base_url=base_url, model="smollm2", prefill=True))
    return asyncio.run(model.generate(requests))


def test_a_real_model_names_the_capital_of_france(base_url: str) -> None:
    (reply,) = ask(base_url, Request(prompt="What is the capital of France? Answer in one sentence.", max_tokens=16))
    assert isinstance(reply, Completion)
    assert "The capital of France is Paris" in reply.text
    assert reply.finish == "stop"
    assert reply.completion_tokens > 3


def test_a_real_model_continues_a_begun_answer(base_url: str) -> None:
    request = Request(prompt="What is the capital of France?", answer_prefix="The capital of France", max_tokens=8)
    (reply,) = ask(base_url, request)
    assert isinstance(reply, Completion)
    assert reply.text.startswith("The capital of France is Paris")


def test_a_real_model_is_cut_at_max_tokens_and_answers_several_at_once(base_url: str) -> None:
    requests = [Request(prompt=f"Tell a long story about {number} cats.", max_tokens=5) for number in "2345"]
    replies = ask(base_url, *requests)
    assert [getattr(reply, "finish", None) for reply in replies] == ["length"] * 4
    assert [getattr(reply, "completion_tokens", None) for reply in replies] == [5] * 4
