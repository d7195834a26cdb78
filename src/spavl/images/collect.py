"""The images station: every picture of the source becomes an `ImageRecord` of one leaf, or a `Failure`.

Pictures are ranked by their captions before any is opened, and opened only when about to be taken, in a fixed order;
a picture that is damaged or a copy gives its place to the leaf's next best. An interrupted run goes through the same
order again and takes the outcomes it has from the stage, so it ends as an uninterrupted one would. Content that has to
be fetched is fetched ahead, side by side.
What a picture shows is looked at only by the models that the configuration names, and decides no leaf.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import numpy as np

from spavl.errors import UserError
from spavl.execution import progress_bar
from spavl.image_config import ImagesConfig
from spavl.images.affinity import Affinity, Encode, affinity
from spavl.images.assign import assign
from spavl.images.candidates import Candidate
from spavl.images.dedup import KeptPictures
from spavl.images.examine import Examiner
from spavl.images.listing import Listing
from spavl.images.review import NEEDS_REVIEW, ExplicitGate, WaitingList
from spavl.images.sources import Album, check_unchanged, open_source
from spavl.models.ask import commonest
from spavl.models.replay import Replay, check_replayed
from spavl.records import Failure, ImageRecord
from spavl.store import DecodeLimits, ImageStore, Manifest, Outcome, StageDirectory
from spavl.store.stage import APPENDED_AT_ONCE
from spavl.taxonomy import Leaf, Taxonomy, leaf_quotas


async def collect(
    config: ImagesConfig,
    taxonomy: Taxonomy,
    stage: StageDirectory,
    store: ImageStore,
    encode: Encode,
    replay: Replay | None = None,
) -> Manifest:
    """Collects up to its quota of pictures for each leaf.

    A finished collection is returned as it is: its pictures lie in the store, and the source may be gone.

    Args:
        config: Source, leaves and limits; the store's own limits do not count here.
        taxonomy: Where the leaves and their keywords come from.
        stage: Where outcomes go.
        store: Where the pictures go.
        encode: Turns keywords and captions into vectors.
        replay: Set where nothing is downloaded.

    Raises:
        UserError: The source is missing, has no pictures, or has changed; a leaf is unknown; or nothing was collected.
        RunError: The disk is full, no host answers any more, or a replay lacks downloads.
    """
    finished = stage.manifest()
    if finished is not None:
        say_collected(stage)
        return finished
    leaves = _chosen_leaves(taxonomy, config.leaves)
    quotas = leaf_quotas(config, taxonomy, [leaf.path for leaf in leaves])
    async with open_source(config, stage.path.parent, replay) as album:
        check_unchanged(stage, album)
        keywords = [leaf.keywords for leaf in leaves]
        captions, count = (candidate.caption for candidate in album.candidates), len(album.candidates)
        with closing(await asyncio.to_thread(affinity, keywords, captions, count, encode, stage.path)) as near:
            collection = _Collection(config, leaves, album, near, stage, ImageStore(store.root, _limits(config)))
            with progress_bar("images", count) as advance:

                async def take(leaf: int, index: int) -> bool:
                    taken = await collection.take(leaf, index)
                    advance(1)
                    return taken

                await assign(near, [*quotas.values()], config.min_similarity, take, collection.expect)
                collection.leave_the_rest(advance)
        _say_who_waits(collection.waiting, stage)
        check_replayed(stage, count)
        return _finish(config, quotas, album.candidates, stage)


class _Collection:
    """Takes pictures one after the other, and notes what became of each."""

    def __init__(
        self,
        config: ImagesConfig,
        leaves: Sequence[Leaf],
        album: Album,
        near: Affinity,
        stage: StageDirectory,
        store: ImageStore,
    ) -> None:
        self._config, self._leaves, self._album, self._near = config, leaves, album, near
        self._candidates = album.candidates
        self._stage, self._store = stage, store
        self._examiner = Examiner(config)
        self._gate = ExplicitGate(config.explicit, album.lists.released)
        self.waiting = WaitingList(stage.path)
        self._kept = KeptPictures(config.duplicate_bits)
        self._goes_on = True
        """Whether what an earlier attempt found still counts."""
        self._settled = np.zeros(len(album.candidates), np.bool_)
        self._expected = np.zeros(len(album.candidates), np.bool_)

    def expect(self, indexes: Sequence[int]) -> None:
        """Lets the source know once of each picture that will be taken soon."""
        fresh = [index for index in indexes if not self._expected[index]]
        fresh = [index for index in fresh if not self._is_known(self._candidates[index].item)]
        self._expected[fresh] = True
        self._album.expect(fresh)

    async def take(self, leaf: int, index: int) -> bool:
        """Takes a picture for a leaf, unless it cannot be used; says whether it was taken.

        Outcomes lie in the stage in the order of taking. Where one is missing in between (a failure that may pass is
        forgotten, to be tried again), those behind it were decided without it, so they are forgotten too.
        """
        item = self._candidates[index].item
        result = self._stage.outcome(item, ImageRecord) if self._goes_on else None
        if result is None:
            self._goes_on = False
            result = await self._open(leaf, index)
            self._stage.append([_outcome(item, result)])
        self._settled[index] = True
        if isinstance(result, Failure):
            return False
        self._kept.add(item, result.perceptual_hash)
        return True

    def leave_the_rest(self, advance: Callable[[int], None]) -> None:
        """Notes for every picture that no leaf took why not, and says of some at a time how many those are."""
        rest = (
            Outcome(candidate.item, failure=self._left_out(index, candidate))
            for index, candidate in enumerate(self._candidates)
            if not self._settled[index] and not self._is_known(candidate.item)
        )
        while outcomes := list(islice(rest, APPENDED_AT_ONCE)):
            self._stage.append(outcomes)
            advance(len(outcomes))

    def _is_known(self, item: str) -> bool:
        return self._goes_on and item in self._stage

    async def _open(self, leaf: int, index: int) -> ImageRecord | Failure:
        candidate = self._candidates[index]
        opened = await self._album.read(index, self._store)
        if isinstance(opened, Failure):
            return opened
        twin = self._kept.twin(opened.read.stored.perceptual_hash)
        if twin is not None:
            return Failure(reason="duplicate", message=f"{candidate.name}: duplicate of {twin}", dropped=True)
        found = await asyncio.to_thread(self._examiner.examine, opened.read.content, candidate.caption)
        if isinstance(found, Failure):
            return found.model_copy(update={"message": f"{candidate.name}: {found.message}"})
        score = await asyncio.to_thread(self._gate.score, opened)
        record = ImageRecord(
            **opened.read.stored._asdict(),
            **opened.original._asdict(),
            **found._asdict(),
            caption=candidate.caption,
            source=candidate.source,
            source_name=candidate.name,
            licence=candidate.licence,
            leaf=self._leaves[leaf].path,
            keyword=self._leaves[leaf].keywords[self._near.keyword(leaf, index)],
            similarity=self._near.similarity(leaf, index),
            url=candidate.url,
            source_similarity=candidate.similarity,
            columns=dict(candidate.columns),
            explicit_score=score,
        )
        if self._gate.holds_back(opened, score):
            return await asyncio.to_thread(self.waiting.add, opened.read, record)
        await asyncio.to_thread(self._store.keep, opened.read)
        return record

    def _left_out(self, index: int, candidate: Candidate) -> Failure:
        if candidate.refused is not None:
            return candidate.refused.model_copy(update={"message": f"{candidate.name}: {candidate.refused.message}"})
        nearest, similarity = self._near.nearest_leaf(index)
        if similarity < self._config.min_similarity:
            reason, why = "no_leaf", f"less than images.min_similarity ({self._config.min_similarity})"
        else:
            reason, why = "leaf_full", "every leaf near enough has its pictures"
        leaf = self._leaves[nearest]
        message = f"{candidate.name}: nearest to `{leaf.label}` ({similarity:.2f}): {why}"
        return Failure(reason=reason, message=message, dropped=True)


def _finish(config: ImagesConfig, quotas: Mapping[str, int], candidates: Listing, stage: StageDirectory) -> Manifest:
    """Checks that there are pictures, says whose they are, and writes the manifest."""
    if stage.failed == len(candidates):
        raise _nothing(config, stage)
    facts = _facts(quotas, candidates, stage.each(ImageRecord))
    for source, used in facts["sources"].items():
        licences = ", ".join(used["licences"]) or "none taken"
        _say(f"{used['collected']} of {used['pictures']} pictures of {source} ({licences})")
    return stage.finish(candidates.items(), facts)


def _nothing(config: ImagesConfig, stage: StageDirectory) -> UserError:
    """Says why nothing was collected, and what would help against the commonest reason."""
    failures = stage.failures().values()
    reasons = Counter(failure.reason for failure in failures)
    counted = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    ((most, _),) = reasons.most_common(1)
    remedies = {
        "no_leaf": f"Lower images.min_similarity (now {config.min_similarity})",
        NEEDS_REVIEW: f"Look at them in {WaitingList(stage.path).path}, and put the ids of those that may enter into "
        "the file that images.explicit.released names; or raise images.explicit.threshold",
    }
    remedy = remedies.get(most, "Mend that")
    return UserError(
        f"No picture was collected from {len(failures)}: {counted}. Most often {commonest(failures)}. {remedy}, or "
        f"give other pictures with images.source, and add `--restart-from {stage.name}`."
    )


def _facts(
    quotas: Mapping[str, int], candidates: Iterable[Candidate], records: Iterable[ImageRecord]
) -> dict[str, Any]:
    offered = Counter(candidate.source for candidate in candidates)
    per_leaf: Counter[str] = Counter()
    licences: dict[str, Counter[str]] = {source: Counter() for source in offered}
    for record in records:
        per_leaf[record.leaf] += 1
        licences[record.source][record.licence or "unknown"] += 1
    return {
        "pictures_per_leaf": {leaf: per_leaf[leaf] for leaf in quotas},
        "leaves_with_too_few": [leaf for leaf, quota in quotas.items() if per_leaf[leaf] < quota],
        "sources": {
            source: {
                "pictures": count,
                "collected": licences[source].total(),
                "licences": dict(sorted(licences[source].items())),
            }
            for source, count in sorted(offered.items())
        },
    }


def say_collected(stage: StageDirectory) -> None:
    """Says that a collection is finished, so that whoever added pictures to its source learns what to do."""
    _say(f"collected earlier; the source is not looked at again (`--restart-from {stage.name}` collects anew)")


def _say_who_waits(waiting: WaitingList, stage: StageDirectory) -> None:
    count = waiting.finish(stage.each_failure())
    if count:
        _say(
            f"{count} may be explicit and wait for people in {waiting.path}. Put the ids of those that may enter into "
            f"the file that images.explicit.released names, and add `--restart-from {stage.name}`"
        )


def _say(text: str) -> None:
    print(f"images: {text}", file=sys.stderr)


def _chosen_leaves(taxonomy: Taxonomy, names: Sequence[str]) -> list[Leaf]:
    """Returns the leaves in the taxonomy's order; no names means all."""
    try:
        wanted = {taxonomy.leaf(name).path for name in names}
    except UserError as error:
        raise UserError(f"images.leaves: {error}") from error
    return [leaf for leaf in taxonomy.leaves if not wanted or leaf.path in wanted]


def _limits(config: ImagesConfig) -> DecodeLimits:
    return DecodeLimits(**config.model_dump(include=set(DecodeLimits._fields)))


def _outcome(item: str, result: ImageRecord | Failure) -> Outcome:
    if isinstance(result, Failure):
        return Outcome(item, failure=result)
    return Outcome(item, record=result)
