"""Requests to all processes: each carries a request out once, at its next refresh.

Table ``asks``: by the revision that stored it, in twenty digits, one row with ``what``, ``slug``
(or None) and ``at`` (seconds, the store's clock). A row is kept for a day, so that a process that
rarely refreshes finds it too, and of all rows the latest hundred. The last request to look for all
plugins again is always kept: a process that has slept for days would otherwise serve the old ones.
"""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType
from typing import Final, Literal, get_args

from plugreg._support.frozen import NamedTuple
from plugreg.storage import Storage, Transaction
from plugreg.storage.base import Record, field, parse_records
from plugreg.storage.clock import now

Asked = Literal["reload", "reset", "code"]
"""The possible requests."""

WORDS: Final[tuple[str, ...]] = get_args(Asked)

_TABLE: Final = "asks"
_LONGEST_AGE: Final = 24 * 3600.0
_MOST: Final = 100
"""For how many seconds, and how many rows are kept."""


class Ask(NamedTuple):
    """A request: a word of `WORDS`, for a plugin or, if None, for all."""

    what: str
    slug: str | None
    revision: int
    at: float

    @property
    def is_reload_of_all(self) -> bool:
        """Whether all plugins are to be looked for again."""
        return self.what == "reload" and self.slug is None


def put(
    storage: Storage,
    what: Asked,
    slug: str | None,
    besides: Callable[[Transaction, float], object] = lambda *_: None,
) -> int:
    """Send a request to every process that shares a storage, including this. Raises StorageError.

    ``besides`` is called with the transaction and the store's time, and may change more. Returns
    the revision that stored the request.
    """
    with storage.transaction() as transaction:
        at = now(storage)
        drop_outdated(transaction, at)
        besides(transaction, at)
        # Nobody else can commit meanwhile, so the revision that this makes is known.
        revision = storage.revision() + 1
        transaction.put(_TABLE, f"{revision:020}", {"what": what, "slug": slug, "at": at})
    return revision


def since(storage: Storage, revision: int) -> list[Ask]:
    """Return the requests after a revision, in order. Raises StorageError."""
    found, _ = parse_records(_TABLE, storage.read(_TABLE), _parse)
    new = (ask for ask in found.values() if ask.revision > revision)
    return sorted(new, key=lambda ask: ask.revision)


def drop_outdated(transaction: Transaction, time_now: float) -> bool:
    """Delete rows that are too old, or too many; return whether there were any."""
    found, _ = parse_records(_TABLE, dict(transaction.items(_TABLE)), _parse)
    kept = max((key for key, ask in found.items() if ask.is_reload_of_all), default=None)
    has_changed = False
    for place, key in enumerate(sorted(found, reverse=True)):
        is_outdated = place >= _MOST or time_now - found[key].at > _LONGEST_AGE
        if is_outdated and key != kept:
            has_changed |= transaction.delete(_TABLE, key)
    return has_changed


def _parse(key: str, row: Record) -> Ask:
    what = field(row, "what", str)
    if what not in WORDS:
        raise ValueError(f"nobody can be asked to {what!r}")
    return Ask(
        what, field(row, "slug", str, NoneType), int(key), float(field(row, "at", float, int))
    )
