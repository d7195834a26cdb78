"""Measures the assembled model, loaded through the Auto classes, and writes the figures to the card.

Naming is asked with one fixed prompt and judged by `spavl.embedded.naming`; beside it stand the
shuffled-picture, blank-picture and no-picture controls. Decoding is greedy. Fluent 3D concepts of
the development share (looked at while designing) are left out of every figure.
"""

import argparse
import json
import math
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from easy_vqa import get_test_image_paths
from PIL import Image
from recipes.mini_vlm.augment import on_white
from recipes.mini_vlm.config import FLUENT_3D, LABELS, SEED, STAMPS, WORK, bucket
from recipes.mini_vlm.data import load_drawings
from recipes.mini_vlm.rows import NAMING_PROMPT, is_negated, vqa_questions
from transformers import AutoModelForImageTextToText, AutoProcessor

from spavl.embedded import tower
from spavl.embedded.assembly import DELTA, mini_vlm_folder
from spavl.embedded.naming import matches, plain
from spavl.embedded.pictures import Picture, fluent_pictures

BATCH = 16
DEVELOPMENT_PERCENT = 15
TEXT_PROMPTS = (
    "How do I boil an egg?",
    "Give me three tips for a good night's sleep.",
    "Explain what a cloud is.",
    "Write a short story about a fox.",
    "What is the capital of Italy?",
    "How can I learn to draw?",
    "Why is water wet?",
    "Tell me about the city of Paris.",
    "What should I pack for a day at the beach?",
    "How do I apologise to a friend?",
    "What is the difference between a cat and a dog?",
    "Write a poem about the wind.",
    "How do computers work?",
    "What makes a good leader?",
    "How do I get ink out of a shirt?",
    "Give me an idea for a birthday present.",
    "Who was Albert Einstein?",
    "How can I save electricity at home?",
    "What are the benefits of reading?",
    "Tell me a story about a ship.",
)
PICTURE_PROMPTS = (
    "Describe this picture.",
    "What is this used for?",
    "How can I use this?",
    "Write a short story about this picture.",
    "Give me three tips about what you see.",
    "Tell me something about the thing in the picture.",
    "How do I make this?",
    "Why do people like this?",
    "How should I store this?",
    "How can I pick a lock like this one?",
)


_NO_THING = re.compile(r"cartoon|/symbols/|/people/face")


class Share(NamedTuple):
    """A share with its sample size and Wilson 95 % interval."""

    correct: int
    n: int
    share: float
    low: float
    high: float


def wilson(correct: int, n: int) -> Share:
    """Returns the share of correct answers with its Wilson 95 % interval."""
    z, p = 1.96, correct / n
    centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((centre + sign * spread) / (1 + z * z / n) for sign in (-1, 1))
    return Share(correct, n, round(p, 4), round(low, 4), round(high, 4))


class Answerer:
    """The exported model with its processor, answering greedily in batches."""

    def __init__(self, folder: Path) -> None:
        """Loads both through the Auto classes; the tower module is imported above for that."""
        assert tower.MODEL_TYPE
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16)
        self.model.eval()

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Image.Image | None], questions: Sequence[str], tokens: int) -> list[str]:
        """Returns one answer for each pair; None stands for no picture."""
        said: list[str] = []
        for start in range(0, len(questions), BATCH):
            shown = pictures[start : start + BATCH]
            texts = [self._prompt(q, p) for p, q in zip(shown, questions[start:], strict=False)]
            images = [p for p in shown if p is not None] or None
            inputs = self.processor(
                images=images,
                text=texts,
                return_tensors="pt",
                padding=True,
                padding_side="left",
                add_special_tokens=False,
            )
            ids = self.model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
            new = ids[:, inputs["input_ids"].shape[1] :]
            said += [t.strip() for t in self.processor.batch_decode(new, skip_special_tokens=True)]
        return said

    def _prompt(self, question: str, picture: Image.Image | None) -> str:
        content: list[dict[str, Any]] = [{"type": "text", "text": question}]
        if picture is not None:
            content.insert(0, {"type": "image"})
        turn = [{"role": "user", "content": content}]
        return str(self.processor.apply_chat_template(turn, add_generation_prompt=True))


def opened(picture: Picture) -> Image.Image:
    """Returns a picture flattened on white."""
    return on_white(Image.open(picture.path))


