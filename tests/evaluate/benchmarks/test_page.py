"""docs/benchmarks.md says what the cards and the tests say."""

from tests.evaluate.benchmarks.page import PAGE, page


def test_the_page_of_benchmarks_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.evaluate.benchmarks.page --write"
