"""Work that is to be done once, whichever process does it.

Table: ``leases`` (by the name of the work): ``holder``, ``until`` (seconds, the store's clock) and
``done``; of work that comes in turns also ``turn``, the last one that was done or None, and
``count``, how many were.
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
from plugreg.storage.quiet import mark_quiet

_logger = logging.getLogger("plugreg")

TABLE: Final = "leases"

PLUGINS: Final = "plugin."
"""What the name of work begins with that is a plugin's; its slug and a dot come next."""


class PlannedTime(float):
    """A turn that is the time for which the work was planned, in seconds since the epoch.

    One that lies more than a lease ahead of the store's clock is not begun, which is logged: the
    clock of its machine is wrong, and once done it would keep all others from earlier turns.
    """


class Leases:
    """Hands out the right to do a piece of work, to one holder at a time over all processes."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @contextmanager
    def once(
        self, key: str, lease: float, *, turn: float | None = None, most: int | None = None
    ) -> Iterator[bool]:
        """See :meth:`plugreg._lifecycle.shared.Shared.once`."""
        if not (lease > 0 and math.isfinite(lease)):
            raise ValueError(f"lease={lease!r} is no number of seconds over 0")
        if turn is not None and not math.isfinite(turn):
            raise ValueError(f"turn={turn!r} is no number that a later one can be over")
        if most is not None and turn is None:
            raise ValueError(f"most={most!r} counts turns; give turn= too")
        # A name that no store takes is refused before one is asked for it.
        checked_copy(TABLE, key, {})
        holder = _Holder(self._storage, key, lease, turn, most)
        if not holder.take():
            yield False
            return
        try:
            with holder.renewing():
                yield True
        except BaseException:
            holder.release()
            raise
        holder.finish()


class _Holder:
    """One that has taken, or tries to take, the lease of a piece of work."""

    def __init__(
        self, storage: Storage, key: str, lease: float, turn: float | None, most: int | None
    ) -> None:
        self._storage = storage
        self._key = key
        self._lease = lease
        self._turn = turn
        self._most = most
        # What stays in the row whoever holds it, and what of it is other once the work is done.
        self._before: Record = {}
        self._after: Record = {}
        self._token = os.urandom(8).hex()
        self._process = os.getpid()

    def take(self) -> bool:
        """Take the lease unless the work is done or another one has it; tell whether it is had."""
        with self._storage.transaction() as transaction:
            row = transaction.get(TABLE, self._key)
            time_now = now(self._storage)
            if self._is_ahead(time_now):
                return False
            with readable(TABLE, self._key):
                is_held = row is not None and field(row, "until", float, int) > time_now
                if is_held or self._is_done(row):
                    return False
            self._put(transaction, self._row(time_now))
            return True

    @contextmanager
    def renewing(self) -> Iterator[None]:
        """Renew the lease at each third of it, in a thread of its own, for a ``with`` block."""
        ended = threading.Event()
        thread = threading.Thread(
            target=self._renew_until, args=(ended,), name=f"plugreg lease {self._key}", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            ended.set()
            # In a forked child the thread is not there, and counts as ended.
            thread.join()

    def finish(self) -> None:
        """Mark the work as done, unless another one has taken the lease meanwhile."""
        row = {"holder": self._token, "until": 0.0, "done": True, **self._after}
        if not self._replace(row):
            _logger.warning(
                "the lease of %r ran out while its work was done, and another process has taken "
                "it: the work may be done twice; give it a longer lease",
                self._key,
            )

    def release(self) -> None:
        """Let others take the lease at once. Raises nothing of the storage: it will run out."""
        try:
            row = {"holder": self._token, "until": 0.0, "done": False, **self._before}
            self._replace(row if self._before else None)
        except StorageError as error:
            _logger.warning(
                "the lease of %r was not released: %s", self._key, explain(error).message
            )

    # -- the parts ---------------------------------------------------------------------------

    def _is_ahead(self, time_now: float) -> bool:
        """Tell whether the turn was planned for a time that is still to come; log that."""
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
        """Tell whether nothing is left to do; keep what the row says of the turns before."""
        if self._turn is None:
            return row is not None and bool(field(row, "done", bool))
        last, count = None, 0
        if row is not None:
            last, count = field(row, "turn", float, int, NoneType), field(row, "count", int)
        self._before = {"turn": last, "count": count}
        self._after = {"turn": float(self._turn), "count": count + 1}
        is_past = last is not None and last >= self._turn
        return is_past or (self._most is not None and count >= self._most)

    def _renew_until(self, ended: threading.Event) -> None:
        while not ended.wait(self._lease / 3):
            try:
                with self._storage.transaction() as transaction:
                    row = transaction.get(TABLE, self._key)
                    if row is None or row.get("holder") != self._token:
                        return
                    self._put(transaction, self._row(now(self._storage)))
            except StorageError as error:
                _logger.warning(
                    "the lease of %r was not renewed: %s", self._key, explain(error).message
                )

    def _replace(self, record: Record | None) -> bool:
        """Put a record in the place of the own one; tell whether that was still there."""
        if os.getpid() != self._process:
            # The lease is still the parent's, which goes on with the work.
            return True
        with self._storage.transaction() as transaction:
            row = transaction.get(TABLE, self._key)
            if row is None or row.get("holder") != self._token:
                return False
            self._put(transaction, record)
        return True

    def _put(self, transaction: Transaction, record: Record | None) -> None:
        if record is None:
            transaction.delete(TABLE, self._key)
        else:
            transaction.put(TABLE, self._key, record)
        mark_quiet(self._storage, transaction)

    def _row(self, time_now: float) -> Record:
        until = time_now + self._lease
        return {"holder": self._token, "until": until, "done": False, **self._before}
