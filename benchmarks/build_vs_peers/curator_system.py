"""bespokelabs-curator's side, with its limits lifted; run by the interpreter of its own environment.

python -m benchmarks.build_vs_peers.curator_system JOB
"""

import hashlib
import sys
from typing import Any

from benchmarks.build_vs_peers.job import MAX_TOKENS, Job, cpu_s, say
from bespokelabs import curator
from datasets import Dataset

NO_LIMIT = 10**9


class Look(curator.LLM):
    """Asks one question about one picture."""

    def prompt(self, row: dict[str, Any]) -> object:
        """Returns the text, and the picture by its path."""
        if not row["picture"]:
            return row["prompt"]
        return row["prompt"], curator.types.Image(url=row["picture"])

    def parse(self, row: dict[str, Any], response: str) -> dict[str, Any]:
        """Returns the row's answer."""
        return {"row": row["row"], "answer": response}


def main() -> None:
    """Does a job and says what came of it."""
    start_cpu_s = cpu_s()
    job = Job.from_line(sys.argv[1])
    rows = [{"row": row, "prompt": job.prompt(row), "picture": str(job.picture(row) or "")} for row in range(job.rows)]
    limits = {
        "max_requests_per_minute": NO_LIMIT,
        "max_tokens_per_minute": NO_LIMIT,
        "max_concurrent_requests": job.concurrency,
        "require_all_responses": False,
        "request_timeout": 120,
        "base_url": job.base_url,
        "api_key": "placeholder",
    }
    model = Look(model_name="m", backend="openai", generation_params={"max_tokens": MAX_TOKENS}, backend_params=limits)
    done = model(Dataset.from_list(rows), working_dir=job.folder)
    answers = {row["row"]: row["answer"] for row in done.dataset}
    digest = hashlib.sha256("".join(f"{answers[row]}\n" for row in sorted(answers)).encode()).hexdigest()
    say(len(answers), job.rows - len(answers), digest, start_cpu_s)


if __name__ == "__main__":
    main()
