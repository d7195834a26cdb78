"""What the loopback server of the building benchmarks says and counts, and what their figures are made of."""

import json
import urllib.error
import urllib.request

import pytest
from benchmarks.build_vs_peers.job import Job, Said
from benchmarks.build_vs_peers.report import disagreements, figures
from benchmarks.build_vs_peers.server import Conditions, Counts, Server, row_of, running
from benchmarks.build_vs_peers.works import WORKS, Work
from benchmarks.full_build import Life, answer, overpaid, paid_in_vain

WORK = Work("W", "four rows", 4, 0, 2)
COUNTS = Counts(
    requests=9,
    answered=5,
    rows=4,
    others=1,
    refused=2,
    malformed=1,
    body_bytes=0,
    most_in_flight=2,
    ideal_s=4,
    window_s=5,
)
SAID = Said(kept=3, failed=1, digest="d", start_cpu_s=0.5, cpu_s=2.0, peak_mb=70)


def test_efficiency_and_what_was_paid_twice_are_worked_out_from_what_the_server_saw() -> None:
    """Of 9 requests 1 was a probe, 2 were refused and 1 was malformed; 4 rows need one each: 1 too many.

    The delays add up to 4 s, 2 at once are 2 s, and it took 5. 2 s of CPU are 500 ms a row.
    """
    seen = figures(WORK, "ours", SAID, COUNTS, wall_s=6, disk_bytes=400)
    assert (seen.repaid, seen.efficiency, seen.cpu_ms_a_row, seen.bytes_a_row, seen.lost) == (1, 0.4, 500, 100, 0)


def test_systems_that_kept_all_rows_and_other_answers_are_named() -> None:
    whole = SAID._replace(kept=4, failed=0)
    runs = [
        figures(WORK, name, said, COUNTS, 1, 1)
        for name, said in (("a", whole), ("b", whole._replace(digest="e")), ("c", SAID._replace(digest="f")))
    ]
    assert disagreements(runs[:1] + runs[2:]) == []
    assert disagreements(runs) == ["W: a and b kept different answers"]


def test_rows_about_one_picture_stand_side_by_side() -> None:
    job = Job("", "", "pictures", picture_count=2, rows=5, concurrency=1)
    assert [str(job.picture(row)) for row in range(5)] == ["pictures/0.jpg"] * 3 + ["pictures/1.jpg"] * 2
    assert all(work.scaled(0.1).pictures <= work.pictures for work in WORKS)


@pytest.mark.parametrize(("body", "row"), [(b"Placeholder question 17: what", 17), (b"hello", -1), (b"question ?", -1)])
def test_a_row_is_known_by_its_prompt(body: bytes, row: int) -> None:
    assert row_of(body) == row


def test_the_server_refuses_and_cuts_as_its_conditions_say_and_counts() -> None:
    with running() as server:
        server.behave(Conditions(mean_s=0.01, malformed=1.0))
        assert not _whole(server, 3)
        assert _whole(server, 3)
        assert _whole(server, 3)
        assert server.counts()[:6] == (3, 2, 1, 0, 0, 1)
        server.behave(Conditions(mean_s=0.01, refused=1.0))
        with pytest.raises(urllib.error.HTTPError, match="429") as caught:
            _whole(server, 3)
        assert caught.value.headers["Retry-After"] == "1"
        assert server.counts()[:6] == (1, 0, 0, 0, 1, 0)


def test_the_judge_of_the_full_build_prefers_the_same_answer_in_both_orders() -> None:
    answers = [answer(_body("responder-04", f"question {number}")) for number in range(2)]
    one, other = (_body("judge", "\n".join(order)) for order in (answers, answers[::-1]))
    assert {answer(one)[-5:], answer(other)[-5:]} == {"[[A]]", "[[B]]"}


def test_a_call_that_was_answered_and_not_stored_is_the_kills_that_lost_it() -> None:
    """The first process asks 100 and stores 40; of the 60 in flight the server has answered 50, and 10 it has not.

    The second asks the 60 and 40 new ones, which are in flight when it is killed; the server sees 50 repeats and 40
    more without an answer, 90, of which only the 40 are this kill's. The third asks those, and that is all.
    """
    lives = [_life(100, 10, 40), _life(200, 100, 100), _life(240, 100, 140)]
    assert paid_in_vain(lives) == [60, 40, 0]
    assert overpaid(lives) == []


def test_a_kill_that_cost_more_than_was_in_flight_is_told() -> None:
    assert overpaid([_life(100, 65, 35), _life(165, 65, 100)]) == ["kill 1 cost 65 calls; 64 were in flight"]


def test_a_stored_call_that_is_asked_again_is_told() -> None:
    """100 are asked, 90 stored; the next process asks the 10 and one that the store had."""
    (told,) = overpaid([_life(100, 10, 90), _life(111, 11, 100)])[:1]
    assert told == "1 requests of the process that was not killed are not in the store"


def _life(requests: int, repeats: int, stored: int) -> Life:
    return Life(1.0, 1.0, 1.0, 1.0, [], requests, repeats, stored)


def _body(model: str, text: str) -> bytes:
    content = [{"type": "image_url"}, {"type": "text", "text": text}]
    return json.dumps({"model": model, "messages": [{"role": "user", "content": content}]}).encode()


def _whole(server: Server, row: int) -> bool:
    """Asks about a row, and says whether the reply is whole."""
    url = f"{server.base_url}/chat/completions"
    with urllib.request.urlopen(url, f"question {row}".encode(), timeout=10) as reply:
        try:
            return "choices" in json.loads(reply.read())
        except json.JSONDecodeError:
            return False
