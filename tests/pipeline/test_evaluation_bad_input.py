"""Bad input to an evaluation recipe: a missing picture, a truncated file, a wrong revision, a judge in prose."""

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from PIL import Image
from tests.dataset.preference_rows import png
from tests.evaluate.benchmarks.shapes import siuo, spa_vl
from tests.pipeline.planted_evaluation import evaluated, headline, honest, recipe
from tests.pipeline.planted_server import Asked, PlantedServer, Told

from spavl.errors import UserError


def test_a_missing_picture_is_that_rows_alone(server: PlantedServer, harmful: Path) -> None:
    """Of three questions with a picture the second's is gone: two are asked, one is counted with its reason."""
    folder = harmful / "data" / "imgs" / "01-First" / "SD"
    folder.mkdir(parents=True)
    rows = {str(number): {"Rephrased Question(SD)": f"Placeholder harmful question {number}?"} for number in range(3)}
    (harmful / "data" / "processed_questions" / "01-First.json").write_text(json.dumps(rows))
    (harmful / "data" / "processed_questions" / "02-Second.json").unlink()
    for number in (0, 2):
        (folder / f"{number}.jpg").write_bytes(png(number))
    benchmark = {"name": "mm_safetybench", "path": str(harmful), "variants": ["sd"]}
    figures = evaluated(recipe(server, harmful, benchmarks=[benchmark], ablations=[]))
    coverage = figures.coverage["mm_safetybench"]
    assert (coverage.listed, coverage.samples, coverage.skipped) == (3, 2, {"missing_picture": 1})
    assert headline(figures).models["base"].rate.n == 2


def test_a_picture_in_another_ones_place_is_noticed_whatever_its_size_and_time(
    server: PlantedServer, harmful: Path
) -> None:
    """Of a BMP a byte of a pixel is another one; the file is as long and as old as before."""
    folder = harmful / "data" / "imgs" / "01-First" / "SD"
    folder.mkdir(parents=True)
    path = folder / "0.jpg"
    rows = {"0": {"Rephrased Question(SD)": "Placeholder harmful question 0?"}}
    (harmful / "data" / "processed_questions" / "01-First.json").write_text(json.dumps(rows))
    (harmful / "data" / "processed_questions" / "02-Second.json").unlink()
    Image.new("RGB", (40, 40), "white").save(path, "bmp")
    benchmark = {"name": "mm_safetybench", "path": str(harmful), "variants": ["sd"]}
    config = recipe(server, harmful, benchmarks=[benchmark], ablations=[], compare=["base"])
    evaluated(config)
    times, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-1] + b"\0")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == len(content)
    changed = r"the files of a benchmark changed \(`benchmarks\.0 \(mm_safetybench\)\.files`\)"
    with pytest.raises(UserError, match=changed):
        evaluated(config)


def test_files_that_come_by_themselves_change_no_finished_evaluation(server: PlantedServer, harmful: Path) -> None:
    """What a file manager, an editor and Python leave behind; a file that a reader may read does change it."""
    config = recipe(server, harmful, ablations=[], compare=["base"])
    evaluated(config)
    server.asked.clear()
    for name in (".DS_Store", "data/.questions.json.swp", ".git/HEAD", "__pycache__/a.cpython-311.pyc", "b.pyc"):
        (harmful / name).parent.mkdir(exist_ok=True)
        (harmful / name).write_text("placeholder")
    evaluated(config)
    assert not server.asked
    (harmful / "data" / "processed_questions" / "03-Third.json").write_text("{}")
    with pytest.raises(UserError, match="made with other settings"):
        evaluated(config)


def test_a_truncated_parquet_file_is_named_before_anything_is_asked(server: PlantedServer, tmp_path: Path) -> None:
    spa_vl(tmp_path)
    path = tmp_path / "test/harm-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    benchmark = {"name": "spa_vl_harm_eval", "path": str(tmp_path)}
    with pytest.raises(UserError, match=r"harm-00000-of-00001\.parquet cannot be read .* Get the file again"):
        evaluated(recipe(server, tmp_path / "mm", benchmarks=[benchmark]))
    assert not server.asked


def test_all_damaged_benchmarks_are_named_in_one_error_before_anything_is_asked(
    server: PlantedServer, harmful: Path, tmp_path: Path
) -> None:
    """Of three benchmarks one is in Latin-1 and one is truncated."""
    spa_vl(tmp_path / "spa")
    parquet = tmp_path / "spa" / "test/harm-00000-of-00001.parquet"
    parquet.write_bytes(parquet.read_bytes()[:-20])
    siuo(tmp_path / "siuo")
    table = tmp_path / "siuo" / "siuo_gen.json"
    table.write_bytes(table.read_text().replace("Placeholder", "Caf\xe9").encode("latin-1"))
    benchmarks = [
        {"name": "siuo", "path": str(tmp_path / "siuo")},
        {"name": "mm_safetybench", "path": str(harmful), "variants": ["text"]},
        {"name": "spa_vl_harm_eval", "path": str(tmp_path / "spa")},
    ]
    with pytest.raises(UserError) as caught:
        evaluated(recipe(server, harmful, benchmarks=benchmarks))
    said = str(caught.value)
    assert said.startswith(f"2 of 3 benchmarks cannot be read. siuo: {table} is not UTF-8") and "\n" not in said
    assert f" spa_vl_harm_eval: {parquet} cannot be read" in said and not server.asked


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub on loopback that has every dataset, and of none the revision that is asked for."""

    async def no_revision(request: web.Request) -> web.Response:
        return web.json_response({"error": "Invalid rev id"}, status=404, headers={"X-Error-Code": "RevisionNotFound"})

    loop = asyncio.new_event_loop()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", no_revision)
    runner = web.AppRunner(application)
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{runner.addresses[0][1]}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.usefixtures("hub")
def test_a_wrong_revision_is_named_as_one(server: PlantedServer, harmful: Path) -> None:
    benchmark = {"name": "mm_safetybench", "path": "placeholder/dataset", "revision": "nowhere"}
    with pytest.raises(UserError, match=r"benchmarks\.0\.revision: placeholder/dataset has no revision 'nowhere'"):
        evaluated(recipe(server, harmful, benchmarks=[benchmark]))
    assert not server.asked


def test_a_judge_that_answers_some_in_prose_is_counted_and_lowers_no_rate(server: PlantedServer, harmful: Path) -> None:
    """Prose about questions 20 to 39, of which the base complies with four: of the other 20 it complies with all."""

    def rule(asked: Asked) -> Told:
        if asked.model == "judge" and asked.number >= 20:
            return Told("This answer seems mostly fine to me, all in all.")
        return honest(asked)

    server.rule = rule
    base = headline(evaluated(recipe(server, harmful))).models["base"]
    assert base.outcomes == {"judge_failed": 20, "unsafe": 20} and base.flags == ("incomplete",)
    assert (base.rate.value, base.rate.n, base.rate.lowest, base.rate.highest) == (1.0, 20, 0.5, 1.0)
