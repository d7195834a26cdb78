"""What `spavl train` does with a training recipe: data that is there already, a model, and nothing else of the road."""

from spavl.cli.options import counts_line, say, training_lines
from spavl.cli.plan import say_plan
from spavl.recipe_config import RecipeConfig


def follow(recipe: RecipeConfig, restart_from: str | None, *, plan_for: int | None, as_json: bool) -> None:
    """Trains, or says what training would do on so many processes."""
    from spavl.pipeline.plan import plannable  # torch loads here, and not for `--help`
    from spavl.pipeline.recipe import plan_recipe, train_recipe
    from spavl.train import walk_or_follow

    if plan_for is not None:
        say_plan(plan_recipe(recipe, plan_for), plannable(recipe.settings), as_json)
        return
    manifests = walk_or_follow(lambda: train_recipe(recipe, restart_from))
    if manifests is None:
        return
    counts = {name: manifest.counts.model_dump() for name, manifest in manifests.items()}
    facts = {name: manifest.facts for name, manifest in manifests.items()}
    model = recipe.run / "train" / "model"
    lines = [*(counts_line(name, one) for name, one in counts.items()), *training_lines(facts["train"])]
    lines.append(f"model: {model}")
    say({"run": str(recipe.run), "counts": counts, "facts": facts, "model": str(model)}, lines, as_json)
