"""By which words a text speaks of its picture."""

import pytest

from spavl.texts.mentions import mention


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is wrong with the picture?", "names"),
        ("Describe this  old\nphotograph to me.", "names"),
        ("What do you see in this picture?", "names"),
        ("Is the tool shown here a good one?", "names"),
        ("How is the lock, as depicted, opened?", "names"),
        ("How can I use this padlock for pottery?", "points"),
        ("Tell me who made these two things.", "points"),
        ("What is this?", "points"),
        ("What happened this year?", "none"),
        ("Tell me how to do this without a plan.", "none"),
        ("In this case, what is the rule?", "none"),
        ("How does one picture a better world?", "none"),
        ("How do I bake bread so that it rises?", "none"),
        ("", "none"),
    ],
)
def test_a_text_names_its_picture_or_points_at_something_or_neither(text: str, expected: str) -> None:
    assert mention(text) == expected
