"""Everything in one store at once: copied to another one, or as a text of JSON and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from plugreg.exceptions import RecordCorruptError, StorageError, StorageFormatError
from plugreg.storage.base import DamagedRecord, Record, Storage, Transaction, refuse_constant
from plugreg.storage.quiet import TABLE as QUIET

FORMAT: Final = 1
"""The version of the text that :func:`export_json` gives. A higher one is refused."""

_MASK: Final = "masked"

Tables = Mapping[str, Mapping[str, Record]]
"""Records by table and key."""


def copy(source: Storage, target: Storage, *, replace: bool = False) -> None:
    """Make ``target`` hold what ``source`` holds at one moment; nobody writes to either meanwhile.

    It is one commit of ``target``, whose revision goes on from its own, within a transaction of
    ``source``. Whoever has ``source`` open goes on with it: what is stored there afterwards is in
    it alone. RecordCorruptError names a record of it that cannot be read. Raises StorageError, and
    changes nothing, when ``target`` holds records already, unless ``replace`` says that they may
    go; when both are the same store; and whatever one of the stores raises. Two stores with one
    lock cannot be open together, and that raises StorageLockedError after the lock's time-out: the
    same store opened twice, and two prefixes in one SQLite file, which are copied through a
    MemoryStorage. Two copies in opposite directions wait for one another likewise, and for ever
    where both stores are in memory.
    """
    if source is target:
        raise StorageError("a store cannot be copied onto itself; open another one as the target")
    with source.transaction() as reading, target.transaction() as writing:
        _require_empty(writing, replace=replace)
        _put(writing, _everything(reading), kept=frozenset())


def export_json(storage: Storage, *, secrets: bool = False) -> str:
    """Return everything in the store at one moment as JSON, indented and in the order of names.

    Without ``secrets`` the ``value`` of each record whose field ``protected`` is not False is left
    out, and ``masked`` stands in its place. That is each value of a setting that was protected
    when it was stored, or when its plugin was last activated. With ``secrets`` the text holds them
    all, those that are encrypted as they are; keep it like a password.
    """
    with storage.transaction() as transaction:
        tables = _everything(transaction)
    if not secrets:
        tables = {
            table: {key: _masked(record) for key, record in records.items()}
            for table, records in tables.items()
        }
    return json.dumps({"plugreg": FORMAT, "tables": tables}, indent=2, sort_keys=True) + "\n"


def import_json(
    storage: Storage, text: str, *, replace: bool = False
) -> tuple[tuple[str, str], ...]:
    """Put what :func:`export_json` gave into a store, in one commit.

    Returns (table, key) of each record that was skipped because its value had been left out; one
    that is in the store under that key stays. Raises StorageError, and changes nothing, with the
    place of what is no such text, StorageFormatError for that of a newer plugreg, and as
    :func:`copy` does when the store is not empty.
    """
    tables = _read(text)
    masked = tuple(
        (table, key)
        for table, records in tables.items()
        for key, record in records.items()
        if record.get(_MASK) is True
    )
    with storage.transaction() as transaction:
        _require_empty(transaction, replace=replace)
        _put(transaction, tables, kept=frozenset(masked))
    return masked


def _everything(transaction: Transaction) -> dict[str, dict[str, Record]]:
    tables = {table: dict(transaction.items(table)) for table in transaction.tables()}
    for table, records in tables.items():
        for key, record in records.items():
            # What cannot be read must not be missing from a copy unseen.
            if isinstance(record, DamagedRecord):
                raise RecordCorruptError(table, key, record.reason)
    return tables


def _require_empty(transaction: Transaction, *, replace: bool) -> None:
    found = transaction.tables()
    if found and not replace:
        raise StorageError(
            f"the store is not empty: it has records in table {found[0]!r}; choose an empty one, "
            f"or say replace=True to have all its records replaced"
        )


def _put(transaction: Transaction, tables: Tables, kept: frozenset[tuple[str, str]]) -> None:
    """Replace all records by ``tables``, but for those whose places are ``kept`` as they are."""
    for table in transaction.tables():
        for key, _ in transaction.items(table):
            if (table, key) not in kept:
                transaction.delete(table, key)
    for table, records in tables.items():
        # A database reads all at once what each put looks at.
        transaction.items(table)
        for key, record in records.items():
            # Which commits of another store were quiet says nothing of this one's.
            if (table, key) not in kept and table != QUIET:
                transaction.put(table, key, record)


def _masked(record: Record) -> Record:
    # What does not say that anybody may see it counts as protected, as it does where it is read.
    if "value" not in record or record.get("protected") is False:
        return record
    return {name: each for name, each in record.items() if name != "value"} | {_MASK: True}


def _read(text: str) -> Tables:
    try:
        data = json.loads(text, parse_constant=refuse_constant, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        raise _refused(f"it is no JSON that can be read ({error})") from error
    if type(data) is not dict or type(data.get("plugreg")) is not int:
        raise _refused("it has no field 'plugreg' with the version of its format")
    if data["plugreg"] > FORMAT:
        raise StorageFormatError("<text>", data["plugreg"], FORMAT)
    if data["plugreg"] != FORMAT:
        raise _refused(f"it has format {data['plugreg']}, but only format {FORMAT} is known here")
    tables: Any = data.get("tables")
    _require_object(tables, "['tables']")
    for table, records in tables.items():
        _require_object(records, f"['tables'][{table!r}]")
        for key, record in records.items():
            _require_object(record, f"['tables'][{table!r}][{key!r}]")
    found: Tables = tables
    return found


def _require_object(value: Any, place: str) -> None:
    if type(value) is not dict:
        raise _refused(f"at {place} there must be an object")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} stands twice in one object")
    return found


def _refused(reason: str) -> StorageError:
    return StorageError(f"the text cannot be imported: {reason}; nothing was changed")
