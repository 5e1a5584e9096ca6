"""The whole contents of a store: copied, exported as JSON, and imported."""

from __future__ import annotations

import json
from typing import Any, Final

from plugreg.exceptions import RecordCorruptError, StorageError, StorageFormatError
from plugreg.storage.base import DamagedRecord, Record, Tables
from plugreg.storage.contract import Storage, Transaction
from plugreg.storage.parsing import refuse_constant
from plugreg.storage.quiet_commits import TABLE as QUIET

FORMAT: Final = 1
"""The version of the JSON of `export_json`. A higher version is refused."""

_MASK: Final = "masked"


def copy(source: Storage, target: Storage, *, replace: bool = False) -> None:
    """Copy the contents of a store to another.

    It is one commit of *target*, whose revision continues from its own, within a transaction of
    *source*; no other process writes to either meanwhile. Users of *source* continue to use it:
    later changes are in *source* alone. After an error nothing has changed.

    Two stores with one lock are refused: the same store opened twice, or two prefixes in one
    SQLite file. Copy the latter through a `MemoryStorage`. Two copies in opposite directions wait
    for one another until the locks' timeouts, and for ever if both stores are in memory.

    Args:
        source: The store to read.
        target: The store to write.
        replace: Whether all records of *target* may be removed first.

    Raises:
        StorageError: If *target* has records and *replace* is False, if both have one lock, or if
            one of the stores fails.
        RecordCorruptError: If a record of *source* cannot be read.
    """
    if _lock_of(source) == _lock_of(target):
        raise StorageError("a store cannot be copied onto itself; open another one as the target")
    with source.transaction() as reading, target.transaction() as writing:
        _fill(writing, _read_all(reading), frozenset(), replace)


def _lock_of(storage: Storage) -> object:
    """Return what stores with one lock have in common."""
    return getattr(storage, "lock_place", storage)


def export_json(storage: Storage, *, secrets: bool = False) -> str:
    """Return the contents of a store at a moment as JSON, indented and sorted.

    Without *secrets*, the ``value`` of each record whose field ``protected`` is not False is left
    out, and ``masked`` replaces it. Such are the values of settings that were protected when they
    were stored, or when their plugin was last activated.

    Args:
        storage: The store. Nobody writes to it meanwhile.
        secrets: Whether to include these values, encrypted ones as they are. Protect such a string
            like a password.

    Raises:
        StorageError: If the store fails.
        RecordCorruptError: If a record cannot be read.
    """
    with storage.transaction() as transaction:
        tables: Tables = _read_all(transaction)
    if not secrets:
        tables = {
            table: {key: _mask(record) for key, record in records.items()}
            for table, records in tables.items()
        }
    return json.dumps({"plugreg": FORMAT, "tables": tables}, indent=2, sort_keys=True) + "\n"


def import_json(
    storage: Storage, text: str, *, replace: bool = False
) -> tuple[tuple[str, str], ...]:
    """Store the contents that `export_json` returned, in one commit.

    A record whose value was left out is skipped, and the store's record under its key stays.
    After an error nothing has changed.

    Args:
        storage: The store to write.
        text: The JSON.
        replace: Whether all other records of the store may be removed first.

    Returns:
        The table and key of each skipped record.

    Raises:
        StorageFormatError: If a newer plugreg exported the JSON.
        StorageError: If *text* is not such JSON, with the place of the fault; if the store has
            records and *replace* is False; or if the store fails.
    """
    tables = _parse(text)
    masked = tuple(
        (table, key)
        for table, records in tables.items()
        for key, record in records.items()
        if record.get(_MASK) is True
    )
    with storage.transaction() as transaction:
        _fill(transaction, tables, frozenset(masked), replace)
    return masked


def _read_all(transaction: Transaction) -> dict[str, dict[str, Record]]:
    tables = {table: dict(transaction.items(table)) for table in transaction.tables()}
    for table, records in tables.items():
        for key, record in records.items():
            # A record that cannot be read must not be missing from a copy silently.
            if isinstance(record, DamagedRecord):
                raise RecordCorruptError(table, key, record.reason)
    return tables


def _fill(
    transaction: Transaction, tables: Tables, preserved: frozenset[tuple[str, str]], replace: bool
) -> None:
    """Put *tables* into an empty store, or replace all its records except *preserved* ones."""
    found = transaction.tables()
    if found and not replace:
        raise StorageError(
            f"the store is not empty: it has records in table {found[0]!r}; choose an empty one, "
            f"or pass replace=True to have all its records replaced"
        )
    for table in found:
        for key, _ in transaction.items(table):
            if (table, key) not in preserved:
                transaction.delete(table, key)
    for table, records in tables.items():
        # A database reads all records at once, instead of a record for each put.
        transaction.items(table)
        for key, record in records.items():
            # The quiet commits of another store are not those of this store.
            if (table, key) not in preserved and table != QUIET:
                transaction.put(table, key, record)


def _mask(record: Record) -> Record:
    # A record counts as protected unless it says otherwise, as it does where it is read.
    if "value" not in record or record.get("protected") is False:
        return record
    return {name: field for name, field in record.items() if name != "value"} | {_MASK: True}


def _parse(text: str) -> Tables:
    try:
        data = json.loads(text, parse_constant=refuse_constant, object_pairs_hook=_make_object)
    except (ValueError, RecursionError) as error:
        raise _refusal(f"it is not JSON that can be read ({error})") from error
    if type(data) is not dict or type(data.get("plugreg")) is not int:
        raise _refusal("it has no field 'plugreg' with the version of its format")
    if data["plugreg"] > FORMAT:
        raise StorageFormatError("<text>", data["plugreg"], FORMAT)
    if data["plugreg"] != FORMAT:
        raise _refusal(f"it has format {data['plugreg']}, but only format {FORMAT} is known here")
    tables: Any = data.get("tables")
    _require_object(tables, "['tables']")
    for table, records in tables.items():
        _require_object(records, f"['tables'][{table!r}]")
        for key, record in records.items():
            _require_object(record, f"['tables'][{table!r}][{key!r}]")
    checked: Tables = tables
    return checked


def _require_object(value: Any, place: str) -> None:
    if type(value) is not dict:
        raise _refusal(f"at {place} there must be an object")


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for name, value in pairs:
        if name in names:
            raise ValueError(f"the name {name!r} is twice in one object")
        names[name] = value
    return names


def _refusal(reason: str) -> StorageError:
    return StorageError(f"the text cannot be imported: {reason}; nothing was changed")
