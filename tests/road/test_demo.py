"""The demo, made small: the embedded model, judge and pictures go the whole road."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import pytest

from spavl.pipeline.road import STAGES
from spavl.store import Manifest

ROOT = Path(__file__).parents[2]
SMALL = (
    "images.leaves=[theft, weapon, gamble, illegal drugs]",
    "dataset.held_out_leaves=[gamble]",
    "questions.max_tokens=16",
    "train.lora.rank=2",
    "evaluate.max_tokens=12",
    "evaluate.naming_pictures=4",
    "evaluate.public_benchmarks=[{name: xstest, limit: 4}]",
)


def spavl(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "spavl", *arguments], cwd=ROOT, capture_output=True, text=True)


SMALL_PPO = (
    "sft.lora.rank=2",
    "sft.epochs=1",
    "reward.lora.rank=2",
    "reward.epochs=1",
    "train.rounds=2",
    "train.prompts_per_round=2",
    "train.answers_per_prompt=2",
    "train.max_tokens=12",
    "train.no_end_rounds=3",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    done = spavl("demo", f"run={folder / 'run'}", f"calls={folder / 'calls.sqlite'}", *SMALL)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.mark.slow
def test_every_stage_is_finished_and_its_counts_add_up(run: Path) -> None:
    for stage in STAGES:
        counts = Manifest.model_validate_json((run / stage / "manifest.json").read_bytes()).counts
        assert counts.items == counts.records + counts.failures + counts.dropped, stage
        assert counts.items > 0 or stage == "captions"  # no writer is configured
        assert sum(counts.by_reason.values()) == counts.failures + counts.dropped, stage


@pytest.mark.slow
def test_the_summary_has_what_other_programs_read(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_bytes())
    for metric in ("unsafe_rate", "benign_refusal_rate", "naming_accuracy"):
        for when in ("before", "after"):
            assert {"value", "n", "low", "high"} <= set(summary["evaluation"][metric][when])
    assert {"value", "n", "low", "high"} <= set(summary["evaluation"]["win_rate"])
    for stage in STAGES:
        assert {"items", "records", "failures", "dropped"} <= set(summary["counts"][stage])
        assert summary["seconds"][stage] >= 0
    assert summary["versions"]["torch"].startswith("2.13.0")
    public = summary["public_benchmarks"]
    assert public["data_origin"] == {"xstest": "real"} and public["coverage"]["xstest"]["listed"] == 250
    assert set(public["judges"]["embedded"]["measures"]["whole"][0]["models"]) == {"before", "after"}
    assert (run / "public" / "report" / "index.html").exists()
    assert "Public benchmarks" in (run / "report" / "index.html").read_text()


@pytest.mark.slow
def test_the_dataset_opens_and_no_picture_stands_on_both_sides(run: Path, tmp_path: Path) -> None:
    pairs = datasets.load_dataset(str(run / "dataset"), cache_dir=str(tmp_path))["train"]
    test = datasets.load_dataset(str(run / "dataset"), "test", cache_dir=str(tmp_path))
    assert pairs.num_rows > 0 and pairs[0]["images"][0].size[0] > 0
    tested = {row for split in test.values() for row in split["image_id"]}
    assert tested and not tested & set(pairs["image_id"])
    assert "gamble" not in pairs["class3"]


@pytest.mark.slow
def test_show_walks_from_a_pair_to_its_picture(run: Path) -> None:
    lines = (json.loads(line) for line in (run / "preferences" / "results.jsonl").read_text().splitlines())
    pair = next(line["record"] for line in lines if line["record"])
    done = spavl("show", pair["id"], "--run", str(run), "--json")
    chain = json.loads(done.stdout)["lineage"]
    assert chain[0]["id"] == pair["id"]
    assert {one["stage"] for one in chain} == {"preferences", "judgments", "responses", "questions", "images"}
    picture = next(one for one in chain if one["stage"] == "images")
    assert (run / "pictures" / picture["sha256"][:2] / f"{picture['sha256']}.png").exists()


@pytest.mark.slow
def test_the_aligned_model_loads_with_transformers_alone_but_for_its_tower(run: Path) -> None:
    probe = (
        "import sys; import spavl.embedded.tower; from transformers import AutoModelForImageTextToText, AutoProcessor;"
        "m = AutoModelForImageTextToText.from_pretrained(sys.argv[1]); AutoProcessor.from_pretrained(sys.argv[1]);"
        "print(type(m).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", probe, str(run / "train" / "model")], capture_output=True, text=True)
    assert "LlavaForConditionalGeneration" in done.stdout, done.stderr


@pytest.mark.slow
def test_an_aligned_model_that_is_gone_is_made_again(run: Path) -> None:
    weights = (run / "train" / "model" / "model.safetensors").read_bytes()
    shutil.rmtree(run / "train" / "model")
    done = spavl("demo", f"run={run}", f"calls={run.parent / 'calls.sqlite'}", *SMALL)
    assert done.returncode == 0 and "pairs trained on, 0 dropped" in done.stdout, done.stderr
    assert (run / "train" / "model" / "model.safetensors").read_bytes() == weights


@pytest.mark.slow
def test_a_setting_changed_in_a_finished_run_is_refused_with_two_ways_out(run: Path) -> None:
    calls = run.parent / "calls.sqlite"
    done = spavl("demo", f"run={run}", f"calls={calls}", *SMALL, "train.lora.rank=4")
    assert done.returncode == 2
    assert "train.lora.rank" in done.stderr and "--restart-from train" in done.stderr and "run=" in done.stderr


@pytest.mark.slow
def test_the_demo_by_ppo_shares_the_calls_and_shows_the_other_method_beside(run: Path) -> None:
    """Two rounds of 2 x 2 answers, each scored by a model and a judge; both trainings begin from what sft made."""
    folder = run.parent
    places = (f"run={folder / 'ppo'}", f"calls={folder / 'calls.sqlite'}", f"beside={run}")
    done = spavl("demo", "--method", "ppo", *places, *SMALL, *SMALL_PPO)
    assert done.returncode == 0, done.stderr
    rounds = [json.loads(line) for line in (folder / "ppo" / "train" / "metrics.jsonl").read_text().splitlines()]
    assert [line["answers"] for line in rounds] == [4, 4]
    assert all(line["scores"].keys() == {"0_reward", "1_embedded"} for line in rounds)
    for name in ("reward", "train"):  # what goes on from the model that sft made
        begun = json.loads((folder / "ppo" / name / "train.json").read_text())["identity"]["weights"]
        assert begun == json.loads((folder / "ppo" / "sft" / "train.json").read_text())["result"]["weights_sha256"]
    page = (folder / "ppo" / "report" / "index.html").read_text()
    assert "(loss sft, epochs 1)" in page and "2 rounds, 8 answers" in page and "Reward of an answer" in page
    assert (folder / "ppo" / "dataset" / "results.jsonl").read_bytes() == (
        run / "dataset" / "results.jsonl"
    ).read_bytes()
