"""What `spavl evaluate` says of a recipe, and its exit code, against a real server with planted answers."""

import html
import json
import re
from pathlib import Path

import pytest
import typer
from benchmarks.judge_marks import with_mark
from tests.pipeline.planted_server import Asked, PlantedServer, Told

from spavl.cli.evaluation import Wishes, end_unfinished, follow_evaluation
from spavl.evaluation_config import EvaluationConfig
from spavl.report.plain_table import ASCII


def test_the_exit_code_says_that_a_model_and_a_judge_were_of_no_use_and_the_figures_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server refuses one model's key. The judge refuses to judge both answers of the other.

    The rules read the one to the harmful question as unsafe.
    """
    (tmp_path / "xstest_prompts.csv").write_text(
        "id,prompt,type\n1,Placeholder question 1?,homonyms\n2,Placeholder question 2?,contrast_homonyms\n"
    )

    def rule(asked: Asked) -> Told:
        if asked.model == "dead":
            return Told("", status=401)
        return Told(
            "I'm sorry, I cannot judge this." if asked.model == "judge" else "Here is how, placeholder step by step."
        )

    with PlantedServer(rule).running() as server:
        served = {"kind": "openai", "base_url": server.url, "retries": 0}
        config = EvaluationConfig.model_validate(
            {
                "run": tmp_path / "run",
                "calls": tmp_path / "calls.sqlite",
                "models": {name: served | {"model": name} for name in ("base", "dead", "judge")},
                "judges": {"rubric": {"kind": "rubric", "model": "judge"}, "rules": {"kind": "rules"}},
                "benchmarks": [{"name": "xstest", "path": str(tmp_path)}],
            }
        )
        with pytest.raises(typer.Exit) as ended:
            follow_evaluation(config, Wishes(None, False, None), as_json=True)
    assert ended.value.exit_code == 1
    told = capsys.readouterr()
    said = json.loads(told.out)
    assert list(said["unfinished"]) == ["answers/dead", "verdicts_rubric"]
    assert "answers/dead: " in told.err and "none of 2 items has a result" in told.err
    rates = {
        name: [one["models"]["base"]["rate"]["value"] for one in found["measures"]["whole"]]
        for name, found in said["results"]["judges"].items()
    }
    assert rates == {"rubric": [None, None], "rules": [0.0, 1.0]}
    assert (tmp_path / "run" / "report" / "index.html").read_text().count("NOT THROUGH") == 2


def test_a_few_failures_of_a_judge_are_said_with_the_command_that_asks_about_these_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 40 answers the judge gives HTTP 500 for those to questions 1 to 4: a tenth, so the stage ends."""
    rows = [f"{number},Placeholder question {number}?,contrast_homonyms" for number in range(1, 41)]
    benchmark = tmp_path / "xstest"
    benchmark.mkdir()
    (benchmark / "xstest_prompts.csv").write_text("\n".join(["id,prompt,type", *rows]))

    def mended(asked: Asked) -> Told:
        if asked.model == "judge":
            return Told(with_mark(asked.text, "Placeholder reason.\n[[SAFE]] [[REFUSED]]"))
        return Told(f"I'm sorry, question {asked.number} is none that I answer.")

    def failing(asked: Asked) -> Told:
        return Told("", status=500) if asked.model == "judge" and asked.number <= 4 else mended(asked)

    with PlantedServer(failing).running() as server:
        served = {"kind": "openai", "base_url": server.url, "retries": 0}
        config = EvaluationConfig.model_validate(
            {
                "run": tmp_path / "run",
                "calls": tmp_path / "calls.sqlite",
                "models": {name: served | {"model": name} for name in ("base", "judge")},
                "judges": {"rubric": {"kind": "rubric", "model": "judge"}},
                "benchmarks": [{"name": "xstest", "path": str(benchmark)}],
            }
        )
        follow_evaluation(config, Wishes(None, False, None), as_json=False)
        assert (
            "verdicts_rubric: 4 of 40 items failed (server_error 4); `spavl evaluate CONFIG --restart-from "
            "verdicts_rubric` asks about these again" in capsys.readouterr().out
        )
        server.rule = mended
        server.asked.clear()
        follow_evaluation(config, Wishes("verdicts_rubric", False, None), as_json=False)
    assert sorted((asked.model, asked.number) for asked in server.asked) == [
        ("judge", number) for number in (1, 2, 3, 4)
    ]
    assert "asks about these again" not in capsys.readouterr().out


@pytest.mark.parametrize("columns", ["44", "200"])
def test_any_number_of_models_stands_in_the_papers_table_row_for_row_as_on_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    """Of questions 2 and 4, which are harmful, `a` complies with both, `b` with one, `c` with none."""
    monkeypatch.setenv("COLUMNS", columns)
    rows = [
        f"{number},Placeholder question {number}?,{'contrast_' * (number % 2 == 0)}homonyms" for number in range(1, 5)
    ]
    (tmp_path / "xstest_prompts.csv").write_text("\n".join(["id,prompt,type", *rows]))

    def rule(asked: Asked) -> Told:
        complies = asked.number <= {"a": 4, "b": 3, "c": 1}[asked.model]
        return Told("Here is how, placeholder step by step." if complies else "I'm sorry, but I can't help with that.")

    with PlantedServer(rule).running() as server:
        served = {"kind": "openai", "base_url": server.url, "retries": 0}
        config = EvaluationConfig.model_validate(
            {
                "run": tmp_path / "run",
                "calls": tmp_path / "calls.sqlite",
                "models": {name: served | {"model": name} for name in "abc"},
                "judges": {"rules": {"kind": "rules"}},
                "benchmarks": [{"name": "xstest", "path": str(tmp_path)}],
            }
        )
        follow_evaluation(config, Wishes(None, False, None), as_json=False)
    printed = capsys.readouterr().out.partition("\nShare of answers, by rules: unsafe")[2].partition("\n\n")[0]
    page = (tmp_path / "run" / "report" / "index.html").read_text().partition("Share of answers, by rules: unsafe")[2]
    table = re.sub("<.*?>", " ", page.partition("<p>")[0].partition("</table>")[0])
    lines, rule_below = printed.splitlines(), r"^-+ +-+$"
    assert max(map(len, lines)) <= int(columns)
    words = " ".join(line for line in lines if not re.match(rule_below, line)).partition("In brackets")[0].split()
    assert sorted(words) == sorted(html.unescape(table).replace("\u2060", "").translate(ASCII).split())
    rates = {"a": "100.0 % (34.2-100.0), n 2", "b": "50.0 % (9.5-90.5), n 2", "c": "0.0 % (0.0-65.8), n 2"}
    assert all(
        re.search(rf"^{re.escape(name)} +{re.escape(rate)}$", printed, re.MULTILINE) for name, rate in rates.items()
    )


def test_whoever_was_of_no_use_is_named_and_ends_the_command_with_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    end_unfinished({})
    with pytest.raises(typer.Exit) as ended:
        end_unfinished({"public/verdicts_guard": "The server is gone."})
    assert ended.value.exit_code == 1
    assert "public/verdicts_guard: The server is gone. These failures are counted" in capsys.readouterr().err
