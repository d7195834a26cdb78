"""The content-addressed store of calls: a call that was answered once is never made again, on any later run.

One SQLite file in WAL mode. The key is the model's fingerprint and the request's fields, so changing one prompt, one
model or one row re-pays exactly the calls that changed. The answers of a group are committed together, so a killed
local batch leaves nothing and is formed again as it was. Failures are not stored: they may be retried. A reply that
its reader could not read is kept and noted, and forgotten when somebody has a stage made again. Beside the calls
stands what each run has spent on each model, written with the answers that cost it, so that a budget survives a kill.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from spavl.errors import RunError, UserError
from spavl.models.account import NOTHING, Account, Spent
from spavl.models.base import Completion, Model, Reply, Request, call_key
from spavl.models.forgetting import keys_about
from spavl.models.replay import Replay
from spavl.models.store_mark import StoreMark
from spavl.records import Failure
from spavl.store import Usage
from spavl.store.files import disk_errors_named

SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, request BLOB NOT NULL, completion BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS unread (key TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS spent (
    run TEXT, model TEXT, calls INTEGER, prompt_tokens INTEGER, completion_tokens INTEGER, seconds REAL,
    PRIMARY KEY (run, model)
);
"""
ADD_SPENT = """
INSERT INTO spent VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (run, model) DO UPDATE SET
    calls = calls + excluded.calls,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens,
    seconds = seconds + excluded.seconds
"""
UNREAD = ("unparsed", "empty")
"""Reasons of a failure by which a reply came and could not be read."""

Calls = Sequence[tuple[str, dict[str, Any], Completion]]
"""(key, identity, completion) of several calls."""


class _Put(NamedTuple):
    """Calls to store, and what the run spent on them."""

    calls: Calls
    model: str
    spent: Spent


class _Together(NamedTuple):
    """What is stored in one transaction."""

    stored: asyncio.Future[None]
    puts: list[_Put]


