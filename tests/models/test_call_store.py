"""The store of calls: what is paid once, what is paid again, and what a kill leaves behind."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.models.scripted import ScriptedModel, echo

from spavl.errors import RunError, UserError
from spavl.models import CallStore, Completion, ImageInput, Replay, Reply, Request, StoredModel, call_key
from spavl.models.account import Account, Spent
from spavl.records import Failure
from spavl.store import Usage

FINGERPRINT = {"kind": "scripted", "weights": "0"}
OLD_KEY = "ae6b9286ff319e0770552c2042310db908edceccee393b30e149e861cb41dd30"
PICTURE = ImageInput(sha256="aa", path=Path("a.png"))


def prompts(*texts: str) -> list[Request]:
    return [Request(prompt=text) for text in texts]


def test_an_answered_call_is_not_made_again_on_a_later_run(tmp_path: Path) -> None:
    first, second = ScriptedModel(), ScriptedModel()
    for model in (first, second):
        store = CallStore(tmp_path / "deep" / "calls.sqlite")
        replies = asyncio.run(StoredModel(model, store).generate(prompts("a", "b")))
        store.close()
        assert replies == [echo(request) for request in prompts("a", "b")]
    assert (first.groups, second.groups) == ([["a", "b"]], [])


def test_only_what_is_new_is_asked_and_answers_keep_their_places(tmp_path: Path) -> None:
    model = ScriptedModel()
    stored = StoredModel(model, CallStore(tmp_path / "calls.sqlite"))
    asyncio.run(stored.generate(prompts("b")))
    replies = asyncio.run(stored.generate(prompts("a", "b", "c")))
    assert [reply.text for reply in replies if isinstance(reply, Completion)] == ["a", "b", "c"]
    assert model.groups == [["b"], ["a", "c"]]


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "other"},
        {"image": None},
        {"image": PICTURE.model_copy(update={"sha256": "bb"})},
        {"answered": "A placeholder."},
        {"system": "Be brief."},
        {"answer_prefix": "Sure,"},
        {"max_tokens": 65},
        {"temperature": 0.1},
        {"top_p": 0.9},
        {"seed": 1},
    ],
)
def test_every_field_of_a_request_is_part_of_its_key(change: dict[str, Any]) -> None:
    request = Request(prompt="What is this?", image=PICTURE)
    assert call_key(FINGERPRINT, request) != call_key(FINGERPRINT, request.model_copy(update=change))


def test_no_field_of_a_request_was_forgotten_above() -> None:
    """Whoever adds a field decides here whether it belongs to the key."""
    assert set(Request(prompt="", answered="x").identity()) == set(Request.model_fields)
    assert len(Request.model_fields) == 9


def test_calls_that_were_stored_before_there_was_an_answered_turn_stay_valid() -> None:
    """The key of this request as spavl 0.1 made it."""
    assert "answered" not in Request(prompt="").identity()
    assert call_key(FINGERPRINT, Request(prompt="What is this?")) == OLD_KEY


def test_a_picture_is_its_digest_wherever_it_lies() -> None:
    here, there = (Request(prompt="?", image=PICTURE.model_copy(update={"path": Path(name)})) for name in ("x", "y"))
    assert call_key(FINGERPRINT, here) == call_key(FINGERPRINT, there)


def test_another_model_is_another_call() -> None:
    request = Request(prompt="?")
    assert call_key(FINGERPRINT, request) != call_key(FINGERPRINT | {"weights": "1"}, request)


def test_a_failure_is_returned_and_never_stored(tmp_path: Path) -> None:
    broken = Failure(reason="server_error", message="placeholder")
    store = CallStore(tmp_path / "calls.sqlite")
    failing = ScriptedModel(lambda request: broken if request.prompt == "b" else echo(request))
    assert asyncio.run(StoredModel(failing, store).generate(prompts("a", "b")))[1] == broken
    assert store.count() == 1
    model = ScriptedModel()
    asyncio.run(StoredModel(model, store).generate(prompts("a", "b")))
    assert model.groups == [["b"]]


@pytest.mark.parametrize("finish", ["refusal", "content_filter", "length"])
def test_a_refusal_is_stored_like_any_answer(tmp_path: Path, finish: Any) -> None:
    store = CallStore(tmp_path / "calls.sqlite")
    refusing = ScriptedModel(lambda _: Completion(text="No.", finish=finish))
    for _ in range(2):
        (reply,) = asyncio.run(StoredModel(refusing, store).generate(prompts("a")))
        assert reply == Completion(text="No.", finish=finish)
    assert len(refusing.groups) == 1


def test_a_call_on_its_way_is_waited_for_and_not_paid_twice(tmp_path: Path) -> None:
    """Three groups at once hold `a` four times; it is asked once."""
    model = ScriptedModel()
    stored = StoredModel(model, CallStore(tmp_path / "calls.sqlite"))

    async def run() -> list[list[Reply]]:
        return await asyncio.gather(*(stored.generate(prompts(*group)) for group in ("aa", "ab", "ca")))

    assert asyncio.run(run()) == [[echo(request) for request in prompts(*group)] for group in ("aa", "ab", "ca")]
    assert model.groups == [["a"], ["b"], ["c"]]
    assert stored.take_usage() == Usage(calls=3, stored_calls=3, prompt_tokens=6, completion_tokens=3)
    assert stored.take_usage() == Usage()


def test_after_an_error_the_same_call_can_be_made_again(tmp_path: Path) -> None:
    def refuse(_: Request) -> Reply:
        raise UserError("placeholder")

    model = ScriptedModel(refuse)
    stored = StoredModel(model, CallStore(tmp_path / "calls.sqlite"))

    async def run() -> list[Any]:
        return await asyncio.gather(*(stored.generate(prompts("a")) for _ in range(2)), return_exceptions=True)

    assert [type(error) for error in asyncio.run(run())] == [UserError, UserError]
    model.answer = echo
    assert asyncio.run(stored.generate(prompts("a"))) == [echo(Request(prompt="a"))]


def test_what_was_used_is_counted_and_stored_answers_cost_nothing(tmp_path: Path) -> None:
    stored = StoredModel(ScriptedModel(), CallStore(tmp_path / "calls.sqlite"))
    asyncio.run(stored.generate(prompts("a", "b")))
    assert stored.take_usage() == Usage(calls=2, prompt_tokens=4, completion_tokens=2)
    asyncio.run(stored.generate(prompts("a", "b", "c")))
    assert stored.take_usage() == Usage(calls=1, stored_calls=2, prompt_tokens=2, completion_tokens=1)


def test_a_replay_answers_from_the_store_and_never_asks(tmp_path: Path) -> None:
    """What is not stored may be asked later, unless it may be left out."""
    store, model = CallStore(tmp_path / "calls.sqlite"), ScriptedModel()
    asyncio.run(StoredModel(model, store).generate(prompts("a")))
    for allowed in (False, True):
        replayed = StoredModel(model, store, Account("mine"), Replay(allowed))
        known, missing = asyncio.run(replayed.generate(prompts("a", "b")))
        assert known == echo(Request(prompt="a"))
        message = "a call of model 'mine' is not stored"
        assert missing == Failure(reason="not_stored", message=message, transient=not allowed)
        assert replayed.take_usage() == Usage(stored_calls=1)
    assert model.groups == [["a"]]


def test_calls_about_a_picture_are_forgotten_and_leave_no_bytes_behind(tmp_path: Path) -> None:
    """A prompt that quotes the digest in the words of the store is no call about the picture."""
    path = tmp_path / "calls.sqlite"
    store, quoting = CallStore(path), f'"image":"{"ab" * 32}"'
    shown = [Request(prompt=f"secret {n}", image=ImageInput(sha256=32 * n, path=Path("a"))) for n in ("ab", "cd")]
    asyncio.run(StoredModel(ScriptedModel(), store).generate([*shown, Request(prompt=quoting)]))
    assert store.forget(["ab" * 32, "ef" * 32], [], as_it_is) == 1
    assert (store.count(), store.forget(["ab" * 32], [], as_it_is)) == (2, 0)
    store.close()
    left = b"".join(one.read_bytes() for one in tmp_path.iterdir())
    assert b"secret cd" in left and b"secret ab" not in left
    model = ScriptedModel()
    asyncio.run(StoredModel(model, CallStore(path)).generate([*shown, Request(prompt=quoting)]))
    assert model.groups == [["secret ab"]]


def test_calls_without_a_picture_are_forgotten_by_what_they_pass_on(tmp_path: Path) -> None:
    """Of the first picture were said a question, and an answer that the second got too; the last call has neither.

    The call that has the question as a judge reads it goes, the one that has the shared answer stays: it may be about
    the second picture. A text that is known from elsewhere counts as said of the first.
    """
    question, shared = "How is <s> placeholder thing 1 used?", "I cannot help with that placeholder."
    texts = [
        f"User: {question.replace('<s>', '< s>')}\n\nAgent: no",
        f"Another question.\n\nAgent: {shared}",
        "Nothing of either.",
        "Agent: known from elsewhere, as it were",
    ]
    shown = [
        Request(prompt=prompt, image=ImageInput(sha256=32 * digest, path=Path("a")))
        for prompt, digest in ((question, "ab"), ("Another question.", "cd"))
    ]
    store = CallStore(tmp_path / "calls.sqlite")
    model = StoredModel(ScriptedModel(lambda request: Completion(text=shared)), store)
    asyncio.run(model.generate([*shown, *(Request(prompt=text) for text in texts)]))
    known = ["known from elsewhere"]
    assert store.forget(["ab" * 32], known, lambda text: [text, text.replace("<s>", "< s>")]) == 3
    assert (store.count(), store.forget(["ab" * 32], known, as_it_is)) == (3, 0)


def as_it_is(text: str) -> list[str]:
    return [text]


def test_calls_are_not_forgotten_half_while_another_process_reads_them(tmp_path: Path) -> None:
    """The reader holds the file as it was, so the words would stay in it; once it has gone, they go."""
    path = tmp_path / "calls.sqlite"
    store = CallStore(path)
    store._connection.execute("PRAGMA busy_timeout=100")
    shown = Request(prompt="a secret of some length", image=ImageInput(sha256="ab" * 32, path=Path("a")))
    asyncio.run(StoredModel(ScriptedModel(), store).generate([shown]))
    with sqlite3.connect(path) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM calls").fetchone()
        with pytest.raises(RunError, match="close the other process"):
            store.forget(["ab" * 32], [], as_it_is)
    reader.close()
    assert store.forget(["ab" * 32], [], as_it_is) == 0
    assert all(b"a secret" not in one.read_bytes() for one in tmp_path.iterdir())


def test_a_group_that_fails_to_be_written_leaves_nothing(tmp_path: Path) -> None:
    """The second row of the group is refused by the file itself; the first must not stay."""
    path = tmp_path / "calls.sqlite"
    store = CallStore(path)
    with sqlite3.connect(path) as connection:
        connection.execute(
            'CREATE TRIGGER no_b BEFORE INSERT ON calls WHEN CAST(NEW.request AS TEXT) LIKE \'%"prompt":"b"%\' '
            "BEGIN SELECT RAISE(ABORT, 'placeholder full disk'); END"
        )
    with pytest.raises(RunError, match="placeholder full disk"):
        asyncio.run(StoredModel(ScriptedModel(), store).generate(prompts("a", "b")))
    assert store.count() == 0


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.models.scripted import ScriptedModel
from spavl.models import CallStore, Request, StoredModel

async def run():
    stored = StoredModel(ScriptedModel(), CallStore(Path(sys.argv[1])))
    for group in range(10**6):
        await stored.generate([Request(prompt=f"{group} {row}") for row in range(7)])
        print(group, flush=True)

asyncio.run(run())
"""


