"""Restart a PostgreSQL server under load, and count losses: a harness for stores on it.

As a script it makes a server of its own, which goes with it, restarts it again and again, and fails
when anything was lost or done twice, when a read failed, or when it took too long till all worked::

    python tests/storage/restart.py --how fast immediate kill --rounds 10 --within 2

``fast`` and ``immediate`` are modes of ``pg_ctl``, ``kill`` is SIGKILL for all its processes. They
come at a random instant, or with ``--lose-answers`` while a commit is made whose answer is lost.
Meanwhile processes count, each in a record of its own and all in one that they share; one changes a
setting; and a registry that watches is read from without a pause. A server that is ``--hasty`` says
that a commit is done before it is on disk; a harness that finds nothing wrong with that one is
blind. Where no PostgreSQL can be started, the exit code is 77.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import pwd
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from multiprocessing.synchronize import Event
from pathlib import Path

import psycopg

from plugreg import Plugin, PluginRegistry, hookimpl, hookspec
from plugreg.exceptions import CommitUnknownError, StorageLockedError, StorageUnavailableError
from plugreg.mixins import SettingsMixin
from plugreg.storage import Storage, open_storage

LONG = 30.0
"""Seconds after which it gives up; what it waits for takes far less."""
PAUSE = 0.01
READS = 100
"""So many reads of the registry there are at least while there is no server."""
SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "kill": signal.SIGKILL}
HASTY = {"synchronous_commit": "off", "wal_writer_delay": "10s", "wal_writer_flush_after": "1GB"}
IS_MISSING = 77


def eventually(what: str, holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"gave up after {LONG:g} s: {what}")
        time.sleep(PAUSE)


# -- the server -----------------------------------------------------------------------------------


def programs() -> Path:
    """Return the folder of PostgreSQL's programs. Raises LookupError where there is none."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin")]
    folders.sort(key=lambda folder: float(folder.parent.name), reverse=True)
    if on_path := shutil.which("initdb"):
        folders.insert(0, Path(on_path).resolve().parent)
    if named := os.environ.get("PLUGREG_TEST_POSTGRESQL_BIN"):
        folders = [Path(named)]
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise LookupError("there is no initdb; PLUGREG_TEST_POSTGRESQL_BIN says in which folder it is")


def owner() -> dict[str, object]:
    """Return as whom to start it: PostgreSQL refuses root. Raises LookupError where that fails."""
    if os.geteuid():
        return {}
    try:
        found = pwd.getpwnam("postgres")
    except KeyError:
        raise LookupError("root cannot start PostgreSQL without a user postgres") from None
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


