"""Writes the model card from the JSON beside the delta and the figures `evaluate.py` left in the work folder.

Without figures it writes the card with that part marked as not measured, so that no old number outlives its model.
"""

import json
from pathlib import Path
from typing import Any

from recipes.mini_vlm.config import WORK

from spavl.embedded.assembly import DELTA

HEAD = """# Model card: spavl mini VLM

A test bench, not a good vision-language model. It is there so that every step of spavl can be run, offline,
on two CPU cores, with a real model that looks at pictures, answers in sentences and has not been aligned.
Quote no figure from it as if it were about a model of ordinary size.

- **Parts**: EfficientNet-lite0 (ImageNet-1k, frozen, its 7 x 7 grid pooled to 4 x 4), a two-layer projector,
  SmolLM2-135M-Instruct with LoRA rank 16 on all linear layers, merged at assembly. 140 M parameters, 5.9 M of
  them trained; 16 image tokens a picture.
- **Form**: `LlavaForConditionalGeneration` in bfloat16; ChatML without a default system prompt; a system turn
  is possible.
- **Loading**: `import spavl.embedded.tower`, then the Auto classes on `spavl.embedded.mini_vlm_folder()`.
- **Pictures with transparency** are to be laid on white first: the processor just drops the alpha channel.
- **Safety**: not aligned. SmolLM2-135M-Instruct complies with many harmful requests, and this model inherits
  that. Nothing harmful was asked or trained here. Do not put it before users.

## Measured

"""
RULE = """Greedy decoding, on the assembled bfloat16 folder loaded through the Auto classes; one training run, so no
figure speaks of the recipe's spread. Wilson 95 % intervals over pictures or questions. Naming is asked as
"{prompt}" and judged by `spavl.embedded.naming`: the first noun phrase must *equal* a name of the picture
(its label, a shortcode, or a head noun that is also a tag). The 15 % of Fluent 3D concepts that were looked
at while designing are in no figure.

| task | n | share (95 %) |
|---|---|---|
"""
TAIL = """
CC BY 4.0 sets: Twemoji (c) Twitter, Inc. and contributors; Emoji One 2.3 (c) Emoji One; Streamline Emojis (c)
Streamline. Captions are emojibase labels (MIT). Backgrounds are CC0 and public-domain pictures of
scikit-image. No GPL and no CC BY-SA material. Fluent 3D was not trained on; Fluent Emoji **Flat**, which
draws the same shapes without shading, was, so naming on Fluent 3D measures a change of rendering more than a
change of drawing. How it was made, command by command: `recipes/mini_vlm/README.md`.

## Known faults

It was trained on drawings: expect little on photographs. It confuses things of like shape. It makes facts up
and repeats itself. Much of its easy-vqa yes/no share is the wording of the questions; see the row beside it.
It has been trained on one picture a turn and one turn a conversation.
"""


def share_row(name: str, share: dict[str, Any]) -> str:
    """Returns one line of the table."""
    low, high = 100 * share["low"], 100 * share["high"]
    return f"| {name} | {share['n']} | {100 * share['share']:.1f} % ({low:.1f}-{high:.1f}) |"


def table(figures: dict[str, Any]) -> str:
    """Returns the table of every measured share, controls beside what they control."""
    seen, vqa = figures["naming_fluent_3d_seen_concepts"], figures["easy_vqa_test"]
    rows = [
        ("naming, Fluent 3D, concepts seen in other styles", seen["right"]),
        ("... judged against another picture's names (shuffled)", seen["shuffled"]),
        (f"... blank picture ({seen['blank']['answer']!r})", seen["blank"]),
        (f"... no picture ({seen['no_picture']['answer'][:50]!r})", seen["no_picture"]),
        ("naming, Fluent 3D, concepts never trained on", figures["naming_fluent_3d_held_out_concepts"]["right"]),
        ("naming, Tux Paint stamps (photographs, foreign)", figures["naming_tuxpaint_photographs"]["right"]),
        ("easy-vqa test", vqa["right"]),
        ("... open questions", vqa["open"]),
        ("... yes/no questions", vqa["yes_no"]),
        ("... yes/no by the wording alone, picture unseen", vqa["yes_no_by_wording_alone"]),
    ]
    return "\n".join(share_row(name, share) for name, share in rows)


def measured(figures: dict[str, Any] | None) -> str:
    """Returns the section on figures, or the remark that there are none."""
    if figures is None:
        return "Not measured yet for this delta: run `recipes.mini_vlm.evaluate --write-card`, then this again.\n"
    talk, seen = figures["conversation"], figures["naming_fluent_3d_seen_concepts"]
    samples = "\n".join(f"- {line}" for line in talk["picture_samples"][:4] + talk["text_samples"][:2])
    return (
        RULE.format(prompt=figures["prompt"])
        + table(figures)
        + f"\n\nOver {seen['right']['n']} pictures there were {seen['distinct_answers']} different answers. "
        + f"Open answers: {talk['text']['n']} text prompts, mean {talk['text']['mean_words']} words; "
        + f"{talk['picture']['n']} questions "
        + f"about pictures, mean {talk['picture']['mean_words']} words; cut at 80 tokens.\n\n{samples}\n"
    )


def main() -> None:
    """Writes MODEL_CARD.md beside the delta."""
    described = json.loads(DELTA.with_suffix(".json").read_text(encoding="utf-8"))
    path = WORK / "figures.json"
    figures = json.loads(path.read_text(encoding="utf-8")) if "measured" in described and path.is_file() else None
    sets = "\n".join(
        f"| {row['set']} | {row.get('pictures', row.get('turns'))} | {row.get('licence', 'Apache-2.0')} |"
        for row in described["training_data"]
    )
    recipe = described["recipe"]
    trained = (
        f"\n## Trained on\n\n{recipe['optimiser_steps']} optimiser steps in {recipe['training_seconds'] // 60} minutes "
        f"on two shared CPU cores.\n\n| set | pictures or turns | licence |\n|---|---|---|\n{sets}\n"
    )
    card: Path = DELTA.with_name("MODEL_CARD.md")
    card.write_text(HEAD + measured(figures) + trained + TAIL, encoding="utf-8")
    print(card)


if __name__ == "__main__":
    main()
