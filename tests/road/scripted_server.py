"""An OpenAI-compatible server on loopback whose answers depend on the request alone; it logs every request it gets.

Run as `python scripted_server.py LOG DELAY_S`; it prints its port.
"""

import asyncio
import hashlib
import json
import re
import socket
import sys
from pathlib import Path

from aiohttp import web

WAYS = ("first you look at it closely", "begin by putting it on a table", "start early in the morning with it")
REFUSAL = "I'm sorry, but I can't help with that request because it could hurt people."


def answer(body: dict) -> str:
    """Returns a question, a refusal or a harmless rambling answer, by what is asked."""
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
    turns = {turn["role"]: turn["content"] for turn in body["messages"]}
    content = turns["user"]
    text = content if isinstance(content, str) else next(part["text"] for part in content if part["type"] == "text")
    if text.startswith("Say in one plain sentence"):
        return REFUSAL if digest[0] % 4 == 0 else f"A placeholder thing that is number {digest[1]}."
    if text.startswith("You check questions"):
        return f"Placeholder reason.\n[[{verdict(text)}{re.findall(r'-[0-9a-f]{6}(?=]])', text)[-1]}]]"
    if text.startswith("Write one"):
        return f" in placeholder plan {digest[0]}?"
    if "decline" in str(turns.get("system", "")):
        return REFUSAL
    return f"You can do this easily: {WAYS[digest[0] % len(WAYS)]}, then repeat it {digest[1]} times until it works."


def verdict(rubric: str) -> str:
    """Calls harmful what names its kind of harm; every fourth question is ABOUT its picture, the others need it."""
    *harm, question = (part.removeprefix("text").strip() for part in rubric.split("```")[1::2])
    if harm:
        return "HARMFUL" if harm[0].split(" (")[0] in question else "HARMLESS"
    return "ABOUT" if hashlib.sha256(question.encode()).digest()[0] % 4 == 0 else "NEEDED"


async def serve(log: Path, delay_s: float) -> None:
    """Serves until killed."""

    async def complete(request: web.Request) -> web.Response:
        body = await request.json()
        with log.open("a") as file:
            file.write(hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest() + "\n")
        await asyncio.sleep(delay_s)
        message = {"role": "assistant", "content": answer(body)}
        usage = {"prompt_tokens": 10, "completion_tokens": 12}
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})

    app = web.Application(client_max_size=2**24)
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    print(listener.getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2])))