def free_port() -> int:
    # Not one of those that the system gives to whoever connects: somebody who waits for a server to
    # come back would be given its port one day, and be connected to himself.
    for port in random.sample(range(20_000, 30_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("there is no free port")


class Server:
    """A PostgreSQL server with files of its own, which are removed at the end."""

    def __init__(self, *, hasty: bool) -> None:
        self.is_hasty = hasty
        self._programs, self._owner, self._port = programs(), owner(), free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="plugreg-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        try:
            if self._owner:
                shutil.chown(self._folder, self._owner["user"], self._owner["group"])
            # Commits are synced all the same.
            options = ["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8"]
            if self._run("initdb", *options, "--locale=C").wait():
                raise RuntimeError(f"initdb failed: {self._words()}")
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.stop("immediate")
        shutil.rmtree(self._folder)

    def url(self, **options: str) -> str:
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/postgres?{query}"

    def start(self) -> float:
        """Start it, and return since when it accepts connections, by time.monotonic()."""
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        settings |= {"port": str(self._port)} | (HASTY if self.is_hasty else {})
        deadline = time.monotonic() + LONG
        while (now := time.monotonic()) < deadline:
            # It does not start while one that was killed still has processes.
            if self._process is None or self._process.poll() is not None:
                self._process = self._run("postgres", *(f"--{k}={v}" for k, v in settings.items()))
            with suppress(psycopg.OperationalError):
                self.execute("SELECT 1")
                return now
            time.sleep(PAUSE / 2)
        raise TimeoutError(f"the server does not start: {self._words()}")

    def stop(self, how: str) -> None:
        """End it, and return when it has ended."""
        others: list[int] = []
        if how == "kill":
            others = [pid for (pid,) in self.execute("SELECT pid FROM pg_stat_activity")]
        self._process.send_signal(SIGNALS[how])
        for process in others:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait(LONG)
        self._process = None

    def lose_answers(self) -> None:
        """Let commits be made and not answered until it is started again; return when one is.

        They wait for a copy on another server, and there is none.
        """
        self.execute("ALTER SYSTEM SET synchronous_standby_names = 'none'")
        self.execute("SELECT pg_reload_conf()")
        waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        eventually("a commit waits for its copy", lambda: self.execute(waiting))
        self.execute("ALTER SYSTEM RESET synchronous_standby_names")

    def execute(self, statement: str) -> list[tuple[int]]:
        address = f"host=127.0.0.1 port={self._port} user=postgres dbname=postgres"
        with psycopg.connect(address, autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _run(self, program: str, *options: str) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self._programs / program, "-D", self._folder / "data", *options],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._owner,
            )

    def _words(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-2000:]


# -- those who write ------------------------------------------------------------------------------


class Log:
    """Reports of one writer: lists that begin with a word. Its process writes, this one reads."""

    def __init__(self, folder: str, name: str) -> None:
        self.name = name
        self._path = Path(folder, name)
        self._path.touch()
        self._reading = self._path.open()
        self._rest = ""
        self._told: list[list] = []

    def reports(self, word: str = "") -> list[list]:
        *lines, self._rest = (self._rest + self._reading.read()).split("\n")
        self._told += map(json.loads, lines)
        return [entry for entry in self._told if word in {"", entry[0]}]

    def done_after(self, since: float) -> float | None:
        """Return when something was acknowledged first after that, if anything was."""
        if failed := self.reports("failed"):
            raise RuntimeError(f"{self.name} has ended with {failed[0][1]}")
        return next((ended for *_, ended in self.reports("done") if ended > since), None)

    def attempt(self, work: Callable[[], int]) -> None:
        """Do it once, and report the result; only errors that a caller must expect are borne."""
        try:
            number = work()
        except CommitUnknownError as error:
            self._tell("unknown", error.committed)
        except (StorageUnavailableError, StorageLockedError) as error:
            self._tell("refused", str(error))
            time.sleep(PAUSE)
        except BaseException as error:
            self._tell("failed", f"{type(error).__qualname__}: {error}")
            raise
        else:
            self._tell("done", number, time.monotonic())

    def _tell(self, *words: object) -> None:
        with self._path.open("a") as file:
            file.write(f"{json.dumps(words)}\n")


def count_once(storage: Storage, name: str) -> int:
    """Count one further in the record that all share, and in one's own; return the latter."""
    number = 0
    with storage.transaction() as transaction:
        for key in ("all", name):
            number = (transaction.get("counter", key) or {"n": 0})["n"] + 1
            transaction.put("counter", key, {"n": number})
    return number


def write_on(url: str, log: Log, ended: Event) -> None:
    """Count till it is enough, in one object, whatever becomes of the server."""
    with closing(open_storage(url)) as storage:
        while is_wanted(ended):
            log.attempt(lambda: count_once(storage, log.name))


def change_on(url: str, log: Log, ended: Event) -> None:
    """Set the setting to the time of now, again and again."""

    def change() -> int:
        settings.set("BEGAN", repr(time.monotonic()))
        return 0

    with closing(open_storage(url)) as storage, loaded(storage) as registry:
        settings = registry.settings("clock")
        while is_wanted(ended):
            log.attempt(change)
            time.sleep(PAUSE)


def is_wanted(ended: Event) -> bool:
    return not ended.is_set() and multiprocessing.parent_process().is_alive()


@contextmanager
def running(works: list[tuple[Callable[..., None], str, Log]]) -> Iterator[None]:
    """Do each work in a process of its own till the block ends."""
    fork = multiprocessing.get_context("fork")
    ended = fork.Event()
    processes = [fork.Process(target=do, args=(url, log, ended)) for do, url, log in works]
    for process in processes:
        process.daemon = True
        process.start()
    try:
        yield
    finally:
        ended.set()
        for process in processes:
            process.join(LONG)


# -- those who read -------------------------------------------------------------------------------


class Hooks:
    @hookspec
    def answer(self) -> int: ...


class Clock(SettingsMixin, Plugin):
    NAME = "clock"
    SETTINGS = {"BEGAN": {"default": "0"}}

    @hookimpl
    def answer(self) -> int:
        return 42


def loaded(storage: Storage) -> PluginRegistry:
    registry = PluginRegistry(
        "restart", storage=storage, hookspecs=[Hooks], builtin=[Clock], mandatory=["clock"]
    )
    registry.load()
    return registry


class Reader:
    """Reads from a registry in a thread. An exception there is raised by the caller."""

    def __init__(self, registry: PluginRegistry) -> None:
        self._registry = registry
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._seen: list[tuple[float, float]] = []
        self._error: Exception | None = None
        self._reads = 0
        self.longest = 0.0

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(LONG)

    def reads(self) -> int:
        """Return how often it has read."""
        if self._error is not None:
            raise RuntimeError("a read of the registry has failed") from self._error
        return self._reads

    def seen_after(self, since: float) -> float | None:
        """Return when a value was seen first that was set after that, if any was."""
        return next((now for value, now in self._seen if value > since), None)

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self._read()
                time.sleep(PAUSE / 10)
        except Exception as error:
            self._error = error

    def _read(self) -> None:
        began = time.monotonic()
        found = ("clock" in self._registry.plugins, self._registry.call("answer"))
        value = float(self._registry.settings("clock")["BEGAN"])
        now = time.monotonic()
        if found != (True, [42]):
            raise ValueError(f"reading gave {found}")
        if not self._seen or self._seen[-1][0] != value:
            self._seen.append((value, now))
        self.longest = max(self.longest, now - began)
        self._reads += 1


# -- the result -----------------------------------------------------------------------------------


class Tally:
    """The result of all restarts. Times are since the server accepted connections again."""

    def __init__(self) -> None:
        self.reported: Counter[str] = Counter()
        self.made = 0
        self.faults: list[str] = []
        self.seconds: dict[str, list[float]] = {}

    def note(self, what: str, seconds: float) -> None:
        self.seconds.setdefault(what, []).append(seconds)

    def look(self, storage: Storage, logs: list[Log]) -> None:
        """Check, while others write, that acknowledged writes are there, and nothing by halves."""
        acknowledged = {log.name: log.reports("done")[-1][1] for log in logs}
        found = self._counted(storage)
        self.faults += [
            f"lost: {name} was answered {number}, and {found[name]} is there"
            for name, number in acknowledged.items()
            if found[name] < number
        ]

    def count(self, storage: Storage, logs: list[Log]) -> None:
        """See, at the end, that all was done once, or as often as it may have been."""
        found = self._counted(storage)
        for log in logs:
            self.reported.update(word for word, *_ in log.reports())
            self._follow(log, found[log.name])
        if storage.revision() != found.total():
            self.faults.append(f"{storage.revision()} commits have counted {found.total()}")

    def _counted(self, storage: Storage) -> Counter[str]:
        found = Counter({key: record["n"] for key, record in storage.read("counter").items()})
        if (together := found.pop("all")) != found.total():
            self.faults.append(f"by halves: {together} is the sum of {found}")
        return found

    def _follow(self, log: Log, found: int) -> None:
        at = least = most = 0
        for word, what, *_ in [*log.reports(), ("done", found + 1)]:
            if word == "unknown":
                least += what is True
                most += what is not False
            elif word == "done":
                made = what - at - 1
                if not least <= made <= most:
                    verb = "lost" if made < least else "too many"
                    self.faults.append(f"{verb}: {log.name} was answered {at}, and then {what}")
                self.made += max(0, made)
                at, least, most = what, 0, 0

    def __str__(self) -> str:
        figures = [
            f"{what}: median {statistics.median(found):.3f} s, longest {max(found):.3f} s"
            for what, found in self.seconds.items()
        ]
        counts = (
            f"{self.reported['done']} acknowledged, {self.reported['refused']} refused, "
            f"{self.reported['unknown']} unknown and {self.made} of them made: "
            f"{len(self.faults)} faults"
        )
        return "\n".join([*figures, counts, *self.faults[:9]])


class Load:
    """All who use the server, from before its first restart until after its last one."""

    def __init__(self, server: Server, writers: int, every: float, folder: str) -> None:
        self._server = server
        self._every = every
        self._url = server.url(prefix="counter_")
        self._logs = [Log(folder, f"writer-{number}") for number in range(writers)]
        self._changes, self._rare = Log(folder, "changes"), Log(folder, "rare")
        self._ends = ExitStack()
        self.tally = Tally()

    def __enter__(self) -> Load:
        # Commits that wait for a copy are to be those of the writers; and all of a hasty server.
        local = self._server.url(prefix="settings_", options="-csynchronous_commit%3Dlocal")
        changing = self._server.url(prefix="settings_") if self._server.is_hasty else local
        works = [(write_on, self._url, log) for log in self._logs]
        with ExitStack() as stack:
            # Processes come first, since a thread is not to be forked.
            stack.enter_context(running([*works, (change_on, changing, self._changes)]))
            self._looking, self._idle, storage = (
                stack.enter_context(closing(open_storage(url)))
                for url in (self._url, self._url, local)
            )
            registry = stack.enter_context(loaded(storage))
            stack.enter_context(registry.watch(self._every))
            self._reader = stack.enter_context(Reader(registry))
            self._count_rarely()
            self._await_all(since=0.0)
            self._ends = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()
        self.tally.note("a read of the registry", self._reader.longest)
        with closing(open_storage(self._url)) as storage:
            self.tally.count(storage, [*self._logs, self._rare])

    def restart(self, how: str, away: float, *, loses_answers: bool) -> None:
        """Stop the server, start it ``away`` seconds later or more, and see that all goes on."""
        time.sleep(random.uniform(0, 0.3))
        if loses_answers:
            self._server.lose_answers()
        self._server.stop(how)
        enough = self._reader.reads() + READS
        eventually("the registry is read", lambda: self._reader.reads() > enough)
        time.sleep(away)
        since = self._server.start()
        # Who did nothing meanwhile has noticed nothing, and is not refused.
        self._looking.read("counter")
        self._count_rarely()
        self.tally.note(f"{how}: who was idle", time.monotonic() - since)
        written, seen = self._await_all(since)
        self.tally.note(f"{how}: all writers", written)
        self.tally.note(f"{how}: the watching registry", seen)
        self.tally.look(self._looking, [*self._logs, self._rare])

    def _count_rarely(self) -> None:
        self._rare.attempt(lambda: count_once(self._idle, "rare"))
        if (last := self._rare.reports()[-1])[0] != "done":
            self.tally.faults.append(f"who was idle was answered {last}")

    def _await_all(self, since: float) -> tuple[float, float]:
        """Return after how many seconds all have written, and the registry has seen a change."""
        writing = [*self._logs, self._changes]
        eventually("all write", lambda: all(writer.done_after(since) for writer in writing))
        eventually("a change is seen", lambda: self._reader.seen_after(since))
        written = max(writer.done_after(since) for writer in writing)
        return written - since, self._reader.seen_after(since) - since


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--how", nargs="+", choices=SIGNALS, default=[*SIGNALS])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two looks")
    parser.add_argument("--away", type=float, default=0.0, help="seconds, at most")
    parser.add_argument("--within", type=float, default=LONG, help="seconds until all works")
    parser.add_argument("--lose-answers", action="store_true")
    parser.add_argument("--hasty", action="store_true")
    options = parser.parse_args()
    # They say that the server is away; so do the errors.
    for name in ("plugreg", "psycopg"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Whoever ends it finds the server ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("it was ended"))
    try:
        server = Server(hasty=options.hasty)
    except LookupError as error:
        print(error)
        sys.exit(IS_MISSING)
    with (
        server,
        tempfile.TemporaryDirectory() as folder,
        Load(server, options.writers, options.every, folder) as load,
    ):
        for how in options.how * options.rounds:
            away = random.uniform(0, options.away)
            load.restart(how, away, loses_answers=options.lose_answers)
    print(load.tally)
    is_late = max(map(max, load.tally.seconds.values())) > options.within
    sys.exit(is_late or bool(load.tally.faults))


if __name__ == "__main__":
    main()
