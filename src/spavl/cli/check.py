"""`spavl check`: validates a configuration before anything is spent."""

import os

from spavl.cli.options import AsJson, ConfigPath, Overrides, say
from spavl.config import OpenAIModelConfig, RunConfig, load_config
from spavl.errors import UserError
from spavl.taxonomy import chosen_leaves, load_taxonomy
from spavl.tracker_config import check_trackers


def check(config: ConfigPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Check a configuration: every field, model name, leaf, key and folder it speaks of."""
    loaded = load_config(config, overrides or ())
    leaves = check_references(loaded)
    result = {"config": loaded.model_dump(mode="json"), "leaves": leaves}
    lines = [
        f"{config}: good.",
        f"  run        {loaded.run}",
        f"  leaves     {leaves}",
        f"  models     {', '.join(f'{name} ({model.kind})' for name, model in loaded.models.items())}",
        f"  responders {', '.join(loaded.responses.responders)}",
    ]
    say(result, lines, as_json)


def check_references(config: RunConfig) -> int:
    """Checks what a configuration points at, and returns the number of leaves it collects for.

    Raises:
        UserError: A leaf is unknown or held out without being collected for, the source of pictures is missing, an API
            key is not set, an answer is begun for a server that is not said to continue it, or a package is missing.
    """
    from spavl.images import check_source
    from spavl.models.prefill import check_prefill  # aiohttp loads here, and not for `--help`
    from spavl.questions import begins_questions
    from spavl.texts.near import check_minhash

    chosen = chosen_leaves(config, load_taxonomy(config.taxonomy))
    check_source(config.images)
    for name, model in config.models.items():
        if isinstance(model, OpenAIModelConfig) and model.api_key_env and model.api_key_env not in os.environ:
            raise UserError(
                f"models.{name}.api_key_env: the environment variable {model.api_key_env} is not set. "
                "Set it to the server's key, or leave the field out."
            )
    check_prefill(config, openings=begins_questions(config.questions))
    if config.checks.near_duplicates:
        check_minhash("checks.near_duplicates")
    check_trackers(config.train.trackers)
    return len(chosen.collected)
