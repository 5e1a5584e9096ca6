"""The storage contract (design.md, section 4), and the two rules that every backend enforces alike.

A storage keeps *records*, dicts of JSON values, under a key in a table; tables need no making. It
knows nothing of plugins. Reading and then writing is one operation of the store, a transaction,
so that no update can be lost between the two.
"""

from __future__ import annotations

import json
import math
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, NoReturn, Protocol, TypeVar

from plugreg._support.per_process import PerProcess
from plugreg.exceptions import RecordCorruptError, StorageError, StorageLockedError

T = TypeVar("T")

Record = dict[str, Any]
"""One record: text keys, and values that are None, bool, int, float, str, list or dict of such."""


class DamagedRecord(Record):
    """Stands in a table for a record that cannot be read, so that the others can be.

    It is empty, and no storage takes it. ``reason`` is what is wrong with the record.
    """

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def __bool__(self) -> bool:
        # It is no empty record.
        return True


def field(record: Record, name: str, *kinds: type) -> Any:
    """Return a field of a record of ours.

    Raises KeyError, TypeError for another type, and ValueError for a DamagedRecord.
    """
    if isinstance(record, DamagedRecord):
        raise ValueError(record.reason)  # noqa: TRY004 - the type stands for what is wrong
    value = record[name]
    if type(value) not in kinds:
        raise TypeError(f"{name} is {type(value).__name__}, not {kinds[0].__name__}")
    return value


@contextmanager
def readable(table: str, key: str) -> Iterator[None]:
    """Raise RecordCorruptError, which names the place, for what goes wrong in reading a record."""
    try:
        yield
    except _UNREADABLE as error:
        raise _damage(table, key, error) from error


_UNREADABLE: Final = (KeyError, TypeError, ValueError, OverflowError, RecursionError)


def _damage(table: str, key: str, error: BaseException) -> RecordCorruptError:
    return RecordCorruptError(table, key, f"{type(error).__name__}: {error}")


def parse_records(
    table: str, records: Mapping[str, Record], parse: Callable[[str, Record], T]
) -> tuple[dict[str, T], tuple[RecordCorruptError, ...]]:
    """Parse the records of a table, each by itself.

    Args:
        table: The name of the table.
        records: Its records by key.
        parse: Called with key and record; raises KeyError, TypeError or ValueError for a record
            that plugreg has not written.

    Returns:
        What *parse* returned, by key, and an error for each record that it raised for.

    """
    parsed, damaged = {}, []
    for key, record in records.items():
        try:
            parsed[key] = parse(key, record)
        except _UNREADABLE as error:
            damaged.append(_damage(table, key, error))
    return parsed, tuple(damaged)


