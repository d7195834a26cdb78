"""Reinforcement learning's phases: seconds and tokens of each, beside the forms that share nothing.

The model has LLaVA-1.5's proportions and random weights: 576 tokens a picture, 40 of a question, answers of 150, k to a
prompt. Seconds are the process's CPU time with one thread, so that what else runs on the machine counts little; tokens
are counted, not measured. Everything is the library's own: trees, passes, update, generation.

    generation   the prefix read once for k answers, beside transformers' `generate` row by row
    scoring      heads that share weights read in one pass, beside a pass each, and beside rows with a tower pass each
    update       one inner epoch of PPO (policy and critic, adapters over one base) and of RLOO, beside a row an answer

    python -m benchmarks.ppo_phases [--quick] [--json PATH]
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from benchmarks.dpo_vs_trl.shapes import BEGIN, END, FIRST_WORD, IMAGE, llava15
from torch import Tensor
from torch.optim import AdamW

from spavl.config import LoraSettings
from spavl.models.generation import Decoding, generate
from spavl.models.loading import Vlm
from spavl.models.prefixes import Prompt
from spavl.rl_config import RlConfig, RuleRewardConfig
from spavl.train.checkpoint import TrainingState
from spavl.train.engine import Engine
from spavl.train.families import Encoded, family_of
from spavl.train.policy import open_policy
from spavl.train.render import Row
from spavl.train.rl.experience import Scores, know, weigh
from spavl.train.rl.reading import Body, Wanted, adapter_active, read
from spavl.train.rl.roles import CRITIC, POLICY, Roles, add_adapter
from spavl.train.rl.steering import Steering
from spavl.train.rl.update import Round, plan_round, update
from spavl.train.scalar_head import ScalarHead
from spavl.train.tree import PackedTrees, row_tokens

QUESTION, ANSWER = 40, 150
PROMPTS = 2
BUDGET = 4096
LORA = LoraSettings(rank=16, alpha=32)


class RowEngine(Engine):
    """The engine with a row for every answer, as peers have it."""

    def pack(self, rows: Sequence[Row], places: Sequence[int]) -> list[PackedTrees]:
        """Packs every answer by itself."""
        return [packed for place in places for packed in super(RowEngine, self).pack(rows, [place])]


class Bench(NamedTuple):
    """The model and what it is asked."""

    model: Any
    pixels: Tensor
    roles: Callable[[str, type[Engine]], Roles]
    engine: Engine


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ppo_phases",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a smaller model, and fewer tokens generated")
    parser.add_argument("--repeats", type=int, default=2, help="of each measurement; the median is given")
    parser.add_argument("--json", type=Path, help="also write what was seen here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = open_bench(options.quick)
    found: dict[str, Any] = {"parameters": sum(one.numel() for one in bench.model.parameters())}
    for k in (4, 8):
        rows = make_rows(bench.model, k)
        found[f"k={k}"] = {
            "generation": generation(bench, k, 24 if options.quick else 64),
            "scoring": scoring(bench, rows, options.repeats),
            "update ppo": updates(bench, rows, "ppo", options.repeats),
            "update rloo": updates(bench, rows, "rloo", options.repeats),
        }
        print(json.dumps({f"k={k}": found[f"k={k}"]}, indent=1), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


def open_bench(quick: bool) -> Bench:
    """Opens the model with random weights; its picture's features are kept as training keeps them."""
    torch.manual_seed(0)
    shape = llava15(quick)
    model = shape.model(shape.config).eval()
    model.generation_config.eos_token_id = None  # lengths are what is asked for
    family = family_of(model)
    pixels = torch.randn(1, 3, 336, 336)
    with torch.no_grad():
        features = Encoded(model.get_image_features(pixels, return_dict=True).pooler_output[0])
    heads = {name: ScalarHead(model.config.get_text_config().hidden_size) for name in ("reward",)}
    policy = open_policy(Vlm(model, None), family, settings("ppo"), 0)
    weights = add_adapter(policy, CRITIC, LORA, None)

    def roles(method: str, kind: type[Engine]) -> Roles:
        engine = kind(model, family, lambda _: features, BUDGET)
        for parameter in weights.values():
            parameter.requires_grad_(method == "ppo")
        actor, reference, critic = (
            Body(engine, partial(adapter_active, policy.peft, name)) for name in (POLICY, None, CRITIC)
        )
        if method != "ppo":
            return Roles(policy, actor, reference, None, {}, {})
        trained = weights | {f"{CRITIC}.{name}.weight": head.weight for name, head in heads.items()}
        return Roles(policy, actor, reference, critic, heads, trained)

    return Bench(model, pixels, roles, Engine(model, family, lambda _: features, BUDGET))


