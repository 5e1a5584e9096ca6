"""The tables of a SQLStorage, and how they are created and migrated.

``<prefix>records`` has the records, as JSON in ASCII, by name of table and key. Both are stored
as UTF-8 bytes, so that every database compares them as Python does, whatever its encoding and
collation. ``<prefix>meta`` has one row: version of the schema, revision, and a token of the last
commit.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from plugreg._support.named import NamedTuple
from plugreg.exceptions import StorageCorruptError, StorageFormatError
from plugreg.storage.base import (
    MAX_DEPTH,
    MAX_KEY_BYTES,
    MAX_TABLE_BYTES,
    Changes,
    DamagedRecord,
    Record,
    levels_of,
    parse_json,
)

# Records were checked before: none contains itself, and every string has a UTF-8 form.
_JSON: Final = json.JSONEncoder(allow_nan=False, check_circular=False)
_THE_ROW: Final = 1


class Head(NamedTuple):
    """The one row of ``meta``."""

    version: int
    revision: int
    token: str


class Schema:
    """The two tables of one store, and all statements on them.

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
        tables = sa.MetaData()
        innodb: dict[str, Any] = {"mysql_engine": "InnoDB", "mariadb_engine": "InnoDB"}
        self.meta = sa.Table(
            f"{prefix}meta",
            tables,
            sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("schema_version", sa.Integer, nullable=False),
            sa.Column("revision", sa.BigInteger, nullable=False),
            sa.Column("last_commit", sa.String(32), nullable=False),
            **innodb,
        )
        self.records = sa.Table(
            f"{prefix}records",
            tables,
            sa.Column("table_name", _bytes(MAX_TABLE_BYTES), primary_key=True),
            sa.Column("record_key", _bytes(MAX_KEY_BYTES), primary_key=True),
            sa.Column("record", _text(), nullable=False),
            sqlite_with_rowid=False,
            **innodb,
        )
        # The step at index n migrates from version n to n + 1. It runs while nobody else creates
        # or migrates tables, and again if it was interrupted.
        self._steps = (tables.create_all,)
        self._build_statements(dialect)

    def _build_statements(self, dialect: str) -> None:
        # Built once, because that takes longer than their execution.
        meta, columns = self.meta.c, self.records.c
        in_table = columns.table_name == sa.bindparam("of_table")
        of_key = columns.record_key == sa.bindparam("of_key")
        # Python shows a SQLite string that is not UTF-8 in its error, and records hold secrets.
        text: sa.ColumnElement[Any] = columns.record
        if dialect == "sqlite":
            text = sa.cast(columns.record, sa.LargeBinary)
        self._row = meta.id == _THE_ROW
        self._head = sa.select(meta.schema_version, meta.revision, meta.last_commit).where(
            self._row
        )
        self._one = sa.select(text).where(in_table, of_key)
        self._all = sa.select(columns.record_key, text).where(in_table).order_by(columns.record_key)
        self._names = sa.select(columns.table_name).distinct()
        self._delete = sa.delete(self.records).where(in_table, of_key)
        self._upsert = _upsert(self.records, dialect)
        self._raise = (
            sa.update(self.meta)
            .where(self._row)
            .values(revision=sa.bindparam("to_revision"), last_commit=sa.bindparam("token"))
        )

    @property
    def version(self) -> int:
        """The version that this plugreg creates, and the newest that it reads."""
        return len(self._steps)

    def found_version(self, connection: sa.Connection) -> int:
        """Return the version of the existing tables, 0 where there are none.

        Raises:
            StorageCorruptError: If the version is gone, and records are left.
            StorageFormatError: If the version is newer than `version`.
        """
        found = self._read_version(connection)
        if not found and self._has_records(connection):
            # Others may have created the tables, and stored records, since the first look.
            found = self._read_version(connection)
            if not found:
                self._report_damage(
                    f"table {self.records.name!r} has records, and table {self.meta.name!r}, "
                    f"which has their format, is gone or has lost its row"
                )
        return found

    def _read_version(self, connection: sa.Connection) -> int:
        if not sa.inspect(connection).has_table(self.meta.name):
            return 0
        # A newer version may have other columns besides this one.
        statement = sa.select(self.meta.c.schema_version).where(self._row)
        version = int(connection.execute(statement).scalar() or 0)
        self._require_known(version)
        return version

    def _require_known(self, version: int) -> None:
        if version > self.version:
            raise StorageFormatError(self._place, version, self.version)

    def _report_damage(self, reason: str) -> NoReturn:
        raise StorageCorruptError(self._place, reason)

    def _has_records(self, connection: sa.Connection) -> bool:
        if not sa.inspect(connection).has_table(self.records.name):
            return False
        any_record = sa.select(self.records.c.table_name).limit(1)
        return connection.execute(any_record).one_or_none() is not None

    def migrate(self, connection: sa.Connection) -> None:
        """Create or migrate the tables. The caller holds the lock of the schema."""
        found = self.found_version(connection)
        for step in self._steps[found:]:
            step(connection)
        if found >= self.version:
            return
        raised = sa.update(self.meta).where(self._row).values(schema_version=self.version)
        if not connection.execute(raised).rowcount:
            connection.execute(
                sa.insert(self.meta).values(
                    id=_THE_ROW, schema_version=self.version, revision=0, last_commit=""
                )
            )

    def head(self, connection: sa.Connection, lock: str = "") -> Head:
        """Return the row of ``meta``.

        Args:
            connection: The connection.
            lock: The clause that locks the row.
        """
        statement = self._head.suffix_with(sa.text(lock)) if lock else self._head
        row = connection.execute(statement).one_or_none()
        if row is None:
            self._report_damage(f"table {self.meta.name!r} has lost its row")
        version, revision, token = row
        if type(version) is not int or type(revision) is not int or type(token) is not str:
            self._report_damage(f"the row of table {self.meta.name!r} is not as plugreg writes it")
        self._require_known(version)
        return Head(version, revision, token)

    def read_one(self, connection: sa.Connection, table: str, key: str) -> Record | None:
        """Return one record, or None."""
        names = {"of_table": table.encode(), "of_key": key.encode()}
        found = connection.execute(self._one, names).one_or_none()
        return None if found is None else _parse_record(found[0])

    def read_all(self, connection: sa.Connection, table: str) -> dict[str, Record]:
        """Return the records of one table, sorted by key."""
        rows = connection.execute(self._all, {"of_table": table.encode()})
        return dict(_parse_row(key, text) for key, text in rows.all())

    def tables(self, connection: sa.Connection) -> list[str]:
        """Return the names of all tables that have records."""
        try:
            return [bytes.decode(name) for name in connection.execute(self._names).scalars()]
        except (TypeError, UnicodeDecodeError) as error:
            reason = "the name of a table is not UTF-8"
            raise StorageCorruptError(self._place, reason) from error

    def write(self, connection: sa.Connection, changes: Changes) -> None:
        """Put and delete records."""
        puts, deletes = [], []
        for table, records in changes.items():
            for key, record in records.items():
                if record is None:
                    deletes.append({"of_table": table.encode(), "of_key": key.encode()})
                else:
                    names = {"table_name": table.encode(), "record_key": key.encode()}
                    puts.append({**names, "record": _JSON.encode(record)})
        if deletes:
            connection.execute(self._delete, deletes)
        if puts:
            connection.execute(self._upsert, puts)

    def raise_revision(self, connection: sa.Connection, revision: int, token: str) -> None:
        """Write the revision and the token of a commit to ``meta``."""
        connection.execute(self._raise, {"to_revision": revision, "token": token})


def _upsert(records: sa.Table, dialect: str) -> sa.Executable:
    if dialect in {"mysql", "mariadb"}:
        replacing = mysql.insert(records)
        return replacing.on_duplicate_key_update(record=replacing.inserted.record)
    inserting = (sqlite.insert if dialect == "sqlite" else postgresql.insert)(records)
    return inserting.on_conflict_do_update(
        index_elements=["table_name", "record_key"], set_={"record": inserting.excluded.record}
    )


def _bytes(length: int) -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary().with_variant(mysql.VARBINARY(length), "mysql", "mariadb")


def _text() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(mysql.LONGTEXT(charset="ascii"), "mysql", "mariadb")


def _parse_row(key: Any, text: Any) -> tuple[str, Record]:
    try:
        return bytes.decode(key), _parse_record(text)
    except (TypeError, UnicodeDecodeError):
        # No valid key is shown like this, because surrogates have no UTF-8 form.
        shown = bytes(key).decode(errors="surrogateescape")
        return shown, DamagedRecord("its key is not UTF-8")


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
