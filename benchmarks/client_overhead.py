"""CPU milliseconds a call costs in our client, beside a bare aiohttp loop, against a server on loopback.

The bare loop is the floor, not a rival: it neither retries, nor reads outcomes, nor stores anything. The server runs
in its own process; only this process's user and system time is counted. The three clients take turns, so that other
work on the machine falls on all of them, and each ratio is taken within one round.

    python -m benchmarks.client_overhead [--quick] [--json PATH]
"""

import argparse
import asyncio
import base64
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from spavl.config import OpenAIModelConfig
from spavl.models import CallStore, Completion, ImageInput, Model, Request, StoredModel
from spavl.models.openai import OpenAIModel

CONCURRENCY = 64
SERVER_DELAY_S = 0.02
PICTURE_BYTES = 96_000
PICTURES = 50
CLIENTS = ("bare aiohttp", "our client", "our client + call store")
Measure = Callable[[str, Sequence[Request], Path], Awaitable[None]]


def serve(pipe: Connection) -> None:
    """Answers every request after a fixed delay, for ever."""
    choice = {"finish_reason": "stop", "message": {"role": "assistant", "content": "A placeholder answer."}}
    body = orjson.dumps({"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 4}})

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(SERVER_DELAY_S)
        return web.Response(body=body, content_type="application/json")

    async def run() -> None:
        application = web.Application(client_max_size=2**26)
        application.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


async def in_flight(requests: Sequence[Request], one: Callable[[Request], Awaitable[None]]) -> None:
    """Runs `one` over the requests with a fixed number of workers."""
    queue = iter(requests)

    async def work() -> None:
        for request in queue:
            await one(request)

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


async def bare(base_url: str, requests: Sequence[Request], _: Path) -> None:
    """The floor: one session, one dictionary a call, the text taken out of the reply."""
    encoded: dict[str, str] = {}

    async def one(request: Request) -> None:
        content: Any = request.prompt
        if request.image:
            if request.image.sha256 not in encoded:
                encoded[request.image.sha256] = base64.b64encode(request.image.path.read_bytes()).decode()
            url = f"data:image/png;base64,{encoded[request.image.sha256]}"
            shown = {"type": "image_url", "image_url": {"url": url}}
            content = [shown, {"type": "text", "text": request.prompt}]
        body = {"model": "m", "messages": [{"role": "user", "content": content}], "max_tokens": 64, "temperature": 0}
        headers = {"Content-Type": "application/json"}
        async with session.post(f"{base_url}/chat/completions", data=orjson.dumps(body), headers=headers) as response:
            text = orjson.loads(await response.read())["choices"][0]["message"]["content"]
            assert text

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENCY)) as session:
        await in_flight(requests, one)


async def ours(base_url: str, requests: Sequence[Request], _: Path) -> None:
    """`OpenAIModel` alone."""
    await _ask(_model(base_url), requests)


async def ours_stored(base_url: str, requests: Sequence[Request], folder: Path) -> None:
    """`OpenAIModel` behind an empty call store, as stations use it."""
    store = CallStore(folder / f"{time.monotonic_ns()}.sqlite")
    await _ask(StoredModel(_model(base_url), store), requests)
    assert store.count() == len(requests)
    store.close()


def _model(base_url: str) -> OpenAIModel:
    return OpenAIModel(OpenAIModelConfig(kind="openai", base_url=base_url, model="m", concurrency=CONCURRENCY))


async def _ask(model: Model, requests: Sequence[Request]) -> None:
    async def one(request: Request) -> None:
        (reply,) = await model.generate([request])
        assert isinstance(reply, Completion), reply

    await in_flight(requests, one)
    await model.close()


def cpu_ms(measure: Measure, base_url: str, requests: Sequence[Request], folder: Path) -> float:
    """Returns user and system milliseconds of this process for one call."""
    before = time.process_time()
    asyncio.run(measure(base_url, requests, folder))
    return (time.process_time() - before) * 1000 / len(requests)


def work(kind: str, count: int, folder: Path) -> list[Request]:
    """Returns distinct requests; those about one picture stand side by side."""
    prompts = [f"Placeholder question {number}: what is to be seen?" for number in range(count)]
    if kind == "text":
        return [Request(prompt=prompt) for prompt in prompts]
    pictures = []
    for number in range(PICTURES):
        path = folder / f"{number}.png"
        path.write_bytes(os.urandom(PICTURE_BYTES))
        pictures.append(ImageInput(sha256=f"{number}", path=path))
    each = -(-count // PICTURES)
    return [Request(prompt=prompt, image=pictures[number // each]) for number, prompt in enumerate(prompts)]


def compare(base_url: str, kind: str, count: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Measures the clients in turns, after one round that warms up."""
    requests = work(kind, count, folder)
    measures: tuple[Measure, ...] = (bare, ours, ours_stored)
    table = [[cpu_ms(measure, base_url, requests, folder) for measure in measures] for _ in range(rounds + 1)][1:]
    columns = {name: [row[place] for row in table] for place, name in enumerate(CLIENTS)}
    ratios = {name: [row[place] / row[0] for row in table] for place, name in enumerate(CLIENTS)}
    return {"calls": count, "cpu_ms_per_call": columns, "ratio_to_bare": ratios}


def main() -> None:
    """Measures, prints a table, and writes the JSON file where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 calls instead of 2,000")
    parser.add_argument("--json", type=Path, help="where the measurements go")
    arguments = parser.parse_args()
    count, rounds = (200, 5) if arguments.quick else (2000, 7)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=serve, args=(there,), daemon=True)
    server.start()
    base_url = f"http://127.0.0.1:{here.recv()}/v1"
    with tempfile.TemporaryDirectory() as folder:
        results = {kind: compare(base_url, kind, count, rounds, Path(folder)) for kind in ("text", "image")}
    server.terminate()
    print(f"{count} calls a round, {rounds} rounds, {CONCURRENCY} in flight; median (lowest to highest)\n")
    print(f"{'':<6}{'client':<26}{'CPU ms a call':<24}{'ratio to bare'}")
    for kind, result in results.items():
        for name in CLIENTS:
            cost, ratio = result["cpu_ms_per_call"][name], result["ratio_to_bare"][name]
            print(f"{kind:<6}{name:<26}{_spread(cost, 3):<24}{_spread(ratio, 2)}")
    if arguments.json:
        machine = {"python": platform.python_version(), "aiohttp": aiohttp.__version__, "cpus": os.cpu_count()}
        arguments.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main()
