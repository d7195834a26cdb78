"""Prompts that share a picture: what they have in common passes the language model once, and its cache serves them all.

A row's cache is its prefix, padded on the left to the longest, and then its rest, padded between the two; a mask hides
the padding, and positions do not count it. Which models this is right for is written down here, for others `generate`
of transformers is used.
Shapes: B rows, C position components, P tokens of a prefix, S of a rest, K of what the cache holds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPooling

SHARING = ("llava", "llava_next", "qwen2_5_vl", "qwen3_vl", "smolvlm", "idefics3", "internvl", "gemma3")
"""Model types whose answers are known to be those of `generate`, row by row."""
TEXT_MODELS = ("llama", "mistral", "qwen2", "qwen3", "qwen2_5_vl_text", "qwen3_vl_text", "gemma3_text")
STATIC_ROPE = ("default", "linear", "llama3", "yarn")
"""Rotary rules under which a token's angle depends on its own position alone, not on the longest sequence beside it."""
COMPONENTS = 3
"""Of the positions of a model that counts a picture's patches: frame, row and column."""
PROJECTED = "mm_encoder_outputs"
"""The argument of a model's forward that takes pictures that have passed the tower and the projector."""
PASSED_AT_ONCE = 4096
"""Tokens of beginnings that pass together, padding included; one alone may be longer."""
SHAPING = (
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "bad_words_ids",
    "min_length",
    "min_new_tokens",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "sequence_bias",
    "exponential_decay_length_penalty",
    "begin_suppress_tokens",
    "guidance_scale",
    "watermarking_config",
    "min_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "num_beams",
)
"""Settings of a model's `generation_config.json` that shape what it writes and are left to transformers."""

Shown = Callable[[str], Mapping[str, Any]]
"""Picture -> what the model's forward takes for it: pixels and their sizes, or `mm_encoder_outputs`."""
Model = Any
"""A `...ForConditionalGeneration` of transformers, with or without adapters in it."""


class Prompt(NamedTuple):
    """What an answer follows."""

    ids: tuple[int, ...]
    """Tokens up to where the answer begins, those that stand for the picture included."""
    picture: str = ""
    """A name for the one picture that is shown; empty if there is none."""


class Read(NamedTuple):
    """Rows that a model has read up to their last token."""

    cache: DynamicCache
    mask: Tensor  # (B, K), 0 where a row is padded
    position: Tensor  # (B,), of the next token; the same in all components
    logits: Tensor  # (B, V), for the next token


class _Begun(NamedTuple):
    """A beginning, and what shows its picture."""

    ids: tuple[int, ...]
    seen: Mapping[str, Any]


class _Group(NamedTuple):
    """Rows with a common beginning."""

    rows: list[int]
    ids: tuple[int, ...]
    """The beginning, which holds the whole picture and ends before any row does."""
    picture: str


def why_not(model: Model) -> str:
    """Returns why a model's prompts are not read in parts; empty if they are."""
    text, settings = model.config.get_text_config(), model.generation_config
    if model.config.model_type not in SHARING:
        return f"models of type '{model.config.model_type}' are not known to give the same answers"
    if text.model_type not in TEXT_MODELS:
        return f"language models of type '{text.model_type}' are not known to give the same answers"
    if getattr(text, "use_bidirectional_attention", False):
        return "it reads text in both directions"
    for rule in _rope_types(text):
        if rule not in STATIC_ROPE:
            return f"its positions depend on the longest row (rope_type '{rule}')"
    set_ = [name for name in SHAPING if getattr(settings, name, None) not in (None, False, 0, 1)]
    return f"its generation_config sets {', '.join(set_)}" if set_ else ""


def batches(model: Model, prompts: Sequence[Prompt], max_tokens: int) -> list[list[int]]:
    """Returns the rows that may be read together: all, or without any padding where a window would count it."""
    window = getattr(model.config.get_text_config(), "sliding_window", None)
    longest = max(len(prompt.ids) for prompt in prompts)
    if not window or longest * 2 + max_tokens <= window:  # a padded row is at most a prefix and a rest long
        return [list(range(len(prompts)))]
    alike: dict[tuple[int, int], list[int]] = {}
    for place, group in enumerate(_groups(model, prompts)):
        for row in group.rows:
            alike.setdefault((place, len(prompts[row].ids)), []).append(row)
    return list(alike.values())


def read(model: Model, prompts: Sequence[Prompt], shown: Shown) -> Read:
    """Reads the prompts: what several begin with once, and one that stands there several times once."""
    different = list(dict.fromkeys(prompts))
    begun = _read(model, different, shown)
    if len(different) == len(prompts):
        return begun
    place_of = {prompt: place for place, prompt in enumerate(different)}
    copies = torch.tensor([place_of[prompt] for prompt in prompts], device=model.device)
    begun.cache.batch_select_indices(copies)
    return Read(begun.cache, begun.mask[copies], begun.position[copies], begun.logits[copies])


def _read(model: Model, prompts: Sequence[Prompt], shown: Shown) -> Read:
    groups = _groups(model, prompts)
    begun = [_prefill(model, some) for some in _together(model, groups, shown)]
    group_of = {row: place for place, group in enumerate(groups) for row in group.rows}
    places = [group_of[row] for row in range(len(prompts))]
    rests = [prompt.ids[len(groups[place].ids) :] for prompt, place in zip(prompts, places, strict=True)]
    device = model.device
    ids, rest_mask = _padded(rests, device)  # (B, S)
    prefix_mask = _padded([groups[place].ids for place in places], device)[1]  # (B, P)
    behind = torch.cat([behind for _, behind in begun])[places, None]  # (B, 1)
    positions = behind + rest_mask.cumsum(dim=1) - 1  # (B, S)
    mask = torch.cat([prefix_mask, rest_mask], dim=1)
    cache = _expanded([cache for cache, _ in begun], places)
    logits = step(model, cache, ids, mask, positions)
    return Read(cache, mask, positions[:, -1] + 1, logits)


