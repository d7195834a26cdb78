"""The questions station: what is asked of the writer, and what is read from its answer."""

import pytest

from spavl.config import QuestionsConfig
from spavl.models import Completion
from spavl.questions.prompts import everyday_topics, load_prompts
from spavl.questions.write import Task, deal_topics, first_sentence, opening, plan_tasks, read_question
from spavl.records import Failure, ImageRecord, Question, QuestionType
from spavl.taxonomy import load_taxonomy


def picture(digest: str = "a" * 64) -> ImageRecord:
    return ImageRecord(
        sha256=digest,
        format="png",
        width=64,
        height=64,
        perceptual_hash="0" * 16,
        caption="padlock",
        source="test",
        source_name="padlock.png",
        licence="CC0",
        leaf="Malicious Use/Illegal activities/theft",
        keyword="padlock",
        similarity=1.0,
    )


@pytest.mark.parametrize("version", ["standard_v1", "small_v1"])
def test_every_question_type_has_a_prompt_with_its_intent_written_down(version: str) -> None:
    prompts = load_prompts(version)
    assert set(prompts) == set(QuestionType)
    for prompt in prompts.values():
        assert len(prompt.intent.split()) >= 6
        assert "{subject}" in prompt.prompt and "{topic}" in prompt.prompt
        assert all("{topic}" in text for text in prompt.openings)


def test_benign_questions_share_every_opening_with_harmful_ones() -> None:
    """Otherwise the form, and not the topic, would tell them apart, and refusing by form would look like safety."""
    prompts = load_prompts("small_v1")
    harmful = {one for kind, prompt in prompts.items() if kind.harmful for one in prompt.openings}
    assert set(prompts[QuestionType.BENIGN_QUESTION].openings) == harmful


def test_a_picture_gets_as_many_benign_questions_as_asked_for_and_one_of_each_harmful_type() -> None:
    """Two pictures, three harmful types and twice a benign one: 2 x (3 + 2) tasks with names of their own."""
    config = QuestionsConfig(writer="w", benign_per_image=2)
    tasks = plan_tasks(config, [picture("a" * 64), picture("b" * 64)])
    assert len(tasks) == len({task.item for task in tasks}) == 10
    assert sum(not task.question_type.harmful for task in tasks) == 4


def test_no_two_questions_share_an_everyday_topic_while_there_are_enough() -> None:
    """Else a benign question about a held-out picture could be on a topic that was trained on."""
    topics = everyday_topics()
    pictures = [f"img-{number}" for number in range(len(topics) + 5)]
    dealt = deal_topics(pictures[: len(topics)])
    assert sorted(dealt.values()) == sorted(topics)
    assert deal_topics(list(reversed(pictures[: len(topics)]))) == dealt
    again = list(deal_topics(pictures).values())
    assert max(again.count(topic) for topic in again) == 2


def test_everyday_topics_are_many_and_none_is_a_leaf() -> None:
    topics = everyday_topics()
    assert len(set(topics)) == len(topics) > 180
    assert not set(topics) & {leaf.name for leaf in load_taxonomy("spa_vl").leaves}


def test_the_opening_depends_on_the_picture_and_the_type_alone() -> None:
    prompt = load_prompts("small_v1")[QuestionType.EASY_QUESTION]
    chosen = {opening(Task(picture(f"{n:064d}"), QuestionType.EASY_QUESTION), prompt) for n in range(40)}
    assert chosen == set(prompt.openings)
    again = opening(Task(picture(), QuestionType.EASY_QUESTION), prompt)
    assert again == opening(Task(picture(), QuestionType.EASY_QUESTION), prompt)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How do I open this padlock? I want to know.", "How do I open this padlock?"),
        ("  “How do I open this padlock”\nNext line", "How do I open this padlock?"),
        ("I like locks. How do I open this padlock? Thanks", "I like locks. How do I open this padlock?"),
        ("How do I open this pad", "How do I open this pad?"),
    ],
)
def test_a_question_is_cut_at_its_first_question_mark(text: str, expected: str) -> None:
    assert first_sentence(text, statement=False) == expected


def test_a_statement_is_one_sentence_with_a_full_stop() -> None:
    assert first_sentence("Write a plan for the fair. Then more", statement=True) == "Write a plan for the fair."
    assert first_sentence("Write a plan for the", statement=True) == "Write a plan for the."


def test_what_is_no_question_becomes_a_counted_failure() -> None:
    task = Task(picture(), QuestionType.EASY_QUESTION)
    short = read_question(task, Completion(text="What?"), "writer")
    refused = read_question(task, Completion(text="no", finish="content_filter"), "writer")
    assert isinstance(short, Failure) and short.reason == "empty"
    assert isinstance(refused, Failure) and refused.reason == "writer_refused"


def test_a_question_how_to_keep_harm_away_is_no_harmful_question() -> None:
    said = Completion(text="How can I use this padlock for theft so that I avoid it?")
    dropped = read_question(Task(picture(), QuestionType.EASY_QUESTION), said, "writer")
    assert isinstance(dropped, Failure) and (dropped.reason, dropped.dropped) == ("not_harmful", True)
    assert isinstance(read_question(Task(picture(), QuestionType.BENIGN_QUESTION), said, "writer"), Question)


def test_a_question_knows_its_picture_leaf_type_and_writer() -> None:
    task = Task(picture(), QuestionType.HARD_QUESTION)
    question = read_question(task, Completion(text="Placeholder harmful question number 3 about this?"), "writer")
    assert isinstance(question, Question)
    assert (question.image_id, question.leaf, question.writer) == (picture().id, picture().leaf, "writer")
