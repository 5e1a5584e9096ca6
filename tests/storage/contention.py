"""Many writers of one store at the same time: their losses, and their waiting times.

As a script it lets them loose on the store at a URL, and fails when an update was lost, when a
write failed, or when one waited too long::

    python tests/storage/contention.py tinydb:////tmp/contention/store.json --processes 8
    python tests/storage/contention.py memory:// --threads 8

Processes have an object each, and threads share one. Each writer reads, adds one and writes, over
and over without a pause, until a write fails; ``--hold`` makes each transaction last that much
longer. A wait is the time from asking for a transaction until it begins. A store at
``careless:///path`` reads before it waits; a harness that finds nothing lost in that one is blind.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from threading import Barrier

from plugreg.exceptions import StorageError
from plugreg.storage import Storage, TinyDBStorage, Transaction, open_storage

READY_SECONDS = 60.0


class CarelessStorage:
    """The control: a transaction shows records that were read before its lock was acquired."""

    def __init__(self, path: str) -> None:
        self._store = TinyDBStorage(path)
        self.read, self.revision = self._store.read, self._store.revision
        self.close = self._store.close

    @contextmanager
    def transaction(self) -> Iterator[CarelessTransaction]:
        before = self.read("count")
        with self._store.transaction() as transaction:
            yield CarelessTransaction(before, transaction)


class CarelessTransaction:
    def __init__(self, before: dict[str, dict[str, int]], transaction: Transaction) -> None:
        self._before = before
        self.put = transaction.put

    def get(self, table: str, key: str) -> dict[str, int] | None:
        return self._before.get(key)


def open_store(url: str) -> Storage:
    """Open the store at a URL, or the control."""
    kind, _, path = url.partition(":///")
    return CarelessStorage(path) if kind == "careless" else open_storage(url)


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """The result of one writer's writes: how many seconds each waited, and the errors."""

    waits: list[float]
    errors: list[str]


def write_on(storage: Storage, name: str, writes: int, hold: float, start: Barrier) -> Written:
    """Count, in a record that all share and in one of this writer's own, until a write fails."""
    written = Written(waits=[], errors=[])
    start.wait(READY_SECONDS)
    while len(written.waits) < writes and not written.errors:
        asked, begun = time.perf_counter(), None
        try:
            with storage.transaction() as transaction:
                begun = time.perf_counter()
                for key in ("all", name):
                    count = transaction.get("count", key) or {"n": 0}
                    transaction.put("count", key, {"n": count["n"] + 1})
                if hold:
                    time.sleep(hold)
        except StorageError as error:
            written.errors.append(f"{type(error).__name__}: {error}")
        written.waits.append((begun or time.perf_counter()) - asked)
    return written


def write_in_process(url: str, name: str, writes: int, hold: float, start: Barrier) -> Written:
    """Do the same on an object of this process's own."""
    with closing(open_store(url)) as storage:
        return write_on(storage, name, writes, hold, start)


def look(storage: Storage) -> int:
    """Return how many writes are there: the least of the records' and the revision's counts."""
    counts = {key: record["n"] for key, record in storage.read("count").items()}
    shared = counts.pop("all", 0)
    return min(shared, sum(counts.values()), storage.revision())


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """The result of all writes. One is lost that was acknowledged and is not there."""

    waits: list[float]
    errors: list[str]
    lost: int

    def __str__(self) -> str:
        waits = sorted(1000 * seconds for seconds in self.waits)
        late = waits[math.ceil(0.99 * len(waits)) - 1]
        text = (
            f"{len(waits)} writes: {self.lost} lost, {len(self.errors)} errors; waits in ms: "
            f"median {statistics.median(waits):.2f}, p99 {late:.1f}, worst {waits[-1]:.1f}"
        )
        often = Counter(self.errors).most_common(3)
        return "\n".join([text, *(f"{number} x {error}" for error, number in often)])


def contend(url: str, processes: int, threads: int, writes: int, hold: float = 0.0) -> Tally:
    """Let all write at the same time, each ``writes`` times; ``hold`` is in seconds."""
    # A process that is forked would begin with the storage of this one.
    spawn = get_context("spawn")
    with (
        closing(open_store(url)) as storage,
        spawn.Manager() as manager,
        ThreadPoolExecutor(max(1, threads)) as of_threads,
        ProcessPoolExecutor(max(1, processes), spawn) as of_processes,
    ):
        before = look(storage)
        rest = (writes, hold, manager.Barrier(processes + threads))
        writers = [
            of_threads.submit(write_on, storage, f"thread {number}", *rest)
            for number in range(threads)
        ] + [
            of_processes.submit(write_in_process, url, f"process {number}", *rest)
            for number in range(processes)
        ]
        written = [future.result() for future in writers]
        waits = [wait for writer in written for wait in writer.waits]
        errors = [error for writer in written for error in writer.errors]
        acknowledged = len(waits) - len(errors)
        return Tally(waits=waits, errors=errors, lost=before + acknowledged - look(storage))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--processes", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--writes", type=int, default=1000, help="of each writer")
    parser.add_argument("--hold", type=float, default=0.0, help="milliseconds")
    parser.add_argument("--longest", type=float, default=10.0, help="seconds of one wait")
    options = parser.parse_args()
    if options.processes + options.threads < 1:
        parser.error("there must be a writer: say --processes or --threads")
    tally = contend(
        options.url, options.processes, options.threads, options.writes, options.hold / 1000
    )
    print(tally)
    sys.exit(bool(tally.lost or tally.errors or max(tally.waits) > options.longest))


if __name__ == "__main__":
    main()