class CallStore:
    """A file of answered calls.

    Args:
        path: The SQLite file; created when missing.
        run: Whose spending is counted.

    Raises:
        UserError: The file is something else, or may not be written.
        RunError: The disk is full, or the folder may not be written.
    """

    def __init__(self, path: Path, run: str = "") -> None:
        self.path = path
        self._run = run
        self._together: _Together | None = None
        with disk_errors_named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = sqlite3.connect(path, timeout=30)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute("PRAGMA secure_delete=ON")  # what is removed is overwritten
            self._connection.executescript(SCHEMA)
        except sqlite3.Error as error:
            raise UserError(
                f"calls: {path} cannot be used as the store of calls ({error}). "
                "Name another file, or move this one away and a new one is made."
            ) from error
        self._mark = StoreMark(path)

    def get(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Returns key -> completion for the calls that were answered before.

        Raises:
            RunError: The file cannot be read.
        """
        found = {}
        with self._errors_named():
            for key in keys:
                row = self._connection.execute("SELECT completion FROM calls WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    found[key] = Completion.model_validate_json(row[0])
        return found

    def known(self, keys: Iterable[str]) -> set[str]:
        """Returns those of the keys whose calls were answered before.

        Raises:
            RunError: The file cannot be read.
        """
        with self._errors_named():
            ask = self._connection.execute
            return {key for key in keys if ask("SELECT 1 FROM calls WHERE key = ?", (key,)).fetchone()}

    def spent(self, model: str) -> Spent:
        """Returns what the run has spent on a model.

        Raises:
            RunError: The file cannot be read.
        """
        query = "SELECT calls, prompt_tokens, completion_tokens, seconds FROM spent WHERE run = ? AND model = ?"
        with self._errors_named():
            row = self._connection.execute(query, (self._run, model)).fetchone()
        return Spent(*row) if row else Spent()

    def put(self, calls: Calls, model: str = "", spent: Spent = NOTHING) -> None:
        """Stores (key, identity, completion) of several calls, and what the run spent on them, in one transaction.

        Raises:
            RunError: The disk is full, or another process holds the file for very long.
        """
        self._commit([_Put(calls, model, spent)])

    async def put_with_others(self, calls: Calls, model: str = "", spent: Spent = NOTHING) -> None:
        """Stores calls as `put` does, in one transaction with all that comes in the same moment.

        It returns when they are stored, so whoever waits has its calls under way till then; what is put is stored also
        where nobody waits any more. The errors are those of `put`.
        """
        loop = asyncio.get_running_loop()
        if self._together is None:
            self._together = _Together(loop.create_future(), [])
            loop.call_soon(self._commit_together)
        self._together.puts.append(_Put(calls, model, spent))
        await asyncio.shield(self._together.stored)

    def _commit_together(self) -> None:
        together, self._together = self._together, None
        if together is None:
            return
        try:
            self._commit(together.puts)
        except RunError as error:
            together.stored.set_exception(error)
        else:
            together.stored.set_result(None)

    def _commit(self, puts: Sequence[_Put]) -> None:
        rows = [
            (key, orjson.dumps(identity), completion.model_dump_json())
            for put in puts
            for key, identity, completion in put.calls
        ]
        spent: dict[str, Spent] = {}
        for put in puts:
            if put.model:
                spent[put.model] = spent.get(put.model, NOTHING).plus(put.spent)
        with self._errors_named(), self._connection:
            self._connection.executemany("INSERT OR IGNORE INTO calls VALUES (?, ?, ?)", rows)
            self._connection.executemany(ADD_SPENT, [(self._run, model, *more) for model, more in spent.items()])

    def note_unread(self, keys: Iterable[str]) -> None:
        """Notes that the replies to these calls could not be read; they stay until `forget_unread`.

        Raises:
            RunError: The disk is full, or another process holds the file for very long.
        """
        with self._errors_named(), self._connection:
            self._connection.executemany("INSERT OR IGNORE INTO unread VALUES (?)", [(key,) for key in keys])

    def forget_unread(self) -> None:
        """Removes the calls whose replies could not be read, so that they are asked again.

        Raises:
            RunError: The disk is full, or another process holds the file for very long.
        """
        with self._errors_named(), self._connection:
            self._connection.execute("DELETE FROM calls WHERE key IN (SELECT key FROM unread)")
            self._connection.execute("DELETE FROM unread")

    def forget(self, pictures: Collection[str], texts: Collection[str], forms: Callable[[str], Collection[str]]) -> int:
        """Removes the calls about some pictures, in a way that leaves nothing of them in the file; see `keys_about`.

        Returns:
            How many calls were removed.

        Raises:
            RunError: The file cannot be read, or another process holds it for very long.
        """
        query = "SELECT key, request, completion FROM calls"
        with self._errors_named():
            keys = keys_about(lambda: self._connection.execute(query), set(pictures), texts, forms)
            with self._connection:
                self._connection.executemany("DELETE FROM calls WHERE key = ?", [(key,) for key in keys])
            busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise sqlite3.OperationalError("another process is reading it")
        return len(keys)

    def count(self) -> int:
        """Returns how many calls are stored."""
        return int(self._connection.execute("SELECT COUNT(*) FROM calls").fetchone()[0])

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()
        self._mark.close()

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise RunError(
                f"The store of calls {self.path} failed: {error}. Free some space on its disk or close the other "
                "process that uses it, then run again: what was answered is kept."
            ) from error


class StoredModel:
    """A model whose answered calls are kept; it has the same face as the model it wraps.

    A call that is already on its way is waited for, not made a second time.

    Args:
        model: The model.
        store: Where answered calls are kept.
        account: What the run spends on the model, and how much it may; without one nothing is counted.
        replay: Set where it answers from the store alone, and is never asked.
    """

    def __init__(
        self, model: Model, store: CallStore, account: Account | None = None, replay: Replay | None = None
    ) -> None:
        self._model = model
        self._store = store
        self._account = account or Account("")
        self._replay = replay
        self._usage = Usage()
        self._on_their_way: dict[str, asyncio.Future[dict[str, Reply]]] = {}

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The wrapped model's fingerprint."""
        return self._model.fingerprint

    @property
    def group_size(self) -> int:
        """The wrapped model's group size."""
        return self._model.group_size

    @property
    def concurrency(self) -> int:
        """The wrapped model's concurrency."""
        return self._model.concurrency

    def take_usage(self) -> Usage:
        """Returns what was used since the last call of this function."""
        usage, self._usage = self._usage, Usage()
        return usage

    async def generate(self, requests: Sequence[Request]) -> list[Reply]:
        """Answers from the store what it holds, and asks the model for the rest, as one group."""
        fingerprint = self.fingerprint
        keys = [call_key(fingerprint, request) for request in requests]
        known: dict[str, Reply] = dict(self._store.get(keys))
        asked = {self._on_their_way[key] for key in keys if key in self._on_their_way}
        missing = {
            key: request
            for key, request in zip(keys, requests, strict=True)
            if key not in known and key not in self._on_their_way
        }
        if len(missing) < len(keys):
            self._usage += Usage(stored_calls=len(keys) - len(missing))
        if missing and self._replay is not None:
            known |= dict.fromkeys(missing, self._replay.failure(f"a call of model '{self._account.name}'"))
        elif missing:
            known |= await self._ask_for_all(missing)
        for others in asked:
            known |= await others
        return [known[key] for key in keys]

    def note_unread(self, read: Iterable[tuple[Request, object]]) -> None:
        """Notes of requests and what their replies were read as which could not be read.

        Raises:
            RunError: The disk is full, or another process holds the store for very long.
        """
        unread = [one for one, result in read if isinstance(result, Failure) and result.reason in UNREAD]
        if unread:
            fingerprint = self.fingerprint
            self._store.note_unread(call_key(fingerprint, request) for request in unread)

    async def _ask_for_all(self, missing: dict[str, Request]) -> dict[str, Reply]:
        """Asks, while others who want the same wait for it."""
        answered: asyncio.Future[dict[str, Reply]] = asyncio.get_running_loop().create_future()
        self._on_their_way |= dict.fromkeys(missing, answered)
        try:
            replies = await self._ask(missing)
            answered.set_result(replies)
        except BaseException as error:
            answered.set_exception(error)
            answered.exception()  # nobody else may have waited
            raise
        finally:
            for key in missing:
                del self._on_their_way[key]
        return replies

    async def _ask(self, missing: dict[str, Request]) -> dict[str, Reply]:
        """Asks the model for a group, if its budget allows it, and stores what is answered."""
        requests = list(missing.values())
        reserved = await self._account.admit(requests)
        if isinstance(reserved, Failure):
            return dict.fromkeys(missing, reserved)
        replies: list[Reply] = []
        try:
            replies = await self._model.generate(requests)
        finally:
            spent = self._account.settle(reserved, requests[: len(replies)], replies)
        answered = [
            (key, request.identity(), reply)
            for (key, request), reply in zip(missing.items(), replies, strict=True)
            if not isinstance(reply, Failure)
        ]
        await self._store.put_with_others(answered, self._account.name, spent)
        self._usage += Usage(
            calls=len(missing),
            prompt_tokens=spent.prompt_tokens,
            completion_tokens=spent.completion_tokens,
            cost=self._account.cost(spent),
        )
        return dict(zip(missing, replies, strict=True))

    async def close(self) -> None:
        """Closes the wrapped model; the store stays open for others."""
        await self._model.close()
