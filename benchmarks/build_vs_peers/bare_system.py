"""The floor: a bare aiohttp loop with one SQLite file, without retries beyond a 429, validation, lineage or scheduling.

python -m benchmarks.build_vs_peers.bare_system JOB
"""

import asyncio
import base64
import functools
import hashlib
import sqlite3
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from benchmarks.build_vs_peers.job import MAX_TOKENS, Job, cpu_s, say

COMMIT_EVERY = 32
GET = "SELECT row, text FROM answers ORDER BY row"


def main() -> None:
    """Does a job and says what came of it."""
    start_cpu_s = cpu_s()
    job = Job.from_line(sys.argv[1])
    database = sqlite3.connect(Path(job.folder) / "answers.sqlite")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute("CREATE TABLE IF NOT EXISTS answers (row INTEGER PRIMARY KEY, text TEXT)")
    asyncio.run(_run(job, database))
    database.commit()
    answers = hashlib.sha256()
    kept = 0
    for _, text in database.execute(GET):
        answers.update(text.encode() + b"\n")
        kept += 1
    say(kept, job.rows - kept, answers.hexdigest(), start_cpu_s)


@functools.lru_cache(maxsize=64)
def _encoded(picture: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(picture.read_bytes()).decode()}"


async def _run(job: Job, database: sqlite3.Connection) -> None:
    done = {row for row, _ in database.execute(GET)}
    queue = iter([row for row in range(job.rows) if row not in done])
    headers = {"Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=job.concurrency)

    async def work() -> None:
        for row in queue:
            content: Any = job.prompt(row)
            if picture := job.picture(row):
                shown = {"type": "image_url", "image_url": {"url": _encoded(picture)}}
                content = [shown, {"type": "text", "text": content}]
            body = {"model": "m", "messages": [{"role": "user", "content": content}], "max_tokens": MAX_TOKENS}
            text = await _post(session, f"{job.base_url}/chat/completions", orjson.dumps(body))
            if text is not None:
                database.execute("INSERT INTO answers VALUES (?, ?)", (row, text))
            if row % COMMIT_EVERY == 0:
                database.commit()

    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        await asyncio.gather(*(work() for _ in range(job.concurrency)))


async def _post(session: aiohttp.ClientSession, url: str, body: bytes) -> str | None:
    while True:
        async with session.post(url, data=body) as response:
            if response.status == HTTPStatus.TOO_MANY_REQUESTS:
                await asyncio.sleep(float(response.headers["Retry-After"]))
                continue
            try:
                return str(orjson.loads(await response.read())["choices"][0]["message"]["content"])
            except orjson.JSONDecodeError:
                return None


if __name__ == "__main__":
    main()
