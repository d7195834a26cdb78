"""Kill -9 while models answer and while a judge reads, twice each: nothing that was answered is asked for again."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.pipeline.planted_evaluation import QUESTIONS, evaluated, honest, recipe
from tests.pipeline.planted_server import Asked, PlantedServer, Told

from spavl.evaluate.figures import EvaluationFigures

KILLS = {("base", 11), ("aligned", 30), ("judge", 7), ("judge", 50)}
"""(model, which of its requests): when it arrives, and before it is answered, the process that sent it is killed."""


@pytest.mark.slow
def test_an_evaluation_killed_while_answering_and_while_judging_pays_nothing_twice(
    server: PlantedServer, harmful: Path
) -> None:
    """One request is in flight at a time: the one that each kill left unanswered is sent again, and no other.

    80 answers; of them 18 are both models' alike, so 62 are read.
    """
    whole = evaluated(recipe(server, harmful, run=harmful.parent / "whole", calls=harmful.parent / "whole.sqlite"))
    served = {"kind": "openai", "base_url": server.url, "retries": 0, "concurrency": 1}
    config = recipe(server, harmful, models={name: served | {"model": name} for name in ("base", "aligned", "judge")})
    path = harmful.parent / "recipe.yaml"
    path.write_text(json.dumps(config.model_dump(mode="json")))
    pending, unanswered = set(KILLS), Counter[Asked]()
    server.asked.clear()
    process: subprocess.Popen[bytes] | None = None

    def rule(asked: Asked) -> Told:
        place = (asked.model, len({one for one in server.asked if one.model == asked.model}))
        if place in pending and process is not None:
            pending.remove(place)
            unanswered[asked] += 1
            os.kill(process.pid, signal.SIGKILL)
        return honest(asked)

    server.rule = rule
    codes = []
    for _ in range(len(KILLS) + 1):
        process = subprocess.Popen(
            [sys.executable, "-m", "spavl", "evaluate", str(path), "--json"], stdout=subprocess.PIPE
        )
        out, _ = process.communicate()
        codes.append(process.returncode)
    assert codes == [-signal.SIGKILL] * len(KILLS) + [0]
    assert EvaluationFigures.model_validate(json.loads(out)["results"]) == whole

    sent = Counter(server.asked)
    assert sent - unanswered == Counter(dict.fromkeys(sent, 1))
    assert len(sent) == 2 * QUESTIONS + 62 and unanswered.total() == len(KILLS)
    counts = json.loads(out)["counts"]
    assert {name: (one["items"], one["records"]) for name, one in counts.items()} == {
        "samples": (40, 40),
        "answers": (80, 80),
        "verdicts_rubric": (80, 80),
    }
