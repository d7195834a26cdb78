"""The page in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.evaluate.test_measures import RULES
from tests.report.test_tradeoff import MANY, MODELS, material

from spavl.evaluate.figures import evaluation_figures
from spavl.evaluation_config import EvaluationConfig
from spavl.pipeline.evaluation import Evaluated
from spavl.report import ReportPaths
from spavl.report.evaluation import write_evaluation_report

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        yield opened
        opened.close()


class Visit:
    """One page in one window, what it asked for, and what it complained of."""

    def __init__(self, browser: "playwright.Browser", path: Path, width: int, scheme: str) -> None:
        self.page = browser.new_context(
            viewport={"width": width, "height": 844}, color_scheme=scheme, reduced_motion="reduce"
        ).new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())

    def blur(self, place: int) -> str:
        return str(self.page.locator(".veil img").nth(place).evaluate("image => getComputedStyle(image).filter"))


@pytest.fixture
def visit(browser: "playwright.Browser", report: ReportPaths) -> Iterator[Visit]:
    visited = Visit(browser, report.page, 1280, "light")
    yield visited
    visited.page.context.close()


def test_a_picture_is_blurred_until_it_is_clicked(visit: Visit) -> None:
    veil = visit.page.locator(".veil").first
    assert visit.blur(0) == "blur(16px)"
    veil.click()
    assert visit.blur(0) == "none"
    assert visit.blur(1) == "blur(16px)"
    veil.click()
    assert visit.blur(0) == "blur(16px)"


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_picture_is_shown_by_keyboard_and_says_so(visit: Visit, key: str) -> None:
    visit.page.locator("#examples h3").first.click()
    visit.page.keyboard.press("Tab")
    focused = visit.page.locator(":focus")
    assert str(focused.get_attribute("aria-label")).startswith("Show the picture: drawn shapes")
    visit.page.keyboard.press(key)
    assert visit.blur(0) == "none"
    assert focused.get_attribute("aria-pressed") == "true"
    assert str(focused.get_attribute("aria-label")).startswith("Blur the picture: drawn shapes")


def test_answers_to_harmful_questions_open_on_request(visit: Visit) -> None:
    fold = visit.page.locator("#examples details").first
    assert not fold.locator("blockquote").first.is_visible()
    fold.locator("summary").click()
    assert fold.locator("blockquote").first.is_visible()


def test_hostile_answers_do_nothing_and_nothing_leaves_the_page(visit: Visit, report: ReportPaths) -> None:
    for fold in visit.page.locator("#examples details > summary").all():
        fold.click()
    for veil in visit.page.locator(".veil").all():
        veil.click()
    assert visit.page.title() == "demo: alignment report"
    assert visit.page.locator("blockquote").first.inner_text().count("document.title='owned'") == 2
    assert visit.page.locator("blockquote img, blockquote script").count() == 0
    outside = [url for url in visit.requests if not url.startswith("data:") and url != report.page.as_uri()]
    assert outside == []
    assert visit.complaints == []


def test_the_policy_stops_a_script_even_if_it_got_into_the_page(visit: Visit) -> None:
    visit.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p onclick=\"document.title = 1\" id=p>p</p>')")
    visit.page.locator("#p").click()
    visit.page.evaluate("fetch('https://example.invalid/').catch(() => null)")
    assert visit.page.title() == "demo: alignment report"
    assert any("Content Security Policy" in complaint for complaint in visit.complaints)


def test_the_judge_takes_a_part_of_a_phones_screen_and_opens(
    browser: "playwright.Browser", report: ReportPaths
) -> None:
    visit = Visit(browser, report.page, 390, "light")
    banner = visit.page.locator("aside[aria-label='The judge']")
    assert banner.bounding_box()["height"] < 844 / 3
    details = banner.locator("details > p").first
    assert banner.locator("summary").is_visible() and not details.is_visible()
    banner.locator("summary").click()
    assert details.is_visible()
    visit.page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 768, 900, 1280])
def test_nothing_scrolls_sideways(browser: "playwright.Browser", report: ReportPaths, width: int, scheme: str) -> None:
    visit = Visit(browser, report.page, width, scheme)
    visit.page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    assert visit.page.evaluate("document.documentElement.scrollWidth") == width
    visit.page.context.close()


def test_the_text_of_the_figures_is_legible_on_a_phone(browser: "playwright.Browser", report: ReportPaths) -> None:
    visit = Visit(browser, report.page, 390, "light")
    heights = visit.page.evaluate(
        "[...document.querySelectorAll('.plot text')].map(text => text.getBoundingClientRect().height)"
    )
    assert min(heights) >= 10
    visit.page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_paper(browser: "playwright.Browser", report: ReportPaths, scheme: str) -> None:
    """WCAG AA: a contrast of at least 4.5 for every colour that text or a mark has."""
    visit = Visit(browser, report.page, 390, scheme)
    contrasts = visit.page.evaluate(
        """() => {
          const style = getComputedStyle(document.documentElement);
          const light = name => {
            const digits = style.getPropertyValue(`--${name}`).trim().slice(1).match(/../g);
            const [red, green, blue] = digits.map(pair => parseInt(pair, 16) / 255).map(
              part => part <= .03928 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4
            );
            return .2126 * red + .7152 * green + .0722 * blue;
          };
          const paper = light('paper');
          return ['ink', 'muted', 'link', 'before', 'after', 'chosen', 'rejected'].map(name => {
            const other = light(name);
            return (Math.max(paper, other) + .05) / (Math.min(paper, other) + .05);
          });
        }"""
    )
    assert min(contrasts) >= 4.5
    visit.page.context.close()


@pytest.fixture(scope="module")
def evaluation_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten benchmarks, eight of them in one table were it not cut, and four models, of which one is dead."""
    folder = tmp_path_factory.mktemp("evaluation")
    found = material("xstest", "helpful", *MANY)
    config = EvaluationConfig.model_validate(
        {
            "run": folder / "run",
            "judges": {"j": {"kind": "rules"}},
            "models": {name: {"kind": "embedded"} for name in MODELS},
            "benchmarks": [{"name": "xstest", "path": "nowhere"}],
        }
    )
    figures = evaluation_figures(found, MODELS, RULES)
    return write_evaluation_report(Evaluated(figures, {}, folder / "results.json", found, (), {}), config)


@pytest.mark.parametrize("width", [390, 1280])
def test_an_evaluations_tables_and_planes_stay_within_its_column(
    browser: "playwright.Browser", evaluation_page: Path, width: int
) -> None:
    visited = Visit(browser, evaluation_page, width, "light")
    right = "element => element.getBoundingClientRect().right"
    edge = visited.page.locator("main").evaluate(right)
    visited.page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true })")
    drawn = visited.page.locator("table, .plot")
    assert drawn.count() > 20
    assert drawn.evaluate_all(f"all => Math.max(...all.map({right}))") <= edge + 1
    assert visited.page.evaluate("document.documentElement.scrollWidth") <= width
    assert not visited.complaints and len(visited.requests) == 1
    visited.page.context.close()
