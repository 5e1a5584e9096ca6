"""Kill writers at random instants, and count losses: a harness for every store.

As a script it tortures the store at a URL, and fails when anything was lost::

    python tests/storage/torture.py tinydb:////tmp/torture/store.json --how kill --rounds 1000

``--how kill`` (SIGKILL) and ``--how interrupt`` (Ctrl-C) use one store over all rounds; ``--how
first`` kills while a store is first made, a new one each round: the URL, and the command given as
``--before``, have ``{round}`` where its number is to stand. A store at ``hasty:///path`` says that
a commit is done before it is on disk; a harness that finds nothing wrong with that one is blind.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

from plugreg.storage import MemoryStorage, Storage, TinyDBStorage, Transaction

KEPT = 20


class HastyStorage:
    """The control: it acknowledges records that it keeps in memory, and writes every fifth time."""

    def __init__(self, path: str) -> None:
        self._disk = TinyDBStorage(path)
        self._memory = MemoryStorage()
        self.read, self.revision = self._memory.read, self._memory.revision
        with self._memory.transaction() as transaction:
            self._copy(self._disk, transaction)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self._memory.transaction() as transaction:
            yield transaction
        if self._memory.revision() % 5 == 0:
            with self._disk.transaction() as transaction:
                self._copy(self._memory, transaction)

    def close(self) -> None:
        self._disk.close()

    @staticmethod
    def _copy(source: Storage, target: Transaction) -> None:
        for table in ("counter", "kept"):
            for key, record in source.read(table).items():
                target.put(table, key, record)


def open_store(url: str) -> Storage:
    """Open the store at a URL; the two kinds in a file need no SQLAlchemy."""
    kind, _, path = url.partition(":///")
    if kind == "tinydb":
        return TinyDBStorage(path)
    if kind == "hasty":
        return HastyStorage(path)
    from plugreg.storage import open_storage

    return open_storage(url)


def import_for(url: str) -> None:
    """Import a store's modules before forking, so that few instants fall into importing."""
    if not url.startswith(("tinydb:", "hasty:")):
        import sqlalchemy

        import plugreg.storage.sql.storage  # noqa: F401

        sqlalchemy.make_url(url).get_dialect().import_dbapi()


def count_once(storage: Storage) -> int:
    """Count one further, in three records that are right together or not at all."""
    with storage.transaction() as transaction:
        number = (transaction.get("counter", "now") or {"n": 0})["n"] + 1
        transaction.put("counter", "now", {"n": number, "padding": "x" * 20_000})
        transaction.put("counter", "copy", {"n": number})
        transaction.put("kept", f"{number % KEPT:02}", {"n": number})
    return number


def look(storage: Storage) -> int:
    """Return the number that was counted to. Raises ValueError when a part of a commit is there."""
    counter, kept = storage.read("counter"), storage.read("kept")
    number = counter["now"]["n"] if counter else 0
    expected = {f"{n % KEPT:02}": {"n": n} for n in range(max(1, number - KEPT + 1), number + 1)}
    if number != (counter["copy"]["n"] if counter else 0) or kept != expected:
        raise ValueError(f"the records do not fit together at {number}")
    return number


def write_on(url: str, report: Callable[[object], None]) -> None:
    """Count, and report each number once its commit is acknowledged; after Ctrl-C, once more."""
    storage = open_store(url)
    with suppress(KeyboardInterrupt):
        while True:
            report(count_once(storage))
    # The same object must go on: a lock that is still held would show.
    report(count_once(storage))


def check(url: str, report: Callable[[object], None]) -> None:
    with closing(open_store(url)) as storage:
        report(look(storage))


