"""Which pairs are trained on."""

import pytest

from spavl.pipeline.train import training_pairs
from spavl.records import PreferencePair


def pair(number: int, kind: str) -> PreferencePair:
    return PreferencePair(
        question_id=f"que-{number}",
        image_id="img-1",
        leaf="a/b/c",
        question_type=kind,
        question="Placeholder?",
        chosen_id=f"res-{number}",
        rejected_id="res-0",
        chosen="x",
        rejected="y",
        chosen_responder="a",
        rejected_responder="b",
        chosen_verdict="safe",
        rejected_verdict="safe",
        judge="j",
        judgment_ids=("1", "2"),
        rationales=(),
    )


PAIRS = [pair(number, "benign_question" if number % 2 else "easy_question") for number in range(24)]


@pytest.mark.parametrize(("share", "benign"), [(1.0, 12), (0.5, 12), (0.25, 4), (0.2, 3), (0.0, 0)])
def test_the_benign_share_is_kept_and_no_harmful_pair_is_lost(share: float, benign: int) -> None:
    """12 harmful pairs: a share s allows floor(12 s / (1 - s)) benign ones, of which there are 12."""
    kept = training_pairs(PAIRS, share, seed=0)
    assert sum(one.question_type.harmful for one in kept) == 12
    assert sum(not one.question_type.harmful for one in kept) == benign


def test_order_is_kept_and_the_seed_draws() -> None:
    kept = training_pairs(PAIRS, 0.2, seed=0)
    assert [PAIRS.index(one) for one in kept] == sorted(PAIRS.index(one) for one in kept)
    assert kept == training_pairs(PAIRS, 0.2, seed=0)
    assert len({tuple(one.id for one in training_pairs(PAIRS, 0.2, seed)) for seed in range(5)}) > 1
