"""Servers that do not answer, and tables that others have locked: everybody is answered in time."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from plugreg import Plugin, PluginRegistry
from plugreg.exceptions import CommitUnknownError, StorageLockedError, StorageUnavailableError
from plugreg.storage.sql import engines as sql_engines
from plugreg.storage.sql import storage as sql

ENOUGH = 60.0
"""Seconds after which a call counts as hung; each one here is to end after about one."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Have a server be given up after one second."""
    monkeypatch.setattr(sql_engines, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(sql_engines, "_CONNECT_SECONDS", 2)
    monkeypatch.setattr(sql, "_LOOK_SECONDS", 0.0)


class Tea(Plugin):
    NAME = "tea"


def put(storage, key, record):
    with storage.transaction() as transaction:
        transaction.put("t", key, record)


def outcome_of(work):
    """Return the exception of ``work``, in a thread that is left behind when it hangs."""
    raised = []

    def run():
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(ENOUGH)
    assert not thread.is_alive(), "it hangs"
    return raised[0] if raised else None


class TestFrozenServer:
    @pytest.mark.parametrize("verb", ["read", "revision", "now", "transaction"])
    def test_makes_the_store_unavailable(self, served, proxy, verb):
        """No verb waits for ever for a server that accepts and does not answer."""
        storage = served.open(proxy.url, lock_timeout=0.5)
        put(storage, "k", {"n": 1})
        verbs = {
            "read": lambda: storage.read("t"),
            "revision": storage.revision,
            "now": storage.now,
            "transaction": lambda: put(storage, "k", {"n": 2}),
        }
        proxy.freeze()

        assert type(outcome_of(verbs[verb])) is StorageUnavailableError
        assert served.open().read("t") == {"k": {"n": 1}}

    def test_cannot_be_connected_to(self, served, proxy):
        """A store whose pool is empty ends in time as well, and so does opening another one."""
        storage = served.open(proxy.url, lock_timeout=0.5)
        storage._connections._engine.dispose()
        proxy.freeze()

        assert type(outcome_of(storage.revision)) is StorageUnavailableError
        opening = outcome_of(lambda: served.open(proxy.url, lock_timeout=0.5))
        assert type(opening) is StorageUnavailableError

    def test_in_a_transaction_changes_nothing(self, served, proxy):
        """One that froze after the beginning is given up, whatever comes next."""
        storage = served.open(proxy.url, lock_timeout=0.5)

        def transact():
            with storage.transaction() as transaction:
                transaction.put("t", "k", {})
                proxy.freeze()
                transaction.get("t", "other")

        assert type(outcome_of(transact)) is StorageUnavailableError

    def test_leaves_the_outcome_of_a_commit_open(self, served, proxy):
        """A commit without an answer may have been done, and is looked for, not for ever either."""
        storage = served.open(proxy.url, lock_timeout=0.5)
        proxy.break_commit("freeze")
        error = outcome_of(lambda: put(storage, "k", {}))

        assert type(error) is CommitUnknownError
        assert error.committed is None

    def test_lets_a_registry_serve_and_refuse(self, served, proxy):
        """Refreshing and loading raise, and plugins in service stay there."""
        storage = served.open(proxy.url, lock_timeout=0.5)
        with PluginRegistry(
            "silence", storage=storage, builtin=[Tea], mandatory=["tea"]
        ) as registry:
            registry.load()
            proxy.freeze()
            assert type(outcome_of(registry.refresh)) is StorageUnavailableError
            assert type(outcome_of(registry.load)) is StorageUnavailableError
            assert [*registry.active] == ["tea"]
            proxy.thaw()

    def test_that_goes_on_is_used_again(self, served, proxy):
        """Another connection takes the place of the one that was given up."""
        storage = served.open(proxy.url, lock_timeout=0.5)
        put(storage, "k", {})
        proxy.freeze()
        assert type(outcome_of(lambda: storage.read("t"))) is StorageUnavailableError
        proxy.thaw()

        assert storage.read("t") == {"k": {}}
        put(storage, "k", {"n": 2})
        assert served.open().read("t") == {"k": {"n": 2}}


@contextmanager
def locked_tables(database):
    """Hold a lock on the tables that keeps readers out, too."""
    names = [f"{database.prefix}{table}" for table in ("meta", "records")]
    with database.server.engine.connect() as connection:
        if database.name == "postgresql":
            connection.exec_driver_sql("BEGIN")
            locks = f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE"
            connection.exec_driver_sql(locks)
            yield
            connection.exec_driver_sql("ROLLBACK")
        else:
            locks = f"LOCK TABLES {', '.join(f'{name} WRITE' for name in names)}"
            connection.exec_driver_sql(locks)
            yield
            connection.exec_driver_sql("UNLOCK TABLES")


def waiting(database):
    """Return how many connections wait for a lock on these tables."""
    if database.name == "postgresql":
        statement = (
            "SELECT count(*) FROM pg_locks JOIN pg_class ON pg_class.oid = relation "
            f"WHERE NOT granted AND relname LIKE '{database.prefix}%%'"
        )
    else:
        statement = (
            "SELECT count(*) FROM information_schema.processlist "
            f"WHERE state LIKE '%%metadata lock%%' AND info LIKE '%%{database.prefix}%%'"
        )
    return database.server.execute(statement)[0][0]


class TestLockedTables:
    @pytest.mark.parametrize("verb", ["read", "revision"])
    def test_make_the_store_unavailable(self, served, verb):
        """A read ends in time, and its server does not wait on for a reader that is gone."""
        storage = served.open(lock_timeout=0.5)
        put(storage, "k", {})
        verbs = {"read": lambda: storage.read("t"), "revision": storage.revision}
        with locked_tables(served):
            assert type(outcome_of(verbs[verb])) is StorageUnavailableError
            deadline = time.monotonic() + ENOUGH
            while waiting(served):
                assert time.monotonic() < deadline
                time.sleep(0.05)

        assert storage.read("t") == {"k": {}}

    def test_keep_a_transaction_from_beginning(self, served):
        """A writer is refused in time, too, and writes when they are free again."""
        storage = served.open(lock_timeout=0.5)
        with locked_tables(served):
            error = outcome_of(lambda: put(storage, "k", {}))
            assert type(error) in (StorageLockedError, StorageUnavailableError)
        put(storage, "k", {})

        assert storage.read("t") == {"k": {}}


class TestPatience:
    def test_is_no_shorter_than_the_lock_timeout(self, served):
        """Waiting for the lock is no silence, however much longer that takes than an answer."""
        storage, other = served.open(lock_timeout=60.0), served.open(lock_timeout=60.0)
        begun = threading.Event()

        def wait():
            begun.set()
            put(storage, "k", {"n": 2})

        with other.transaction() as transaction:
            transaction.put("t", "k", {"n": 1})
            thread = threading.Thread(target=wait)
            thread.start()
            begun.wait()
            time.sleep(1.5)  # It is longer than a server may be silent beyond the lock's time.
        thread.join()

        assert storage.read("t") == {"k": {"n": 2}}

    @pytest.mark.parametrize("seconds", [0.5, threading.TIMEOUT_MAX])
    def test_may_be_any(self, served, seconds):
        """Every lock_timeout that is taken works."""
        storage = served.open(lock_timeout=seconds)
        put(storage, "k", {})

        assert storage.read("t") == {"k": {}}

    @pytest.mark.parametrize(
        ("name", "options", "query", "limit"),
        [
            (
                "postgresql",
                {"options": "-c statement_timeout=77s"},
                "SHOW statement_timeout",
                "77s",
            ),
            (
                "mariadb",
                {"init_command": "SET SESSION max_statement_time = 77"},
                "SELECT @@max_statement_time",
                77,
            ),
        ],
    )
    def test_of_the_operator_stands(self, new_database, name, options, query, limit):
        """A limit that the URL sets is kept, even where it is a longer one."""
        database = new_database(name)
        url = sa.make_url(database.url).update_query_dict(options)
        storage = database.open(url.render_as_string(hide_password=False))
        with storage._connections.acquired() as connection:
            assert connection.exec_driver_sql(query).scalar() == limit

    def test_is_set_beside_an_init_command(self, new_database):
        """Another command in the URL takes the limit of a statement from nobody."""
        database = new_database("mariadb")
        url = sa.make_url(database.url).update_query_dict({"init_command": "SET @mine = 1"})
        storage = database.open(url.render_as_string(hide_password=False), lock_timeout=2)
        with storage._connections.acquired() as connection:
            row = connection.exec_driver_sql("SELECT @mine, @@max_statement_time").one()

        assert row[0] == 1
        # A server may be silent for a second more than the lock's time, and ends before.
        assert 2 < row[1] < 3