class Storage(Protocol):
    """A place that keeps records. Opening is constructing; one object serves all threads.

    Every verb but :meth:`close` raises StorageError after the storage was closed,
    StorageUnavailableError when the store cannot be reached, and StorageCorruptError when what is
    found there is not what plugreg wrote. A store that raised the latter is never written to.
    """

    def read(self, table: str) -> Mapping[str, Record]:
        """Return a copy of one table as the last commit left it: records by key, sorted by key.

        The copy is consistent (never a part of a transaction) and the caller's own. A table that
        nobody has written to is empty. No lock is taken, so that a read never waits for a
        transaction, and inside one it does not see that transaction's changes. A record that
        cannot be read, and is by itself, is a :class:`DamagedRecord`.
        """
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Return a context manager that gives a :class:`Transaction` on everything in the store.

        There is one at a time, over all threads and processes; others wait. When the ``with``
        block ends, all its changes are on disk (where the backend has one); when it raises,
        whatever the exception, nothing has changed. One inside another in the same thread raises
        StorageError. A lock that cannot be had in time raises StorageLockedError. When the commit
        itself raises, nothing has changed either, unless its message says otherwise.
        """
        ...

    def revision(self) -> int:
        """Return how many commits have changed this store: 0 for a new one.

        Each commit raises it by exactly one. A transaction that has put nothing and deleted
        nothing commits nothing, and does not. Putting what is there already counts as a put.
        It is cheap to ask, and equal revisions mean equal contents, for as long as nobody puts
        an older copy of the store in its place: its revision may come to one that was seen, with
        other contents. Whoever does that restarts the processes, or has them reload.
        """
        ...

    def close(self) -> None:
        """Let go of the store. Closing twice does nothing; a transaction under way may end."""
        ...


class Transaction(Protocol):
    """What may be done inside ``with storage.transaction() as transaction``.

    Reads show the transaction's own changes. What is given out, and what is taken in, is copied:
    changing a record afterwards changes nothing in the store. Once its block has ended, or in a
    process forked from the one that began it, every verb raises StorageError.
    """

    def get(self, table: str, key: str) -> Record | None:
        """Return a copy of the record, or None when there is none under this key.

        One that cannot be read is a :class:`DamagedRecord`, here and in :meth:`items`.
        """
        ...

    def tables(self) -> list[str]:
        """Return the names of all tables that have records, sorted."""
        ...

    def items(self, table: str) -> Iterable[tuple[str, Record]]:
        """Return all (key, record) pairs of a table, sorted by key.

        They are those of the moment of the call: putting and deleting meanwhile is safe.
        """
        ...

    def put(self, table: str, key: str, record: Record) -> None:
        """Store a copy of ``record`` under ``key``, in place of a record that was there.

        StorageError, with table and key, refuses what :func:`checked_copy` refuses, and
        RecordCorruptError to replace a DamagedRecord; nothing is changed then, and the transaction
        may go on.
        """
        ...

    def delete(self, table: str, key: str) -> bool:
        """Remove the record under ``key``; return whether there was one."""
        ...


MAX_DEPTH: Final = 100
"""How many dicts and lists may stand inside one another: every parser and copier manages these."""

MAX_INT_BITS: Final = 2048
"""The widest integer. Python can be told to refuse reading integers of more than 640 digits, but
no fewer (``sys.set_int_max_str_digits``), so those of 2048 bits, 617 digits, can always be read."""


MAX_TABLE_BYTES: Final = 255
"""The longest name of a table, in bytes of UTF-8."""

MAX_KEY_BYTES: Final = 1024
"""The longest key, in bytes of UTF-8: with its table it fits into an index of every database."""


class _Refused(Exception):  # noqa: N818 - it never leaves this module
    """A value is refused; ``place`` grows on the way up to the record."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.place: list[str] = []


def checked_copy(table: str, key: str, record: Record) -> Record:
    """Return a copy of ``record`` that shares nothing mutable with it, once it is fit to be stored.

    StorageError refuses whatever would not come back from JSON as it is: other types than those
    of :data:`Record` (subclasses too, and tuples), keys that are no text, NaN and infinities, text
    that has no UTF-8 form (lone surrogates), integers over :data:`MAX_INT_BITS`, more levels than
    :data:`MAX_DEPTH`, and so cycles; and longer names than :data:`MAX_TABLE_BYTES` and
    :data:`MAX_KEY_BYTES`. Its message gives the place, and never the value, which may be a secret.
    """
    for word, name, most in (("table", table, MAX_TABLE_BYTES), ("key", key, MAX_KEY_BYTES)):
        if type(name) is not str or not is_unicode(name):
            raise StorageError(
                f"record {key!r} of table {table!r} was refused: its {word} must be a str "
                f"that has a UTF-8 form"
            )
        if len(name) * 4 > most and len(name.encode()) > most:
            raise StorageError(
                f"a record was refused: its {word}, which begins with {name[:40]!r}, has "
                f"{len(name.encode())} bytes of UTF-8, but may have at most {most}"
            )
    try:
        if type(record) is not dict:
            raise _Refused(f"it is of type {type(record).__qualname__!r}, not 'dict'")
        copy: Record = _checked(record, 1)
    except _Refused as refused:
        shown = "".join(refused.place[:5]) + ("…" if len(refused.place) > 5 else "")
        where = f"at {shown} " if shown else ""
        raise StorageError(
            f"record {key!r} of table {table!r} was refused: {where}{refused.reason}; "
            f"a record is a dict of JSON values with text keys"
        ) from None
    return copy


