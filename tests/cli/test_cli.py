"""The command line as a person meets it: help at once, one clear line for what is wrong, JSON on every verb."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.evaluate.benchmarks.shapes import siuo

from spavl.cli.check import check_references
from spavl.cli.main import VERBS
from spavl.config import RunConfig, load_config
from spavl.errors import UserError
from spavl.questions import load_prompts
from spavl.records import Question
from spavl.store import Outcome, RunDirectory

ROOT = Path(__file__).parents[2]
MINI_AND_SERVED = {
    "mini": {"kind": "embedded"},
    "served": {"kind": "openai", "base_url": "http://localhost:1/v1", "model": "m"},
}


def spavl(*arguments: str, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "spavl", *arguments]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=120, env=os.environ | (environment or {})
    )


def demo_config(tmp_path: Path, **changes: object) -> Path:
    body = yaml.safe_load(spavl("demo", "--print-config").stdout)
    body["run"] = str(tmp_path / "run")
    body["calls"] = str(tmp_path / "calls.sqlite")
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(body | changes))
    return path


def test_an_interrupted_verb_says_that_the_same_command_goes_on() -> None:
    """A verb that gets Ctrl-C's signal while it works; a job in the background, as these tests may be, ignores it."""
    heard = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    verb = "app.command('work')(lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(60)))"
    program = f"import os, signal, time; from spavl.cli.main import app, main; {heard}; {verb}; main()"
    done = subprocess.run([sys.executable, "-c", program, "work"], capture_output=True, text=True, timeout=50)
    said = "spavl: stopped; what was finished is kept, the same command goes on from here.\n"
    assert (done.returncode, done.stdout, done.stderr) == (130, "", said)


def test_help_does_not_load_the_models_libraries() -> None:
    """Half a second would go on each of them."""
    heavy = ("torch", "transformers", "pyarrow", "scipy", "PIL", "numpy", "aiohttp")
    probe = f"import sys; import spavl.cli.main; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_help_lists_every_verb_and_each_takes_json() -> None:
    overview = spavl("--help").stdout
    for verb in VERBS:
        assert verb.__name__ in overview
        assert "--json" in spavl(verb.__name__, "--help").stdout


def test_taxonomy_prints_the_tree_and_its_counts() -> None:
    text = spavl("taxonomy").stdout
    assert "domains: 6, categories: 15, subcategories: 53, keywords: 318" in " ".join(text.split())
    assert "payday lending" in text and "paypal lending" in text
    assert json.loads(spavl("taxonomy", "--json").stdout)["counts"]["subcategories"] == 53


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_loads(path: Path) -> None:
    assert load_config(path).models


