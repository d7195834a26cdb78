"""A build small enough for a test: drawn pictures, and a real server in a thread that writes, answers and judges."""

import asyncio
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: F401  # so that builds in this process share one sentence encoder, and start none of their own
from aiohttp import web
from benchmarks.judge_marks import with_mark
from PIL import Image

from spavl.config import RunConfig
from spavl.models import Replay
from spavl.pipeline import build, open_road

CAPTIONS = ("padlock", "wallet", "kitchen knife", "pistol", "pill", "syringe", "key", "axe", "gun", "credit card")
PATIENCE_S = 20


class BuildServer:
    """A chat server whose answers depend on the request alone; it keeps what it was asked, as (model, digest)."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self._taken = 0
        self.silent: set[str] = set()
        """Models that answer with an error."""
        self.locked: set[str] = set()
        """Models that want another key."""
        self.broken: set[str] = set()
        """Models that answer in prose that is no verdict."""
        self._loop = asyncio.new_event_loop()

    @contextmanager
    def running(self, port: int = 0) -> Iterator[str]:
        """Yields the server's base URL."""
        runner, stop = self._loop.run_until_complete(self._start(port)), asyncio.Event()
        thread = threading.Thread(target=self._loop.run_until_complete, args=(stop.wait(),))
        thread.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            self._loop.call_soon_threadsafe(stop.set)
            thread.join(PATIENCE_S)
            self._loop.run_until_complete(runner.cleanup())

    async def _start(self, port: int) -> web.AppRunner:
        application = web.Application(client_max_size=2**24)
        application.router.add_post("/v1/chat/completions", self._complete)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        return runner

    async def _complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        self.asked.append((body["model"], digest))
        if body["model"] in self.silent:
            return web.json_response({"error": {"message": "placeholder trouble"}}, status=400)
        if body["model"] in self.locked:
            return web.json_response({"error": {"message": "placeholder key"}}, status=401)
        message = {"role": "assistant", "content": self._said(body, digest)}
        usage = {"prompt_tokens": 10, "completion_tokens": 12}
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})

    def _said(self, body: dict[str, Any], digest: str) -> str:
        return "The server is in maintenance." if body["model"] in self.broken else _answer(body, digest)

    def take(self) -> Counter[str]:
        """Returns model -> requests since the last time, none of which may have come twice or ever before."""
        seen = Counter(digest for _, digest in self.asked)
        assert set(seen.values()) <= {1}, "a request was made twice"
        fresh = self.asked[self._taken :]
        self._taken = len(self.asked)
        return Counter(model for model, _ in fresh)

    def forget(self) -> None:
        """Forgets what was asked."""
        self.asked.clear()
        self._taken = 0


def _answer(body: dict[str, Any], digest: str) -> str:
    content = body["messages"][-1]["content"]
    text = content if isinstance(content, str) else next(part["text"] for part in content if part["type"] == "text")
    if body["model"] == "captioner":
        return "I cannot help with that." if digest < "3" else f"A placeholder {digest[:6]} on a table."
    if body["model"] == "checker":
        return with_mark(text, f"By the request.\n[[{'UNRELATED' if digest < '6' else 'NEEDED'}]]")
    if body["model"] == "guard":
        return "safe" if digest < "8" else "unsafe\nO5"
    if body["model"] == "writer":
        return f"How would somebody use placeholder thing {digest[:6]} here?"
    if not body["model"].startswith("judge"):
        return f"{body['model']} says placeholder {digest[:6]}, and no more than that."
    judged = re.findall(r"```text\n(.*?)\n```", text, re.DOTALL)[1:]
    if len(judged) == 1:
        verdict = "SAFE" if judged[0].startswith("careful") else "UNSAFE"
        return with_mark(text, f"By its name.\n[[{verdict}]] [[ANSWERED]]")
    return with_mark(text, f"By the alphabet.\n[[{'A' if judged[0] < judged[1] else 'B'}]]")


def draw_pictures(folder: Path, captions: tuple[str, ...] = CAPTIONS) -> Path:
    """Draws a picture for each caption, unlike each other; the same caption gives the same file."""
    folder.mkdir(exist_ok=True)
    for caption in captions:
        rng = np.random.default_rng(list(caption.encode()))
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize((96, 96), Image.Resampling.BICUBIC).save(folder / f"{caption}.png")
    return folder


def build_config(folder: Path, address: str, **changes: Any) -> RunConfig:
    """Returns the configuration of a build whose run, call store and pictures lie in a folder."""
    served = {"kind": "openai", "base_url": address, "concurrency": 2, "retries": 0}
    rubric = {"kind": "rubric", "model": "judge"}
    body = {
        "run": str(folder / "run"),
        "calls": str(folder / "calls.sqlite"),
        "models": {name: served | {"model": name} for name in ("writer", "plain", "careful", "judge")}
        | {"mini": {"kind": "embedded"}},
        "images": {
            "source": {"kind": "folder", "path": str(folder / "pictures"), "licence": "CC0"},
            "leaves": ["theft", "weapon", "illegal drugs"],
            "per_leaf": 4,
        },
        "questions": {"writer": "writer"},
        "responses": {"responders": {name: {"model": name} for name in ("plain", "careful")}},
        "labels": {"judge": rubric},
        "preferences": {"judge": rubric},
        "train": {"model": "mini", "cache": str(folder / "cache")},
    }
    return RunConfig.model_validate(body | changes)


def full_config(folder: Path, address: str, **changes: Any) -> RunConfig:
    """Returns `build_config` with every station at work: captions are written, questions checked, others heard."""
    models = build_config(folder, address).model_dump()["models"]
    more = {
        "models": models | {name: models["judge"] | {"model": name} for name in ("captioner", "checker", "judge-2")},
        "captions": {"writer": "captioner"},
        "checks": {"relevance": {"model": "checker"}},
        "labels": {
            "judge": {"kind": "rubric", "model": "judge"},
            "others": {"second": {"kind": "rubric", "model": "judge-2"}, "floor": {"kind": "rules"}},
        },
    }
    return build_config(folder, address, **more | changes)


def run_build(config: RunConfig, replay: Replay | None = None) -> None:
    """Builds the dataset."""
    with open_road(config, replay) as road:
        asyncio.run(build(road))
