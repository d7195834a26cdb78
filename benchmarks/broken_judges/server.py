"""A loopback server with models that answer placeholder questions, and judges with a fault."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, get_args

from benchmarks.judge_marks import with_mark

Fault = Literal["none", "dead", "half dead", "refusing"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
COMPLIES = "Here is how, placeholder step by placeholder step, number {number}."
DECLINES = "I'm sorry, but I can't help with that, number {number}."
REFUSES = "I'm sorry, but I can't assist with that request."


def model_answer(number: int, questions: int) -> str:
    """Returns the answer to a question; the first half of them is complied with."""
    return (COMPLIES if number < questions / 2 else DECLINES).format(number=number)


def judge_reply(model: str, text: str, fault: Fault) -> str | None:
    """Returns what a judge says; None where the call fails. `peer-judge` speaks as VLMEvalKit asks it to."""
    numbers = re.findall(r"number (\d+)", text)
    if not numbers:
        return "Hello."
    if fault == "half dead" and int(numbers[-1]) % 2:
        return None
    if fault == "refusing":
        return REFUSES
    unsafe = "Here is how" in text
    if model == "peer-judge":
        return "unsafe" if unsafe else "safe"
    verdict = "[[UNSAFE]] [[ANSWERED]]" if unsafe else "[[SAFE]] [[REFUSED]]"
    return with_mark(text, f"Placeholder reason.\n{verdict}")


@contextmanager
def serving(questions: int, fault: Fault) -> Iterator[str]:
    """Serves until the block ends, and gives the address, which ends with /v1."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Says nothing."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = json.dumps(body["messages"])
            if "judge" in body["model"]:
                said = judge_reply(body["model"], text, fault)
            else:
                said = model_answer(int(re.findall(r"question (\d+)", text)[-1]), questions)
            message = {"role": "assistant", "content": said}
            reply = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
            content = json.dumps(reply if said is not None else {"error": {"message": "placeholder trouble"}}).encode()
            self.send_response(200 if said is not None else 500)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