def test_check_says_what_a_good_configuration_will_do(tmp_path: Path) -> None:
    done = spavl("check", str(demo_config(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert "good" in done.stdout and "53" in done.stdout


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sed": 3}, ["`sed`", "not a known key"]),
        ({"images": {"leaves": ["thefd"]}}, ["thefd", "theft"]),
        ({"images": {"leaves": ["theft", "weapon"]}}, ["dataset.held_out_leaves", "'gamble'", "images.leaves"]),
        ({"images": {"source": {"kind": "folder", "path": "no/such/folder"}}}, ["no/such/folder", "not a folder"]),
        ({"images": {"source": {"kind": "table", "path": "no/such.parquet"}}}, ["no/such.parquet", "is not there"]),
        ({"images": {"source": {"kind": "dataset", "path": "/no/such"}}}, ["/no/such", "neither a folder"]),
        ({"images": {"source": {"kind": "webdataset", "path": "no/*.tar"}}}, ["no/*.tar", "names no tar file"]),
        ({"images": {"remove": "no/such.txt"}}, ["images.remove", "no/such.txt"]),
        ({"questions": {"writer": "nobody"}}, ["questions.writer", "nobody", "mini"]),
        ({"taxonomy": "no/such/file.yaml"}, ["no/such/file.yaml"]),
        ({"images": {"leaves": "theft"}}, ["images.leaves", "a list", "'theft'"]),
        ({"run": "runs/" + 300 * "a"}, ["`run`", "too long", "255"]),
        (
            {"models": MINI_AND_SERVED, "questions": {"writer": "served", "prompts": "small_v1"}},
            ["served.prefill=true"],
        ),
        ({"questions": {"writer": "mini", "prompts": "standrad_v2"}}, ["questions.prompts: standrad_v2", "small_v1"]),
        ({"captions": {"prompt": "nowhere.yaml"}}, ["captions.prompt: nowhere.yaml: No such file", "caption_v1"]),
        ({"train": {"model": "mini", "beta": -1}}, ["train.beta", "-1"]),
        ({"train": {"model": "mini", "loss": [{"kind": "dpo"}]}}, ["train.loss.0.kind", "'dpo'", "'sigmoid'"]),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2(tmp_path: Path, change: dict, words: list[str]) -> None:
    done = spavl("check", str(demo_config(tmp_path, **change)))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def test_printed_prompts_are_a_file_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(spavl("prompts", "small_v1").stdout)
    assert load_prompts(str(own)) == load_prompts("small_v1")
    assert spavl("prompts", "small_v3").returncode == 2


def test_check_takes_a_training_recipe_and_knows_its_judges_models(tmp_path: Path) -> None:
    path = ROOT / "configs" / "train" / "spa_vl_rloo_llava15_7b_lora.yaml"
    served = "models={guard: {kind: openai, base_url: http://127.0.0.1:9/v1, model: g, api_key_env: SPAVL_TEST_NO_KEY}}"
    judge = "train.reward=[{kind: judge, judge: {kind: llama_guard_4, model: guard}}]"
    assert (
        "guard (openai)"
        in spavl("check", str(path), served.replace(", api_key_env: SPAVL_TEST_NO_KEY", ""), judge).stdout
    )
    for overrides, said in (
        ([judge], "train.reward.0.judge.model: there is no model 'guard'"),
        ([judge, served], "models.guard.api_key_env"),
    ):
        done = spavl("check", str(path), *overrides)
        assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and said in done.stderr


def test_a_build_that_begins_answers_for_a_server_ends_before_it_makes_anything(tmp_path: Path) -> None:
    responders = {"plain": {"model": "mini"}, "begun": {"model": "served", "answer_prefix": "Sure,"}}
    path = demo_config(tmp_path, models=MINI_AND_SERVED, responses={"responders": responders})
    done = spavl("build", str(path))
    assert done.returncode == 2
    assert "responses.responders.begun.answer_prefix" in done.stderr and "served.prefill=true" in done.stderr
    assert not (tmp_path / "run" / "images").exists()


def test_a_check_says_everything_that_is_wrong_at_once(tmp_path: Path) -> None:
    """A leaf, a folder and two keys: four lines."""
    server = "{{kind: openai, base_url: 'http://localhost:1/v1', model: x, api_key_env: {}}}"
    wrong = [
        "images.leaves=[no such leaf]",
        f"images.source={{kind: folder, path: {tmp_path / 'nowhere'}}}",
        *(f"models.{name}={server.format(f'NO_SUCH_KEY_{name}')}" for name in ("one", "two")),
    ]
    with pytest.raises(UserError) as caught:
        check_references(load_config(demo_config(tmp_path), wrong))
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "images.leaves",
        "images.source.path",
        "models.one.api_key_env",
        "models.two.api_key_env",
    ]
    assert "no such leaf" in lines[0]


WITHOUT_PACKAGES = """
import sys
from pathlib import Path
import spavl.pipeline, spavl.report, spavl.train
from spavl.cli.check import check_references
from spavl.cli.road import travel
from spavl.config import load_config
from spavl.models.prefill import check_prefill
from spavl.errors import UserError
config = load_config(Path(sys.argv[1]), ["train.trackers=[tensorboard]"])
sys.path = []
for verb in (lambda: check_references(config), lambda: travel(config, ("build", "train"), None, False)):
    try:
        verb()
    except UserError as error:
        print(error)
"""


def test_a_missing_tracker_is_said_by_check_and_before_anything_is_built(tmp_path: Path) -> None:
    """What is loaded stays; with an empty search path no further package is installed."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PACKAGES, str(demo_config(tmp_path))], capture_output=True, text=True
    )
    assert done.stdout.count("train.trackers: tensorboard is not installed") == 2, done.stderr
    assert not (tmp_path / "run" / "images").exists()


def test_a_missing_key_names_the_variable_and_a_set_one_is_not_printed(tmp_path: Path) -> None:
    served = {"kind": "openai", "base_url": "http://localhost:1/v1", "model": "m", "api_key_env": "SPAVL_TEST_KEY"}
    path = demo_config(tmp_path, models={"mini": {"kind": "embedded"}, "served": served})
    missing = spavl("check", str(path))
    assert missing.returncode == 2 and "SPAVL_TEST_KEY" in missing.stderr
    found = spavl("check", str(path), "--json", environment={"SPAVL_TEST_KEY": "placeholder-secret"})
    assert found.returncode == 0
    assert "placeholder-secret" not in found.stdout + found.stderr


def test_errors_are_json_too_where_json_is_asked_for(tmp_path: Path) -> None:
    done = spavl("check", str(tmp_path / "none.yaml"), "--json")
    assert json.loads(done.stdout)["exit_code"] == done.returncode == 2


def test_no_pictures_is_one_line_and_leaves_no_stage_half_done(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    source = {"kind": "folder", "path": str(tmp_path / "empty")}
    done = spavl("build", str(demo_config(tmp_path, images={"source": source})))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "picture" in done.stderr
    assert not (tmp_path / "run" / "questions").exists()


def test_show_needs_a_run_that_is_there(tmp_path: Path) -> None:
    done = spavl("show", "img-0", "--run", str(tmp_path / "none"))
    assert done.returncode == 2 and "no such run" in done.stderr


def test_show_lists_the_ids_that_begin_alike(tmp_path: Path) -> None:
    questions = [
        Question(image_id="img-1", leaf="a/b/c", question_type="easy_question", text=f"placeholder {n}", writer="w")
        for n in range(2)
    ]
    stage = RunDirectory(tmp_path).stage("questions", {})
    stage.append([Outcome(question.text, record=question) for question in questions])
    done = spavl("show", "que-", "--run", str(tmp_path))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert all(question.id in done.stderr for question in questions)
    assert spavl("show", questions[1].id, "--run", str(tmp_path)).returncode == 0


def test_what_only_a_replay_may_leave_out_is_refused_without_one(tmp_path: Path) -> None:
    done = spavl("build", str(demo_config(tmp_path)), "--allow-missing")
    assert done.returncode == 2 and "--replay" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_plan_and_a_replay_together_are_one_clear_error(tmp_path: Path) -> None:
    done = spavl("build", str(demo_config(tmp_path)), "--plan", "--replay")
    assert done.returncode == 2 and "one of the two" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


# -- evaluation recipes ------------------------------------------------------------------------------------------------


def evaluation_recipe(tmp_path: Path, **changes: object) -> Path:
    (tmp_path / "xstest").mkdir()
    (tmp_path / "xstest" / "FIXTURE").touch()
    (tmp_path / "xstest" / "xstest_prompts.csv").write_text(
        "id,prompt,type\n1,Placeholder safe question?,homonyms\n2,Placeholder harmful question?,contrast_homonyms\n"
    )
    body = {
        "run": str(tmp_path / "run"),
        "calls": str(tmp_path / "calls.sqlite"),
        "models": {"served": MINI_AND_SERVED["served"]},
        "judges": {"rules": {"kind": "rules"}},
        "benchmarks": [{"name": "xstest", "path": str(tmp_path / "xstest")}],
    }
    path = tmp_path / "evaluation.yaml"
    path.write_text(yaml.safe_dump(body | changes))
    return path


def test_check_says_of_a_recipes_benchmarks_what_is_listed_and_what_is_left_out(tmp_path: Path) -> None:
    """Of SIUO's two rows one has lost its picture."""
    recipe = evaluation_recipe(tmp_path)
    said = spavl("check", str(recipe))
    counted_rows = "2 rows listed of the 450 rows that the benchmark has, 2 can be asked, 0 with a picture\n"
    assert said.returncode == 0 and f"benchmark  xstest: {counted_rows}" in said.stdout
    siuo(tmp_path / "siuo")
    (tmp_path / "siuo" / "images" / "S-02.png").unlink()
    told = spavl("check", str(recipe), f"benchmarks=[{{name: siuo, path: {tmp_path / 'siuo'}}}]", "--json")
    counted = {"listed": 2, "published": 167, "can_be_asked": 1, "with_picture": 1, "left_out": {"missing_picture": 1}}
    assert json.loads(told.stdout)["coverage"] == {"siuo": counted}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"judge": "rule"}, "judge: there is no 'rule'; choose one of rules"),
        ({"judges": {"a": {"kind": "rubric", "model": "served"}}}, "every model is behind a judge"),
        ({"ablations": ["black"]}, "`ablations.0`"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_one_line(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    done = spavl("evaluate", str(evaluation_recipe(tmp_path, **changes)))
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1


def test_a_run_has_no_rejudging_and_a_recipe_is_no_run(tmp_path: Path) -> None:
    assert "are for evaluation recipes" in spavl("evaluate", str(demo_config(tmp_path)), "--rejudge").stderr
    assert "is a key of evaluation recipes" in spavl("build", str(evaluation_recipe(tmp_path))).stderr


def test_the_demo_by_ppo_has_the_same_data_and_a_reward_model_of_its_own_run() -> None:
    """All but the five keys in `own` is the demo's; the reward lies in the run, wherever that is."""
    plain = yaml.safe_load(spavl("demo", "--print-config").stdout)
    rewarded = yaml.safe_load(spavl("demo", "--method", "ppo", "--print-config", "run=elsewhere").stdout)
    config = RunConfig.model_validate(rewarded)
    assert config.train.method == "ppo" and config.reward is not None
    assert [one.get("path") for one in rewarded["train"]["reward"]] == ["elsewhere/reward", None]
    own = {"run", "sft", "train", "reward", "beside"}
    assert {key: value for key, value in rewarded.items() if key not in own} == {
        key: value for key, value in plain.items() if key not in own
    }
