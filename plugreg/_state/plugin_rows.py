"""Stored rows of plugins: whether each is wanted, and its metadata.

Tables: ``plugins`` and ``metadata`` (by slug), ``counters`` (``pk`` and ``generation``). Rows
of plugins that are not installed stay as they are until they are deleted.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from plugreg._state.ledger import ScrubberOf, hides_nothing
from plugreg._state.probe_rows import PROBES
from plugreg._support import PerProcess, exceptions
from plugreg._support.frozen import replace
from plugreg._support.slugs import Slug, has_control_characters, has_utf8
from plugreg.records import EMPTY, HostRules, PluginFailure, PluginRow, PluginSpec, Stage
from plugreg.settings.store import TABLES, VERSIONS
from plugreg.storage.base import (
    MAX_DEPTH,
    MAX_INT_BITS,
    Record,
    checked_copy,
    field,
    parse_records,
    readable,
)

if TYPE_CHECKING:
    from plugreg._support.redact import Scrubber
    from plugreg.exceptions import RecordCorruptError
    from plugreg.storage import Storage, Transaction

COUNTERS: Final = "counters"
_GENERATION: Final = "generation"
_FORGOTTEN: Final = "forgotten"

MAX_METADATA_BYTES: Final = 262_144
"""The most bytes of a plugin's metadata, as JSON in UTF-8."""

_NOT_STORABLE: Final = (
    "Value must be JSON that can be stored: no text without a UTF-8 form, "
    f"numbers that are finite and have at most {MAX_INT_BITS} bits, "
    f"and at most {MAX_DEPTH - 1} levels."
)

T = TypeVar("T")


