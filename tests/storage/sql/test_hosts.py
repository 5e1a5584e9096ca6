"""Guarantees of SQLStorage for a host that lends its own engine."""

from __future__ import annotations

import os
import traceback
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from plugreg.exceptions import (
    StorageError,
    StorageFormatError,
    StorageLockedError,
    StorageUnavailableError,
    StorageURLError,
)
from plugreg.storage import SQLStorage


def put(storage, key, record):
    with storage.transaction() as transaction:
        transaction.put("t", key, record)


def database_of(database):
    """Return an engine that is the test's own, and keeps no connection."""
    url = sa.make_url(database.url).difference_update_query(["prefix"])
    return sa.create_engine(url, poolclass=sa.NullPool)


class TestHostEngine:
    @pytest.fixture
    def engine(self, database):
        """Yield an engine of a host's, with its own level of isolation and its own listeners."""
        url = sa.make_url(database.url).difference_update_query(["prefix"])
        options = {
            "sqlite": {},
            "postgresql": {"options": "-c default_transaction_isolation=serializable"},
            "mariadb": {"init_command": "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"},
        }
        engine = sa.create_engine(
            url, isolation_level="SERIALIZABLE", connect_args=options[database.name]
        )
        self.begun = 0

        @event.listens_for(engine, "begin")
        def begin(connection):
            self.begun += 1
            if database.name == "sqlite":
                connection.exec_driver_sql("BEGIN EXCLUSIVE")

        yield engine
        engine.dispose()

    @pytest.fixture
    def new_engine(self, database):
        """Yield a function that makes one with the options that are named."""
        made = []

        def make(**options):
            url = sa.make_url(database.url).difference_update_query(["prefix"])
            made.append(sa.create_engine(url, **options))
            return made[-1]

        yield make
        # The connection of an open transaction would keep its tables from being dropped.
        for engine in made:
            engine.dispose()

    def test_is_used_as_it_is(self, database, engine):
        """Its listeners, isolation and pool stay its own; closing the storage leaves it open."""
        storage = SQLStorage(engine, prefix=database.prefix)
        put(storage, "k", {"n": 1})
        with storage.transaction() as transaction:
            transaction.put("t", "k", {"n": 2})
            assert storage.read("t") == {"k": {"n": 1}}
        assert self.begun == 0
        pool = engine.pool
        storage.close()

        assert engine.pool is pool
        with engine.connect() as connection:
            assert connection.get_isolation_level() == "SERIALIZABLE"
            assert connection.scalar(sa.text("SELECT 1")) == 1
        assert self.begun == 1
        with pytest.raises(StorageError, match="closed"):
            storage.read("t")

    def test_loses_no_update(self, database, engine):
        """Whatever isolation the host has chosen, reading and then writing is one operation."""
        storage, threads, rounds = SQLStorage(engine, prefix=database.prefix), 6, 15

        def count():
            for _ in range(rounds):
                with storage.transaction() as transaction:
                    number = (transaction.get("t", "k") or {"n": 0})["n"]
                    transaction.put("t", "k", {"n": number + 1})

        with ThreadPoolExecutor(threads) as pool:
            for future in [pool.submit(count) for _ in range(threads)]:
                future.result()

        assert storage.read("t") == {"k": {"n": threads * rounds}}
        assert storage.revision() == threads * rounds

    def test_that_leaves_rolling_back_to_others_keeps_no_lock(self, database):
        """A transaction that raises is undone here, however the engine treats its connection."""
        url = sa.make_url(database.url).difference_update_query(["prefix"])
        engine = sa.create_engine(url, skip_autocommit_rollback=True, pool_reset_on_return=None)
        storage = SQLStorage(engine, prefix=database.prefix, lock_timeout=1)

        def fail():
            with storage.transaction() as transaction:
                transaction.put("t", "k", {})
                raise LookupError

        with pytest.raises(LookupError):
            fail()
        other = database.open(lock_timeout=1)
        put(other, "other", {})
        put(storage, "k", {"n": 2})
        engine.dispose()

        assert other.read("t") == {"k": {"n": 2}, "other": {}}

    @pytest.mark.parametrize("reset", ["rollback", None])
    def test_keeps_no_lock_of_a_transaction_that_could_not_begin(self, database, new_engine, reset):
        """A failure with the lock in hand releases it, however the engine treats that."""
        engine = new_engine(
            connect_args={"timeout": 0} if database.name == "sqlite" else {},
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
            pool_reset_on_return=reset,
        )
        storage, other = SQLStorage(engine, prefix=database.prefix), database.open(lock_timeout=1)
        with other.transaction() as transaction:
            transaction.put("t", "k", {})
            impatient = SQLStorage(engine, prefix=database.prefix, lock_timeout=0.1)
            with pytest.raises(StorageLockedError):
                put(impatient, "k", {})
        assert impatient.read("t") == storage.read("t") == {"k": {}}
        with database_of(database).begin() as connection:
            connection.exec_driver_sql(f"UPDATE {database.prefix}meta SET schema_version = 99")
        for user in (storage, other):
            with pytest.raises(StorageFormatError, match="newer plugreg"):
                put(user, "k", {})

    @pytest.mark.parametrize("pool", [sa.StaticPool, sa.SingletonThreadPool, sa.AssertionPool])
    def test_whose_users_share_a_connection_is_refused(self, database, new_engine, pool):
        """One user would end the transaction of another, so that updates are lost."""
        engine = new_engine(poolclass=pool)
        with pytest.raises(StorageURLError, match=r"poolclass=sqlalchemy\.QueuePool"):
            SQLStorage(engine, prefix=database.prefix)
        with database_of(database).connect() as connection:
            assert not sa.inspect(connection).has_table(f"{database.prefix}meta")

    @pytest.mark.parametrize(
        "options",
        [{"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.5}, {"poolclass": sa.NullPool}],
        ids=["one", "none-kept"],
    )
    def test_with_one_connection_is_enough(self, database, new_engine, options):
        """Inside a transaction reads go by its own connection, and show the last commit."""
        engine = new_engine(**options)
        storage = SQLStorage(engine, prefix=database.prefix)
        put(storage, "k", {"n": 1})
        with storage.transaction() as transaction:
            transaction.put("t", "k", {"n": 2})
            assert (storage.read("t"), storage.revision()) == ({"k": {"n": 1}}, 1)
            assert storage.now() > 0
            transaction.put("t", "l", {})
            assert storage.read("t") == {"k": {"n": 1}}
        assert (storage.read("t"), storage.revision()) == ({"k": {"n": 2}, "l": {}}, 2)

    def test_lends_a_child_no_connection_of_its_parent(self, served):
        """In a child forked inside a transaction, a read connects again, or is refused."""
        engine = sa.create_engine(sa.make_url(served.url).difference_update_query(["prefix"]))
        storage = SQLStorage(engine, prefix=served.prefix)
        put(storage, "k", {})
        connected = []
        event.listen(engine.pool, "connect", lambda *_: connected.append(os.getpid()))
        with storage.transaction() as transaction:
            transaction.get("t", "k")
            child = os.fork()
            if not child:
                right = False
                try:
                    right = storage.read("t") == {"k": {}} and connected == [os.getpid()]
                finally:
                    os._exit(0 if right else 1)
            assert os.waitpid(child, 0)[1] == 0
            transaction.put("t", "l", {})
        assert sorted(storage.read("t")) == ["k", "l"]
        engine.dispose()

    def test_may_be_disposed_of_by_its_host(self, database, engine):
        """A host that disposes of its engine, as before a fork, keeps a store that works."""
        storage = SQLStorage(engine, prefix=database.prefix)
        put(storage, "k", {"n": 1})
        engine.dispose()

        assert storage.read("t") == {"k": {"n": 1}}
        put(storage, "k", {"n": 2})
        assert storage.revision() == 2

    def test_shows_no_record_in_errors(self, database, engine):
        """An error of the database has its words, and never the values to be stored."""
        # A traceback has lines of this file, so that none may have it.
        storage, secret = SQLStorage(engine, prefix=database.prefix), uuid4().hex
        renamed = (f"{database.prefix}records", f"{database.prefix}gone")
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE {} RENAME TO {}".format(*renamed))
        with pytest.raises(StorageUnavailableError) as caught:
            put(storage, "k", {"value": secret})
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE {1} RENAME TO {0}".format(*renamed))

        assert secret not in "".join(traceback.format_exception(caught.value))
        assert storage.revision() == 0

    @pytest.mark.parametrize("pool", [sa.StaticPool, sa.QueuePool])
    def test_in_memory_is_refused(self, pool):
        """One connection cannot keep readers out of a transaction, and several share nothing."""
        engine = sa.create_engine("sqlite://", poolclass=pool)
        with pytest.raises(StorageURLError, match="use MemoryStorage"):
            SQLStorage(engine)
        engine.dispose()

    def test_without_a_database_is_refused(self, new_database):
        """A server alone keeps nothing: its address must name a database, in a URL as well."""
        url = sa.make_url(new_database("mariadb").server.url).set(database="")
        engine = sa.create_engine(url)
        for given in (engine, url):
            with pytest.raises(StorageURLError, match="names no database"):
                SQLStorage(given)
        engine.dispose()
