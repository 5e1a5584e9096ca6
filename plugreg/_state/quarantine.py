"""Marks of plugins that are being loaded, which identify the plugin that ended a process.

Table ``loading``: one row for each process that is loading: by ``slug:token`` while it runs code of
a version that was never loaded before, by ``:token`` while it loads others. It has the identity and
the ``name`` of the process, ``since`` (seconds, the store's clock), and the ``code`` and ``python``
of the plugin. A process that ends while it loads leaves its row, and that of one plugin keeps the
plugin off.

Table ``served``: by slug, for each Python the ``codes`` that came into service last, and those that
have ``failed`` without ending the process.

Commits are marked quiet: they concern no process that is loaded.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Container, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from plugreg._state import asks
from plugreg._state.ending import OrderlyEnd
from plugreg._state.heartbeat import Heartbeat
from plugreg._state.probe_rows import code_of
from plugreg._support.frozen import NamedTuple
from plugreg._support.identity import ProcessIdentity, identity_of, is_gone, own_identity
from plugreg._support.outages import Outage
from plugreg.exceptions import StorageError
from plugreg.records import EMPTY, PluginFailure, PluginSpec, Source, Stage
from plugreg.storage import Storage, Transaction
from plugreg.storage.base import Record, field, parse_records
from plugreg.storage.clock import now
from plugreg.storage.quiet_commits import mark_quiet

LOADING: Final = "loading"
SERVED: Final = "served"
"""The names of the tables."""

PYTHON: Final = sys.implementation.cache_tag or sys.implementation.name
"""Identifier of this Python among others that share the store."""

_PATIENCE: Final = 60.0
_PATIENCE_HERE: Final = 10.0
"""Seconds after which a process that cannot be checked counts as ended: on another machine, and on
a machine or container of the same name, which was probably restarted."""
_MOST_CODES: Final = 4
"""Number of codes of a plugin that count as served: processes may run different releases."""
_UNMARKED: Final = (Source.MANUAL, Source.BROUGHT)
"""Plugins that other plugins or the host provide as objects, and that have no stored rows."""


class Mark(NamedTuple):
    """A row of table ``loading``. ``slug`` is empty for that of plugins that have served."""

    slug: str
    process: ProcessIdentity
    name: str
    since: float
    code: Mapping[str, Any]
    python: str

    def has_ended(self, time_now: float) -> bool:
        """Return whether the process that loaded has ended, as far as that can be known."""
        gone = is_gone(self.process)
        if gone is not None:
            return gone
        is_here = self.process.host == own_identity().host
        return time_now - self.since > (_PATIENCE_HERE if is_here else _PATIENCE)

    def is_of(self, spec: PluginSpec) -> bool:
        """Return whether it is the mark of this version of a plugin and of this Python."""
        is_code = (self.slug, self.code) == (spec.slug, code_of(spec))
        return is_code and self.python == PYTHON

    @property
    def reason(self) -> str:
        """Why the plugin is kept off, as a sentence."""
        time = datetime.fromtimestamp(self.since, UTC)
        return (
            f"the last process that loaded it ended here: {self.name!r}, pid "
            f"{self.process.pid} on {self.process.host!r}, which began at {time:%Y-%m-%d %H:%M:%S} "
            f"UTC; activate or reset it to try it again, or install another version"
        )


class Quarantine:
    """Marks the plugins that a registry loads, and finds the marks of ended processes.

    A mark that cannot be stored or read stops nothing: that is logged once. One thread at a time
    may load. A process that is told to end while a mark is stored removes it first.

    Args:
        storage: The storage that the processes share.
        heartbeat: Knows the name of this process, and whether it serves: only then are plugins
            marked that have served before.
    """

    def __init__(self, storage: Storage, heartbeat: Heartbeat) -> None:
        self._storage = storage
        self._heartbeat = heartbeat
        self._token = os.urandom(8).hex()
        # The process, and the keys of its marks that may be stored.
        self._own: tuple[int, frozenset[str]] = (0, frozenset())
        self._rows: _Rows | None = None
        self._new: dict[str, PluginSpec] = {}
        self._released: set[str] = set()
        # What an operator tries again is marked by itself.
        self._again: set[str] = set()
        # Whether others are marked together although this process does not serve.
        self._marks_others = False
        self._end = OrderlyEnd()
        self._outage = Outage(
            "it cannot be stored which plugin is being loaded, so that none would be kept off",
            "it is stored again which plugin is being loaded",
        )

    def enter(self, spec: PluginSpec, *, is_harmless: bool = False) -> PluginFailure | None:
        """Mark that a plugin is loaded now; return why it must not be, None if it may.

        Args:
            spec: The plugin.
            is_harmless: Whether it is loaded in a process of its own.
        """
        try:
            if self._rows is None:
                self._rows = _Rows.read(self._storage)
            mark = None if is_harmless else self._rows.mark_of(spec)
            if mark is not None:
                return PluginFailure(stage=Stage.IMPORT, slug=spec.slug, message=mark.reason)
            if is_harmless or spec.source in _UNMARKED or self._rows.has_served(spec):
                self._put(None)
            elif self._rows.has_failed(spec) and spec.slug not in self._again:
                self._marks_others = True
                self._put(None)
            else:
                self._new[spec.slug] = spec
                self._put(spec)
        except StorageError as error:
            self._outage.failed(error)
        return None

    def settle(self) -> Callable[[str], None] | None:
        """Note that all plugins are made, and that code of theirs still runs.

        Returns:
            What to call with the slug before code of one plugin runs, None where none is new.
        """
        if not self._new:
            return None
        # Whose code runs is not known in between, unless there is one alone.
        self._marks_others = True
        self._try_to_put(next(iter(self._new.values())) if len(self._new) == 1 else None)
        return lambda slug: self._try_to_put(self._new.get(slug))

    def leave(self, served: Iterable[str] | None = None) -> None:
        """Remove the mark: everything is loaded, or Ctrl-C or a failing storage ended that.

        Other processes are asked to try the released plugins too, because this process survived.

        Args:
            served: The plugins that are in service now, None where loading was ended.
        """
        self._end.defer()
        in_service = frozenset(served or ())
        new = [] if served is None else [*self._new.values()]
        released = self._released if served is not None else set()
        self._rows, self._new, self._marks_others = None, {}, False
        self._released, self._again = set(), set()
        try:
            for slug in released:
                asks.put(self._storage, "reset", slug)
            if new or self._keys:
                self._store_end(new, in_service)
        except StorageError as error:
            self._outage.failed(error)
        else:
            self._outage.succeeded()
        finally:
            self._end.end()

    def release(self, slug: str) -> None:
        """Delete the marks of a plugin, so that it is tried again. Raises StorageError."""
        time_now = now(self._storage)
        marks, _ = parse_records(LOADING, self._storage.read(LOADING), _parse)
        if any(mark.slug == slug and mark.has_ended(time_now) for mark in marks.values()):
            with self._storage.transaction() as transaction:
                if drop_marks(transaction, slug, time_now):
                    mark_quiet(self._storage, transaction)
            self._released.add(slug)
        self._again.add(slug)
        self._rows = None

    def reasons(self, specs: Iterable[PluginSpec]) -> dict[str, str]:
        """Return why plugins are kept off, by slug. Writes nothing. Raises StorageError."""
        rows = _Rows.read(self._storage)
        return {spec.slug: mark.reason for spec in specs if (mark := rows.mark_of(spec))}

    # -- the parts ---------------------------------------------------------------------------

    @property
    def _keys(self) -> frozenset[str]:
        """The keys of the marks that may be stored. A mark from before a fork is the parent's."""
        process, keys = self._own
        return keys if process == os.getpid() else frozenset()

    def _put(self, spec: PluginSpec | None) -> None:
        """Store that this version of a plugin, or for None a version that has served, is loaded."""
        assert self._rows is not None
        if spec is None and not (self._marks_others or self._heartbeat.is_serving):
            keys = frozenset[str]()
        else:
            keys = frozenset({f"{'' if spec is None else spec.slug}:{self._token}"})
        # Plugins that earlier processes have left are now marked one by one.
        left = self._rows.take_batches() if spec is not None else ()
        old = self._keys
        if keys == old and not left:
            return
        if keys:
            self._end.begin()
        # What ends the load may come as soon as the mark is stored.
        self._hold(old | keys)
        with self._storage.transaction() as transaction:
            for other in (*old, *left):
                transaction.delete(LOADING, other)
            for key in keys:
                transaction.put(LOADING, key, self._row(spec))
            mark_quiet(self._storage, transaction)
        self._hold(keys)

    def _try_to_put(self, spec: PluginSpec | None) -> None:
        try:
            self._rows = self._rows or _Rows.read(self._storage)
            self._put(spec)
        except StorageError as error:
            self._outage.failed(error)

    def _store_end(self, new: Iterable[PluginSpec], in_service: Container[str]) -> None:
        """Remove the mark, and store which new plugins came into service, and which failed."""
        with self._storage.transaction() as transaction:
            for key in self._keys:
                transaction.delete(LOADING, key)
            for spec in new:
                has_served = spec.slug in in_service
                _put_known(transaction, spec, has_served=has_served)
                if has_served:
                    drop_marks(transaction, spec.slug, now(self._storage))
            mark_quiet(self._storage, transaction)
        self._hold(frozenset())

    def _hold(self, keys: frozenset[str]) -> None:
        """Note the marks that :meth:`leave` removes, also where the process ends before."""
        self._own = (os.getpid(), keys)
        atexit.unregister(self.leave)
        if keys:
            # A thread that loads beside the host's own work ends in the middle of it.
            atexit.register(self.leave)

    def _row(self, spec: PluginSpec | None) -> Record:
        return {
            **own_identity()._asdict(),
            "name": self._heartbeat.name,
            "since": now(self._storage),
            "code": {} if spec is None else code_of(spec),
            "python": PYTHON,
        }


