"""Prompt files of one's own: what a file may say, and the one line for each mistake."""

import re
from pathlib import Path

import pytest

from spavl.errors import UserError
from spavl.prompt_files import read_prompts
from spavl.questions.prompts import FORM, load_prompts
from spavl.records import QuestionType

EASY = QuestionType.EASY_QUESTION
GOOD = (
    "easy_question: {intent: To test., prompt: 'Ask {{briefly}} about {topic} and {caption}.', "
    "openings: ['A {subject}']}"
)


def test_a_file_has_the_prompts_that_are_wanted_and_may_leave_out_the_others(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(GOOD)
    loaded = load_prompts(str(own), (EASY,))
    assert set(loaded) == {EASY} and loaded[EASY].openings == ("A {subject}",)
    with pytest.raises(UserError, match="`benign_question` is missing; write its `intent` and its `prompt`"):
        load_prompts(str(own), (EASY, QuestionType.BENIGN_QUESTION))


def test_a_file_that_is_edited_is_read_again(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(GOOD)
    before = load_prompts(str(own), (EASY,))[EASY].prompt
    own.write_text(GOOD.replace("Ask", "Write"))
    assert load_prompts(str(own), (EASY,))[EASY].prompt == before.replace("Ask", "Write")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("- a list", "prompts are a mapping with easy_question, hard_question"),
        ("", "prompts are a mapping with easy_question"),
        ("easy_question: [", "is not YAML"),
        (GOOD + "\n" + GOOD, "the key `easy_question` stands twice"),
        (GOOD + "\neasy: {intent: a, prompt: '{topic}'}", "'easy' is no prompt; a file has easy_question, "),
        ("easy_question: {prompt: 'About {topic}.'}", "`easy_question.intent` is missing"),
        ("easy_question: {intent: To test.}", "`easy_question.prompt` is missing"),
        (GOOD.replace("intent: To test.", "intent: ' '"), "`easy_question.intent`: "),
        (GOOD.replace("openings", "opening"), "`easy_question.opening` is not a known key"),
        (GOOD.replace("['A {subject}']", "A key"), "`easy_question.openings`: Input should be a list"),
        (GOOD.replace("{caption}", "{capton}"), "nothing is known to fill {capton} with; a prompt may have {topic}, "),
        (GOOD.replace("{caption}", "{caption.__class__}"), "nothing is known to fill {caption.__class__} with"),
        (GOOD.replace("{caption}", "{caption!r:>9}"), "nothing is known to fill {caption!r:>9} with"),
        (GOOD.replace("{caption}", "{}"), "nothing is known to fill {} with"),
        (GOOD.replace("{caption}", "{caption"), "write {{ and }} for braces that are text"),
        (GOOD.replace("{topic}", "a topic"), "`easy_question.prompt`: {topic} is missing"),
        (GOOD.replace("{subject}", "{0}"), "`easy_question.openings.0`: nothing is known to fill {0} with"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(tmp_path: Path, written: str, said: str) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(written)
    with pytest.raises(UserError, match=re.escape(said)) as raised:
        load_prompts(str(own), (EASY,))
    assert str(raised.value).startswith(f"questions.prompts: {own}") and "\n" not in str(raised.value)


def test_a_name_that_is_neither_packaged_nor_a_file_is_said_with_what_there_is(tmp_path: Path) -> None:
    for name in ("standard_v9", str(tmp_path)):
        with pytest.raises(
            UserError, match=r"Write one of standard_v2, .*`spavl prompts standard_v2 > FILE` makes one"
        ):
            read_prompts(FORM, name, ())