class PluginRows:
    """Reads and writes plugin rows and metadata. Each write is a transaction.

    Metadata is kept in memory, too, as a mapping that each write replaces with a single assignment:
    reading it takes no lock and no storage. Methods that use the storage raise StorageError; then
    nothing has changed. A damaged row is left as it is: reading goes on without it, and writing it
    raises RecordCorruptError.

    Args:
        storage: Where the rows are kept.
        scrubber_of: Returns the scrubber of the protected values of the plugin with a slug.
    """

    def __init__(self, storage: Storage, scrubber_of: ScrubberOf = hides_nothing) -> None:
        self._storage = storage
        self._scrubber_of = scrubber_of
        # Writers queue here until memory shows their stored rows; readers never do.
        self._writing = PerProcess(threading.Lock)
        self._metadata: Mapping[str, dict[str, Any]] = EMPTY
        self._damaged: dict[str, tuple[RecordCorruptError, ...]] = {}

    @property
    def damaged(self) -> tuple[RecordCorruptError, ...]:
        """An error for each row that was damaged when its table was read last."""
        return tuple(error for errors in list(self._damaged.values()) for error in errors)

    def load(self) -> None:
        """Read the metadata of all plugins again."""
        with self._writing.get():
            self._metadata = MappingProxyType(self._read("metadata", _parse_metadata))

    def revision(self) -> int:
        """Return the revision of the storage: while it is the same, all rows are."""
        return self._storage.revision()

    def is_quiet(self, known: int, revision: int) -> bool:
        """Return whether nothing was stored between two revisions that other processes read."""
        from plugreg.storage.quiet_commits import is_quiet

        return is_quiet(self._storage, known, revision)

    def epoch(self) -> int:
        """Return how often desired states were changed, and all processes asked to reload."""
        return self._read(COUNTERS, _parse_counter).get(_GENERATION, 0)

    def ask_all(self) -> int:
        """Ask all processes to reload; return the revision that has stored the request."""
        from plugreg._state import asks

        return asks.put(self._storage, "reload", None, lambda store, _: _raise_epoch(store))

    def set_aside_failures(self) -> tuple[PluginFailure, ...]:
        """Return a failure for each damaged store that the storage has set aside."""
        return tuple(
            PluginFailure(
                stage=Stage.DISCOVERY,
                slug=Path(error.path).name,
                message=f"the store was damaged ({error.reason}); it was set aside as "
                f"{error.path!r}, and an empty one was started: restore a copy of it",
            )
            for error in getattr(self._storage, "set_aside", ())
        )

    def all(self) -> dict[Slug, PluginRow]:
        """Return the row of every plugin ever seen, by slug. Writes nothing.

        A damaged row counts as inactive, with its fault.
        """
        rows = self._read("plugins", _parse_row)
        errors = [error for error in self._damaged["plugins"] if has_utf8(error.key)]
        rows |= {error.key: _damaged_row(error) for error in errors}
        return {Slug(slug): row for slug, row in sorted(rows.items())}

    def all_at(self) -> tuple[int, dict[Slug, PluginRow]]:
        """Return the epoch, and all rows as they were stored then. Writes nothing."""
        while True:
            epoch, rows = self.epoch(), self.all()
            # Each change of a row raises the epoch.
            if epoch == self.epoch():
                return epoch, rows

    def remember(
        self,
        specs: Iterable[PluginSpec],
        rules: HostRules,
        *,
        again: bool = False,
        few: bool = False,
    ) -> dict[Slug, PluginRow]:
        """Store plugins that were never seen before, and changes of the others.

        A new plugin gets a number that no plugin ever had, and the host's choice for new plugins;
        a mandatory plugin becomes active. No other plugin is activated or deactivated. If nothing
        is new, nothing is written; if the counter of numbers is damaged, no new plugin is.

        Args:
            specs: A spec for each slug. Two of one slug would be news at each load.
            rules: The host's rules.
            again: Whether deleted plugins count as new, too.
            few: Whether the rows of other plugins are not read.

        Returns:
            All rows, or with *few* those of these plugins.
        """
        rows = {} if few else self.all()
        due = [s for s in specs if few or _is_due(s, rows.get(s.slug), rules, again=again)]
        if not due:
            return rows
        with self._storage.transaction() as transaction:
            last: int | None = None
            for spec in due:
                slug, row = spec.slug, _stored_row(transaction, spec.slug)
                if _is_due(spec, row, rules, again=again):
                    active = rules.wants(slug, _counted(row, again=again))
                    number = 0 if row is None else row.pk
                    if number == 0:
                        try:
                            number = (_last_number(transaction) if last is None else last) + 1
                        except exceptions.RecordCorruptError:
                            continue  # It is stored once its number is known to be new.
                        last = number
                    row = PluginRow(
                        slug=slug,
                        pk=number,
                        active=active,
                        name=spec.name,
                        distribution=spec.distribution,
                        is_forgotten=row is not None and row.is_forgotten and not active,
                    )
                    _put(transaction, row)
                if row is not None:
                    rows[slug] = row
            if last is not None:
                # Once, however many plugins are new.
                transaction.put(COUNTERS, "pk", {"last": last})
        return rows

    def rename(self, names: Mapping[Slug, str]) -> None:
        """Store the names that a load found, if they differ from the stored names."""
        if not names:
            return
        with self._storage.transaction() as transaction:
            for slug, name in names.items():
                row = _stored_row(transaction, slug)
                if row is not None and not row.faults and row.name != name:
                    _put(transaction, replace(row, name=name))

    def set_active(self, wanted: Mapping[Slug, bool]) -> tuple[Mapping[Slug, bool | None], int]:
        """Store whether these plugins, seen before or not, are to be active, in one transaction.

        Returns the same, with None for each that was stored so before, and the number of the epoch
        that this made, 0 if nothing changed.
        """
        with self._storage.transaction() as transaction:
            changes: dict[Slug, bool | None] = dict.fromkeys(wanted)
            for slug, active in wanted.items():
                row = _stored_row(transaction, slug, is_damage_raised=True)
                if row is None:
                    row = PluginRow(slug=slug, pk=0, active=active, name=slug)
                elif row.active == active and not row.is_forgotten:
                    continue
                _put(transaction, replace(row, active=active, is_forgotten=False))
                changes[slug] = active
            is_changed = any(active is not None for active in changes.values())
            return changes, _raise_epoch(transaction) if is_changed else 0

    def forget(self, slug: Slug, spec: PluginSpec | None = None) -> int:
        """Delete all rows of a plugin, including probe and leases; its number stays used.

        A plugin that is still found, by its *spec*, gets a new row that is not active. Otherwise it
        would return at once in some process, where new plugins are active.

        Returns the number of the epoch that this made, 0 if nothing was stored. Raises
        PluginActiveError if the plugin is stored as active, by whichever process.
        """
        from plugreg._state.leases import PLUGINS, TABLE
        from plugreg._state.quarantine import LOADING, SERVED

        with self._writing.get():
            with self._storage.transaction() as transaction:
                # A damaged row says nothing, and deleting is the way to get rid of it.
                row = _stored_row(transaction, slug)
                if row is not None and row.active:
                    raise exceptions.PluginActiveError(slug)
                prefixes = dict.fromkeys((*TABLES, LOADING), f"{slug}:")
                prefixes[TABLE] = f"{PLUGINS}{slug}."
                tables = ("plugins", "metadata", VERSIONS, PROBES, SERVED)
                places: list[tuple[str, str]] = [(table, slug) for table in tables]
                for table, prefix in prefixes.items():
                    keys = [key for key, _ in transaction.items(table) if key.startswith(prefix)]
                    places += [(table, key) for key in keys]
                found = [place for place in places if transaction.delete(*place)]
                raised = _raise_epoch(transaction) if found else 0
                if raised and spec is not None:
                    _put(transaction, replace(_row_of(spec), is_forgotten=True))
            others = {name: data for name, data in self._metadata.items() if name != slug}
            self._metadata = MappingProxyType(others)
            for table in ("plugins", "metadata"):
                errors = self._damaged.get(table, ())
                self._damaged[table] = tuple(error for error in errors if error.key != slug)
        return raised

    def metadata(self, slug: str) -> dict[str, Any]:
        """Return a copy of the plugin's metadata as it was written, ``{}`` where there is none."""
        return copy.deepcopy(self._metadata.get(slug, {}))

    def metadata_of(self, slug: str) -> object:
        """Return an object that stays the same as long as the plugin's metadata does."""
        return self._metadata.get(slug)

    def metadata_fault(self, slug: str) -> str | None:
        """Return why the plugin's metadata must not be shown, None if it may be shown.

        A value may have been protected, or set, after the metadata that holds it was written.
        """
        return _secret_fault(self._metadata.get(slug, {}), self._scrubber_of(slug))

    def set_metadata(self, slug: str, data: Any, merge: bool) -> dict[str, Any]:
        """Store the metadata of a plugin.

        Args:
            slug: The plugin, known or not.
            data: A dict of JSON values. No string in it may have control characters.
            merge: Whether the other keys of the first level stay.

        Returns:
            All metadata of the plugin, as it is then.

        Raises:
            SettingError: If *data* cannot be stored, the metadata would hold a protected value of
                the plugin, or be longer than `MAX_METADATA_BYTES`. Nothing has changed then.
        """
        data = _copy_metadata(slug, data)
        # It may run the plugin's own code, which no lock and no transaction is held for.
        scrubber = self._scrubber_of(slug)
        with self._writing.get():
            with self._storage.transaction() as transaction:
                row = transaction.get("metadata", slug)
                with readable("metadata", slug):
                    before = {} if row is None else _parse_metadata(slug, row)
                new = {**before, **data} if merge else data
                fault = _secret_fault(new, scrubber) or _length_fault(new)
                if fault is not None:
                    raise exceptions.SettingError("metadata", fault)
                transaction.put("metadata", slug, {"metadata": new})
                stored = _parse_metadata(slug, transaction.get("metadata", slug) or {})
            self._metadata = MappingProxyType({**self._metadata, slug: stored})
        return self.metadata(slug)

    def _read(self, table: str, parse: Callable[[str, Record], T]) -> dict[str, T]:
        found, self._damaged[table] = parse_records(table, self._storage.read(table), parse)
        return found