def settings(method: str) -> RlConfig:
    """Returns the settings of a measurement: everything of a round in one minibatch."""
    return RlConfig(
        method=method,
        model="bench",
        lora=LORA,
        reward=(RuleRewardConfig(kind="rule", name="none"),),
        answers_per_prompt=2,
        minibatch_size=1000,
        dtype="float32",
    )


def make_rows(model: Any, k: int) -> list[Row]:  # noqa: ANN401  # untyped library
    """Returns k answers to each of the prompts, which ask about one picture each."""
    words = range(FIRST_WORD, model.config.get_text_config().vocab_size)
    draw = random.Random(k)
    rows = []
    for number in range(PROMPTS):
        prompt = (BEGIN, *[IMAGE] * 576, *draw.choices(words, k=QUESTION))
        for place in range(k):
            answer = (*draw.choices(words, k=ANSWER - 1), END)
            rows.append(Row(f"{number}-{place}", f"picture-{number}", prompt, (answer,)))
    return rows


def generation(bench: Bench, k: int, tokens: int) -> dict[str, float]:
    """Measures k answers of so many tokens to one prompt."""
    (row, *_) = make_rows(bench.model, k)
    prompts = [Prompt(row.prompt, "picture")] * k
    decoding = Decoding(tokens, (), temperature=1.0, suppressed=(IMAGE,))

    def shared() -> None:
        generate(bench.model, prompts, lambda _: {"pixel_values": bench.pixels}, decoding)

    def one_by_one() -> None:
        ids = torch.tensor([row.prompt])
        options = {"do_sample": True, "max_new_tokens": tokens, "top_k": 0, "suppress_tokens": [IMAGE]}
        for _ in range(k):
            bench.model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=bench.pixels, pad_token_id=0, **options
            )

    return compared({"shared": shared, "row by row": one_by_one}, 1) | {"tokens each": tokens}


def scoring(bench: Bench, rows: Sequence[Row], repeats: int) -> dict[str, float]:
    """Measures log-probability and value of one set of weights, and reward and cost of another."""
    width = bench.model.config.get_text_config().hidden_size
    value, reward, cost = (ScalarHead(width) for _ in range(3))
    wants = [
        Wanted(logprobs=True),
        Wanted(values={"v": value}),
        Wanted(scores={"r": reward}),
        Wanted(scores={"c": cost}),
    ]
    together = [Wanted(logprobs=True, values={"v": value}), Wanted(scores={"r": reward, "c": cost})]
    roles = bench.roles("rloo", Engine)
    bodies, apart = roles.actor, bench.roles("rloo", RowEngine).actor

    @torch.no_grad()
    def passes(body: Body, wanted: Sequence[Wanted], *, tower: bool) -> None:
        for one in wanted:
            for packed in body.engine.pack(rows, range(len(rows))):
                if tower:
                    bench.model.get_image_features(bench.pixels, return_dict=True)
                read(body, packed, one)

    return compared(
        {
            "one pass for shared weights": lambda: passes(bodies, together, tower=False),
            "a pass each": lambda: passes(bodies, wants, tower=False),
            "a pass each, a row an answer, a tower pass a row": lambda: passes(apart, wants, tower=True),
        },
        repeats,
    )


def updates(bench: Bench, rows: Sequence[Row], method: str, repeats: int) -> dict[str, float]:
    """Measures one inner epoch."""
    config, counted = settings(method), {}
    plans = plan_round(rows, config, "bench")

    def run(kind: type[Engine], name: str) -> Callable[[], None]:
        roles = bench.roles(method, kind)
        known = know(roles, rows, plans[0], 1.0)
        scores = Scores(torch.linspace(-1, 1, len(rows)), None)
        worth = weigh(known, scores, Steering.start(config), config)
        state = TrainingState(roles.trainable(), AdamW(roles.parameter_groups(config), lr=0.0))
        for group in state.optimizer.param_groups:
            group["initial_lr"] = 0.0  # the policy stays what it was, so that every repeat is a first step

        def once() -> None:
            figures = update(roles, state, Round(known, worth, plans, False, ()), config, 1.0)
            counted[name] = figures.tokens

        return once

    runs = {"trees": run(Engine, "trees"), "a row an answer": run(RowEngine, "a row an answer")}
    found = compared(runs, repeats)
    passes = 2 if method == "ppo" else 1
    by_rows = passes * sum(map(row_tokens, rows))
    assert counted["a row an answer"] == by_rows
    return found | {"tokens": counted["trees"], "row tokens": by_rows, "fewer": round(by_rows / counted["trees"], 2)}


def compared(runs: Mapping[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Returns CPU seconds of each run, the median, and how many times those of the first the others take."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            started = time.process_time()
            run()
            seconds[name].append(time.process_time() - started)
    medians = {name: round(statistics.median(each), 3) for name, each in seconds.items()}
    first, *others = medians
    return medians | {f"{name}: times": round(medians[name] / medians[first], 2) for name in others}


if __name__ == "__main__":
    main()
