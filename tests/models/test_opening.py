"""Opening models by name; what must not be imported for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from spavl.config import EmbeddedModelConfig, HfModelConfig, OpenAIModelConfig
from spavl.errors import UserError
from spavl.models import CallStore, local_folder, open_models

SERVER = OpenAIModelConfig(kind="openai", base_url="http://127.0.0.1:1/v1/", model="tiny", concurrency=5)


def test_importing_the_package_and_opening_a_server_need_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from spavl.models import CallStore, open_models\n"
        "from spavl.config import OpenAIModelConfig\n"
        f"server = OpenAIModelConfig.model_validate({SERVER.model_dump()})\n"
        "open_models({'a': server}, CallStore(Path(':memory:')))['a']\n"
        "print([name for name in ('torch', 'transformers', 'huggingface_hub') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_model_is_opened_once_and_says_how_it_wants_to_be_asked(tmp_path: Path, tiny_vlm: Path) -> None:
    configs = {"server": SERVER, "local": HfModelConfig(kind="hf", path=str(tiny_vlm), batch_size=3)}
    models = open_models(configs, CallStore(tmp_path / "calls.sqlite"))
    server, local = models["server"], models["local"]
    assert models["server"] is server
    assert models.open(SERVER.model_copy()) is server
    assert (server.group_size, server.concurrency) == (1, 5)
    assert (local.group_size, local.concurrency) == (3, 1)
    assert server.fingerprint == {"kind": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "tiny"}
    models.close()
    assert models["server"] is not server


def test_a_name_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    models = open_models({"b": SERVER, "a": SERVER}, CallStore(tmp_path / "calls.sqlite"))
    with pytest.raises(UserError, match=r"no model 'c'; `models` has a, b"):
        models["c"]


def test_a_local_models_folder_is_what_training_starts_from(tiny_vlm: Path) -> None:
    assert local_folder(HfModelConfig(kind="hf", path=str(tiny_vlm))) == tiny_vlm
    with pytest.raises(UserError, match="behind a server"):
        local_folder(SERVER)


def test_without_torch_a_local_model_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A None in sys.modules is how Python says that an import fails."""
    monkeypatch.setitem(sys.modules, "torch", None)
    configs = {"a": HfModelConfig(kind="hf", path="x"), "b": EmbeddedModelConfig()}
    models = open_models(configs, CallStore(tmp_path / "calls.sqlite"))
    for name, extra in (("a", "hf"), ("b", "embedded")):
        with pytest.raises(UserError, match=rf"pip install 'spavl\[{extra}\]'"):
            models[name]