class _Rows:
    """The marks of ended processes, and the served versions, at a moment."""

    def __init__(self, marks: Mapping[str, Mark], served: Mapping[str, _Known]) -> None:
        self._marks = [mark for mark in marks.values() if mark.slug]
        self._served = served
        self._batches = tuple(key for key, mark in marks.items() if not mark.slug)
        self._is_suspect = bool(self._batches)

    @classmethod
    def read(cls, storage: Storage) -> _Rows:
        marks, _ = parse_records(LOADING, storage.read(LOADING), _parse)
        if marks:
            time_now = now(storage)
            marks = {key: mark for key, mark in marks.items() if mark.has_ended(time_now)}
        served, _ = parse_records(SERVED, storage.read(SERVED), _parse_served)
        return cls(marks, served)

    def mark_of(self, spec: PluginSpec) -> Mark | None:
        return next((mark for mark in self._marks if mark.is_of(spec)), None)

    def has_served(self, spec: PluginSpec) -> bool:
        """Return whether a version has served, and no process has ended among such since."""
        codes = self._served.get(spec.slug, _UNKNOWN).codes.get(PYTHON, ())
        return not self._is_suspect and code_of(spec) in codes

    def has_failed(self, spec: PluginSpec) -> bool:
        """Return whether a version was loaded without serving, as in `has_served`."""
        codes = self._served.get(spec.slug, _UNKNOWN).failed.get(PYTHON, ())
        return not self._is_suspect and code_of(spec) in codes

    def take_batches(self) -> tuple[str, ...]:
        """Return the keys of marks of processes that ended among plugins that had served, once."""
        found, self._batches = self._batches, ()
        return found


