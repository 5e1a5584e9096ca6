"""The stores under test, and processes of their own to use them from."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from uuid import uuid4

import pytest
import sqlalchemy as sa

from plugreg.storage import MemoryStorage, SQLStorage, Storage, TinyDBStorage

POSTGRESQL = os.environ.get(
    "PLUGREG_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"
)
MARIADB = os.environ.get("PLUGREG_TEST_MARIADB", "mysql+pymysql://root@127.0.0.1:3306/test")


def _memory(folder, prefix):
    return MemoryStorage()


def _tinydb(folder, prefix):
    return TinyDBStorage(folder / f"{prefix}.json")


def _sqlite(folder, prefix):
    return SQLStorage(f"sqlite:///{folder / prefix}.db")


def _postgresql(folder, prefix):
    return SQLStorage(POSTGRESQL, prefix=prefix)


def _mariadb(folder, prefix):
    return SQLStorage(MARIADB, prefix=prefix)


# A backend joins the conformance suite with one line here: how a new, empty store is opened.
BACKENDS = {
    "memory": _memory,
    "tinydb": _tinydb,
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "mariadb": _mariadb,
}
SERVERS = {"postgresql": POSTGRESQL, "mariadb": MARIADB}


class Server:
    """A database server under test, with stores whose tables are dropped at the end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        self._prefixes: list[str] = []

    def prefix(self) -> str:
        """Return one that no other store has."""
        self.own(f"t{uuid4().hex[:12]}_")
        return self._prefixes[-1]

    def own(self, prefix: str) -> None:
        """Take care of one more prefix."""
        self._prefixes.append(prefix)

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Do something as the operator would, and return the rows."""
        with self.engine.connect() as connection:
            result = connection.exec_driver_sql(statement)
            return [tuple(row) for row in result] if result.returns_rows else []

    def close(self) -> None:
        """Drop all tables of the prefixes that were given out."""
        for prefix in self._prefixes:
            for table in ("records", "meta"):
                self.execute(f"DROP TABLE IF EXISTS {prefix}{table}")
        self.engine.dispose()


def reach(name: str) -> Server:
    """Return the server, or skip the test; PLUGREG_TEST_NO_SKIP=1 makes that a failure."""
    server = Server(SERVERS[name])
    try:
        server.execute("SELECT 1")
    except sa.exc.SQLAlchemyError as error:
        reason = f"{name} is not there, at {server.engine.url!r}: {type(error.orig).__name__}"
        if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
            pytest.fail(f"{reason}, and PLUGREG_TEST_NO_SKIP=1 forbids to skip")
        pytest.skip(reason)
    return server


@pytest.fixture(scope="module", params=BACKENDS)
def storage_factory(request, tmp_path_factory) -> Iterator[Callable[[], Storage]]:
    """Yield a function that opens one more new, empty store of the backend."""
    folder = tmp_path_factory.mktemp("stores")
    server = reach(request.param) if request.param in SERVERS else None
    opened = []

    def new() -> Storage:
        prefix = server.prefix() if server else f"t{uuid4().hex}"
        opened.append(BACKENDS[request.param](folder, prefix))
        return opened[-1]

    yield new
    for storage in opened:
        storage.close()
    if server:
        server.close()


@pytest.fixture
def storage(storage_factory) -> Storage:
    """Return a new, empty store."""
    return storage_factory()


@pytest.fixture
def start_python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Yield a function that starts a Python process with a program and its arguments."""
    processes = []

    def start(program: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def run_python(start_python) -> Callable[..., str]:
    """Return a function that runs a program, expects it to succeed, and returns its output."""

    def run(program: str, *arguments: object) -> str:
        process = start_python(program, *arguments)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        return output

    return run


class Database:
    """A new, empty database for one test: a file, or a prefix on a server."""

    def __init__(self, name: str, url: str, server: Server | None) -> None:
        self.name = name
        self.url = url
        self.server = server
        self._opened: list[SQLStorage] = []

    def open(self, url: str | None = None, **options: object) -> SQLStorage:
        """Open one more storage on it, through another address where one is given."""
        parsed = sa.make_url(url or self.url)
        if "prefix" in parsed.query:
            options["prefix"] = parsed.query["prefix"]
        storage = SQLStorage(parsed.difference_update_query(["prefix"]), **options)
        self._opened.append(storage)
        return storage

    @property
    def prefix(self) -> str:
        """The prefix of the tables."""
        return str(sa.make_url(self.url).query.get("prefix", "plugreg_"))

    def close(self) -> None:
        """Close the stores, and drop the tables."""
        for storage in self._opened:
            storage.close()
        if self.server:
            self.server.close()


@pytest.fixture
def new_database(tmp_path) -> Iterator[Callable[[str], Database]]:
    """Yield a function that makes a new, empty database of the kind that is named."""
    made = []

    def make(name: str) -> Database:
        if name == "sqlite":
            made.append(Database(name, f"sqlite:///{tmp_path / 'store.db'}", None))
        else:
            server = reach(name)
            address = sa.make_url(server.url).update_query_dict({"prefix": server.prefix()})
            url = address.render_as_string(hide_password=False)
            made.append(Database(name, url, server))
        return made[-1]

    yield make
    for database in made:
        database.close()


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database(request, new_database) -> Database:
    """Return a new, empty database of each kind."""
    return new_database(request.param)


@pytest.fixture(params=["postgresql", "mariadb"])
def served(request, new_database) -> Database:
    """Return a new, empty database on each kind of server."""
    return new_database(request.param)


_COMMIT = re.compile(rb"(?<!AUTO)COMMIT(?!TED)")


class Proxy:
    """Stands between a storage and its server, and breaks the connection."""

    def __init__(self, served: Database) -> None:
        address = sa.make_url(served.url)
        self._server = (address.host, address.port)
        self._execute = served.server.execute
        self._is_postgresql = served.name == "postgresql"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._breaks_commit = ""
        self._then_refuses = self._loses_answer = False
        self.refuses = False
        self._thawed = threading.Event()
        self._thawed.set()
        # The bytes that go through here must be readable.
        plain = {"sslmode": "disable"} if self._is_postgresql else {"ssl_disabled": "true"}
        self.url = (
            address.set(host="127.0.0.1", port=self._listener.getsockname()[1])
            .update_query_dict(plain)
            .render_as_string(hide_password=False)
        )
        threading.Thread(target=self._accept, daemon=True).start()

    def break_commit(self, when: str, *, refuses: bool = False) -> None:
        """Lose the next COMMIT ``"before"`` the server has it, or its answer ``"after"`` that.

        ``"freeze"`` loses nothing, and passes nothing on from the COMMIT on.

        With ``refuses`` nobody can connect any more when that has happened.
        """
        self._breaks_commit, self._then_refuses = when, refuses

    def kill(self) -> None:
        """Have the server end its connections from here, as an operator or its restart would."""
        ports = ", ".join(str(up.getsockname()[1]) for _, up in self._pairs if up.fileno() != -1)
        if self._is_postgresql:
            self._execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE client_port IN ({ports})"
            )
            return
        for (connection,) in self._execute(
            "SELECT id FROM information_schema.processlist "
            f"WHERE SUBSTRING_INDEX(host, ':', -1) IN ({ports})"
        ):
            self._execute(f"KILL CONNECTION {connection}")

    def freeze(self) -> None:
        """Pass nothing on from now, as a server that was stopped and whose kernel still answers."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Pass everything on again."""
        self._thawed.set()

    def cut(self) -> None:
        """Close every connection, as a network that fails."""
        for pair in self._pairs:
            _close(*pair)

    def close(self) -> None:
        """Close everything."""
        self.refuses = True
        self._thawed.set()
        _close(self._listener)
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                down, _ = self._listener.accept()
                if self.refuses:
                    down.close()
                    continue
                pair = (down, socket.create_connection(self._server))
                self._pairs.append(pair)
                for pump in (self._pump_questions, self._pump_answers):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    def _pump_questions(self, down: socket.socket, up: socket.socket) -> None:
        with suppress(OSError):
            while data := down.recv(65536):
                self._thawed.wait()
                if self._breaks_commit == "freeze" and _COMMIT.search(data):
                    self.freeze()
                    self._thawed.wait()
                elif self._breaks_commit and _COMMIT.search(data):
                    self._loses_answer = self._breaks_commit == "after"
                    self._breaks_commit = ""
                    self.refuses = self._then_refuses
                    if not self._loses_answer:
                        break
                up.sendall(data)
        _close(down, up)

    def _pump_answers(self, down: socket.socket, up: socket.socket) -> None:
        with suppress(OSError):
            while data := up.recv(65536):
                self._thawed.wait()
                if self._loses_answer:
                    self._loses_answer = False
                    break
                down.sendall(data)
        _close(down, up)


def _close(*sockets: socket.socket) -> None:
    for connection in sockets:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


@pytest.fixture
def proxy(served) -> Iterator[Proxy]:
    """Yield a proxy before the server of ``served``."""
    made = Proxy(served)
    yield made
    made.close()
