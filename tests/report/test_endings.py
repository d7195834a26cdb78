"""How the answers ended, responder by responder."""

from spavl.report.dataset_tables import endings_table


def test_endings_that_occur_are_columns_and_missing_answers_keep_their_reasons() -> None:
    """Nobody refused in a field of its own, so that column is left out."""
    endings = {"a": {"stop": 5, "length": 1}, "b": {"stop": 2, "content_filter": 3, "budget": 4, "server_error": 1}}
    table = endings_table(endings)
    assert table.headings == ("Responder", "Whole", "Cut at the limit", "Stopped by a filter", "No answer")
    assert table.rows == [("a", 5, 1, 0, "–"), ("b", 2, 0, 3, "budget 4, server_error 1")]