def _checked(value: Any, depth: int) -> Any:
    # Exact types, because a subclass (an enum's member, say) would come back as something else.
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        if not is_unicode(value):
            raise _Refused("there is a text without a UTF-8 form")
        return value
    if kind is int:
        if value.bit_length() > MAX_INT_BITS:
            raise _Refused(f"there is an integer of more than {MAX_INT_BITS} bits")
        return value
    if kind is float:
        if not math.isfinite(value):
            raise _Refused("there is a number that is not finite")
        return value
    if depth > MAX_DEPTH:
        raise _Refused(f"it has more than {MAX_DEPTH} levels, or contains itself")
    if kind is dict:
        return {_checked_name(name): _inside(name, each, depth) for name, each in value.items()}
    if kind is list:
        return [_inside(index, each, depth) for index, each in enumerate(value)]
    raise _Refused(f"there is a value of type {kind.__qualname__!r}")


def _inside(name: str | int, value: Any, depth: int) -> Any:
    try:
        return _checked(value, depth + 1)
    except _Refused as refused:
        refused.place.insert(0, f"[{name!r}]")
        raise


def _checked_name(name: Any) -> str:
    if type(name) is not str:
        raise _Refused(f"there is a key of type {type(name).__qualname__!r}, not 'str'")
    if not is_unicode(name):
        raise _Refused("there is a key without a UTF-8 form")
    return name


def is_unicode(text: str) -> bool:
    """Tell whether a text has a UTF-8 form: one with lone surrogates has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python's parser takes though they are no JSON."""
    raise ValueError(f"{name} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("there is a number that is not finite")
    return number


_PARSER: Final = json.JSONDecoder(parse_constant=refuse_constant, parse_float=_finite)
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(text: str) -> Any:
    """Return the value that a JSON string has.

    Raises:
        ValueError: If it is not JSON, or holds a value that no store takes.
        RecursionError: If it is nested too deeply.

    """
    value = _PARSER.decode(text)
    # Most strings have no such escape, so that the values of few are looked through. Those of a
    # whole file stand in two more levels, the table and the tables.
    if _SURROGATE.search(text):
        try:
            _checked(value, -1)
        except _Refused as refused:
            raise ValueError(refused.reason) from None
    return value


class Gate:
    """Lets one transaction at a time into a storage of this process, and none once it is closed.

    ``lock`` is what a StorageLockedError names after ``timeout`` seconds of waiting; a timeout of
    None waits for ever, and one that is no number of seconds raises ValueError.
    """

    def __init__(self, lock: str, timeout: float | None) -> None:
        if timeout is not None and not 0 <= timeout <= threading.TIMEOUT_MAX:
            raise ValueError(f"lock_timeout={timeout!r} is no number of seconds from 0 on")
        self._lock = lock
        self._timeout = timeout
        self._locks = PerProcess(threading.RLock)
        # Of each thread: the process that entered. A forked child's one thread has its parent's.
        self._inside = threading.local()
        self._closed = False

    def close(self) -> None:
        """Refuse everything from now on."""
        self._closed = True

    def require_open(self) -> None:
        """Raise StorageError if the storage was closed."""
        if self._closed:
            raise StorageError("the storage is closed; open it anew to use it")

    def is_inside(self) -> bool:
        """Tell whether this thread holds the gate, or held it when its process was forked."""
        return getattr(self._inside, "process", None) is not None

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Hold the gate for a ``with`` block; refuse a thread that holds it already."""
        process = os.getpid()
        if self.is_inside():
            raise StorageError(
                "a transaction cannot begin inside another one of the same storage and thread; "
                "use the one that is open, or let it end first"
                if self._inside.process == process
                else "this process was forked inside a transaction, which stays its parent's; "
                "leave its with block before beginning another one"
            )
        lock = self._locks.get()
        try:
            # Acquired inside, so that an interrupt right after it does not leave it held; a lock
            # that knows its holder can be released without knowing how far this has come.
            if not lock.acquire(timeout=-1 if self._timeout is None else self._timeout):
                raise StorageLockedError(self._lock, self._timeout or 0)
            self.require_open()
            self._inside.process = process
            yield
        finally:
            self._inside.process = None
            # Nothing is called before the release that is written in Python, suppress() neither:
            # an interrupt could come there, and keep all other threads out for ever.
            try:
                while True:
                    lock.release()
            except RuntimeError:
                pass  # It is held no more.
