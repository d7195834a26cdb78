"""What a build holds in memory at any size, without the hours of asking: the stations' own code on made-up records.

Every stage of SPA-VL's proportions is filled, finished and read as a build does it (`full_build` makes the calls):
three questions a picture, twelve responses a question, a label for each, and a pair judged in both orders. Responses
and labels pass through `map_items` in groups of a hundred, each outcome made where a model would be asked. Prints after
each stage how much memory the process has, and has had at most. It leaves out what asking takes: connections, replies
and the store of calls, which do not depend on how many calls there were.

    python -m benchmarks.build_memory --pairs 10000
    python -m benchmarks.build_memory [--quick] [--json PATH]
"""

import argparse
import asyncio
import hashlib
import json
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from spavl.config import DatasetConfig
from spavl.dataset import Material, assign_splits, build_dataset
from spavl.execution import LazyItems, map_items
from spavl.preferences import draw_comparisons, resolve, safe_rates, safety_groups
from spavl.records import (
    ImageRecord,
    Judgment,
    PreferencePair,
    Question,
    QuestionCheck,
    QuestionType,
    Record,
    Response,
    SafetyLabel,
)
from spavl.store import DecodeLimits, ImageStore, Outcome, RunDirectory, StageDirectory, Usage
from spavl.taxonomy import load_taxonomy

PAIRS = 100_788
QUICK_PAIRS = 3_000
TYPES = (QuestionType.EASY_QUESTION, QuestionType.HARD_QUESTION, QuestionType.HARD_STATEMENT)
RESPONDERS = tuple(f"responder-{number:02}" for number in range(12))
WORDS = "placeholder words that stand for an answer of the length that models give to such a question, more or less "
TEST_SHARE = 265 / PAIRS
GROUP = 100
R = TypeVar("R", bound=Record)
T = TypeVar("T")


class Watch:
    """Notes memory and CPU time after each stage."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._last = time.process_time()

    def note(self, what: str, lines: int) -> None:
        """Notes where the process stands."""
        status = Path("/proc/self/status").read_text()
        now, peak = (int(re.findall(rf"{name}:\s+(\d+)", status)[0]) / 1024 for name in ("VmRSS", "VmHWM"))
        seconds = time.process_time() - self._last
        self._last += seconds
        row = {"stage": what, "lines": lines, "cpu_s": round(seconds, 1), "mb": round(now), "peak_mb": round(peak)}
        self.rows.append(row)
        print(json.dumps(row), flush=True)


class Work:
    """One run that is filled stage by stage."""

    def __init__(self, folder: Path, pairs: int, watch: Watch) -> None:
        self.run, self.watch = RunDirectory(folder), watch
        self.store = ImageStore(folder / "pictures", DecodeLimits())
        self.test = max(1, round(pairs * TEST_SHARE / len(TYPES)))
        self.pictures = pairs // len(TYPES) + self.test
        self.leaves = [leaf.path for leaf in load_taxonomy("spa_vl").leaves]

    def fill(self, name: str, upstream: Sequence[str], items: Mapping[str, R]) -> None:
        """Fills a stage that asks nobody."""
        stage = self.run.stage(name, {}, upstream)
        stage.append_missing(Outcome(item, record=record) for item, record in items.items())
        stage.finish(items)
        self.watch.note(name, len(items))

    async def ask(self, name: str, upstream: Sequence[str], items: Mapping[str, T], answer: Any) -> StageDirectory:  # noqa: ANN401
        """Fills a stage as one that asks models; it is left to be finished."""
        stage = self.run.stage(name, {}, upstream)

        async def work(group: Sequence[tuple[str, T]]) -> tuple[list[Outcome], Usage]:
            return [Outcome(item, record=answer(item, one)) for item, one in group], Usage()

        await map_items(stage, items, work, label=name, group_size=GROUP, concurrency=4)
        return stage

    def image(self, item: str) -> ImageRecord:
        """Makes a picture's record, and the file that the dataset will hold."""
        number = int(item)
        content = hashlib.sha256(item.encode()).digest() * 32
        digest = hashlib.sha256(content).hexdigest()
        path = self.store.path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        leaf = self.leaves[number % len(self.leaves)]
        return ImageRecord(
            sha256=digest,
            format="png",
            width=64,
            height=64,
            perceptual_hash=digest[:16],
            caption="placeholder caption",
            source="pictures",
            source_name=f"{number}.png",
            licence="CC0",
            leaf=leaf,
            keyword="placeholder",
            similarity=0.5,
        )


