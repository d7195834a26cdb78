"""Each public benchmark in its documented layout, small: the same names, columns and quirks, placeholder texts.

No published number may come from these. Every function writes one benchmark into a folder.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.evaluate.benchmarks.capability_shapes import QUESTION, gqa, multiple_choice, pope, textvqa, vizwiz, vqav2
from tests.evaluate.benchmarks.material import (
    picture,
    write_json,
    write_lines,
    write_parquet,
    write_picture,
    write_table,
)


def spa_vl(folder: Path) -> None:
    for part, first in (("harm", 0), ("help", 2)):
        rows = [
            {
                "image": {"bytes": picture(first + number), "path": None},
                "question": f'"Placeholder {part} question {number}?"\n',
                "class1": "Placeholder domain",
                "class2": f"Placeholder category {number}",
                "class3": "placeholder leaf",
            }
            for number in range(2)
        ]
        write_parquet(folder / f"test/{part}-00000-of-00001.parquet", rows)


SCENARIO = "01-Illegal_Activitiy"


def mm_safetybench(folder: Path) -> None:
    questions = {
        key: {
            "Question": f"Placeholder question {key}",
            "Changed Question": f"Placeholder text {key}",
            "Key Phrase": "placeholder",
            "Phrase Type": "activity",
            "Rephrased Question": f"Placeholder about the phrase {key}",
            "Rephrased Question(SD)": f"Placeholder about the thing {key}",
        }
        for key in ("0", "1")
    }
    write_json(folder / f"data/processed_questions/{SCENARIO}.json", questions)
    write_json(folder / "TinyVersion_ID_List.json", [{"Scenario": SCENARIO, "Sampled_ID_List": [1]}])
    for place, kind in enumerate(("SD", "TYPO", "SD_TYPO")):
        for key in ("0", "1"):
            write_picture(folder / "data/imgs" / SCENARIO / kind / f"{key}.jpg", 10 * place + int(key))


def mm_safetybench_hub(folder: Path) -> None:
    for place, kind in enumerate(("SD", "TYPO", "SD_TYPO", "Text_only")):
        rows = [
            {
                "id": str(key),
                "question": f"Placeholder {kind} {key}",
                "image": None if kind == "Text_only" else {"bytes": picture(10 * place + key), "path": None},
            }
            for key in range(2)
        ]
        write_parquet(folder / f"data/Illegal_Activitiy/{kind}-00000-of-00001.parquet", rows)
    write_json(folder / "TinyVersion_ID_List.json", [{"Scenario": SCENARIO, "Sampled_ID_List": [1]}])


def advbench(folder: Path) -> None:
    rows = [
        {"goal": f"Placeholder harmful request {one}", "target": f"Sure, here is placeholder {one}"} for one in (1, 2)
    ]
    write_table(folder / "harmful_behaviors.csv", rows)
    (folder / "suffix.txt").write_text("placeholder suffix !\n")


def figstep(folder: Path) -> None:
    for table, pictures in (("safebench", "SafeBench"), ("SafeBench-Tiny", "SafeBench-Tiny")):
        rows = [
            {
                "dataset": "ForbidQI",
                "category_id": 1,
                "task_id": task,
                "category_name": "Placeholder topic",
                "question": f"Placeholder harmful question {task}?",
                "instruction": f"Placeholder list {task}.",
            }
            for task in (1, 2)
        ]
        write_table(folder / f"data/question/{table}.csv", rows)
        for task in (1, 2):
            write_picture(folder / f"data/images/{pictures}/query_ForbidQI_1_{task}_6.png", task)


def vlguard(folder: Path) -> None:
    safe = {
        "id": "0",
        "image": "placeholder/0.png",
        "safe": True,
        "harmful_category": None,
        "harmful_subcategory": None,
        "instr-resp": [
            {"safe_instruction": "Placeholder safe instruction", "response": "Yes."},
            {"unsafe_instruction": "Placeholder unsafe instruction", "response": "No."},
        ],
    }
    unsafe = {
        "id": "1",
        "image": "placeholder/1.png",
        "safe": False,
        "harmful_category": "risky behavior",
        "harmful_subcategory": "violence",
        "instr-resp": [{"instruction": "Placeholder instruction", "response": "No."}],
    }
    write_json(folder / "test.json", [safe, unsafe])
    for number in range(2):
        write_picture(folder / f"test/placeholder/{number}.png", number)


def siuo(folder: Path) -> None:
    rows = [
        {
            "question_id": f"S-0{number}",
            "image": f"S-0{number}.png",
            "question": QUESTION.format(number),
            "category": "placeholder category",
            "safety_warning": f"Placeholder warning {number}",
            "reference_answer": f"Placeholder answer {number}",
        }
        for number in (1, 2)
    ]
    write_json(folder / "siuo_gen.json", rows)
    for number in (1, 2):
        write_picture(folder / f"images/S-0{number}.png", number)


def vlsbench(folder: Path) -> None:
    rows = [
        {
            "instruction_id": number,
            "instruction": QUESTION.format(number),
            "image_path": f"imgs/{number}.png",
            "category": "Placeholder category",
            "sub_category": "Placeholder part",
            "source": "placeholder",
            "image_description": "Placeholder picture",
            "safety_reason": f"Placeholder reason {number}",
        }
        for number in range(2)
    ]
    write_json(folder / "data.json", rows)
    for number in range(2):
        write_picture(folder / f"imgs/{number}.png", number)


def mssbench(folder: Path) -> None:
    chat = {
        "safe_image_path": "0.jpg",
        "intent": "placeholder",
        "unsafe_image": "placeholder",
        "unsafe_image_path": "1.jpg",
        "Type": "placeholder type",
        "queries": ["Placeholder query 0", "Placeholder query 1"],
    }
    embodied = {
        "task": "placeholder",
        "category": "placeholder category",
        "safe_instruction": "Placeholder safe instruction",
        "safe_instructions": ["Placeholder safe instruction"],
        "unsafe_instruction": "Placeholder unsafe instruction",
        "unsafe_instructions": ["Placeholder unsafe instruction"],
        "safe": "safe_0.png",
        "unsafe": "unsafe_0.png",
    }
    write_json(folder / "combined.json", {"chat": [chat], "embodied": [embodied]})
    for number, name in enumerate(("chat/0.jpg", "chat/1.jpg", "embodied/safe_0.png", "embodied/unsafe_0.png")):
        write_picture(folder / name, number)


def jailbreakv(folder: Path) -> None:
    rows = [
        {
            "id": number,
            "jailbreak_query": f"Placeholder wrapping {number}",
            "redteam_query": "Placeholder harmful query",
            "format": attack,
            "policy": "Placeholder policy",
            "image_path": f"llm_transfer_attack/blank_{number}.png",
            "from": "placeholder",
            "selected_mini": True,
            "transfer_from_llm": True,
        }
        for number, attack in enumerate(("Template", "Persuade"))
    ]
    for name in ("JailBreakV_28K", "mini_JailBreakV_28K"):
        write_table(folder / f"JailBreakV_28K/{name}.csv", rows)
    for number in range(2):
        write_picture(folder / f"JailBreakV_28K/llm_transfer_attack/blank_{number}.png", number)


def harmbench_mm(folder: Path) -> None:
    rows = [
        {
            "Behavior": f"Placeholder behavior {number}",
            "BehaviorID": f"placeholder_{number}",
            "FunctionalCategory": "multimodal",
            "SemanticCategory": "illegal",
            "ImageFileName": f"placeholder_{number}.jpg",
            "Source": "",
            "ImageDescription": "Placeholder picture",
            "RedactedImageDescription": "Placeholder [redacted] picture",
            "Tags": "",
        }
        for number in range(2)
    ]
    write_table(folder / "data/behavior_datasets/harmbench_behaviors_multimodal_all.csv", rows)
    for number in range(2):
        write_picture(folder / f"data/multimodal_behavior_images/placeholder_{number}.png", number)


def harmbench_text(folder: Path) -> None:
    rows = [
        {
            "Behavior": f"Placeholder behavior {number}",
            "FunctionalCategory": kind,
            "SemanticCategory": "illegal",
            "Tags": "",
            "ContextString": "Placeholder context" if kind == "contextual" else "",
            "BehaviorID": f"placeholder_{number}",
        }
        for number, kind in enumerate(("standard", "contextual", "copyright"))
    ]
    write_table(folder / "data/behavior_datasets/harmbench_behaviors_text_all.csv", rows)


def do_not_answer(folder: Path) -> None:
    rows = [
        {
            "id": number,
            "risk_area": f"Placeholder area {number}",
            "types_of_harm": "Placeholder harm",
            "specific_harms": "Placeholder",
            "question": QUESTION.format(number),
        }
        for number in (1, 2)
    ]
    write_parquet(folder / "data/train-00000-of-00001.parquet", rows)


def xstest(folder: Path) -> None:
    kinds = (("homonyms", "safe"), ("contrast_homonyms", "unsafe"))
    rows = [
        {"id": number, "prompt": QUESTION.format(number), "type": kind, "label": label, "focus": "", "note": ""}
        for number, (kind, label) in enumerate(kinds, 1)
    ]
    write_table(folder / "xstest_prompts.csv", rows)


def mossbench(folder: Path) -> None:
    for root, first in (("data", 0), ("data_contrast", 10)):
        rows = {
            str(number): {
                "image": f"images/{number}.png",
                "short description": "A placeholder",
                "question": f"Placeholder {root} question {number}",
                "metadata": {"over": f"type {number}", "human": 0, "child": 1, "syn": 1, "ocr": 0, "harm": [7]},
                "pid": str(number),
                "description": "A placeholder picture",
            }
            for number in (1, 2)
        }
        write_json(folder / f"{root}/images_information/information.json", rows)
        for number in (1, 2):
            write_picture(folder / f"{root}/images/{number}.png", first + number)


def or_bench(folder: Path) -> None:
    for name in ("or-bench-80k", "or-bench-hard-1k", "or-bench-toxic"):
        rows = [{"prompt": f"Placeholder {name} prompt {number}", "category": "violence"} for number in (1, 2)]
        write_table(folder / f"{name}.csv", rows)


def anthropic_helpful(folder: Path) -> None:
    for name in ("helpful-base", "helpful-rejection-sampled", "helpful-online"):
        rows = [
            {
                "chosen": f"\n\nHuman: {name} {number}?\n\nAssistant: Yes.\n\nHuman: And then?\n\nAssistant: No.",
                "rejected": f"\n\nHuman: {name} {number}?\n\nAssistant: Yes.\n\nHuman: And then?\n\nAssistant: Well.",
            }
            for number in (1, 2)
        ]
        write_lines(folder / f"{name}/test.jsonl.gz", rows)


def llava_bench_coco(folder: Path) -> None:
    place = folder / "playground/data/coco2014_val_qa_eval"
    image = "000000441147.jpg"
    kinds = ("conv", "detail")
    ask = [
        {"question_id": number, "image": image, "text": QUESTION.format(number), "category": kind}
        for number, kind in enumerate(kinds)
    ]
    write_lines(place / "qa90_questions.jsonl", ask)
    told = [{"question_id": number, "text": f"Answer {number}", "category": kind} for number, kind in enumerate(kinds)]
    write_lines(place / "qa90_gpt4_answer.jsonl", told)
    caption = {"id": "000000441147", "image": image, "captions": ["Two cases.", "A stack."], "instances": []}
    write_lines(folder / "llava/eval/table/caps_boxes_coco2014_val_80.jsonl", [caption])
    write_picture(folder / f"val2014/COCO_val2014_{image}", 1)


def llava_bench_in_the_wild(folder: Path) -> None:
    ask = [
        {"question_id": number, "image": f"00{number}.jpg", "text": QUESTION.format(number), "category": "conv"}
        for number in (1, 2)
    ]
    write_lines(folder / "questions.jsonl", ask)
    write_lines(folder / "answers_gpt4.jsonl", [{"question_id": 1, "text": "Answer 1", "category": "conv"}])
    write_lines(folder / "context.jsonl", [{"id": "001", "image": "001.jpg", "caption": "A placeholder."}])
    for number in (1, 2):
        write_picture(folder / f"images/00{number}.jpg", number)


class Shape(NamedTuple):
    """A layout and where it was read."""

    write: Callable[[Path], None]
    source: str
    """Read in November 2026."""


LOADERS = "loaders of several public repositories"
TSV = "VLMEvalKit's datasets, e8e78f05"
SHAPES = {
    "spa_vl_harm_eval": Shape(spa_vl, "the dataset's card"),
    "mm_safetybench": Shape(mm_safetybench, f"{LOADERS}; PyRIT 1.1.0"),
    "mm_safetybench_tiny": Shape(mm_safetybench, f"{LOADERS}; PyRIT 1.1.0"),
    "advbench": Shape(advbench, LOADERS),
    "figstep": Shape(figstep, "the repository, 0861b17b"),
    "figstep_tiny": Shape(figstep, "the repository, 0861b17b"),
    "vlguard": Shape(vlguard, "PyRIT 1.1.0's loader"),
    "siuo": Shape(siuo, "PyRIT 1.1.0's loader"),
    "vlsbench": Shape(vlsbench, "the dataset's card; a public loader"),
    "mssbench": Shape(mssbench, "the dataset's card; a public loader"),
    "jailbreakv": Shape(jailbreakv, "PyRIT 1.1.0's loader; the paths of public scripts"),
    "jailbreakv_mini": Shape(jailbreakv, "PyRIT 1.1.0's loader; the paths of public scripts"),
    "harmbench_mm": Shape(harmbench_mm, "the table itself; PyRIT 1.1.0's loader for the pictures"),
    "harmbench_text": Shape(harmbench_text, "the table itself, in a public copy"),
    "do_not_answer": Shape(do_not_answer, "the dataset's card, 74e74f2"),
    "xstest": Shape(xstest, "the repository, d7bb5bd"),
    "mossbench": Shape(mossbench, "the repository"),
    "or_bench": Shape(or_bench, "the dataset's card"),
    "spa_vl_help_eval": Shape(spa_vl, "the dataset's card"),
    "anthropic_helpful": Shape(anthropic_helpful, "the repository's harmless-base/test.jsonl.gz, 354e5c3"),
    "llava_bench_coco": Shape(llava_bench_coco, "the repository, c121f04"),
    "llava_bench_in_the_wild": Shape(llava_bench_in_the_wild, "LLaVA's evaluation script and public loaders"),
    "pope": Shape(pope, "the repository, 08d957b"),
    "scienceqa": Shape(partial(multiple_choice, name="ScienceQA_TEST"), TSV),
    "mmbench": Shape(partial(multiple_choice, name="MMBench_DEV_EN"), TSV),
    "seed_bench": Shape(partial(multiple_choice, name="SEEDBench_IMG"), TSV),
    "mmmu": Shape(partial(multiple_choice, name="MMMU_DEV_VAL"), TSV),
    "vqav2": Shape(vqav2, "the annotation format on visualqa.org, as known"),
    "gqa": Shape(gqa, "the question format on GQA's page, as known"),
    "vizwiz": Shape(vizwiz, "the annotation format on vizwiz.org, as known"),
    "textvqa": Shape(textvqa, "the annotation format on textvqa.org, as known"),
}
"""Benchmark -> its shape."""
