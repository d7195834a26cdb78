"""lmms-eval's side: what its task file refers to, as its own POPE task does it; it knows nothing of spavl."""

from typing import Any

from PIL import Image

PROMPT = "{}\nAnswer the question using a single word or phrase."
Doc = dict[str, Any]


def doc_to_visual(doc: Doc) -> list[Image.Image]:
    """Returns the picture."""
    return [Image.open(doc["image"]).convert("RGB")]


def doc_to_text(doc: Doc, lmms_eval_specific_kwargs: Doc | None = None) -> str:
    """Returns what is asked."""
    return PROMPT.format(doc["text"])


def process_results(doc: Doc, results: list[str]) -> dict[str, float]:
    """Takes the first word, without regard to case."""
    words = results[0].lower().replace(".", " ").split()
    return {"right": float(words[:1] == [doc["label"]])}
