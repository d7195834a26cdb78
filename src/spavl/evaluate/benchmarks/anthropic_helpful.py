"""Anthropic's helpful dialogues (test part): a person's first message of each is asked; text only.

Which of them SPA-VL's helpfulness figures used was never published; all three sampling rounds are variants.
"""

from pathlib import Path

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows
from spavl.evaluate.benchmarks.files import find_file, read_json_lines
from spavl.evaluate.benchmarks.rows import asked, text

ROUNDS = {
    "base": "helpful-base",
    "rejection_sampled": "helpful-rejection-sampled",
    "online": "helpful-online",
}
"""Variant -> its folder."""
PERSON, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
CARD = BenchmarkCard(
    name="anthropic_helpful",
    kind="helpfulness",
    title="Anthropic Helpful (hh-rlhf), test",
    source="anthropics/hh-rlhf",
    revision="354e5c3",
    licence="MIT",
    size="about 6,200 dialogues of three rounds",
    metric="win rate against the baseline, judged in both orders",
    layout="{helpful-base,helpful-rejection-sampled,helpful-online}/test.jsonl.gz: chosen, a dialogue of Human and "
    "Assistant",
    variants=tuple(ROUNDS),
)


def read(folder: Path, variants: tuple[str, ...]) -> Rows:
    """Yields the first message of each dialogue of the rounds asked for."""
    for variant in variants:
        path = find_file(folder, f"{ROUNDS[variant]}/test.jsonl.gz", f"{ROUNDS[variant]}/test.jsonl")
        for number, row in read_json_lines(path):
            dialogue = f"\n\n{text(row, 'chosen')}"
            message = dialogue.partition(PERSON)[2].partition(ASSISTANT)[0].strip()
            yield asked(Listed(row=f"{variant}/{number}", prompt=message, expect="comply", subset=variant))


ANTHROPIC_HELPFUL = Benchmark(CARD, read)
