"""What is measured: questions in POPE's layout about drawn pictures, and a server that answers yes or no."""

import json
import random
from pathlib import Path

from benchmarks.build_vs_peers.server import row_of
from PIL import Image

QUESTIONS_A_PICTURE = 6
SIDE = 256
"""Pixels of a picture's side; noise, so that it is as large as a photograph of that size."""


def write_pope(folder: Path, questions: int) -> Path:
    """Writes the questions and their pictures, and returns the folder."""
    folder.mkdir(parents=True)
    pictures = -(-questions // QUESTIONS_A_PICTURE)
    for number in range(pictures):
        noise = random.Random(number).randbytes(SIDE * SIDE * 3)
        Image.frombytes("RGB", (SIDE, SIDE), noise).save(folder / f"{number}.jpg", quality=90)
    rows = [
        {
            "question_id": number,
            "image": f"{number // QUESTIONS_A_PICTURE}.jpg",
            "text": f"Placeholder question {number}: is there a thing?",
            "label": "yes" if number % 2 else "no",
        }
        for number in range(questions)
    ]
    (folder / "coco_pope_random.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def yes_or_no(body: bytes) -> str:
    """Answers right three times of four: a wrong yes to every fourth question."""
    number = row_of(body)
    return "Yes" if number % 2 or number % 4 == 0 else "No"