def step(model: Model, cache: DynamicCache, ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
    """Reads more of every row and returns the next token's logits, (B, V), in float32.

    Args:
        model: The model.
        cache: What it has read of the rows; what it reads now is added.
        ids: (B, S).
        mask: (B, K + S), 0 where a row is padded.
        positions: (B, S), the same in all components.
    """
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions.expand(COMPONENTS, -1, -1) if _counts_grid(model) else positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return output.logits[:, -1].float()  # type: ignore[no-any-return]  # untyped library


def _groups(model: Model, prompts: Sequence[Prompt]) -> list[_Group]:
    """Groups rows that begin alike: up to the end of their picture, or by their first token."""
    image_id = model.config.image_token_id
    rows_of: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for row, (ids, picture) in enumerate(prompts):
        needed = len(ids) - ids[::-1].index(image_id) if picture else 1
        rows_of.setdefault((picture, ids[:needed]), []).append(row)
    return [
        _Group(rows, _common([prompts[row].ids for row in rows]), picture) for (picture, _), rows in rows_of.items()
    ]


def _common(rows: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Returns the longest beginning that all have and none is."""
    shortest = min(map(len, rows)) - 1
    alike = takewhile(lambda column: len(set(column)) == 1, zip(*(row[:shortest] for row in rows), strict=True))
    return tuple(column[0] for column in alike)


def _together(model: Model, groups: Sequence[_Group], shown: Shown) -> Iterator[list[_Begun]]:
    """Yields beginnings that pass in one batch, in order: projected pictures where positions are just counted do."""
    alike = not _counts_grid(model) and model.config.model_type != "gemma3"
    held: list[_Begun] = []
    for group in groups:
        one = _Begun(group.ids, dict(shown(group.picture)) if group.picture else {})
        longest = max(len(other.ids) for other in (*held, one))
        joins = alike and _listed(one.seen)
        if held and not (joins and (len(held) + 1) * longest <= PASSED_AT_ONCE):
            yield held
            held = []
        held.append(one)
        if not joins:
            yield held
            held = []
    if held:
        yield held


def _listed(seen: Mapping[str, Any]) -> bool:
    """Says whether there is no picture, or one of projected tokens alone, in a list that others can be added to."""
    return not seen or (seen.keys() == {PROJECTED} and isinstance(seen[PROJECTED]["image"].pooler_output, list))


def _prefill(model: Model, begun: Sequence[_Begun]) -> tuple[DynamicCache, Tensor]:
    """Returns what the model holds of some beginnings, and the position of the token behind each, (G,)."""
    ids, mask = _padded([one.ids for one in begun], model.device)  # (G, P)
    seen = _shown_together([one.seen for one in begun])
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0) if len(begun) > 1 else _positions(model, ids, seen)
    if len(begun) > 1:
        seen["attention_mask"] = mask
    if model.config.model_type == "gemma3":  # a picture's tokens see each other in both directions
        seen["token_type_ids"] = (ids == model.config.image_token_id).int()
    cache = DynamicCache()
    model(input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1, **seen)
    behind = positions.amax(dim=1) if positions.dim() == 2 else positions.amax(dim=(0, 2))  # (G, P) or (C, G, P)
    return cache, behind + 1


def _shown_together(seen: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what shows all pictures of a batch, from its first row to its last."""
    if len(seen) == 1:
        return dict(seen[0])
    features = [one for part in seen if part for one in part[PROJECTED]["image"].pooler_output]
    return {PROJECTED: {"image": BaseModelOutputWithPooling(pooler_output=features)}} if features else {}


def _positions(model: Model, ids: Tensor, seen: Mapping[str, Any]) -> Tensor:
    """Returns (1, P), or (C, 1, P) where a picture's patches are counted by row and column."""
    if not _counts_grid(model):
        return torch.arange(ids.shape[1], device=ids.device)[None]
    if "image_grid_thw" not in seen:
        return torch.arange(ids.shape[1], device=ids.device).expand(COMPONENTS, 1, -1)
    kinds = (ids == model.config.image_token_id).int()
    found, _ = model.base_model.get_rope_index(ids, mm_token_type_ids=kinds, image_grid_thw=seen["image_grid_thw"])
    return found  # type: ignore[no-any-return]  # untyped library


def _counts_grid(model: Model) -> bool:
    return hasattr(model.base_model, "get_rope_index")


def _padded(rows: Sequence[tuple[int, ...]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns ids and mask of rows padded on the left; a row's last token fills it, which is none that it lacks."""
    longest = max(map(len, rows))
    ids = [[row[-1]] * (longest - len(row)) + list(row) for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _expanded(caches: Sequence[DynamicCache], places: Sequence[int]) -> DynamicCache:
    """Returns a cache of one row for each of `places`, which name the row, of all caches' rows, that it begins with."""
    longest = max(cache.get_seq_length() for cache in caches)

    def rows(tensors: Sequence[Tensor]) -> Tensor:  # (G, heads, P, size) each
        wide = torch.cat([pad(one, (0, 0, longest - one.shape[-2], 0)) for one in tensors])
        return wide[torch.tensor(places, device=wide.device)]

    layers = zip(*caches, strict=True)
    return DynamicCache([(rows([part[0] for part in layer]), rows([part[1] for part in layer])) for layer in layers])


def _rope_types(text: Any) -> list[str]:  # noqa: ANN401  # every language model has its own configuration
    rules = text.rope_parameters
    return [rules["rope_type"]] if "rope_type" in rules else [rule["rope_type"] for rule in rules.values()]
