"""What is remembered of plugins: wishes and metadata, as rows of a storage.

Tables: ``plugins`` (one row a plugin, by slug), ``metadata`` (by slug), ``counters`` (``pk`` and
``generation``). Rows of plugins that are not installed stay as they are until someone deletes them.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from plugreg._state.leases import PLUGINS
from plugreg._state.leases import TABLE as LEASES
from plugreg._state.probe_rows import PROBES
from plugreg._support.names import Slug, has_control_characters
from plugreg._support.per_process import PerProcess
from plugreg._support.redact import Scrubber
from plugreg._support.strings import CONTROL_CHARACTERS
from plugreg.exceptions import (
    PluginActiveError,
    RecordCorruptError,
    SettingError,
    StorageError,
)
from plugreg.records import (
    EMPTY,
    Epoch,
    HostRules,
    PluginFailure,
    PluginRow,
    PluginSpec,
    Stage,
)
from plugreg.settings.rows import TABLES, VERSIONS
from plugreg.settings.types import strings_in
from plugreg.storage import Storage, Transaction
from plugreg.storage.base import (
    MAX_DEPTH,
    MAX_INT_BITS,
    Record,
    checked_copy,
    field,
    is_unicode,
    parse_records,
    readable,
)
from plugreg.storage.quiet import is_quiet

COUNTERS: Final = "counters"
_GENERATION: Final = "generation"
_FORGOTTEN: Final = "forgotten"

MAX_METADATA_BYTES: Final = 262_144
"""The most bytes that the metadata of one plugin may have, as JSON in UTF-8."""

_NOT_STORABLE: Final = (
    "Value must be JSON that can be stored: no text without a UTF-8 form, "
    f"numbers that are finite and have at most {MAX_INT_BITS} bits, "
    f"and at most {MAX_DEPTH - 1} levels."
)

T = TypeVar("T")


class PluginRows:
    """Reads and writes wishes and metadata. Each write is one transaction.

    Metadata is also kept as a mapping that each write replaces with one assignment, so that
    reading it takes no lock and touches no storage. Every method that touches the storage may
    raise StorageError; then nothing has changed. A damaged row is left as it is: reading goes on
    without it, and writing it raises RecordCorruptError.

    Args:
        storage: Where the rows are kept.
        scrubber_of: Returns what finds the protected values of the plugin with a slug.
    """

    def __init__(
        self, storage: Storage, scrubber_of: Callable[[str], Scrubber] = lambda _: Scrubber()
    ) -> None:
        self._storage = storage
        self._scrubber_of = scrubber_of
        # Writers queue here until memory shows what they have stored; readers never do.
        self._writing = PerProcess(threading.Lock)
        self._metadata: Mapping[str, dict[str, Any]] = EMPTY
        self._damaged: dict[str, tuple[RecordCorruptError, ...]] = {}

    @property
    def damaged(self) -> tuple[RecordCorruptError, ...]:
        """An error for each row that was found damaged when its table was read last."""
        return tuple(error for errors in list(self._damaged.values()) for error in errors)

    def load(self) -> None:
        """Read the metadata of all plugins again."""
        with self._writing.get():
            self._metadata = MappingProxyType(self._read("metadata", _metadata))

    def revision(self) -> int:
        """Return the storage's revision: what it has told of is as it was, while this is."""
        return self._storage.revision()

    def is_quiet(self, known: int, revision: int) -> bool:
        """Return whether nothing was stored between two revisions that another process reads."""
        return is_quiet(self._storage, known, revision)

    def epoch(self) -> Epoch:
        """Return how often wishes were changed. Writes nothing."""
        found = self._read(COUNTERS, _counter).get(_GENERATION)
        return found if isinstance(found, Epoch) else Epoch()

    def ask_all(self) -> Epoch:
        """Ask every process that shares the storage to reload; return the generation before.

        The generation is raised by one, and both its numbers are then the same.
        """
        with self._storage.transaction() as transaction:
            before = _generation(transaction)
            _put_generation(transaction, before.number + 1, asked=before.number + 1)
        return before

    def set_aside_failures(self) -> tuple[PluginFailure, ...]:
        """Return a record of each damaged store that the storage has put out of the way."""
        set_aside = getattr(self._storage, "set_aside", ())
        return tuple(
            PluginFailure(
                stage=Stage.DISCOVERY,
                slug=Path(each.path).name,
                message=f"the store was damaged ({each.reason}); it was set aside as "
                f"{each.path!r}, and an empty one was started: restore a copy of it",
            )
            for each in set_aside
        )

    def all(self) -> dict[Slug, PluginRow]:
        """Return what is stored of every plugin ever seen. Writes nothing.

        Of a plugin whose row is damaged nothing but that is known.
        """
        found = self._read("plugins", _wish)
        lost = {each.key: _lost(each) for each in self._damaged["plugins"] if is_unicode(each.key)}
        return {Slug(slug): wish for slug, wish in sorted((found | lost).items())}

    def all_at(self) -> tuple[Epoch, dict[Slug, PluginRow]]:
        """Return the generation, and all wishes as they were stored then. Writes nothing."""
        while True:
            generation, wishes = self.epoch(), self.all()
            # Whoever changes a wish raises the generation.
            if generation == self.epoch():
                return generation, wishes

    def remember(
        self, specs: Iterable[PluginSpec], rules: HostRules, *, again: bool = False
    ) -> dict[Slug, PluginRow]:
        """Store plugins that were never seen before, and what has changed of the others.

        ``specs`` has one for each slug: two in turn would be news for ever. A new plugin gets a
        number that no plugin ever had, and the wish that the host has for new ones; a mandatory
        one is wished active. ``again`` gives deleted plugins the wish of new ones, too. No other
        wish is touched. Where nothing is new, nothing is written; where the counter of numbers is
        damaged, no new plugin is. Returns all wishes.
        """
        known = self.all()
        due = [s for s in specs if _is_due(s, known.get(s.slug), rules, again=again)]
        return {**known, **self.remember_few(due, rules, again=again)} if due else known

    def remember_few(
        self, specs: Iterable[PluginSpec], rules: HostRules, *, again: bool = False
    ) -> dict[Slug, PluginRow]:
        """Do as :meth:`remember`, and return the wishes of these plugins, looking at no others."""
        wishes: dict[Slug, PluginRow] = {}
        with self._storage.transaction() as transaction:
            for spec in specs:
                row = transaction.get("plugins", spec.slug)
                wish = None if row is None else _wish_or_faults(spec.slug, row)
                if wish is None or _is_due(spec, wish, rules, again=again):
                    active = rules.wants(spec.slug, _seen(wish, again=again))
                    wish = PluginRow(
                        slug=spec.slug,
                        pk=0 if wish is None else wish.pk,
                        active=active,
                        name=spec.name,
                        distribution=spec.distribution,
                        is_forgotten=wish is not None and wish.is_forgotten and not active,
                    )
                    if row is not None:
                        _put(transaction, wish)
                    else:
                        try:
                            wish = _put_new(transaction, wish)
                        except RecordCorruptError:
                            continue  # It is stored once its number is known to be a new one.
                wishes[spec.slug] = wish
        return wishes

    def rename(self, names: Mapping[Slug, str]) -> None:
        """Store the names that a load has seen, where they are others than before."""
        if not names:
            return
        with self._storage.transaction() as transaction:
            for slug, name in names.items():
                row = transaction.get("plugins", slug)
                if row is None or (wish := _wish_or_faults(slug, row)).faults or wish.name == name:
                    continue
                transaction.put("plugins", slug, {**row, "name": name})

    def set_active(self, active: bool, slugs: Iterable[Slug]) -> int:
        """Store the wish for these plugins, seen before or not, in one transaction.

        Returns the generation that it made, 0 where all was wished so before.
        """
        with self._storage.transaction() as transaction:
            changed = False
            for slug in slugs:
                row = transaction.get("plugins", slug)
                if row is None:
                    _put_new(transaction, PluginRow(slug=slug, pk=0, active=active, name=slug))
                elif (wish := _wish_in(slug, row)).active != active or wish.is_forgotten:
                    row.pop(_FORGOTTEN, None)
                    transaction.put("plugins", slug, {**row, "active": active})
                else:
                    continue
                changed = True
            return _raise_generation(transaction) if changed else 0

    def forget(self, slug: Slug, spec: PluginSpec | None = None) -> int:
        """Delete all that is stored of one plugin, probe and leases too; its number stays used.

        A plugin that is still found, by its ``spec``, gets a new row that says off: where new
        plugins are on it would else come back at once, in one process or another.

        Returns the generation that it made, 0 where nothing was stored. Raises PluginActiveError
        where the plugin is stored as on, by whichever process.
        """
        with self._writing.get():
            with self._storage.transaction() as transaction:
                row = transaction.get("plugins", slug)
                # What cannot be read says nothing, and deleting is the way to be rid of it.
                if row is not None and _wish_or_faults(slug, row).active:
                    raise PluginActiveError(slug)
                found = transaction.delete("plugins", slug)
                found |= transaction.delete("metadata", slug)
                found |= transaction.delete(VERSIONS, slug)
                found |= transaction.delete(PROBES, slug)
                for table in TABLES:
                    for key in [key for key, _ in transaction.items(table)]:
                        if key.partition(":")[0] == slug:
                            found |= transaction.delete(table, key)
                for key in [key for key, _ in transaction.items(LEASES)]:
                    if key.startswith(f"{PLUGINS}{slug}."):
                        found |= transaction.delete(LEASES, key)
                raised = _raise_generation(transaction) if found else 0
                if raised and spec is not None:
                    _put_new(
                        transaction,
                        PluginRow(
                            slug=slug,
                            pk=0,
                            active=False,
                            name=spec.name,
                            distribution=spec.distribution,
                            is_forgotten=True,
                        ),
                    )
            self._metadata = MappingProxyType(
                {each: data for each, data in self._metadata.items() if each != slug}
            )
            for table in ("plugins", "metadata"):
                errors = self._damaged.get(table, ())
                self._damaged[table] = tuple(each for each in errors if each.key != slug)
        return raised

    def metadata(self, slug: str) -> dict[str, Any]:
        """Return a copy of the plugin's metadata as it was written, ``{}`` where there is none."""
        return copy.deepcopy(self._metadata.get(slug, {}))

    def metadata_fault(self, slug: str) -> str | None:
        """Return why the plugin's metadata may be shown to nobody, None if it may.

        A value may have been protected, or set, after the metadata that holds it was written.
        """
        return _secret_in(self._metadata.get(slug, {}), self._scrubber_of(slug))

    def set_metadata(self, slug: str, data: Any, merge: bool) -> dict[str, Any]:
        """Store the metadata of one plugin.

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
        checked = _checked(slug, data)
        # It may run the plugin's own code, which no lock and no transaction is held for.
        scrubber = self._scrubber_of(slug)
        with self._writing.get():
            with self._storage.transaction() as transaction:
                row = transaction.get("metadata", slug)
                with readable("metadata", slug):
                    before = {} if row is None else _metadata(slug, row)
                new = {**before, **checked} if merge else checked
                fault = _secret_in(new, scrubber) or _length_fault(new)
                if fault is not None:
                    raise SettingError("metadata", fault)
                transaction.put("metadata", slug, {"metadata": new})
                kept = _metadata(slug, transaction.get("metadata", slug) or {})
            self._metadata = MappingProxyType({**self._metadata, slug: kept})
        return self.metadata(slug)

    def _read(self, table: str, parse: Callable[[str, Record], T]) -> dict[str, T]:
        found, self._damaged[table] = parse_records(table, self._storage.read(table), parse)
        return found


# -- the rows. Those that parse raise what `readable` and `parse_records` expect --------------


def _wish(slug: str, row: Record) -> PluginRow:
    active = field(row, "active", bool)
    return PluginRow(
        slug=Slug(slug),
        pk=field(row, "pk", int),
        active=active,
        name=field(row, "name", str),
        distribution=field(row, "distribution", str, type(None)),
        is_forgotten=row.get(_FORGOTTEN) is True and not active,
    )


def _wish_in(slug: Slug, row: Record) -> PluginRow:
    with readable("plugins", slug):
        return _wish(slug, row)


def _lost(error: RecordCorruptError) -> PluginRow:
    """Return what is known of a plugin whose row is damaged."""
    return PluginRow(slug=Slug(error.key), pk=0, active=False, name=error.key, faults=(str(error),))


def _wish_or_faults(slug: Slug, row: Record) -> PluginRow:
    try:
        return _wish_in(slug, row)
    except RecordCorruptError as error:
        return _lost(error)


def _seen(wish: PluginRow | None, *, again: bool) -> PluginRow | None:
    """Return the wish that counts, None for a plugin that is to be as if never seen."""
    return None if again and wish is not None and wish.is_forgotten else wish


def _metadata(_slug: str, row: Record) -> dict[str, Any]:
    data: dict[str, Any] = field(row, "metadata", dict)
    return data


def _counter(key: str, row: Record) -> Epoch | int:
    if key == _GENERATION:
        return Epoch(number=field(row, "number", int), asked=field(row, "asked", int))
    last: int = field(row, "last", int) if key == "pk" else 0
    return last


def _checked(slug: str, data: Any) -> dict[str, Any]:
    """Return metadata to store as a copy of its own. Raises SettingError for what cannot be."""
    if not isinstance(data, Mapping):
        raise SettingError("metadata", "Metadata must be a python dict object")
    try:
        checked: dict[str, Any] = checked_copy("metadata", slug, {"metadata": {**data}})["metadata"]
    except StorageError as error:
        raise SettingError("metadata", _NOT_STORABLE) from error
    if any(map(has_control_characters, strings_in(checked))):
        raise SettingError("metadata", CONTROL_CHARACTERS)
    return checked


def _length_fault(metadata: dict[str, Any]) -> str | None:
    length = len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode())
    if length <= MAX_METADATA_BYTES:
        return None
    return (
        f"Metadata must have at most {MAX_METADATA_BYTES} bytes as JSON, and would have {length}; "
        "remove keys that are not needed"
    )


def _secret_in(metadata: dict[str, Any], scrubber: Scrubber) -> str | None:
    """Return which key holds a protected value, as a sentence, None if none does."""
    for key, value in metadata.items():
        if scrubber.found_in({key: value}):
            where = "A key" if scrubber.found_in(key) else f"Key {key!r}"
            return (
                f"{where} of the metadata holds the value of a protected setting of the plugin; "
                "write the metadata without that value"
            )
    return None


def _put(transaction: Transaction, wish: PluginRow) -> None:
    transaction.put(
        "plugins",
        wish.slug,
        {
            "pk": wish.pk,
            "active": wish.active,
            "name": wish.name,
            "distribution": wish.distribution,
            **({_FORGOTTEN: True} if wish.is_forgotten else {}),
        },
    )


def _put_new(transaction: Transaction, wish: PluginRow) -> PluginRow:
    """Write the first row of a plugin, with the next number, and return what it says.

    Raises RecordCorruptError where the last number cannot be read.
    """
    with readable(COUNTERS, "pk"):
        last = field(transaction.get(COUNTERS, "pk") or {"last": 0}, "last", int)
    transaction.put(COUNTERS, "pk", {"last": last + 1})
    numbered = replace(wish, pk=last + 1)
    _put(transaction, numbered)
    return numbered


def _is_due(spec: PluginSpec, wish: PluginRow | None, rules: HostRules, *, again: bool) -> bool:
    if wish is None or wish.faults:
        return wish is None
    wanted = rules.wants(spec.slug, _seen(wish, again=again))
    return wish.distribution != spec.distribution or wish.active != wanted


def _generation(transaction: Transaction) -> Epoch:
    row = transaction.get(COUNTERS, _GENERATION)
    if row is None:
        return Epoch()
    with readable(COUNTERS, _GENERATION):
        return Epoch(number=field(row, "number", int), asked=field(row, "asked", int))


def _raise_generation(transaction: Transaction) -> int:
    before = _generation(transaction)
    _put_generation(transaction, before.number + 1, asked=before.asked)
    return before.number + 1


def _put_generation(transaction: Transaction, number: int, asked: int) -> None:
    transaction.put(COUNTERS, _GENERATION, {"number": number, "asked": asked})
