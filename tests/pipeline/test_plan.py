"""The plan of a run whose dataset is made."""

from pathlib import Path

import pytest
from tests.report.finished_run import build_finished_run

from spavl.pipeline.plan import plan_train


@pytest.mark.slow
def test_lengths_are_measured_on_the_datasets_own_pairs(tmp_path: Path) -> None:
    """Questions about one picture share its tokens, so a step has fewer than with a row for every answer."""
    _, config = build_finished_run(tmp_path)
    before = sorted(path for path in config.run.rglob("*") if path.name != ".lock")
    plan = plan_train(config)
    assert plan.pairs and 0 < plan.measured_pairs <= plan.pairs
    assert plan.steps == -(-plan.pairs // config.train.batch_size) * config.train.epochs
    assert plan.tokens_per_step < plan.row_tokens_per_step
    assert sorted(path for path in config.run.rglob("*") if path.name != ".lock") == before
