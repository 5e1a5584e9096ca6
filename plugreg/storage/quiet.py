"""Commits that concern nobody else, and how a reader of values recognises them.

Heartbeats and leases raise the revision like every commit. The record ``last`` of table ``quiet``
says which of the latest commits changed nothing else: those above ``since``, up to ``until``.
"""

from __future__ import annotations

from typing import Final

from plugreg.storage.base import DamagedRecord, Storage, Transaction

TABLE: Final = "quiet"
_KEY: Final = "last"


def mark_quiet(storage: Storage, transaction: Transaction) -> None:
    """Mark that a transaction changes nothing that another process has to read.

    Call it inside the transaction, and only if it changes something. It then changes nothing but
    records that nobody keeps in memory.

    Args:
        storage: The storage that the transaction belongs to.
        transaction: The transaction that is open.

    Raises:
        StorageError: If the storage cannot be read.
    """
    # Nobody else can commit meanwhile, so that the next revision is known.
    before = storage.revision()
    record = transaction.get(TABLE, _KEY)
    if isinstance(record, DamagedRecord):
        return  # It stays, and others read once more than they had to.
    since, until = _run(record)
    if until != before:
        since = before
    transaction.put(TABLE, _KEY, {"since": since, "until": before + 1})


def is_quiet(storage: Storage, known: int, revision: int) -> bool:
    """Return whether all commits after one revision, up to another, are marked as quiet.

    Args:
        storage: The storage, which is read once.
        known: The revision whose contents the caller has.
        revision: The revision that the storage has given since.

    Raises:
        StorageError: If the storage cannot be read.
    """
    since, until = _run(storage.read(TABLE).get(_KEY))
    return since <= known < revision <= until


def _run(record: dict[str, object] | None) -> tuple[int, int]:
    """Return the latest quiet commits; none where the record is not as plugreg writes it."""
    since, until = (record or {}).get("since"), (record or {}).get("until")
    return (since, until) if type(since) is int and type(until) is int else (0, 0)
