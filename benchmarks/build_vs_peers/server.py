"""A chat-completions server on loopback, in a process of its own, with the faults and the delays of a real one.

It speaks just enough HTTP/1.1 to be cheaper than its clients, and counts what it is asked. A row is known by the words
`question N` in its prompt, so that its delay and its faults are the same whichever client asks. It does not look at
pictures.

    POST /v1/chat/completions    an answer, late or wrong as the conditions say
    GET  /counts                 what came since the conditions were set, as JSON
    POST /conditions             sets them, and forgets what came
"""

import asyncio
import functools
import hashlib
import json
import math
import multiprocessing
import random
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

Answer = Callable[[bytes], str]
"""A request's body -> what is answered."""

Identify = Callable[[bytes], int]
"""A request's body -> its row, or a negative number where it is about none."""

TOKENS_SAID = {"prompt_tokens": 600, "completion_tokens": 20, "total_tokens": 620}


class Conditions(NamedTuple):
    """How the server behaves."""

    delay: str = "fixed"
    """`fixed`, or `tail`: log-normal with sigma 1.2, so that one in a hundred takes eight times the mean."""
    mean_s: float = 0.05
    longest_s: float = 8.0
    refused: float = 0.0
    """Share of tries that get a 429 with `Retry-After: 1`."""
    malformed: float = 0.0
    """Share of rows whose first reply is cut in the middle."""

    def delay_s(self, row: int) -> float:
        """Returns the seconds before a row is answered."""
        if self.delay == "fixed":
            return self.mean_s
        sigma = 1.2
        normal = statistics.NormalDist().inv_cdf(_chance("delay", row, 0))
        return min(self.longest_s, self.mean_s * math.exp(sigma * normal - sigma**2 / 2))


class Counts(NamedTuple):
    """What a server was asked since its conditions were set."""

    requests: int
    answered: int
    """Whole and good answers that were sent."""
    rows: int
    """Rows with a good answer; `answered - rows` were paid twice."""
    others: int
    """Requests that name no row, such as a probe before the first."""
    refused: int
    malformed: int
    body_bytes: int
    most_in_flight: int
    ideal_s: float
    """Sum of the delays of the answered rows, each once; divided by the requests in flight it is the ideal window."""
    window_s: float
    """From the first request's arrival to the last good answer."""


class _State:
    """Conditions and what came under them; totals are kept as they come, so that asking for them costs nothing."""

    def __init__(self, conditions: Conditions) -> None:
        self.conditions = conditions
        self.tries: dict[int, int] = {}
        self.answered: set[int] = set()
        self.requests = self.answers = self.others = self.refused = self.malformed = self.body_bytes = 0
        self.in_flight = self.most_in_flight = 0
        self.ideal_s = self.first = self.last = 0.0

    def come(self, row: int, size: int) -> int:
        """Notes a request, and returns how many came for its row before."""
        self.first = self.first or time.monotonic()
        tries = self.tries.get(row, 0)
        self.tries[row] = tries + 1
        self.requests += 1
        self.others += row < 0
        self.body_bytes += size
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return tries

    def answer(self, row: int, delay_s: float) -> None:
        """Notes a good answer."""
        if row < 0:
            return
        self.answers += 1
        if row not in self.answered:
            self.answered.add(row)
            self.ideal_s += delay_s
        self.last = time.monotonic()

    def counts(self) -> Counts:
        """Returns the totals."""
        return Counts(
            requests=self.requests,
            answered=self.answers,
            rows=len(self.answered),
            others=self.others,
            refused=self.refused,
            malformed=self.malformed,
            body_bytes=self.body_bytes,
            most_in_flight=self.most_in_flight,
            ideal_s=self.ideal_s,
            window_s=max(0.0, self.last - self.first),
        )


class _Exchange(asyncio.Protocol):
    """One connection: requests one after the other, each with a Content-Length."""

    def __init__(self, server: "_Server") -> None:
        self._server = server
        self._buffer = bytearray()
        self._head_end = self._length = 0
        self._line = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._head_end:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end])
            self._line = head.partition(b"\r\n")[0]
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._head_end, self._length = end + 4, int(length or 0)
        if len(self._buffer) >= self._head_end + self._length:
            body = bytes(memoryview(self._buffer)[self._head_end : self._head_end + self._length])
            self._buffer, self._head_end = self._buffer[self._head_end + self._length :], 0
            self._server.take(self, self._line, body)

    def send(self, status: str, body: bytes, cut: int | None = None) -> None:
        """Sends a reply; `cut` bytes of it, if given, under an honest length."""
        sent = body if cut is None else body[:cut]
        retry = b"Retry-After: 1\r\n" if status.startswith("429") else b""
        head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"
        if not self._transport.is_closing():
            self._transport.write(head % (status.encode(), retry, len(sent)) + sent)

    @property
    def gone(self) -> bool:
        """Whether the client closed the connection."""
        return self._transport.is_closing()