class _Known(NamedTuple):
    """A row of table ``served``: the codes of each Python."""

    codes: Mapping[str, list[Any]]
    failed: Mapping[str, list[Any]]


_UNKNOWN: Final = _Known(EMPTY, EMPTY)


def _put_known(transaction: Transaction, spec: PluginSpec, *, has_served: bool) -> None:
    row = transaction.get(SERVED, spec.slug) or {"codes": {}, "failed": {}}
    known = parse_records(SERVED, {spec.slug: row}, _parse_served)[0].get(spec.slug, _UNKNOWN)
    code = code_of(spec)

    def without(codes: Mapping[str, list[Any]]) -> list[Any]:
        return [other for other in codes.get(PYTHON, ()) if other != code]

    codes, failed = without(known.codes), without(known.failed)
    (codes if has_served else failed).insert(0, code)
    transaction.put(
        SERVED,
        spec.slug,
        {
            "codes": {**known.codes, PYTHON: codes[:_MOST_CODES]},
            "failed": {**known.failed, PYTHON: failed[:_MOST_CODES]},
        },
    )


def drop_marks(transaction: Transaction, slug: str | None, time_now: float) -> bool:
    """Delete the marks that ended processes left of a plugin, or for None of all.

    Returns whether there were any.
    """
    marks, _ = parse_records(LOADING, dict(transaction.items(LOADING)), _parse)
    ended = [
        key for key, mark in marks.items() if slug in (None, mark.slug) and mark.has_ended(time_now)
    ]
    for key in ended:
        transaction.delete(LOADING, key)
    return bool(ended)


def _parse(key: str, row: Record) -> Mark:
    return Mark(
        key.rpartition(":")[0],
        identity_of(row),
        field(row, "name", str),
        float(field(row, "since", float, int)),
        field(row, "code", dict),
        field(row, "python", str),
    )


def _parse_served(_slug: str, row: Record) -> _Known:
    known = _Known(field(row, "codes", dict), field(row, "failed", dict))
    for codes in known:
        if not all(type(rows) is list for rows in codes.values()):
            raise TypeError("the codes of a Python are no list")
    return known
