"""One durable write and one read of a setting, among 10, 1,000 and 10,000 records.

Run it with the plugreg that is installed, and in a folder on the disk that is meant::

    python benchmarks/storage.py [FOLDER]

TinyDBStorage stands beside the whole-file floor, which writes the same JSON to a temporary file,
flushes and renames it: without lock and checksum, and without flushing the folder, so that a power
cut may undo what it has acknowledged. The floor that flushes the folder too is shown as well.
SQLStorage stands beside sqlite3 doing the same statements. All take turns; the figures are
medians, in milliseconds.
The budgets are 1.5 times the first floor, and sqlite3 + 0.5 ms (design.md, section 7).
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

from plugreg.storage import SQLStorage, Storage, TinyDBStorage

SIZES = {10: 400, 1_000: 400, 10_000: 100}
"""How often is written, by the number of records."""

BLOCK = 20
"""So many writes of one kind follow each other, for each leaves the disk some work to the next."""

UPSERT = (
    "INSERT INTO records VALUES (?, ?, ?)"
    " ON CONFLICT (table_name, record_key) DO UPDATE SET record = excluded.record"
)


def record(number: int) -> dict[str, object]:
    """Return a setting of the usual size."""
    return {"plugin": f"plugin-{number % 50}", "key": f"KEY_{number}", "value": f"value {number}"}


def filled(storage: Storage, size: int) -> Storage:
    """Put the records into a new store."""
    with storage.transaction() as transaction:
        for number in range(size):
            transaction.put("settings", f"key-{number}", record(number))
    return storage


def writer(storage: Storage) -> Callable[[int], None]:
    """Return what writes one record."""

    def write(number: int) -> None:
        with storage.transaction() as transaction:
            transaction.put("settings", "key-3", record(number))

    return write


def file_floor(path: Path, size: int, *, flushes_folder: bool) -> Callable[[int], None]:
    """Return what writes one record of a parsed file that is kept in memory."""
    settings = {f"key-{number}": record(number) for number in range(size)}
    temporary = path.with_suffix(".tmp")

    def write(number: int) -> None:
        settings["key-3"] = record(number)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps({"settings": settings}))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        if flushes_folder:
            descriptor = os.open(path.parent, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    return write


def sqlite_floor(path: Path, size: int) -> Callable[[int], None]:
    """Return what writes one record with sqlite3, as durably and with the same statements."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE records (table_name BLOB, record_key BLOB, record TEXT,"
        " PRIMARY KEY (table_name, record_key)) WITHOUT ROWID"
    )
    connection.execute("CREATE TABLE meta (id INTEGER PRIMARY KEY, revision INTEGER, token TEXT)")
    connection.execute("INSERT INTO meta VALUES (1, 0, '')")
    rows = [(b"settings", b"key-%d" % n, json.dumps(record(n))) for n in range(size)]
    connection.executemany(UPSERT, rows)

    def write(number: int) -> None:
        connection.execute("BEGIN IMMEDIATE")
        (revision,) = connection.execute("SELECT revision FROM meta WHERE id = 1").fetchone()
        connection.execute(UPSERT, (b"settings", b"key-3", json.dumps(record(number))))
        values = (revision + 1, os.urandom(16).hex())
        connection.execute("UPDATE meta SET revision = ?, token = ? WHERE id = 1", values)
        connection.execute("COMMIT")

    return write


def in_turn(writers: list[Callable[[int], None]], rounds: int) -> list[float]:
    """Return the median milliseconds of each."""
    taken: list[list[float]] = [[] for _ in writers]
    for _ in range(rounds // BLOCK):
        for write, times in zip(writers, taken, strict=True):
            for number in range(BLOCK):
                started = perf_counter()
                write(number)
                times.append((perf_counter() - started) * 1_000)
    return [median(each) for each in taken]


def best(function: Callable[[], object]) -> float:
    """Return the least milliseconds that one call took."""
    times = []
    for _ in range(50):
        started = perf_counter()
        function()
        times.append((perf_counter() - started) * 1_000)
    return min(times)


def main() -> None:
    for size, rounds in SIZES.items():
        with tempfile.TemporaryDirectory(dir=sys.argv[1] if sys.argv[1:] else ".") as name:
            folder = Path(name)
            tinydb = filled(TinyDBStorage(folder / "store.json"), size)
            sql = filled(SQLStorage(f"sqlite:///{folder / 'store.sqlite'}"), size)
            floor, durable, ours, raw, sqls = in_turn(
                [
                    file_floor(folder / "floor.json", size, flushes_folder=False),
                    file_floor(folder / "durable.json", size, flushes_folder=True),
                    writer(tinydb),
                    sqlite_floor(folder / "floor.sqlite", size),
                    writer(sql),
                ],
                rounds,
            )
            print(f"{size:,} records")
            print(f"  write, whole-file floor  {floor:8.3f}   1.00")
            print(f"  the same, folder flushed {durable:8.3f}   {durable / floor:.2f}")
            print(f"  write, TinyDBStorage     {ours:8.3f}   {ours / floor:.2f}")
            print(f"  write, sqlite3           {raw:8.3f}")
            print(f"  write, SQLStorage        {sqls:8.3f}   + {sqls - raw:.3f}")
            for title, storage in (("TinyDBStorage", tinydb), ("SQLStorage", sql)):
                table = best(lambda storage=storage: storage.read("settings"))
                print(
                    f"  {title:14s} one table {table:8.3f}, revision {best(storage.revision):.3f}"
                )
            sql.close()


if __name__ == "__main__":
    main()
