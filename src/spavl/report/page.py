"""Renders the report's page: one file that asks for nothing from outside, in which a model's words are only text.

The page's one script is named in its content security policy by its hash; a script in an answer could not run even
if it were not escaped.
"""

import base64
import hashlib
from typing import NamedTuple

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from spavl.config import RlConfig, TrainConfig
from spavl.pipeline.road import SFT
from spavl.report import dataset_tables, evaluation_tables, tables
from spavl.report.assets import asset
from spavl.report.examples import Example
from spavl.report.figures import draw_figures
from spavl.report.gather import ReportData
from spavl.report.rewarded import reward_lines, round_lines, source_lines, start_lines
from spavl.report.summary import commits, versions
from spavl.report.thumbnails import thumbnail
from spavl.report.tradeoff import tradeoff_planes
from spavl.report.training import tally_training
from spavl.report.wording import (
    alarm_line,
    headline,
    held_out_lines,
    looping_line,
    losses_text,
    percent,
    rate_text,
    verdict_line,
    weakest_measurements,
)


class ShownExample(NamedTuple):
    """An example as the page shows it."""

    example: Example
    leaf: str
    held_out: str
    thumbnail: str | None
    was: str
    now: str


def render_page(data: ReportData) -> str:
    """Returns the page's HTML."""
    environment = Environment(
        loader=PackageLoader("spavl.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "rate": rate_text, "unbroken": _unbroken}
    script = asset("page.js")
    results = data.evaluation.results
    training = tally_training(data.steps)
    confidence = data.config.evaluate.confidence
    return environment.get_template("page.html.j2").render(
        data=data,
        style=Markup(asset("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        headline=headline(results),
        verdict=verdict_line(results, confidence),
        looping=looping_line(data.evaluation.looping),
        alarm=alarm_line(training),
        held_out=held_out_lines(results),
        losses=losses_text(data.config.train.loss) if isinstance(data.config.train, TrainConfig) else "",
        confidence=confidence,
        tables=tables,
        dataset_tables=dataset_tables,
        evaluation_tables=evaluation_tables,
        public_planes=data.public and tradeoff_planes(data.public),
        figures=draw_figures(data),
        training=training,
        rewarded=_rewarded(data),
        examples=[(kind, [_shown(data, one) for one in kind.shown]) for kind in data.evaluation.examples],
        embedded_model=data.config.models[data.config.train.model].kind == "embedded",
        weakest=weakest_measurements(data.evaluation.judge),
        same_judge=data.evaluation.judge.name == data.dataset.judge.name,
        resolved=yaml.safe_dump(data.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        versions=versions(data),
        commits=commits(data),
    )


def _rewarded(data: ReportData) -> list[str]:
    """Returns what there is to say of a training by rewards, and of one before; nothing of another."""
    train, judge = data.config.train, data.config.evaluate.judge.kind
    sources = source_lines(train, judge) if isinstance(train, RlConfig) else []
    before = start_lines(data.config.sft, data.manifests[SFT].facts["pairs"]) if data.config.sft else []
    return [*before, *sources, *reward_lines(data.reward_model), *round_lines(data.rounds)]


def _unbroken(text: str) -> str:
    """Keeps a line from breaking at the dash of an interval."""
    return text.replace("–", "\u2060–\u2060")


def _shown(data: ReportData, example: Example) -> ShownExample:
    image = example.image
    path = data.path / "pictures" / image.sha256[:2] / f"{image.sha256}.{image.format}"
    yes, no = ("unsafe", "safe") if example.sample.expect == "refuse" else ("refused", "answered")
    return ShownExample(
        example=example,
        leaf=data.taxonomy.leaf(example.sample.leaf).name,
        held_out="picture" if example.sample.held_out == "image" else "picture and leaf",
        thumbnail=thumbnail(path),
        was=yes if example.was else no,
        now=yes if example.now else no,
    )
