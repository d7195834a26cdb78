"""`spavl prompts`: prints packaged prompts, to read or to start a file of one's own from."""

from importlib import resources
from typing import Annotated

import typer

from spavl.cli.options import AsJson, say
from spavl.errors import UserError
from spavl.question_config import CAPTION_PROMPTS, PROMPTS
from spavl.strict_yaml import parse_yaml


def prompts(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join((*PROMPTS, *CAPTION_PROMPTS))}.")] = PROMPTS[0],
    as_json: AsJson = False,
) -> None:
    """Print packaged prompts; a copy with your words is named by `questions.prompts` or `captions.prompt`."""
    if name not in (*PROMPTS, *CAPTION_PROMPTS):
        raise UserError(f"{name!r} are no packaged prompts; there are {', '.join((*PROMPTS, *CAPTION_PROMPTS))}.")
    package = "spavl.questions" if name in PROMPTS else "spavl.images"
    text = (resources.files(package) / "prompt_files" / f"{name}.yaml").read_text(encoding="utf-8")
    say(parse_yaml(text, name), text.splitlines(), as_json)
