"""The page as a file."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.report.conftest import HOSTILE, FinishedRun

from spavl.report import ReportPaths, write_report


class Elements(HTMLParser):
    """Collects the start tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.mark.slow
def test_the_same_run_gives_the_same_page(finished: FinishedRun, report: ReportPaths, page: str) -> None:
    assert write_report(*finished).page.read_text(encoding="utf-8") == page


def test_a_models_words_are_text_and_never_markup(page: str) -> None:
    elements = Elements(page)
    assert HOSTILE not in page
    assert "&lt;script&gt;document.title" in page
    assert len(elements.of("script")) == 1
    assert not [attributes for _, attributes in elements.found if any(name.startswith("on") for name in attributes)]


def test_the_page_asks_for_nothing_from_outside(page: str) -> None:
    elements = Elements(page)
    policy = next(str(one["content"]) for one in elements.of("meta") if one.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "script-src 'sha256-" in policy
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") for image in elements.of("img"))
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page)


def test_links_lead_to_the_files_of_the_run(report: ReportPaths, page: str) -> None:
    links = [str(one["href"]) for one in Elements(page).of("a")]
    targets = [link for link in links if not link.startswith("#")]
    assert len(targets) > 12
    assert all((report.page.parent / link).is_file() for link in targets)
    anchors = {attributes.get("id") for _, attributes in Elements(page).found}
    assert {link[1:] for link in links if link.startswith("#")} <= anchors


def test_the_judge_the_test_bench_and_the_shared_judge_are_named(page: str) -> None:
    for words in (
        "Judged by marker, version 1",
        "sensitivity 93\u00a0% (89–96), n&nbsp;=&nbsp;214",
        "never sees the picture",
        "The same judge labelled the data",
        "embedded test bench",
        "follows from how it is built",
        "nobody picked them",
    ):
        assert words in page


def test_answers_to_harmful_questions_are_folded_behind_a_warning(page: str) -> None:
    """Every UNSAFE answer stands inside a `details` element, between its start and its end."""
    examples = page[page.index('<section id="examples">') : page.index('<section id="reproduce">')]
    outside = re.sub(r"<details>.*?</details>", "", examples, flags=re.DOTALL)
    assert "UNSAFE" in examples
    assert "UNSAFE" not in outside
    assert examples.count("Content warning") == examples.count("<details>") >= 3


@pytest.mark.slow
def test_unscored_runs_say_not_measured_and_alarms_are_loud(troubled: Path) -> None:
    page = troubled.read_text(encoding="utf-8")
    assert "Unsafe answers to harmful questions: not measured." in page
    assert "Not measured: one of the rates has no scored answer." in page
    assert "The preferred answers became less likely." in page
    assert not re.search(r"\b0(\.0)?\s% \(", page[: page.index('<section id="dataset">')])