# -- plugin rows. Functions that parse raise exceptions for `readable` and `parse_records` ----


def _parse_row(slug: str, row: Record) -> PluginRow:
    active = field(row, "active", bool)
    return PluginRow(
        slug=Slug(slug),
        pk=field(row, "pk", int),
        active=active,
        name=field(row, "name", str),
        distribution=field(row, "distribution", str, type(None)),
        is_forgotten=row.get(_FORGOTTEN) is True and not active,
    )


def _stored_row(
    transaction: Transaction, slug: Slug, *, is_damage_raised: bool = False
) -> PluginRow | None:
    """Return the row of a plugin, None if there is none. A damaged row has its fault."""
    row = transaction.get("plugins", slug)
    if row is None:
        return None
    try:
        with readable("plugins", slug):
            return _parse_row(slug, row)
    except exceptions.RecordCorruptError as error:
        if is_damage_raised:
            raise
        return _damaged_row(error)


def _damaged_row(error: RecordCorruptError) -> PluginRow:
    return PluginRow(slug=Slug(error.key), pk=0, active=False, name=error.key, faults=(str(error),))


def _row_of(spec: PluginSpec) -> PluginRow:
    """Return the row of a plugin that has none yet."""
    return PluginRow(
        slug=spec.slug, pk=0, active=False, name=spec.name, distribution=spec.distribution
    )


