"""The tables of a SQLStorage, and all statements on them.

``<prefix>records`` has the records, as JSON in ASCII, by name of table and key. Both are stored
as UTF-8 bytes, so that every database compares them as Python does, whatever its encoding and
collation. ``<prefix>meta`` has one row: version of the schema, revision, and a token of the last
commit.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any, Final, NoReturn

import sqlalchemy as sa

from plugreg._support.frozen import NamedTuple
from plugreg._support.slugs import has_utf8
from plugreg.exceptions import StorageCorruptError, StorageFormatError
from plugreg.storage.base import (
    MAX_DEPTH,
    MAX_KEY_BYTES,
    MAX_TABLE_BYTES,
    Changes,
    DamagedRecord,
    Record,
)
from plugreg.storage.parsing import levels_of, parse_json

VERSION: Final = 1
"""The version that this plugreg creates, and the newest that it reads."""

# Records were checked before: none contains itself, and every string has a UTF-8 form.
_JSON: Final = json.JSONEncoder(allow_nan=False, check_circular=False)

_NAMES: Final = ("table", "key", "record", "options", "read", "replacing", "keeping")
_REPLACING: Final = "ON CONFLICT (table_name, record_key) DO UPDATE SET record = excluded.record"
_KEEPING: Final = "ON CONFLICT DO NOTHING"
_MYSQL: Final = (
    *(f"VARBINARY({MAX_TABLE_BYTES})", f"VARBINARY({MAX_KEY_BYTES})"),
    *("LONGTEXT CHARACTER SET ascii", "ENGINE = InnoDB", "record"),
    *("ON DUPLICATE KEY UPDATE record = VALUES(record)", "ON DUPLICATE KEY UPDATE id = id"),
)
# Python shows a SQLite string that is not UTF-8 in its error, and records hold secrets. So they
# are read as bytes.
_SQLITE: Final = (
    *("BLOB", "BLOB", "TEXT", "WITHOUT ROWID", "CAST(record AS BLOB)"),
    *(_REPLACING, _KEEPING),
)
_WORDS: Final = MappingProxyType(
    {
        "sqlite": _SQLITE,
        "postgresql": ("BYTEA", "BYTEA", "TEXT", "", "record", _REPLACING, _KEEPING),
        "mysql": _MYSQL,
        "mariadb": _MYSQL,
    }
)
"""The words for `_NAMES` by SQLAlchemy's name of the database."""

_CREATE: Final = (
    "CREATE TABLE IF NOT EXISTS {meta} (id INTEGER NOT NULL PRIMARY KEY, schema_version INTEGER "
    "NOT NULL, revision BIGINT NOT NULL, last_commit VARCHAR(32) NOT NULL) {options}",
    "CREATE TABLE IF NOT EXISTS {records} (table_name {table} NOT NULL, record_key {key} NOT NULL, "
    "record {record} NOT NULL, PRIMARY KEY (table_name, record_key)) {options}",
)
_HEAD: Final = "SELECT schema_version, revision, last_commit FROM {meta} WHERE id = 1 "
_STATEMENTS: Final = MappingProxyType(
    {
        "version": "SELECT schema_version FROM {meta} WHERE id = 1",
        "begin": "INSERT INTO {meta} VALUES (1, :version, 0, '') {keeping}",
        "raise": "UPDATE {meta} SET revision = :revision, last_commit = :token WHERE id = 1",
        "any": "SELECT 1 FROM {records} LIMIT 1",
        "tables": "SELECT DISTINCT table_name FROM {records}",
        "all": "SELECT record_key, {read} FROM {records} WHERE table_name = :table "
        "ORDER BY record_key",
        "one": "SELECT {read} FROM {records} WHERE table_name = :table AND record_key = :key",
        "delete": "DELETE FROM {records} WHERE table_name = :table AND record_key = :key",
        "put": "INSERT INTO {records} VALUES (:table, :key, :record) {replacing}",
    }
)


class Head(NamedTuple):
    """Revision and token of the last commit."""

    revision: int
    token: str