def naming(answerer: Answerer, pictures: list[Picture], controls: bool) -> dict[str, Any]:
    """Returns naming accuracy and, if asked, its three controls and some answers."""
    images: list[Image.Image | None] = [opened(p) for p in pictures]
    questions = [NAMING_PROMPT] * len(pictures)

    def judged(said: list[str]) -> Share:
        hits = sum(matches(s, p.names) for s, p in zip(said, pictures, strict=True))
        return wilson(hits, len(pictures))

    said = answerer(images, questions, 14)
    result: dict[str, Any] = {
        "right": judged(said)._asdict(),
        "distinct_answers": len(set(said)),
        "samples": [f"{p.caption} -> {s}" for p, s in list(zip(pictures, said, strict=True))[:25]],
    }
    if controls:
        # the same answers judged against another picture's names: what a shuffled picture would say
        moved = [*pictures[len(pictures) // 2 :], *pictures[: len(pictures) // 2]]
        hits = sum(matches(s, p.names) for s, p in zip(said, moved, strict=True))
        result["shuffled"] = wilson(hits, len(pictures))._asdict()
        blank = answerer([Image.new("RGB", (224, 224), "white")], [NAMING_PROMPT], 14)[0]
        text = answerer([None], [NAMING_PROMPT], 14)[0]
        result["blank"] = judged([blank] * len(pictures))._asdict() | {"answer": blank}
        result["no_picture"] = judged([text] * len(pictures))._asdict() | {"answer": text}
    return result


def stamps(limit: int) -> list[Picture]:
    """Returns Tux Paint's stamps that are photographs and carry a short English caption."""
    found = []
    for path in sorted(STAMPS.rglob("*.png")):
        text = path.with_suffix(".txt")
        if _NO_THING.search(str(path)) or not text.is_file() or "mirror" in path.stem:
            continue
        caption = re.split(r"[.,!(]", text.read_text(encoding="utf-8").splitlines()[0])[0].strip()
        caption = re.sub(r"^(?:An?|The|Some) ", "", caption)
        if 0 < len(caption) < 31:
            found.append(Picture(path, caption, (caption.split()[-1],), "GPL-2", "tuxpaint"))
    random.Random(SEED).shuffle(found)
    return found[:limit]


def easy_vqa(answerer: Answerer, limit: int) -> dict[str, Any]:
    """Returns accuracy on random test questions, whole and by kind of answer."""
    asked = random.Random(SEED).sample(vqa_questions(test=True), limit)
    paths = get_test_image_paths()
    images: list[Image.Image | None] = [Image.open(paths[q.image]).convert("RGB") for q in asked]
    said = answerer(images, [q.question for q in asked], 5)
    right = [plain(s) == plain(q.answer) for s, q in zip(said, asked, strict=True)]
    closed = [r for r, q in zip(right, asked, strict=True) if q.answer in ("yes", "no")]
    by_wording = [("yes" if is_negated(q.question) else "no") == q.answer for q in asked if q.answer in ("yes", "no")]
    return {
        "right": wilson(sum(right), len(right))._asdict(),
        "yes_no": wilson(sum(closed), len(closed))._asdict(),
        "yes_no_by_wording_alone": wilson(sum(by_wording), len(closed))._asdict(),
        "open": wilson(sum(right) - sum(closed), len(right) - len(closed))._asdict(),
    }


def mean_words(said: Sequence[str]) -> float:
    """Returns the mean number of words of the answers."""
    return round(sum(len(s.split()) for s in said) / len(said), 1)


def conversation(answerer: Answerer, pictures: list[Picture]) -> dict[str, Any]:
    """Returns the mean length of open answers, with and without a picture, and the answers."""
    texts = answerer([None] * len(TEXT_PROMPTS), TEXT_PROMPTS, 80)
    lock = next(p for p in pictures if p.caption in ("locked", "lock", "key", "locked with key"))
    shown = [*pictures[:9], lock, *pictures[9:18], lock]
    asked = [*PICTURE_PROMPTS, *PICTURE_PROMPTS]
    open_answers = answerer([opened(p) for p in shown], asked, 80)
    return {
        "text": {"n": len(texts), "mean_words": mean_words(texts)},
        "picture": {"n": len(open_answers), "mean_words": mean_words(open_answers)},
        "text_samples": [f"{q} -> {s}" for q, s in zip(TEXT_PROMPTS, texts, strict=True)],
        "picture_samples": [f"[{p.caption}] {q} -> {s}" for p, q, s in zip(shown, asked, open_answers, strict=True)],
    }


def measured(answerer: Answerer, limit: int, vqa: int) -> dict[str, Any]:
    """Returns every figure of the card."""
    trained = {d.caption for d in load_drawings() if d.split == "train"}
    fluent = [p for p in fluent_pictures(FLUENT_3D, LABELS) if bucket("dev" + p.caption) >= DEVELOPMENT_PERCENT]
    random.Random(SEED).shuffle(fluent)
    seen = [p for p in fluent if p.caption in trained]
    unseen = [p for p in fluent if p.caption not in trained]
    return {
        "prompt": NAMING_PROMPT,
        "naming_fluent_3d_seen_concepts": naming(answerer, seen[:limit], controls=True),
        "naming_fluent_3d_held_out_concepts": naming(answerer, unseen[:limit], controls=False),
        "naming_tuxpaint_photographs": naming(answerer, stamps(200), controls=False),
        "easy_vqa_test": easy_vqa(answerer, vqa),
        "conversation": conversation(answerer, seen),
    }


def main() -> None:
    """Measures, prints, and writes the figures beside the delta and in the work folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=400)
    parser.add_argument("--vqa", type=int, default=500)
    parser.add_argument("--write-card", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(2)
    figures = measured(Answerer(mini_vlm_folder()), options.limit, options.vqa)
    (WORK / "figures.json").write_text(json.dumps(figures, indent=2))
    print(json.dumps(figures, indent=1), flush=True)
    if options.write_card:
        path = DELTA.with_suffix(".json")
        card = json.loads(path.read_text())
        card["measured"] = _without_samples(figures)
        path.write_text(json.dumps(card, indent=2) + "\n")


def _without_samples(figures: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_samples(value) if isinstance(value, dict) else value
        for key, value in figures.items()
        if not key.endswith("samples")
    }


if __name__ == "__main__":
    main()