class _Server:
    def __init__(self, answer: Answer, identify: Identify) -> None:
        self._answer = answer
        self._identify = identify
        self.state = _State(Conditions())

    def take(self, exchange: _Exchange, line: bytes, body: bytes) -> None:
        if line.startswith(b"POST /v1/chat/completions"):
            self._complete(exchange, body)
        elif line.startswith(b"POST /conditions"):
            self.state = _State(Conditions(**json.loads(body)))
            exchange.send("200 OK", b"{}")
        elif line.startswith(b"GET /counts"):
            exchange.send("200 OK", json.dumps(self.state.counts()._asdict()).encode())
        else:
            exchange.send("200 OK", b'{"object": "list", "data": [{"id": "m", "object": "model"}]}')

    def _complete(self, exchange: _Exchange, body: bytes) -> None:
        state, row = self.state, self._identify(body)
        tries = state.come(row, len(body))
        delay_s = state.conditions.delay_s(row)
        reply = functools.partial(self._reply, exchange, state, row, tries, delay_s, body)
        asyncio.get_running_loop().call_later(delay_s, reply)

    def _reply(self, exchange: _Exchange, state: _State, row: int, tries: int, delay_s: float, body: bytes) -> None:
        state.in_flight -= 1
        if exchange.gone:
            return
        if state.conditions.refused and _chance("refused", row, tries) < state.conditions.refused:
            state.refused += 1
            exchange.send("429 Too Many Requests", b'{"error": {"message": "placeholder limit", "code": "rate_limit"}}')
            return
        content = _completion(self._answer(body))
        if state.conditions.malformed and not tries and _chance("malformed", row, 0) < state.conditions.malformed:
            state.malformed += 1
            exchange.send("200 OK", content, cut=len(content) // 2)
            return
        state.answer(row, delay_s)
        exchange.send("200 OK", content)


def row_of(body: bytes) -> int:
    """Returns the row that a request names, or -1."""
    start = body.find(b"question ") + len(b"question ")
    end = start
    while body[end : end + 1].isdigit():
        end += 1
    if end > start >= len(b"question "):
        return int(body[start:end])
    return -1


def digest_of(body: bytes) -> int:
    """Returns a number that stands for a request's body."""
    return int.from_bytes(hashlib.sha256(body).digest()[:7], "big")


def plain_answer(body: bytes) -> str:
    """Answers that it is a placeholder, and about which row."""
    return f"Placeholder answer about row {row_of(body)}: a short description of what is to be seen, in one sentence."


class Server(NamedTuple):
    """A running server, seen from outside."""

    base_url: str
    """Ends with /v1."""

    def behave(self, conditions: Conditions) -> None:
        """Sets the conditions, and forgets what came."""
        self._ask("/conditions", json.dumps(conditions._asdict()).encode())

    def counts(self) -> Counts:
        """Returns what came since the conditions were set."""
        return Counts(**self._ask("/counts"))

    def _ask(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        with urllib.request.urlopen(self.base_url.removesuffix("/v1") + path, body, timeout=60) as reply:
            read: dict[str, Any] = json.loads(reply.read())
            return read


@contextmanager
def running(answer: Answer = plain_answer, identify: Identify = row_of) -> Iterator[Server]:
    """Runs a server in a process of its own; both functions must be importable there."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, answer, identify), daemon=True)
    process.start()
    try:
        yield Server(f"http://127.0.0.1:{here.recv()}/v1")
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Connection, answer: Answer, identify: Identify) -> None:
    async def run() -> None:
        server, loop = _Server(answer, identify), asyncio.get_running_loop()
        listening = await loop.create_server(lambda: _Exchange(server), "127.0.0.1", 0, backlog=512)
        pipe.send(listening.sockets[0].getsockname()[1])
        await listening.serve_forever()

    asyncio.run(run())


def _completion(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    body = {
        "id": "chatcmpl-placeholder",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": TOKENS_SAID,
    }
    return json.dumps(body).encode()


def _chance(what: str, row: int, tries: int) -> float:
    return random.Random(f"{what}/{row}/{tries}").random()
