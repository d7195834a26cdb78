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


def test_an_epoch_takes_every_prompt_once_and_rounds_go_on_into_the_next_ones_order() -> None:
    """7 prompts, 3 a round, 2 epochs: 14 are 5 rounds, the last of which takes one of a third epoch."""
    config = rl_settings(prompts_per_round=3, epochs=2, rounds=None)
    rounds = [round_prompts(config, 7, number, seed=1) for number in range(1, count_rounds(config, 7) + 1)]
    assert [len(places) for places in rounds] == [3, 3, 3, 3, 3]
    flat = [place for places in rounds for place in places]
    first, second = flat[:7], flat[7:14]
    assert sorted(first) == sorted(second) == list(range(7)) and first != second


def test_a_round_takes_no_prompt_twice_where_there_are_fewer_than_it_may_have() -> None:
    config = rl_settings(prompts_per_round=5, epochs=2, rounds=None)
    assert [sorted(round_prompts(config, 3, number, seed=1)) for number in (1, 2)] == [[0, 1, 2]] * 2
    assert count_rounds(config, 3) == 2


def test_rounds_end_with_the_epochs_or_at_their_limit() -> None:
    """7 prompts, 3 a round, 2 epochs: 14 / 3 are 5 rounds."""
    config = rl_settings(prompts_per_round=3, epochs=2, rounds=None)
    assert count_rounds(config, 7) == 5
    assert count_rounds(config.model_copy(update={"rounds": 4}), 7) == 4
    assert count_rounds(config.model_copy(update={"rounds": 40}), 7) == 5
