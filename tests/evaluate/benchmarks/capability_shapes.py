"""The capability benchmarks in their documented layouts, small; see `shapes.py`."""

from pathlib import Path

from tests.evaluate.benchmarks.material import encoded, write_json, write_lines, write_picture, write_table

QUESTION = "Placeholder question {}"


def pope(folder: Path) -> None:
    image = "COCO_val2014_000000310196.jpg"
    for variant in ("random", "popular", "adversarial"):
        rows = [
            {"question_id": number, "image": image, "text": f"Is there a {variant} in the image?", "label": label}
            for number, label in enumerate(("yes", "no"), 1)
        ]
        write_lines(folder / f"output/coco/coco_pope_{variant}.json", rows)
    write_picture(folder / f"val2014/{image}", 1)


def multiple_choice(folder: Path, *, name: str) -> None:
    shared = {"hint": "nan", "category": "placeholder", "split": "validation"}
    rows = [
        {"index": 7, "question": "Which?", "A": "cat", "B": "dog", "C": "cow", "answer": "B", "image": encoded(1)},
        {"index": 8, "question": "And now?", "A": "red", "B": "blue", "C": "nan", "answer": "A", "image": "7"},
    ]
    write_table(folder / f"{name}.tsv", [row | shared for row in rows], delimiter="\t")


def vqav2(folder: Path) -> None:
    ask = [{"image_id": 42, "question": QUESTION.format(number), "question_id": number} for number in (420, 421)]
    write_json(folder / "v2_OpenEnded_mscoco_val2014_questions.json", {"questions": ask})
    told = [
        {
            "question_id": number,
            "image_id": 42,
            "question_type": "is",
            "answer_type": "yes/no",
            "multiple_choice_answer": "yes",
            "answers": [{"answer": "yes", "answer_confidence": "yes", "answer_id": one} for one in range(10)],
        }
        for number in (421, 420)
    ]
    write_json(folder / "v2_mscoco_val2014_annotations.json", {"annotations": told})
    write_picture(folder / "val2014/COCO_val2014_000000000042.jpg", 1)


def gqa(folder: Path) -> None:
    rows = {
        f"2{number}": {
            "question": QUESTION.format(number),
            "answer": "left",
            "imageId": "n1",
            "types": {"structural": "query", "semantic": "rel", "detailed": "placeholder"},
        }
        for number in (1, 2)
    }
    write_json(folder / "testdev_balanced_questions.json", rows)
    write_picture(folder / "images/n1.jpg", 1)


def vizwiz(folder: Path) -> None:
    rows = [
        {
            "image": f"VizWiz_val_0000000{number}.jpg",
            "question": QUESTION.format(number),
            "answers": [{"answer": answer, "answer_confidence": "yes"}] * 10,
            "answer_type": answer_type,
            "answerable": int(answer_type == "other"),
        }
        for number, (answer, answer_type) in enumerate((("soup", "other"), ("unanswerable", "unanswerable")))
    ]
    write_json(folder / "val.json", rows)
    for number in range(2):
        write_picture(folder / f"val/VizWiz_val_0000000{number}.jpg", number)


def textvqa(folder: Path) -> None:
    rows = [
        {"question_id": number, "question": QUESTION.format(number), "image_id": "t1", "answers": ["nokia"] * 10}
        for number in (34602, 34603)
    ]
    write_json(folder / "TextVQA_0.5.1_val.json", {"dataset_type": "val", "data": rows})
    write_picture(folder / "train_images/t1.jpg", 1)
