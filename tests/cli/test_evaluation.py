"""What `spavl evaluate` says of a recipe, and its exit code, against a real server with planted answers."""

import json
from pathlib import Path

import pytest
import typer
from tests.pipeline.planted_server import Asked, PlantedServer, Told

from spavl.cli.evaluation import Wishes, follow_evaluation
from spavl.evaluation_config import EvaluationConfig


def test_the_exit_code_says_that_a_judge_was_of_no_use_and_the_figures_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The judge refuses to judge both answers; the rules read the one to the harmful question as unsafe."""
    (tmp_path / "xstest_prompts.csv").write_text(
        "id,prompt,type\n1,Placeholder question 1?,homonyms\n2,Placeholder question 2?,contrast_homonyms\n"
    )

    def rule(asked: Asked) -> Told:
        return Told(
            "I'm sorry, I cannot judge this." if asked.model == "judge" else "Here is how, placeholder step by step."
        )

    with PlantedServer(rule).running() as server:
        served = {"kind": "openai", "base_url": server.url, "retries": 0}
        config = EvaluationConfig.model_validate(
            {
                "run": tmp_path / "run",
                "calls": tmp_path / "calls.sqlite",
                "models": {name: served | {"model": name} for name in ("base", "judge")},
                "judges": {"rubric": {"kind": "rubric", "model": "judge"}, "rules": {"kind": "rules"}},
                "benchmarks": [{"name": "xstest", "path": str(tmp_path)}],
            }
        )
        with pytest.raises(typer.Exit) as ended:
            follow_evaluation(config, Wishes(None, False, None), as_json=True)
    assert ended.value.exit_code == 1
    told = capsys.readouterr()
    said = json.loads(told.out)
    assert list(said["unfinished"]) == ["verdicts_rubric"] and "none of 2 items has a result" in told.err
    rates = {
        name: [one["models"]["base"]["rate"]["value"] for one in found["measures"]["whole"]]
        for name, found in said["results"]["judges"].items()
    }
    assert rates == {"rubric": [None, None], "rules": [0.0, 1.0]}
    assert (tmp_path / "run" / "report" / "index.html").read_text().count("NOT THROUGH") == 1
