"""Records, and the two rules that every backend enforces alike: see `plugreg.storage.Storage`.

A storage has *records*, dicts of JSON values, under a key in a table; a table exists as soon as it
has a record. A storage knows nothing of plugins. Reading and then writing is one operation, a
transaction, so that no update can be lost between the two.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from plugreg._support import PerProcess, exceptions
from plugreg._support.slugs import has_utf8

if TYPE_CHECKING:
    from plugreg.exceptions import RecordCorruptError

    T = TypeVar("T")

Record = dict[str, Any]
"""A record: string keys, and JSON values (None, bool, int, float, str, list, dict)."""

Tables = Mapping[str, Mapping[str, Record]]
"""Records by table and key."""

Changes = Mapping[str, Mapping[str, Record | None]]
"""New records, or None for deleted ones, by table and key."""


class DamagedRecord(Record):
    """A placeholder for a record that cannot be read.

    With it the other records of the table can be read. It is empty, and no storage accepts it.

    Args:
        reason: The fault of the record.
    """

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def __bool__(self) -> bool:
        # It is not an empty record.
        return True


def field(record: Record, name: str, *kinds: type) -> Any:
    """Return a field of a record that plugreg has written.

    Args:
        record: The record.
        name: The name of the field.
        kinds: The types that its value may have.

    Raises:
        KeyError: If there is no such field.
        TypeError: If its value has another type.
        ValueError: If the record is a `DamagedRecord`.
    """
    if isinstance(record, DamagedRecord):
        raise ValueError(record.reason)  # noqa: TRY004 - the fault is that of the contents
    value = record[name]
    if type(value) not in kinds:
        raise TypeError(f"{name} is {type(value).__name__}, not {kinds[0].__name__}")
    return value


@contextmanager
def readable(table: str, key: str) -> Iterator[None]:
    """Raise RecordCorruptError, which names the record, for an error of reading it.

    Args:
        table: The table of the record.
        key: Its key.
    """
    try:
        yield
    except _UNREADABLE as error:
        raise _damage(table, key, error) from error


# Not RecursionError: records of a store are not that deep, so it is the caller's.
_UNREADABLE: Final = (KeyError, TypeError, ValueError, OverflowError)


def _damage(table: str, key: str, error: BaseException) -> RecordCorruptError:
    return exceptions.RecordCorruptError(table, key, f"{type(error).__name__}: {error}")


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
        The parsed records by key, and an error for each record for which *parse* raised.
    """
    parsed, damaged = {}, []
    for key, record in records.items():
        try:
            parsed[key] = parse(key, record)
        except _UNREADABLE as error:
            damaged.append(_damage(table, key, error))
    return parsed, tuple(damaged)


MAX_DEPTH: Final = 100
"""The most levels of dicts and lists: every parser and copier handles these."""

MAX_INT_BITS: Final = 2048
"""The widest integer. The limit of Python for reading integers is 640 digits or more
(``sys.set_int_max_str_digits``), so those of 2048 bits, 617 digits, can always be read."""

MAX_TABLE_BYTES: Final = 255
"""The longest name of a table, in bytes of UTF-8."""

MAX_KEY_BYTES: Final = 1024
"""The longest key, in bytes of UTF-8: with its table it fits into an index of every database."""


class _Refused(Exception):  # noqa: N818 - it never leaves this module
    """A value is refused. Its arguments are the places on the way to the value, and the reason."""


def checked_copy(table: str, key: str, record: Record) -> Record:
    """Return a copy of a record that shares nothing mutable with it.

    Args:
        table: The name of the table, at most `MAX_TABLE_BYTES` long.
        key: The key, at most `MAX_KEY_BYTES` long.
        record: A dict of values that JSON returns unchanged. It has no subclasses of its types, no
            tuples, NaN, infinities or lone surrogates, no integers over `MAX_INT_BITS`, and at most
            `MAX_DEPTH` levels, so no cycles.

    Raises:
        StorageError: If a record cannot be stored. The message has the place of a value, and
            never the value itself, which may be a secret.
    """
    for word, name, longest in (("table", table, MAX_TABLE_BYTES), ("key", key, MAX_KEY_BYTES)):
        if type(name) is not str or not has_utf8(name):
            raise exceptions.StorageError(
                f"record {key!r} of table {table!r} was refused: its {word} must be a str "
                f"that has a UTF-8 form"
            )
        if len(name) * 4 > longest and len(name.encode()) > longest:
            raise exceptions.StorageError(
                f"a record was refused: its {word}, which begins with {name[:40]!r}, has "
                f"{len(name.encode())} bytes of UTF-8, but may have at most {longest}"
            )
    try:
        if type(record) is not dict:
            raise _Refused(f"it is of type {type(record).__qualname__!r}, not 'dict'")
        copy: Record = _copy_checked(record, 1)
    except _Refused as refused:
        *place, reason = refused.args
        shown = "".join(place[:5]) + ("…" if len(place) > 5 else "")
        where = f"at {shown} " if shown else ""
        raise exceptions.StorageError(
            f"record {key!r} of table {table!r} was refused: {where}{reason}; "
            f"a record is a dict of JSON values with string keys"
        ) from None
    return copy