async def _build(work: Work) -> None:
    run, watch = work.run, work.watch
    numbers = LazyItems(work.pictures, lambda: map(str, range(work.pictures)), work.image)
    work.fill("images", (), numbers)
    images = run.shelf("images", ImageRecord)
    written = LazyItems(
        len(images) * len(TYPES),
        lambda: (f"{one}/{kind}" for kind in TYPES for one in images),
        lambda item: _question(images, item),
    )
    work.fill("questions", ("images",), written)
    everything = run.shelf("questions", Question)
    checks = LazyItems(len(everything), lambda: iter(everything), lambda name: _check(everything[name]))
    work.fill("checked_questions", ("questions",), checks)
    config = DatasetConfig(test_pictures=work.test, validation_pictures=0, cluster_bits=0)
    splits = assign_splits(run.each("images", ImageRecord), config, (), 0)
    asked = run.shelf("questions", Question, keep=lambda question: splits[question["image_id"]] != "test")
    answers = LazyItems(
        len(asked) * len(RESPONDERS),
        lambda: (f"{one}/{name}" for name in RESPONDERS for one in asked),
        lambda item: asked[item[:20]],
    )
    stage = await work.ask("responses", ("checked_questions",), answers, _response)
    stage.finish(answers)
    watch.note("responses", len(answers))
    responses = run.shelf("responses", Response)
    stage = await work.ask("labels", ("responses",), responses, _label)
    rates = safe_rates(responses.values(), stage.shelf(SafetyLabel, by="response_id"), everything)
    stage.finish(responses)
    watch.note("labels", len(responses))
    drawn = draw_comparisons(responses.values(), safety_groups(rates, 5), 1, 0)
    work.fill(
        "judgments",
        ("responses", "labels"),
        LazyItems(len(drawn), lambda: iter(drawn), lambda name: _judgment(drawn[name])),
    )
    resolved = run.stage("preferences", {}, ("judgments", "labels"))
    judgments, labels = (
        run.shelf("judgments", Judgment, by="comparison_id"),
        run.shelf("labels", SafetyLabel, by="response_id"),
    )
    resolve(drawn, judgments, everything, responses, labels, resolved)
    pairs = run.shelf("preferences", PreferencePair)
    watch.note("preferences", len(pairs))
    material = Material(
        images, everything.values(), pairs.values(), {}, run.shelf("checked_questions", QuestionCheck).values()
    )
    build_dataset(material, splits, work.store, run.stage("dataset", {}, ("images", "preferences")))
    watch.note("dataset", len(pairs))


def _question(images: Mapping[str, ImageRecord], item: str) -> Question:
    name, _, kind = item.partition("/")
    text = f"Placeholder harmful question about what is seen in picture {item}, and about its price?"
    return Question(image_id=name, leaf=images[name].leaf, question_type=QuestionType(kind), text=text, writer="w")


def _check(question: Question) -> QuestionCheck:
    return QuestionCheck(question_id=question.id, image_id=question.image_id)


def _response(item: str, question: Question) -> Response:
    responder = item.partition("/")[2]
    text = f"{WORDS * 2}{question.id} {responder}"
    return Response(question_id=question.id, image_id=question.image_id, responder=responder, text=text, finish="stop")


def _label(item: str, response: Response) -> SafetyLabel:
    safe = int(item[-4:], 16) % len(RESPONDERS) <= RESPONDERS.index(response.responder)
    verdict = "safe" if safe else "unsafe"
    return SafetyLabel(response_id=item, judge="j", verdict=verdict, refused=safe, rationale=WORDS)


def _judgment(comparison: Any) -> Judgment:  # noqa: ANN401
    verdict = "first" if comparison.first_id > comparison.second_id else "second"
    names = {"question_id": comparison.question_id, "first_id": comparison.first_id, "second_id": comparison.second_id}
    return Judgment(comparison_id=comparison.id, judge="j", verdict=verdict, rationale=WORDS, **names)


def main() -> None:
    """Fills every stage, and says what memory it took."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.build_memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_PAIRS} pairs")
    parser.add_argument("--json", type=Path, help="also write what was seen here")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--scratch", type=Path, help="where the run lies meanwhile; 15 KB a pair")
    options = parser.parse_args()
    watch = Watch()
    watch.note("start", 0)
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        asyncio.run(_build(Work(Path(scratch), QUICK_PAIRS if options.quick else options.pairs, watch)))
    if options.json:
        options.json.write_text(json.dumps(watch.rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
