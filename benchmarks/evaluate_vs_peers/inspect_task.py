"""Inspect's side: the benchmark as its documentation would have it written; it knows nothing of spavl.

inspect eval benchmarks/evaluate_vs_peers/inspect_task.py@pope -T folder=FOLDER
"""

import json
from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText, GenerateConfig
from inspect_ai.scorer import match
from inspect_ai.solver import generate

PROMPT = "{}\nAnswer the question using a single word or phrase."


@task
def pope(folder: str, max_tokens: int = 16) -> Task:
    """Returns the questions of a folder in POPE's layout."""
    samples = []
    for line in (Path(folder) / "coco_pope_random.json").read_text().splitlines():
        row = json.loads(line)
        content = [
            ContentImage(image=str(Path(folder) / row["image"])),
            ContentText(text=PROMPT.format(row["text"])),
        ]
        samples.append(Sample(input=[ChatMessageUser(content=content)], target=row["label"], id=row["question_id"]))
    config = GenerateConfig(max_tokens=max_tokens, temperature=0.0)
    return Task(dataset=MemoryDataset(samples), solver=generate(), scorer=match(location="begin"), config=config)