def _copy_checked(value: Any, depth: int) -> Any:
    # Exact types, because JSON would return a subclass (an enum member, say) as another type.
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        fault = "" if has_utf8(value) else "there is a string without a UTF-8 form"
    elif kind is int:
        is_wide = value.bit_length() > MAX_INT_BITS
        fault = f"there is an integer of more than {MAX_INT_BITS} bits" if is_wide else ""
    elif kind is float:
        fault = "" if math.isfinite(value) else "there is a number that is not finite"
    elif kind is not dict and kind is not list:
        fault = f"there is a value of type {kind.__qualname__!r}"
    elif depth > MAX_DEPTH:
        fault = f"it has more than {MAX_DEPTH} levels, or contains itself"
    elif kind is dict:
        return {_check_name(name): _copy_inner(name, item, depth) for name, item in value.items()}
    else:
        return [_copy_inner(index, item, depth) for index, item in enumerate(value)]
    if fault:
        raise _Refused(fault)
    return value


def _copy_inner(name: str | int, value: Any, depth: int) -> Any:
    try:
        return _copy_checked(value, depth + 1)
    except _Refused as refused:
        raise _Refused(f"[{name!r}]", *refused.args) from None


def _check_name(name: Any) -> str:
    if type(name) is not str:
        raise _Refused(f"there is a key of type {type(name).__qualname__!r}, not 'str'")
    if not has_utf8(name):
        raise _Refused("there is a key without a UTF-8 form")
    return name


def value_fault(value: Any, depth: int = 1) -> str | None:
    """Return why a value cannot be stored, None if it can.

    Args:
        value: The value of a record, or a part of it.
        depth: Its level in the record.
    """
    try:
        _copy_checked(value, depth)
    except _Refused as refused:
        return str(refused.args[-1])
    return None


class Gate:
    """A gate that admits a single transaction of this process at a time to a storage.

    After `close` it admits none.

    Args:
        lock: The name of the lock in a StorageLockedError.
        timeout: Seconds to wait before that error, None for no limit.

    Raises:
        ValueError: If *timeout* is no number of seconds.
    """

    def __init__(self, lock: str, timeout: float | None) -> None:
        if timeout is not None and not 0 <= timeout <= threading.TIMEOUT_MAX:
            raise ValueError(f"lock_timeout={timeout!r} must be a number of seconds, at least 0")
        self._lock = lock
        self._timeout = timeout
        self._locks = PerProcess(threading.RLock)
        # The process in which each thread entered. The thread of a forked child has its parent's.
        self._inside = threading.local()
        self._closed = False

    def close(self) -> None:
        """Refuse everything from now on."""
        self._closed = True

    def require_open(self) -> None:
        """Raise StorageError if the storage was closed."""
        if self._closed:
            raise exceptions.StorageError("the storage is closed; open it again to use it")

    def is_inside(self) -> bool:
        """Return whether this thread is inside, or was when its process was forked."""
        return getattr(self._inside, "process", None) is not None

    @contextmanager
    def entered(self) -> Iterator[float]:
        """Hold the gate for a ``with`` block.

        Returns:
            The end of the time limit, a `time.monotonic`.

        Raises:
            StorageError: If this thread holds it already, or the storage is closed.
            StorageLockedError: If it was not acquired in time.
        """
        process, seconds = os.getpid(), self._timeout
        deadline = time.monotonic() + (math.inf if seconds is None else seconds)
        if self.is_inside():
            raise exceptions.StorageError(
                "a transaction cannot begin inside another one of the same storage and thread; "
                "use the one that is open, or let it end first"
                if self._inside.process == process
                else "this process was forked inside a transaction, which stays its parent's; "
                "leave its with block before beginning another one"
            )
        lock = self._locks.get()
        try:
            # Acquired inside, so that an interrupt right after it does not leave it held. An RLock
            # knows its holder, so it can be released without knowing how far this has come.
            if not lock.acquire(timeout=-1 if seconds is None else seconds):
                raise exceptions.StorageLockedError(self._lock, seconds or 0)
            self.require_open()
            self._inside.process = process
            yield deadline
        finally:
            self._inside.process = None
            # Before the release, no function written in Python is called, suppress() neither: an
            # interrupt could come there, and keep all other threads out for ever.
            try:
                while True:
                    lock.release()
            except RuntimeError:
                pass  # It is not held any more.
