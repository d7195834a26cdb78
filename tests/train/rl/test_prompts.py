"""Which prompts each round takes."""

from tests.train.material import make_pair
from tests.train.rl.material import rl_settings

from spavl.records import QuestionType
from spavl.train.rl.prompts import Prompt, count_rounds, prompts_of, round_prompts


def test_a_question_about_a_picture_is_one_prompt_however_many_pairs_ask_it() -> None:
    pair = make_pair(0)
    benign = make_pair(1).model_copy(update={"question_type": QuestionType.BENIGN_QUESTION})
    unknown = make_pair(2).model_copy(update={"question_type": None})
    assert prompts_of([pair, pair, benign, unknown]) == [
        Prompt("img-0", "placeholder harmful question 0", harmful=True),
        Prompt("img-1", "placeholder harmful question 1", harmful=False),
        Prompt("img-2", "placeholder harmful question 2", harmful=True),
    ]


def test_an_epoch_takes_every_prompt_once_and_each_epoch_has_its_own_order() -> None:
    """7 prompts, 3 a round: rounds of 3, 3 and 1."""
    config = rl_settings(prompts_per_round=3, epochs=2)
    epochs = [[round_prompts(config, 7, number, seed=1) for number in rounds] for rounds in ((1, 2, 3), (4, 5, 6))]
    assert [[len(places) for places in epoch] for epoch in epochs] == [[3, 3, 1], [3, 3, 1]]
    flat = [[place for places in epoch for place in places] for epoch in epochs]
    assert all(sorted(order) == list(range(7)) for order in flat) and flat[0] != flat[1]


def test_rounds_end_with_the_epochs_or_at_their_limit() -> None:
    """7 prompts, 3 a round, 2 epochs: 3 rounds each."""
    config = rl_settings(prompts_per_round=3, epochs=2, rounds=None)
    assert count_rounds(config, 7) == 6
    assert count_rounds(config.model_copy(update={"rounds": 4}), 7) == 4
    assert count_rounds(config.model_copy(update={"rounds": 40}), 7) == 6
