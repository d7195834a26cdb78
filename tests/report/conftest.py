"""A finished run and its report, made once for all tests of the report."""

from pathlib import Path

import pytest
from tests.report.finished_run import Wishes, build_finished_run

from spavl.config import RunConfig
from spavl.report import ReportPaths, write_report
from spavl.report.gather import ReportData, gather
from spavl.store import RunDirectory

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">'\"--></details>"

FinishedRun = tuple[RunDirectory, RunConfig]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return build_finished_run(tmp_path_factory.mktemp("finished"), Wishes(leaves=16, words=HOSTILE))


@pytest.fixture(scope="session")
def data(finished: FinishedRun) -> ReportData:
    return gather(*finished)


@pytest.fixture(scope="session")
def report(finished: FinishedRun) -> ReportPaths:
    return write_report(*finished)


@pytest.fixture(scope="session")
def page(report: ReportPaths) -> str:
    return report.page.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run whose judge could not tell anything and whose chosen answers became less likely."""
    wishes = Wishes(leaves=16, falling=True, silent_judge=True)
    return write_report(*build_finished_run(tmp_path_factory.mktemp("troubled"), wishes)).page
