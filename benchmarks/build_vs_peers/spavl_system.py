"""spavl's side: a responder's part of the responses station as a build runs it, with call store and stage directory.

python -m benchmarks.build_vs_peers.spavl_system JOB
"""

import asyncio
import hashlib
import sys
from pathlib import Path

from benchmarks.build_vs_peers.job import MAX_TOKENS, Job, cpu_s, say

from spavl.config import OpenAIModelConfig, ResponderConfig
from spavl.models import CallStore, Completion, ImageInput, Request, StoredModel
from spavl.models.ask import ask
from spavl.models.openai import OpenAIModel
from spavl.records import Failure, Question, QuestionType, Response
from spavl.responses import response_request
from spavl.store import StageDirectory

RESPONDER = ResponderConfig(model="m", max_tokens=MAX_TOKENS)


def main() -> None:
    """Does a job and says what came of it."""
    start_cpu_s = cpu_s()
    job = Job.from_line(sys.argv[1])
    stage = StageDirectory(Path(job.folder) / "responses", {"rows": job.rows}, {})
    asyncio.run(_run(job, stage))
    answers = hashlib.sha256()
    kept = 0
    for response in stage.each(Response):
        answers.update(response.text.encode() + b"\n")
        kept += 1
    say(kept, len(stage.failures()), answers.hexdigest(), start_cpu_s)


async def _run(job: Job, stage: StageDirectory) -> None:
    items = [(f"{row:07}", row) for row in range(job.rows)]
    config = OpenAIModelConfig(
        kind="openai", base_url=job.base_url, model="m", concurrency=job.concurrency, retries=10, timeout_s=120
    )
    store = CallStore(Path(job.folder) / "calls.sqlite")
    model = StoredModel(OpenAIModel(config), store)
    digests: dict[Path, ImageInput] = {}

    def show(path: Path) -> ImageInput:
        return digests.setdefault(path, ImageInput(sha256=hashlib.sha256(path.name.encode()).hexdigest(), path=path))

    def question(row: int) -> Question:
        return Question(
            image_id=f"img-{row}",
            leaf="domain/category/leaf",
            question_type=QuestionType.EASY_QUESTION,
            text=job.prompt(row),
            writer="nobody",
        )

    def request(row: int) -> Request:
        path = job.picture(row)
        if path is None:
            return Request(prompt=job.prompt(row), max_tokens=MAX_TOKENS)
        return response_request(RESPONDER, question(row), show(path))

    def read(row: int, completion: Completion) -> Response | Failure:
        asked = question(row)
        return Response(
            question_id=asked.id,
            image_id=asked.image_id,
            responder="m",
            text=completion.text,
            finish=completion.finish,
        )

    await ask(stage, dict(items), model, request, read, label="responses")
    stage.finish([item for item, _ in items])
    await model.close()
    store.close()


if __name__ == "__main__":
    main()