def test_a_kill_leaves_whole_groups_and_every_group_that_was_returned(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", KILLED, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, env=os.environ | {"PYTHONPATH": "."})
    assert process.stdout is not None
    for _ in range(50):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    returned = 50 + len(process.stdout.readlines())
    process.wait()
    count = CallStore(path).count()
    assert count % 7 == 0
    assert returned <= count // 7 <= returned + 1


def test_two_processes_may_share_a_store(tmp_path: Path) -> None:
    """Two connections take turns; each sees what the other stored."""
    one, other = (CallStore(tmp_path / "calls.sqlite") for _ in range(2))
    asyncio.run(StoredModel(ScriptedModel(), one).generate(prompts("a")))
    model = ScriptedModel()
    asyncio.run(StoredModel(model, other).generate(prompts("a", "b")))
    assert model.groups == [["b"]]
    assert one.count() == 2


@pytest.mark.parametrize("content", [b"not a database, but long enough to be looked at" * 30, None])
def test_a_file_that_is_no_store_is_refused_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "calls.sqlite"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match="calls") as raised:
        CallStore(path)
    assert "\n" not in str(raised.value)


def test_a_model_that_forgets_a_reply_is_found_out(tmp_path: Path) -> None:
    class Forgetful(ScriptedModel):
        async def generate(self, requests: Sequence[Request]) -> list[Reply]:
            return (await super().generate(requests))[1:]

    with pytest.raises(ValueError, match="shorter"):
        asyncio.run(StoredModel(Forgetful(), CallStore(tmp_path / "calls.sqlite")).generate(prompts("a", "b")))