def _put(transaction: Transaction, row: PluginRow) -> None:
    """Write a row. The first row of a plugin gets the next number.

    Raises RecordCorruptError where the last number cannot be read.
    """
    if row.pk == 0:
        last = _last_number(transaction)
        transaction.put(COUNTERS, "pk", {"last": last + 1})
        row = replace(row, pk=last + 1)
    record = {name: getattr(row, name) for name in ("pk", "active", "name", "distribution")}
    transaction.put("plugins", row.slug, record | ({_FORGOTTEN: True} if row.is_forgotten else {}))


def _last_number(transaction: Transaction) -> int:
    """Return the number of the plugin that was seen last for the first time."""
    with readable(COUNTERS, "pk"):
        last: int = field(transaction.get(COUNTERS, "pk") or {"last": 0}, "last", int)
    return last


def _counted(row: PluginRow | None, *, again: bool) -> PluginRow | None:
    """Return the row that counts, None for a plugin that counts as never seen."""
    return None if again and row is not None and row.is_forgotten else row


def _is_due(spec: PluginSpec, row: PluginRow | None, rules: HostRules, *, again: bool) -> bool:
    if row is None or row.faults:
        return row is None
    wanted = rules.wants(spec.slug, _counted(row, again=again))
    return row.distribution != spec.distribution or row.active != wanted


def _parse_counter(key: str, row: Record) -> int:
    names = {"pk": "last", _GENERATION: "number"}
    number: int = field(row, names[key], int) if key in names else 0
    return number


def _raise_epoch(transaction: Transaction) -> int:
    """Increase the epoch by one, and return it."""
    row = transaction.get(COUNTERS, _GENERATION)
    with readable(COUNTERS, _GENERATION):
        number = 1 if row is None else _parse_counter(_GENERATION, row) + 1
    # Version 0.2 reads "asked", too, and looks for plugins again where it has changed.
    transaction.put(COUNTERS, _GENERATION, {"number": number, "asked": number})
    return number


# -- metadata ----------------------------------------------------------------------------------


def _parse_metadata(_slug: str, row: Record) -> dict[str, Any]:
    data: dict[str, Any] = field(row, "metadata", dict)
    return data


def _copy_metadata(slug: str, data: Any) -> dict[str, Any]:
    """Return a copy of metadata to store. Raises SettingError if it cannot be stored."""
    if not isinstance(data, Mapping):
        raise exceptions.SettingError("metadata", "Metadata must be a python dict object")
    try:
        copied: dict[str, Any] = checked_copy("metadata", slug, {"metadata": {**data}})["metadata"]
    except exceptions.StorageError as error:
        raise exceptions.SettingError("metadata", _NOT_STORABLE) from error
    from plugreg._support.redact import strings_in

    if any(map(has_control_characters, strings_in(copied))):
        from plugreg._support.strings import CONTROL_CHARACTERS

        raise exceptions.SettingError("metadata", CONTROL_CHARACTERS)
    return copied


def _length_fault(metadata: dict[str, Any]) -> str | None:
    length = len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode())
    if length <= MAX_METADATA_BYTES:
        return None
    return (
        f"Metadata must have at most {MAX_METADATA_BYTES} bytes as JSON, and would have {length}; "
        "remove keys that are not needed"
    )


def _secret_fault(metadata: dict[str, Any], scrubber: Scrubber) -> str | None:
    """Return which key holds a protected value, as a sentence, None if none does."""
    for key, value in metadata.items():
        if scrubber.found_in({key: value}):
            where = "A key" if scrubber.found_in(key) else f"Key {key!r}"
            return (
                f"{where} of the metadata holds the value of a protected setting of the plugin; "
                "write the metadata without that value"
            )
    return None
