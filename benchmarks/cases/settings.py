"""Settings: a read, a durable write, and a whole table read, with each storage.

The whole-file floor writes the same JSON to a temporary file, flushes and renames it: without lock
and checksum, and without flushing the folder, so that a power cut may undo what it acknowledged.
The one that flushes the folder too is shown as well. The floors of databases do the same
statements with the driver alone.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from model import Budget, Case, How, Kind, NotThereError, Place, Timed, floor, ours, peer, statement

SERVERS = {
    "postgresql": (
        5432,
        os.environ.get(
            "PLUGREG_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"
        ),
    ),
    "mariadb": (
        3306,
        os.environ.get("PLUGREG_TEST_MARIADB", "mysql+pymysql://root@127.0.0.1:3306/test"),
    ),
}
SLUG = "plugin-0"


def row(number: int) -> dict[str, object]:
    """Return a setting of another plugin, of the usual size."""
    return {
        "plugin": f"plugin-{1 + number % 50}",
        "key": f"KEY_{number}",
        "value": f"value {number}",
    }


def rows(size: int) -> dict[str, dict[str, object]]:
    """Return settings as a storage keeps them, by plugin and key."""
    found = map(row, range(size))
    return {f"{each['plugin']}:{each['key']}": each for each in found}


# -- plugreg's storages ------------------------------------------------------------------------


def opened(kind: str, place: Place) -> tuple[Any, Callable[[], object]]:
    """Return a new, empty storage, and what lets go of it."""
    from plugreg.storage import MemoryStorage, SQLStorage, TinyDBStorage

    if kind == "memory":
        return MemoryStorage(), lambda: None
    if kind == "tinydb":
        storage = TinyDBStorage(place.scratch / "store.json")
        return storage, storage.close
    if kind == "sqlite":
        storage = SQLStorage(f"sqlite:///{place.scratch / 'store.sqlite'}")
        return storage, storage.close
    url = server(kind)
    prefix = f"b{uuid4().hex[:12]}_"
    storage = SQLStorage(url, prefix=prefix)

    def close() -> None:
        storage.close()
        drop(url, f"{prefix}records", f"{prefix}meta")

    return storage, close


def server(kind: str) -> str:
    """Return the URL of a database server that runs here."""
    port, url = SERVERS[kind]
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        raise NotThereError(f"not there: no server at 127.0.0.1:{port}") from None
    return url


def drop(url: str, *tables: str) -> None:
    import sqlalchemy

    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        for each in tables:
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {each}")
    engine.dispose()


def filled(kind: str, place: Place) -> tuple[Any, Callable[[], object]]:
    storage, close = opened(kind, place)
    with storage.transaction() as transaction:
        for key, each in rows(place.size).items():
            transaction.put("settings", key, each)
    return storage, close


def storage_write(kind: str) -> Any:
    """Return what prepares the write of one record."""

    def start(place: Place) -> Timed:
        storage, close = filled(kind, place)
        numbers = iter(range(1 << 30))

        def run() -> None:
            with storage.transaction() as transaction:
                transaction.put("settings", "plugin-1:KEY_0", row(next(numbers)))

        return Timed(run=run, close=close)

    return start


def registry(storage: Any, settings: int) -> Any:
    """Return a registry with one plugin that has so many settings."""
    from plugreg import Plugin, PluginRegistry
    from plugreg.mixins import SettingsMixin

    class Discount(SettingsMixin, Plugin):
        SETTINGS = {  # noqa: RUF012
            f"SETTING_{number}": {"name": f"Setting {number}", "default": 10, "validator": int}
            for number in range(settings)
        }

    made = PluginRegistry(
        "bench",
        group="no.such",
        builtin=[(SLUG, Discount)],
        new_plugins="active",
        storage=storage,
    )
    assert made.load().active == (SLUG,)
    return made


def setting_write(kind: str) -> Any:
    """Return what prepares ``registry.settings(slug).set``: checked, stored, and told."""

    def start(place: Place) -> Timed:
        storage, close = filled(kind, place)
        made = registry(storage, 10)
        view = made.settings(SLUG)
        numbers = iter(range(1 << 30))

        def end() -> None:
            made.close()
            close()

        return Timed(run=lambda: view.set("SETTING_3", next(numbers)), close=end)

    return start


def setting_read(kind: str) -> Any:
    """Return what prepares ``view[key]`` of a value that is stored."""

    def start(place: Place) -> Timed:
        storage, close = opened(kind, place)
        made = registry(storage, place.size)
        view = made.settings(SLUG)
        view.set("SETTING_3", 20)
        assert view["SETTING_3"] == 20

        def end() -> None:
            made.close()
            close()

        return Timed(run="view[key]", names={"view": view, "key": "SETTING_3"}, close=end)

    return start


def table_read(kind: str) -> Any:
    def start(place: Place) -> Timed:
        storage, close = filled(kind, place)
        return Timed(run=lambda: storage.read("settings"), close=close)

    return start


def revision_read(kind: str) -> Any:
    def start(place: Place) -> Timed:
        storage, close = filled(kind, place)
        return Timed(run=storage.revision, close=close)

    return start


# -- floors and peers --------------------------------------------------------------------------


def dict_read(place: Place) -> Timed:
    values = {f"SETTING_{number}": 10 for number in range(place.size)}
    return statement("values[key]", values=values, key="SETTING_3")


def dict_write(place: Place) -> Callable[[], object]:
    settings = rows(place.size)
    numbers = iter(range(1 << 30))

    def run() -> None:
        settings["plugin-1:KEY_0"] = row(next(numbers))

    return run


def file_write(*, flushes_folder: bool) -> Any:
    """Return what prepares the whole-file floor; the parsed file is kept in memory."""

    def start(place: Place) -> Callable[[], object]:
        path = place.scratch / "floor.json"
        temporary = path.with_suffix(".tmp")
        settings = rows(place.size)
        numbers = iter(range(1 << 30))

        def run() -> None:
            settings["plugin-1:KEY_0"] = row(next(numbers))
            with temporary.open("w", encoding="utf-8") as file:
                file.write(json.dumps({"settings": settings}))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            if flushes_folder:
                descriptor = os.open(path.parent, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)

        return run

    return start


def file_read(place: Place) -> Callable[[], object]:
    path = place.scratch / "floor.json"
    path.write_text(json.dumps({"settings": rows(place.size)}))
    return lambda: json.loads(path.read_bytes())


def tinydb(path: Path, size: int) -> Any:
    import tinydb as library

    database = library.TinyDB(path)
    table = database.table("settings")
    table.insert_multiple(rows(size).values())
    return database, table, library.where("key") == "KEY_0"


def tinydb_write(place: Place) -> Timed:
    database, table, found = tinydb(place.scratch / "tinydb.json", place.size)
    numbers = iter(range(1 << 30))
    return Timed(
        run=lambda: table.update({"value": f"value {next(numbers)}"}, found), close=database.close
    )


def tinydb_read(place: Place) -> Timed:
    database, table, _ = tinydb(place.scratch / "tinydb.json", place.size)
    return Timed(run=table.all, close=database.close)


class Raw:
    """A database through its driver alone, with plugreg's tables and statements.

    ``mark`` is how the driver writes a parameter, ``update`` how the database says that a row
    which is there is replaced, ``lock`` how it locks the row of the revision.
    """

    def __init__(self, connection: Any, *, mark: str, binary: str, update: str, lock: str) -> None:
        self.connection = connection
        self.records = f"b{uuid4().hex[:12]}_records"
        self.meta = self.records.replace("records", "meta")
        self._cursor = connection.cursor()
        self._numbers = iter(range(1 << 30))
        self._lock = f"SELECT revision FROM {self.meta} WHERE id = 1 {lock}"
        self._put = f"INSERT INTO {self.records} VALUES ({mark}, {mark}, {mark}) {update}"
        self._raise = f"UPDATE {self.meta} SET revision = {mark}, token = {mark} WHERE id = 1"
        self._cursor.execute(
            f"CREATE TABLE {self.records} (table_name {binary} NOT NULL,"
            f" record_key {binary} NOT NULL, record TEXT, PRIMARY KEY (table_name, record_key))"
        )
        self._cursor.execute(
            f"CREATE TABLE {self.meta} (id INTEGER PRIMARY KEY, revision BIGINT, token TEXT)"
        )
        self._cursor.execute(f"INSERT INTO {self.meta} VALUES (1, 0, '')")

    def fill(self, size: int) -> None:
        pairs = [(b"settings", k.encode(), json.dumps(each)) for k, each in rows(size).items()]
        self._cursor.executemany(self._put, pairs)
        self.connection.commit()

    def write(self, begin: str) -> None:
        self._cursor.execute(begin)
        self._cursor.execute(self._lock)
        (revision,) = self._cursor.fetchone()
        record = json.dumps(row(next(self._numbers)))
        self._cursor.execute(self._put, (b"settings", b"plugin-1:KEY_0", record))
        self._cursor.execute(self._raise, (revision + 1, os.urandom(16).hex()))
        self._cursor.execute("COMMIT")

    def read(self) -> dict[bytes, object]:
        self._cursor.execute(f"SELECT record_key, record FROM {self.records}")
        return {bytes(key): json.loads(record) for key, record in self._cursor.fetchall()}

    def close(self) -> None:
        self._cursor.execute(f"DROP TABLE {self.records}")
        self._cursor.execute(f"DROP TABLE {self.meta}")
        self.connection.commit()
        self.connection.close()


def raw(kind: str, place: Place) -> Raw:
    """Return a driver's connection with filled tables."""
    conflict = "ON CONFLICT (table_name, record_key) DO UPDATE SET record = excluded.record"
    if kind == "sqlite":
        connection = sqlite3.connect(place.scratch / "floor.sqlite", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        made = Raw(connection, mark="?", binary="BLOB", update=conflict, lock="")
    else:
        import sqlalchemy

        url = sqlalchemy.make_url(server(kind))
        login = {"host": url.host, "port": url.port, "user": url.username}
        if kind == "postgresql":
            import psycopg

            connection = psycopg.connect(
                **login, password=url.password, dbname=url.database, autocommit=True
            )
            made = Raw(connection, mark="%s", binary="BYTEA", update=conflict, lock="FOR UPDATE")
        else:
            import pymysql

            connection = pymysql.connect(
                **login, password=url.password or "", database=url.database, autocommit=True
            )
            update = "ON DUPLICATE KEY UPDATE record = VALUES(record)"
            made = Raw(
                connection, mark="%s", binary="VARBINARY(255)", update=update, lock="FOR UPDATE"
            )
    made.fill(place.size)
    return made


def raw_write(kind: str) -> Any:
    def start(place: Place) -> Timed:
        made = raw(kind, place)
        begin = "BEGIN IMMEDIATE" if kind == "sqlite" else "BEGIN"
        return Timed(run=lambda: made.write(begin), close=made.close)

    return start


def sqlite_read(place: Place) -> Timed:
    made = raw("sqlite", place)
    return Timed(run=made.read, close=made.close)


# -- the cases ---------------------------------------------------------------------------------

BY_RECORDS = {
    "how": How.EACH,
    "counting": "records",
    "sizes": (10, 1_000, 10_000),
    "quick": (1_000,),
}
WHOLE = "whole file, flushed, renamed"
DRIVERS = {"sqlite": "sqlite3", "postgresql": "psycopg", "mariadb": "pymysql"}


def database_write(kind: str) -> Case:
    budgets = ("plugreg, storage", "plugreg, settings.set") if kind == "sqlite" else ()
    return Case(
        name=f"a write, {kind}",
        contestants=(
            floor(DRIVERS[kind], raw_write(kind)),
            ours("plugreg, storage", storage_write(kind)),
            ours("plugreg, settings.set", setting_write(kind)),
        ),
        budgets=tuple(
            Budget(of=each, limit=0.0005, kind=Kind.PLUS, against=DRIVERS[kind]) for each in budgets
        ),
        **BY_RECORDS,
    )


CASES = {
    each.name: each
    for each in (
        Case(
            name="a read",
            how=How.LOOP,
            counting="settings",
            sizes=(10, 100, 1_000, 10_000),
            quick=(10, 1_000),
            contestants=(
                floor("dict", dict_read),
                *(
                    ours(f"plugreg on {each}", setting_read(each))
                    for each in ("memory", "tinydb", "sqlite", "postgresql", "mariadb")
                ),
            ),
            budgets=tuple(
                Budget(of=f"plugreg on {each}", limit=5, against="dict")
                for each in ("memory", "tinydb", "sqlite", "postgresql", "mariadb")
            ),
        ),
        Case(
            name="a write, memory",
            contestants=(
                floor("dict", dict_write),
                ours("plugreg, storage", storage_write("memory")),
                ours("plugreg, settings.set", setting_write("memory")),
            ),
            **BY_RECORDS,
        ),
        Case(
            name="a write, tinydb",
            contestants=(
                floor(WHOLE, file_write(flushes_folder=False)),
                floor("the same, folder flushed", file_write(flushes_folder=True)),
                ours("plugreg, storage", storage_write("tinydb")),
                ours("plugreg, settings.set", setting_write("tinydb")),
                peer("TinyDB, its own storage", tinydb_write),
            ),
            budgets=(
                Budget(of="plugreg, storage", limit=1.5, against=WHOLE),
                Budget(of="plugreg, settings.set", limit=1.5, against=WHOLE),
            ),
            note="TinyDB's own storage flushes nothing to the disk",
            **BY_RECORDS,
        ),
        *map(database_write, DRIVERS),
        Case(
            name="a whole table read, tinydb",
            contestants=(
                floor("json file", file_read),
                ours("plugreg, read", table_read("tinydb")),
                ours("plugreg, revision", revision_read("tinydb")),
                peer("TinyDB, its own storage", tinydb_read),
            ),
            **BY_RECORDS,
        ),
        Case(
            name="a whole table read, sqlite",
            contestants=(
                floor("sqlite3", sqlite_read),
                ours("plugreg, read", table_read("sqlite")),
                ours("plugreg, revision", revision_read("sqlite")),
            ),
            **BY_RECORDS,
        ),
    )
}