def test_closing_a_stored_model_closes_the_model_and_not_the_store(tmp_path: Path) -> None:
    model, store = ScriptedModel(), CallStore(tmp_path / "calls.sqlite")
    asyncio.run(StoredModel(model, store).close())
    assert model.closed
    assert store.count() == 0


def put_at_once(store: CallStore, count: int, cancelled: int = 0) -> list[BaseException | None]:
    """Puts calls in the same moment, the first ones being cancelled while they wait; returns what became of each."""

    async def put() -> list[BaseException | None]:
        calls = [(str(number), {"image": None}, Completion(text=str(number))) for number in range(count)]
        tasks = [asyncio.create_task(store.put_with_others([call], "m", Spent(calls=1, seconds=0.5))) for call in calls]
        await asyncio.sleep(0)
        for task in tasks[:cancelled]:
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(put())


def test_calls_that_come_in_the_same_moment_are_stored_in_one_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five calls, one commit; what they cost is the sum."""
    store = CallStore(tmp_path / "calls.sqlite", "run")
    commits = []
    monkeypatch.setattr(store, "_commit", lambda puts, commit=store._commit: (commits.append(len(puts)), commit(puts)))
    assert put_at_once(store, 5) == [None] * 5
    assert commits == [5]
    assert (store.count(), store.spent("m")) == (5, Spent(calls=5, seconds=2.5))


def test_a_call_is_stored_though_nobody_waits_for_it_any_more(tmp_path: Path) -> None:
    """Two of five are cancelled while they wait: they were paid, so they are stored as the others are."""
    store = CallStore(tmp_path / "calls.sqlite")
    done = put_at_once(store, 5, cancelled=2)
    assert [isinstance(one, asyncio.CancelledError) for one in done] == [True, True, False, False, False]
    assert store.count() == 5


def test_a_store_that_fails_fails_all_who_wait(tmp_path: Path) -> None:
    store = CallStore(tmp_path / "calls.sqlite")
    store.close()
    assert [type(one) for one in put_at_once(store, 3)] == [RunError] * 3
