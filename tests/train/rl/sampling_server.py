"""A stand-in for a vLLM server: it answers over HTTP from the real tiny model, with whatever adapter it was given."""

import io
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import torch
from peft import PeftModel
from PIL import Image

from spavl.models.generation import Decoding, generate
from spavl.models.loading import load_vlm, render_prompt
from spavl.models.prefixes import Prompt


class SamplingServer:
    """Knows a base model, and by name the adapters that it was told to load."""

    def __init__(self, folder: Path, template_mark: str = "") -> None:
        self._folder, self._mark = folder, template_mark
        self.asks_before_fault: int | None = None
        """Requests for answers that are still served before all are refused; None for any number."""
        self._models: dict[str, Any] = {}
        self.asked: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.down = 0
        """Requests that are still to be answered with 503."""
        self.gives_ids = True
        self.spoil: Callable[[dict[str, Any]], dict[str, Any]] | None = None
        """What becomes of a reply before it is sent."""
        self._lock = threading.Lock()

    @contextmanager
    def running(self) -> Iterator[str]:
        """Yields the base URL."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    status, reply = outer.answer(self.path.removeprefix("/v1/"), body)
                with suppress(BrokenPipeError, ConnectionResetError):  # who asked may have gone
                    self.send_response(status)
                    self.end_headers()
                    self.wfile.write(orjson.dumps(reply))

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            server.server_close()

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if self.down:
            self.down -= 1
            return 503, {"error": {"message": "placeholder trouble"}}
        if path.endswith("load_lora_adapter") and (refusal := self._refusal(path, body["lora_name"])):
            return refusal
        if path == "load_lora_adapter":
            vlm = load_vlm(self._folder)
            vlm.model.eval()
            self._models[body["lora_name"]] = (PeftModel.from_pretrained(vlm.model, body["lora_path"]), vlm)
            self.calls.append(f"load {body['lora_name']}")
        elif path == "unload_lora_adapter":
            del self._models[body["lora_name"]]
            self.calls.append(f"unload {body['lora_name']}")
        elif body["model"] not in self._models:
            return 404, {"error": {"message": f"there is no model {body['model']}"}}
        elif self.asks_before_fault == len(self.asked):
            return 400, {"error": {"message": "placeholder refusal"}}
        else:
            self.asked.append(body)
            reply = self._sample(body)
            return 200, self.spoil(reply) if self.spoil else reply
        return 200, {}

    def _refusal(self, path: str, name: str) -> tuple[int, Any] | None:
        """Returns what vLLM says to a second load of a name, and to an unload of one that it does not know."""
        if path == "load_lora_adapter" and name in self._models:
            return 400, {"error": {"message": f"The lora adapter '{name}' has already been loaded."}}
        if path == "unload_lora_adapter" and name not in self._models:
            return 404, {"error": {"message": f"The lora adapter '{name}' cannot be found."}}
        return None

    def _sample(self, body: dict[str, Any]) -> dict[str, Any]:
        _, vlm = self._models[body["model"]]
        picture, question = body["messages"][0]["content"]
        shown = Image.open(io.BytesIO(b64decode(picture["image_url"]["url"].partition(",")[2])))
        text = render_prompt(vlm.processor, self._mark + question["text"], has_image=True)
        made = vlm.processor(text=[text], images=[[shown]], return_tensors="pt", add_special_tokens=False)
        ids = tuple(made["input_ids"][0].tolist())
        decoding = Decoding(
            body["max_tokens"],
            tuple(body["stop_token_ids"]),
            body["temperature"],
            suppressed=tuple(map(int, body["logit_bias"])),
        )
        prompts = [Prompt(ids, "picture")] * body["n"]
        pixels = {"pixel_values": made["pixel_values"]}
        generator = torch.Generator().manual_seed(body["seed"])
        answers = generate(vlm.model, prompts, lambda _: pixels, decoding, generator)
        choices = [
            {"finish_reason": "stop" if one.ended else "length", "message": {"content": ""}, "token_ids": one.tokens}
            for one in answers
        ]
        if not self.gives_ids:
            choices = [{name: one[name] for name in ("finish_reason", "message")} for one in choices]
        return {"choices": choices, "prompt_token_ids": ids}
