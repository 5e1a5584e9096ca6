"""Stored failures of each process, which outlive it.

Table ``failures``: by the key of a process, one row with its identity, ``name``, ``seen`` (the
store's clock) and ``failures``, the records as JSON. Commits are marked quiet.

The row of a process that has ended stays until a process of the same name on the same machine
stores its own, for a week at most; of others that have ended the latest 20 rows stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from types import NoneType
from typing import Final

from plugreg._support.frozen import NamedTuple, arguments
from plugreg._support.guard import cut
from plugreg._support.identity import ProcessIdentity, identity_of, is_gone
from plugreg.records import PluginFailure, ProcessFailure, Stage
from plugreg.storage import Transaction
from plugreg.storage.base import Record, field, parse_records

FAILURES: Final = "failures"
"""The name of the table."""

MOST_OF_PLUGIN: Final = 20
"""Number of records of a plugin that a process stores: those seen last."""

_LONGEST_AGE: Final = 7 * 24 * 3600.0
_MOST_ENDED: Final = 20
"""How long, in seconds, and how many rows of ended processes are kept."""

_TRACEBACKS: Final = 400_000
_SHORTEST: Final = 500
_LONGEST: Final = 8_000
"""Characters of all tracebacks of a row together, and the least and the most of a traceback."""


class FailureRow(NamedTuple):
    """The stored failures of a process."""

    name: str
    identity: ProcessIdentity
    seen: float
    failures: tuple[PluginFailure, ...]


def as_row(
    name: str, identity: ProcessIdentity, seen: float, failures: Iterable[PluginFailure]
) -> Record:
    """Return the row of a process with those failures that are stored."""
    kept = [*_latest(failures)]
    length = min(max(_TRACEBACKS // max(len(kept), 1), _SHORTEST), _LONGEST)
    return {
        **identity._asdict(),
        "name": name,
        "seen": seen,
        "failures": [_as_json(failure, length) for failure in kept],
    }


def read(rows: Mapping[str, Record]) -> dict[str, FailureRow]:
    """Return the stored failures by key of the process; damaged rows are left out."""
    found, _ = parse_records(FAILURES, rows, _parse)
    return found


def clean(transaction: Transaction, key: str, name: str, host: str, time_now: float) -> bool:
    """Delete rows of ended processes that nobody needs; return whether there were any.

    *key* is that of the calling process.
    """
    rows = {k: row for k, row in read(dict(transaction.items(FAILURES))).items() if k != key}
    ended = [k for k, row in rows.items() if has_ended(row, time_now)]
    ended.sort(key=lambda k: -rows[k].seen)
    has_changed = False
    for place, other in enumerate(ended):
        row = rows[other]
        is_replaced = (row.name, row.identity.host) == (name, host)
        if is_replaced or place >= _MOST_ENDED or time_now - row.seen > _LONGEST_AGE:
            has_changed |= transaction.delete(FAILURES, other)
    return has_changed


def has_ended(row: FailureRow, time_now: float) -> bool:
    """Return whether the process of a row has ended, as far as that can be known.

    Of another machine's process it is known by its row of presence alone, which this does not
    read; after a day it counts as ended.
    """
    gone = is_gone(row.identity)
    return time_now - row.seen > _LONGEST_AGE / 7 if gone is None else gone


def with_process(
    failure: PluginFailure, name: str, identity: ProcessIdentity, *, is_running: bool = True
) -> ProcessFailure:
    """Return a failure with the process that it belongs to."""
    return ProcessFailure(
        **arguments(failure),
        process=name,
        pid=identity.pid,
        host=identity.host,
        is_running=is_running,
    )


# -- the parts -------------------------------------------------------------------------------


def _latest(failures: Iterable[PluginFailure]) -> Iterator[PluginFailure]:
    by_plugin: dict[str, list[PluginFailure]] = {}
    for failure in failures:
        by_plugin.setdefault(failure.slug, []).append(failure)
    for own in by_plugin.values():
        own.sort(key=lambda failure: failure.last_seen, reverse=True)
        yield from islice(own, MOST_OF_PLUGIN)


_STRINGS: Final = ("slug", "message", "subject", "place", "traceback")


def _as_json(failure: PluginFailure, length: int) -> Record:
    return arguments(failure) | {
        "stage": str(failure.stage),
        "traceback": cut(failure.traceback, length),
        "first_seen": failure.first_seen.isoformat(),
        "last_seen": failure.last_seen.isoformat(),
    }


def _parse(_key: str, row: Record) -> FailureRow:
    return FailureRow(
        field(row, "name", str),
        identity_of(row),
        float(field(row, "seen", float, int)),
        tuple(map(_failure, field(row, "failures", list))),
    )


def _failure(row: Record) -> PluginFailure:
    if type(row) is not dict:
        raise TypeError("a failure is no object")
    return PluginFailure(
        **{name: field(row, name, str) for name in _STRINGS},
        stage=Stage(field(row, "stage", str)),
        exception_type=field(row, "exception_type", str, NoneType),
        first_seen=_time(row, "first_seen"),
        last_seen=_time(row, "last_seen"),
        count=field(row, "count", int),
    )


def _time(row: Record, name: str) -> datetime:
    time = datetime.fromisoformat(field(row, name, str))
    if time.tzinfo is None:
        raise ValueError(f"{name} has no zone")
    return time