class Child:
    """A forked process that runs ``work(url, report)``; its reports come through a pipe.

    Forking instead of starting a new one saves the imports: most instants would fall into them.
    """

    def __init__(self, work: Callable[[str, Callable[[object], None]], None], url: str) -> None:
        self._reading, writing = os.pipe()
        self._rest = b""
        self._process = os.fork()
        if self._process:
            os.close(writing)
            return
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            work(url, lambda entry: os.write(writing, json.dumps(entry).encode() + b"\n"))
        except BaseException as error:
            os.write(writing, json.dumps(f"{type(error).__name__}: {error}").encode() + b"\n")
        os._exit(0)

    def wait_for(self, lines: int) -> None:
        """Return when so many lines have come, or the process has ended."""
        while self._rest.count(b"\n") < lines and self._read():
            pass

    def _read(self) -> bool:
        part = os.read(self._reading, 65536)
        self._rest += part
        return bool(part)

    def send(self, number: int) -> None:
        os.kill(self._process, number)

    def end(self, seconds: float = 60.0) -> list[object]:
        """Return all reports; an error is a string. One that does not end is such an error."""
        deadline = time.monotonic() + seconds
        hangs = False
        while True:
            ready, _, _ = select.select([self._reading], [], [], deadline - time.monotonic())
            if not ready:
                hangs = True
                self.send(signal.SIGKILL)
            if not ready or not self._read():
                break
        os.close(self._reading)
        os.waitpid(self._process, 0)
        reported = [json.loads(line) for line in self._rest.split(b"\n")[:-1]]
        return [*reported, f"it was still running after {seconds:g} s"] if hangs else reported


@dataclass
class Tally:
    """The result of all rounds; the lists have the number of the round and the fault."""

    rounds: int
    acknowledged: int
    unreadable: list[str]
    lost: list[str]
    failed: list[str]

    def __str__(self) -> str:
        counts = [
            f"{len(self.unreadable)} unreadable",
            f"{len(self.lost)} lost",
            f"{len(self.failed)} failed",
        ]
        text = f"{self.rounds} rounds, {self.acknowledged} acknowledged: {', '.join(counts)}"
        return "\n".join([text, *self.unreadable[:3], *self.lost[:3], *self.failed[:3]])


def torture(
    url_of: Callable[[int], str], how: str, rounds: int, seed: int = 0, spread: float = 0.01
) -> Tally:
    """Let a writer of the store at ``url_of(round)`` die, look at it afresh, and so on.

    ``how`` is "kill", "interrupt" or "first". The instants lie within ``spread`` seconds after an
    acknowledged write; for "first" within the time that making a store takes, and half as much
    again, which every tenth round measures.
    """
    instants = random.Random(f"{how} {seed}")
    tally = Tally(rounds, 0, [], [], [])
    making = 0.0
    for number in range(rounds):
        url = url_of(number)
        import_for(url)
        (before,) = [0] if how == "first" else Child(check, url).end()
        writer = Child(write_on, url)
        if how != "first":
            # Python throws a Ctrl-C away that comes while it is still about forking.
            writer.wait_for(instants.randint(how == "interrupt", 4))
            time.sleep(instants.uniform(0, spread))
        elif number % 10:
            time.sleep(instants.uniform(0, making))
        else:
            started = time.monotonic()
            writer.wait_for(1)
            making = 1.5 * (time.monotonic() - started)
        writer.send(signal.SIGINT if how == "interrupt" else signal.SIGKILL)
        reported = writer.end()
        done = [entry for entry in reported if isinstance(entry, int)]
        tally.acknowledged += len(done)
        tally.failed += [f"round {number}: {entry}" for entry in reported if isinstance(entry, str)]
        found = Child(check, url).end()[-1]
        if isinstance(found, str) or not isinstance(before, int):
            tally.unreadable.append(f"round {number}: {found}")
            break
        # One more may be there: killed between the commit and its report.
        if not (last := max(done, default=before)) <= found <= last + 1:
            tally.lost.append(f"round {number}: {last} was acknowledged, {found} is there")
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--how", choices=["kill", "interrupt", "first"], default="kill")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spread", type=float, default=0.01, help="seconds")
    parser.add_argument("--before", default="", help="a command to run before each round")
    options = parser.parse_args()
    if options.how == "first" and "{round}" not in options.url:
        parser.error("--how first takes a new store each round: the URL has to have {round} in it")

    def url_of(number: int) -> str:
        if options.before:
            command = shlex.split(options.before.replace("{round}", str(number)))
            subprocess.run(command, check=True)
        return options.url.replace("{round}", str(number))

    tally = torture(url_of, options.how, options.rounds, options.seed, options.spread)
    print(tally)
    sys.exit(bool(tally.unreadable or tally.lost or tally.failed))


if __name__ == "__main__":
    main()
