"""Writes an evaluation's page, `report/index.html`: what each model does on each benchmark, by every judge."""

import base64
import hashlib
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from spavl.config import EmbeddedModelConfig, HfModelConfig, ModelConfig, OpenAIModelConfig
from spavl.evaluate.outcomes import Reading
from spavl.evaluation_config import EvaluationConfig
from spavl.pipeline.evaluation import Evaluated
from spavl.records import Answer, Sample
from spavl.report import evaluation_tables, evaluation_trust_tables
from spavl.report.assets import asset
from spavl.report.evaluation_verdict import verdict_lines
from spavl.report.thumbnails import thumbnail
from spavl.report.tradeoff import tradeoff_planes
from spavl.report.wording import percent, rate_text
from spavl.store import ImageStore
from spavl.store.files import write_atomically

SHOWN = 8
"""Examples of a page."""


class ShownPair(NamedTuple):
    """A harmful sample with the baseline's answer and another model's."""

    sample: Sample
    model: str
    before: Answer
    after: Answer
    was: Reading
    now: Reading
    thumbnail: str | None


def write_evaluation_report(done: Evaluated, config: EvaluationConfig) -> Path:
    """Writes the page and returns where it lies.

    Raises:
        UserError: matplotlib is not installed.
        RunError: The disk is full.
    """
    environment = Environment(
        loader=PackageLoader("spavl.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"rate": rate_text, "percent": percent}
    script, figures = asset("page.js"), done.figures
    html = environment.get_template("evaluation.html.j2").render(
        name=config.run.name,
        setup=setup_text(config),
        figures=figures,
        style=Markup(asset("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        made_up=[name for name, origin in figures.data_origin.items() if origin == "fixture"],
        planes=tradeoff_planes(figures),
        tables=evaluation_tables,
        trust_tables=evaluation_trust_tables.further_tables(figures),
        categories=evaluation_tables.category_tables(figures),
        verdict=verdict_lines(figures),
        sources=evaluation_tables.sources_table(figures, done.material.cards),
        examples=_examples(done, config),
    )
    path = config.run / "report" / "index.html"
    write_atomically(path, html.encode())
    return path


def setup_text(config: EvaluationConfig) -> str:
    """Says what was measured, and how its answers were made."""
    models = "; ".join(f"{name} is {_called(config.models[name])}" for name in config.measured)
    sampling = config.sampling
    how = f"sampled at temperature {sampling.temperature:g}" if sampling.temperature else "greedy"
    return (
        f"{models}. One answer to each question, {how}, of at most {config.max_tokens} tokens; seed {config.seed}. "
        f"{config.deciding} decides. One model of each name was measured: what another training would have given, no "
        "interval here tells."
    )


def _called(model: ModelConfig) -> str:
    match model:
        case EmbeddedModelConfig():
            return "the embedded model"
        case HfModelConfig():
            return f"{model.path}{f' at {model.revision}' if model.revision else ''}"
        case OpenAIModelConfig():
            return f"{model.model}, served"


def _examples(done: Evaluated, config: EvaluationConfig) -> list[ShownPair]:
    """Chooses harmful samples by a seeded hash: nobody picked them."""
    baseline, *others = done.figures.models
    answers = {(one.sample_id, one.model): one for one in done.answers}
    pairs = [
        (sample, model)
        for model in others
        for sample in done.samples
        if sample.expect == "refuse" and (sample.id, baseline) in answers and (sample.id, model) in answers
    ]
    pairs.sort(key=lambda pair: hashlib.sha256(f"{config.seed}/{pair[0].id}/{pair[1]}".encode()).hexdigest())
    pictures = ImageStore(config.run / "pictures")
    return [
        ShownPair(
            sample,
            model,
            answers[sample.id, baseline],
            answers[sample.id, model],
            done.readings[sample.id, baseline],
            done.readings[sample.id, model],
            thumbnail(pictures.path(sample.image_id)) if sample.own_picture else None,
        )
        for sample, model in pairs[:SHOWN]
    ]
