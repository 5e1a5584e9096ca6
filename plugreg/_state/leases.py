"""Leases on work that a single process does for all.

Table ``leases`` (by the name of the work): ``holder``, ``until`` (seconds, the store's clock) and
``done``. Recurring work also has ``turn``, the last turn that was done or None, and ``count``, the
number of turns that were done.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import NoneType
from typing import Final

from plugreg._support.guard import explain
from plugreg.exceptions import StorageError
from plugreg.storage import Storage, Transaction
from plugreg.storage.base import Record, checked_copy, field, readable
from plugreg.storage.clock import now
from plugreg.storage.quiet_commits import mark_quiet

_logger = logging.getLogger("plugreg")

TABLE: Final = "leases"

PLUGINS: Final = "plugin."
"""The prefix of the names of plugins' work, before the slug and a dot."""


class PlannedTime(float):
    """A turn that is the time for which the work was planned, in seconds since the epoch.

    A time that lies more than a lease ahead of the store's clock is logged, and its work not done:
    the clock of its machine is wrong, and once done it would keep all others from earlier turns.
    """


@contextmanager
def once(
    storage: Storage, key: str, lease: float, *, turn: float | None = None, most: int | None = None
) -> Iterator[bool]:
    """See :meth:`plugreg._lifecycle.coordination.Coordination.once`."""
    if not (lease > 0 and math.isfinite(lease)):
        raise ValueError(f"lease={lease!r} is no number of seconds over 0")
    if turn is not None and not math.isfinite(turn):
        raise ValueError(f"turn={turn!r} is no number that a later one can be over")
    if most is not None and turn is None:
        raise ValueError(f"most={most!r} counts turns; give turn= too")
    # A name that no store takes is refused before the storage is used.
    checked_copy(TABLE, key, {})
    held = _Lease(storage, key, lease, turn, most)
    if not held.acquire():
        yield False
        return
    ended = threading.Event()
    renewing = threading.Thread(
        target=held.renew_until, args=(ended,), name=f"plugreg lease {key}", daemon=True
    )
    try:
        renewing.start()
        try:
            yield True
        finally:
            ended.set()
            # In a forked child the thread is not there, and counts as ended.
            renewing.join()
    except BaseException:
        held.release()
        raise
    held.finish()


class _Lease:
    """The lease of a piece of work, which this process tries to acquire."""

    def __init__(
        self, storage: Storage, key: str, lease: float, turn: float | None, most: int | None
    ) -> None:
        self._storage = storage
        self._key = key
        self._lease = lease
        self._turn = turn
        self._most = most
        # Fields of the row that stay while the lease is held, and those once the work is done.
        self._before: Record = {}
        self._after: Record = {}
        self._token = os.urandom(8).hex()
        self._process = os.getpid()

    def acquire(self) -> bool:
        """Acquire the lease, unless the work is done or another process holds it.

        Returns whether the lease was acquired.
        """
        with self._storage.transaction() as transaction:
            row = transaction.get(TABLE, self._key)
            time_now = now(self._storage)
            if self._is_ahead(time_now):
                return False
            with readable(TABLE, self._key):
                is_held = row is not None and field(row, "until", float, int) > time_now
                if is_held or self._is_done(row):
                    return False
            self._put(transaction, self._row(until=time_now + self._lease))
        return True

    def renew_until(self, ended: threading.Event) -> None:
        """Renew the lease at each third of it until *ended* is set, or the lease is lost."""
        while not ended.wait(self._lease / 3):
            try:
                if not self._replace(self._row(), lease=self._lease):
                    return
            except StorageError as error:
                self._warn("renewed", error)

    def finish(self) -> None:
        """Mark the work as done, unless another process has acquired the lease meanwhile."""
        if not self._replace(self._row(done=True) | self._after):
            _logger.warning(
                "the lease of %r expired before its work was done, and another process has "
                "acquired it: the work may be done twice; give it a longer lease",
                self._key,
            )

    def release(self) -> None:
        """Let others acquire the lease at once. Raises nothing of the storage: it will expire."""
        try:
            self._replace(self._row() if self._before else None)
        except StorageError as error:
            self._warn("released", error)

    def _is_ahead(self, time_now: float) -> bool:
        """Return whether the turn was planned for a time that is still to come, and log that."""
        turn = self._turn
        if not isinstance(turn, PlannedTime) or turn <= time_now + self._lease:
            return False
        _logger.warning(
            "%r is not done: it was planned for %.0f s after the time of the storage; set the "
            "clock of this machine",
            self._key,
            turn - time_now,
        )
        return True

    def _is_done(self, row: Record | None) -> bool:
        """Return whether no work is left, and remember the turns before."""
        if self._turn is None:
            return row is not None and bool(field(row, "done", bool))
        last, count = None, 0
        if row is not None:
            last, count = field(row, "turn", float, int, NoneType), field(row, "count", int)
        self._before = {"turn": last, "count": count}
        self._after = {"turn": float(self._turn), "count": count + 1}
        is_past = last is not None and last >= self._turn
        return is_past or (self._most is not None and count >= self._most)

    def _replace(self, row: Record | None, *, lease: float = 0.0) -> bool:
        """Replace the own row, for None by none; return whether it was still there."""
        if os.getpid() != self._process:
            # The lease is still the parent's, which goes on with the work.
            return True
        with self._storage.transaction() as transaction:
            found = transaction.get(TABLE, self._key)
            if found is None or found.get("holder") != self._token:
                return False
            if row is not None and lease:
                row["until"] = now(self._storage) + lease
            self._put(transaction, row)
        return True

    def _put(self, transaction: Transaction, row: Record | None) -> None:
        if row is None:
            transaction.delete(TABLE, self._key)
        else:
            transaction.put(TABLE, self._key, row)
        mark_quiet(self._storage, transaction)

    def _row(self, *, until: float = 0.0, done: bool = False) -> Record:
        return {"holder": self._token, "until": until, "done": done, **self._before}

    def _warn(self, verb: str, error: StorageError) -> None:
        _logger.warning("the lease of %r was not %s: %s", self._key, verb, explain(error).message)