class Schema:
    """The two tables of a store, and all statements on them.

    Every method raises the errors of SQLAlchemy. Methods that read raise StorageCorruptError for
    contents that plugreg has not written, and StorageFormatError for tables of a newer plugreg. A
    single damaged record is returned as a DamagedRecord.

    Args:
        place: The address of the store, for errors.
        prefix: The beginning of the names of the tables.
        dialect: SQLAlchemy's name of the database.
    """

    def __init__(self, place: str, prefix: str, dialect: str) -> None:
        self._place = place
        self.meta = meta = f"{prefix}meta"
        self.records = records = f"{prefix}records"
        words = dict(zip(_NAMES, _WORDS[dialect], strict=True), meta=meta, records=records)
        self._create = [statement.format(**words) for statement in _CREATE]
        self._head = _HEAD.format(**words)
        self._statements = {
            name: sa.text(statement.format(**words)) for name, statement in _STATEMENTS.items()
        }
        # SQLAlchemy reads rows faster if it knows their columns.
        self._one = self._statements["one"].columns(sa.column("record"))
        self._all = self._statements["all"].columns(sa.column("record_key"), sa.column("record"))

    def exists(self, connection: sa.Connection) -> bool:
        """Return whether the tables were created completely.

        Args:
            connection: The connection to use.

        Raises:
            StorageCorruptError: If the version is gone, and records are left.
            StorageFormatError: If the version is newer than `VERSION`.
        """
        if self._has_version(connection):
            return True
        has_records = sa.inspect(connection).has_table(self.records)
        if not has_records or connection.scalar(self._statements["any"]) is None:
            return False
        # Others may have created the tables, and stored records, since the first look.
        if not self._has_version(connection):
            self._report_damage(
                f"table {self.records!r} has records, and table {self.meta!r}, "
                f"which has their format, is gone or has lost its row"
            )
        return True

    def _has_version(self, connection: sa.Connection) -> bool:
        if not sa.inspect(connection).has_table(self.meta):
            return False
        # A newer version may have further columns.
        version = int(connection.scalar(self._statements["version"]) or 0)
        self._require_known(version)
        return version > 0

    def _require_known(self, version: int) -> None:
        if version > VERSION:
            raise StorageFormatError(self._place, version, VERSION)

    def _report_damage(self, reason: str) -> NoReturn:
        raise StorageCorruptError(self._place, reason)

    def create(self, connection: sa.Connection) -> None:
        """Create the tables if others have not, as far as they are missing.

        Args:
            connection: The connection to use.
        """
        if not self.exists(connection):
            # A process that was killed may have created them, without the row.
            for statement in self._create:
                connection.exec_driver_sql(statement)
            connection.execute(self._statements["begin"], {"version": VERSION})

    def head(self, connection: sa.Connection, lock: str = "") -> Head:
        """Return the row of ``meta``.

        Args:
            connection: The connection.
            lock: The clause that locks the row.
        """
        row = connection.exec_driver_sql(self._head + lock).one_or_none()
        if row is None:
            self._report_damage(f"table {self.meta!r} has lost its row")
        if tuple(map(type, row)) != (int, int, str):
            self._report_damage(f"the row of table {self.meta!r} is not as plugreg writes it")
        version, *head = row
        self._require_known(version)
        return Head(*head)

    def read_one(self, connection: sa.Connection, table: str, key: str) -> Record | None:
        """Return a record, or None.

        Args:
            connection: The connection to use.
            table: The name of the table.
            key: The key of the record.
        """
        if not (_is_name(table) and _is_name(key)):
            return None
        names = {"table": table.encode(), "key": key.encode()}
        row = connection.execute(self._one, names).one_or_none()
        return None if row is None else _parse_record(row[0])

    def read_all(self, connection: sa.Connection, table: str) -> dict[str, Record]:
        """Return the records of a table, sorted by key.

        Args:
            connection: The connection to use.
            table: The name of the table.
        """
        if not _is_name(table):
            return {}
        rows = connection.execute(self._all, {"table": table.encode()})
        return dict(_parse_row(bytes(key), text) for key, text in rows.all())

    def tables(self, connection: sa.Connection) -> list[str]:
        """Return the names of all tables that have records.

        Args:
            connection: The connection to use.
        """
        try:
            return [
                bytes(name).decode()
                for name in connection.execute(self._statements["tables"]).scalars()
            ]
        except (TypeError, UnicodeDecodeError) as error:
            reason = "the name of a table is not UTF-8"
            raise StorageCorruptError(self._place, reason) from error

    def write(self, connection: sa.Connection, changes: Changes, revision: int, token: str) -> None:
        """Put and delete records, and write the revision and the token of the commit.

        Args:
            connection: The connection to use.
            changes: The changes to make.
            revision: The number of the commit.
            token: The token of the commit.
        """
        puts, deletes = [], []
        for table, records in changes.items():
            for key, record in records.items():
                names: dict[str, Any] = {"table": table.encode(), "key": key.encode()}
                if record is None:
                    deletes.append(names)
                else:
                    puts.append({**names, "record": _JSON.encode(record)})
        for statement, rows in (
            (self._statements["delete"], deletes),
            (self._statements["put"], puts),
        ):
            if rows:
                connection.execute(statement, rows)
        connection.execute(self._statements["raise"], {"revision": revision, "token": token})


def _is_name(name: Any) -> bool:
    """Return whether there can be a table or a key of this name."""
    return isinstance(name, str) and has_utf8(name)


def _parse_row(key: bytes, text: Any) -> tuple[str, Record]:
    try:
        return key.decode(), _parse_record(text)
    except UnicodeDecodeError:
        # No valid key is shown like this, because surrogates have no UTF-8 form.
        return key.decode(errors="surrogateescape"), DamagedRecord("its key is not UTF-8")


def _parse_record(text: Any) -> Record:
    try:
        text = text.decode() if type(text) is bytes else text
        record = parse_json(text)
        if levels_of(text) > MAX_DEPTH:
            return DamagedRecord("it is nested too deeply")
    except (TypeError, ValueError):
        # Without the cause, which has the string, and so perhaps a secret.
        return DamagedRecord("it is not JSON that can be read")
    return record if type(record) is dict else DamagedRecord("it is no object")
