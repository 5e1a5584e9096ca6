"""Audit of installations and removals: actor, time and result.

Table: ``audit``, one row an attempt, by its time and its id, so that the order of keys is that of
time. A row is replaced when more is known of its attempt, and never deleted.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, Literal, TypeVar

from plugreg._support.guard import plain
from plugreg.exceptions import RecordCorruptError
from plugreg.install.installer import Release
from plugreg.install.plan import Change, Outdated
from plugreg.records import PluginSpec
from plugreg.storage import Storage
from plugreg.storage.base import DamagedRecord, Record, readable

_TABLE: Final = "audit"
_RELEASES: Final = "releases"
_Row = TypeVar("_Row")

Action = Literal["install", "uninstall", "sync", "rollback", "recover"]
"""The kind of change; an upgrade is an installation. Earlier versions wrote ``recover``."""

AuditOutcome = Literal["begun", "done", "refused", "failed", "rolled back", "put back"]
"""The result: ``refused`` and ``failed`` changed nothing. ``rolled back`` means that a plugin
failed, and the earlier generation was restored. Earlier versions wrote ``put back``.

An attempt that stays ``begun`` lost its process or its store just then; the environment says
whether its generation serves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """Record of an attempt to change the environment.

    Args:
        when: Start of the attempt, an aware time in UTC.
        actor: Person or process that asked for it, in the host's words, or None.
        action: Kind of the attempt.
        requirement: The requested requirement. Its maker has removed credentials.
        distribution: Canonical name of the distribution, None if unknown.
        changes: Changes of the plan with their hashes, made or not.
        outcome: Result so far.
        reasons: Sentences about a failure, without credentials.
        seconds: Duration.
        id: Random string, the same in all successive entries of an attempt.

    Raises:
        ValueError: If *when* is not aware and in UTC.
    """

    when: datetime
    actor: str | None
    action: Action
    requirement: str
    distribution: str | None = None
    changes: tuple[Change, ...] = ()
    outcome: AuditOutcome
    reasons: tuple[str, ...] = ()
    seconds: float
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        if self.when.utcoffset() != timedelta(0):
            raise ValueError(f"when is {self.when.isoformat()!r}; it must be aware and in UTC")


class Audit:
    """The entries in a storage. Each method raises StorageError if that cannot be reached."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def put(self, entry: AuditEntry) -> None:
        """Store an entry, in the place of an earlier entry of the same attempt.

        It is on disk when this returns, if the storage uses a disk.
        """
        # Microseconds that are 0 are written as well, because keys are compared as strings.
        time = entry.when.isoformat(timespec="microseconds").removesuffix("+00:00")
        with self._storage.transaction() as transaction:
            transaction.put(_TABLE, f"{time}Z-{entry.id}", _stored(asdict(entry)))

    def entries(self, limit: int | None = None) -> tuple[AuditEntry, ...]:
        """Return the entries, or the ``limit`` latest of them, the oldest first. Writes nothing.

        Raises ValueError for a negative limit, and StorageError, with the place, for a row among
        them that plugreg has not written.
        """
        if limit is not None and limit < 0:
            raise ValueError(f"limit is {limit}; it must be 0 or more, or None for all entries")
        rows = list(self._storage.read(_TABLE).items())
        latest = rows if limit is None else rows[max(0, len(rows) - limit) :]
        return tuple(_entry(key, row) for key, row in latest)

    def damaged(self) -> tuple[RecordCorruptError, ...]:
        """Return an error for each row that plugreg has not written. Writes nothing."""
        found = []
        for key, row in self._storage.read(_TABLE).items():
            try:
                _entry(key, row)
            except RecordCorruptError as error:
                found.append(error)
        return tuple(found)


def _entry(key: str, row: Record) -> AuditEntry:
    return _read(AuditEntry, _TABLE, key, row, id=key.rpartition("-")[2])


def _stored(value: Any) -> Any:
    """Return a value as a store has it."""
    if isinstance(value, str):
        # The output of an installer may have no UTF-8 form; the entry is still stored.
        return plain(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {name: _stored(part) for name, part in value.items()}
    return [*map(_stored, value)] if isinstance(value, tuple) else value


def _read(kind: Callable[..., _Row], table: str, key: str, row: Record, **more: object) -> _Row:
    """Return what a row was made from. Raises RecordCorruptError for one of others."""
    with readable(table, key):
        if isinstance(row, DamagedRecord):
            raise ValueError(row.reason)  # noqa: TRY004 - the fault is that of the contents
        found: _Row = _adapter(kind).validate_json(json.dumps({**row, **more}), strict=True)
    return found


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


class ReleaseRows:
    """The last answers, in a storage. Each method raises StorageError if that cannot be reached."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def put(self, installed: Mapping[str, str], releases: Mapping[str, Release]) -> None:
        """Store the answer of an index about installed distributions; it replaces earlier ones."""
        asked = datetime.now(UTC)
        with self._storage.transaction() as transaction:
            for name, _ in list(transaction.items(_RELEASES)):
                transaction.delete(_RELEASES, name)
            for name, release in releases.items():
                row = Outdated(
                    distribution=name,
                    installed=installed[name],
                    latest=release.version,
                    yanked=release.yanked,
                    slugs=(),
                    asked=asked,
                )
                transaction.put(_RELEASES, name, _stored(asdict(row)))

    def outdated(
        self, installed: Mapping[str, str], specs: Iterable[PluginSpec]
    ) -> tuple[Outdated, ...]:
        """Return the installed distributions of which the index had a later release."""
        specs = tuple(specs)
        found = []
        for name, row in sorted(self._storage.read(_RELEASES).items()):
            slugs = [spec.slug for spec in specs if spec.distribution == name]
            outdated = _read(Outdated, _RELEASES, name, row, distribution=name, slugs=slugs)
            if installed.get(name) == outdated.installed and _is_outdated(outdated):
                found.append(outdated)
        return tuple(found)


def _is_outdated(found: Outdated) -> bool:
    from packaging.version import InvalidVersion, Version

    if found.yanked is not None:
        return True
    try:
        return found.latest is not None and Version(found.latest) > Version(found.installed)
    except InvalidVersion:
        return False
