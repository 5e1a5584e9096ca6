"""Commits that no other process has to read, and how readers recognise them.

Heartbeats and leases raise the revision like every commit. The record ``last`` of table ``quiet``
has the range of the latest commits that changed nothing else: above ``since``, up to ``until``.
"""

from __future__ import annotations

from typing import Final

from plugreg.storage.base import DamagedRecord
from plugreg.storage.contract import Storage, Transaction

TABLE: Final = "quiet"
_KEY: Final = "last"


def mark_quiet(storage: Storage, transaction: Transaction) -> None:
    """Mark that a transaction changes nothing that another process has to read.

    Call it inside the transaction, and only if that changes something. All its changes must be to
    records that no process holds in memory.

    Args:
        storage: The storage that the transaction belongs to.
        transaction: The transaction that is open.

    Raises:
        StorageError: If the storage cannot be read.
    """
    # No other process can commit meanwhile, so the next revision is known.
    before = storage.revision()
    record = transaction.get(TABLE, _KEY)
    if isinstance(record, DamagedRecord):
        return  # It stays, and others read once more than necessary.
    since, until = _parse_range(record)
    if until != before:
        since = before
    transaction.put(TABLE, _KEY, {"since": since, "until": before + 1})


def is_quiet(storage: Storage, known: int, revision: int) -> bool:
    """Return whether all commits between two revisions are marked as quiet.

    Args:
        storage: The storage, which is read once.
        known: The revision whose contents the caller has.
        revision: A later revision of the storage, whose own commit must be marked, too.

    Raises:
        StorageError: If the storage cannot be read.
    """
    since, until = _parse_range(storage.read(TABLE).get(_KEY))
    return since <= known < revision <= until


def _parse_range(record: dict[str, object] | None) -> tuple[int, int]:
    """Return the range of quiet commits, an empty range for an unknown record."""
    since, until = (record or {}).get("since"), (record or {}).get("until")
    return (since, until) if type(since) is int and type(until) is int else (0, 0)
