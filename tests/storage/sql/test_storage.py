"""Guarantees of SQLStorage beside the contract: schema, locks, connections, forks, hosts."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from plugreg.exceptions import (
    CommitUnknownError,
    RecordCorruptError,
    StorageCorruptError,
    StorageError,
    StorageFormatError,
    StorageLockedError,
    StorageUnavailableError,
    StorageURLError,
)
from plugreg.storage import SQLStorage, export_json
from plugreg.storage.base import DamagedRecord


def put(storage, key, record, table="t"):
    with storage.transaction() as transaction:
        transaction.put(table, key, record)


def database_of(database):
    """Return an engine that is the test's own, and keeps no connection."""
    url = sa.make_url(database.url).difference_update_query(["prefix"])
    return sa.create_engine(url, poolclass=sa.NullPool)


def all_words(error):
    """Return the messages of an error, and of those that a traceback shows with it."""
    words = ""
    while error is not None:
        words += f"{error} {error!r}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return words


def hold(storage, inside, leave):
    """Stay in a transaction that changes something until it may leave."""
    with storage.transaction() as transaction:
        transaction.put("t", "held", {})
        inside.set()
        leave.wait()


OPENER = """
import sys
from plugreg.storage import SQLStorage, open_storage
print("ready", flush=True)
sys.stdin.readline()
storage = open_storage(sys.argv[1])
with storage.transaction() as transaction:
    transaction.put("t", sys.argv[2], {})
print(len(storage.read("t")))
"""


def run_together(processes):
    """Let processes go when all of them are ready, and expect them all to succeed."""
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


class TestProcesses:
    def test_make_one_schema_at_the_same_time(self, database, start_python):
        """Eight workers that start on an empty database make its tables once, and all work."""
        run_together([start_python(OPENER, database.url, f"worker-{n}") for n in range(8)])
        storage = database.open()

        assert sorted(storage.read("t")) == [f"worker-{number}" for number in range(8)]
        assert storage.revision() == 8

    def test_see_each_others_commits(self, database):
        """Reads and transactions of an open object show the commits of another since."""
        one, two = database.open(), database.open()
        put(one, "k", {"n": 1})
        assert two.read("t") == {"k": {"n": 1}}
        put(two, "k", {"n": 2})
        assert (one.revision(), one.read("t")) == (2, {"k": {"n": 2}})
        with one.transaction() as transaction:
            assert transaction.get("t", "k") == {"n": 2}


class TestNames:
    @pytest.mark.parametrize("name", [5, None, b"t", ("t",)])
    def test_that_are_no_text_name_nothing(self, database, name):
        """Looking for a key that cannot be there finds nothing, as in the stores of other kinds."""
        storage = database.open()
        put(storage, "k", {})
        with storage.transaction() as transaction:
            assert (transaction.get(name, "k"), transaction.get("t", name)) == (None, None)
            assert (transaction.items(name), transaction.delete("t", name)) == ([], False)
        assert storage.read(name) == {}


class TestClock:
    def test_is_the_databases(self, database):
        """Its time goes on in a transaction too, and is that of the epoch, whatever the zone."""
        storage = database.open()
        before = time.time()
        with storage.transaction():
            first = storage.now()
            second = storage.now()

        assert first <= second
        # The servers under test are on this machine; an hour would be a zone.
        assert abs(first - before) < 1000


class TestSchema:
    def tables(self, database):
        names = sa.inspect(database_of(database)).get_table_names()
        return sorted(name for name in names if database.prefix in name)

    def change(self, database, statement):
        with database_of(database).begin() as connection:
            connection.exec_driver_sql(statement.replace("META", f"{database.prefix}meta"))

    def test_is_made_at_opening_and_found_again(self, database):
        """Opening makes two tables; opening again finds them, with all that is in them."""
        put(database.open(), "k", {"n": 1})
        again = database.open()

        assert self.tables(database) == [f"{database.prefix}meta", f"{database.prefix}records"]
        assert (again.read("t"), again.revision()) == ({"k": {"n": 1}}, 1)

    def test_of_a_newer_plugreg_is_refused_and_left(self, database):
        """The meaning of a newer schema is not known here: opening and every verb say so."""
        running = database.open()
        put(running, "k", {"n": 1})
        self.change(database, "UPDATE META SET schema_version = 99")

        for use in (database.open, running.revision, lambda: put(running, "k", {"n": 2})):
            with pytest.raises(
                StorageFormatError, match=r"newer plugreg.*update plugreg"
            ) as caught:
                use()
            assert (caught.value.found, caught.value.known) == (99, 1)
        self.change(database, "UPDATE META SET schema_version = 1")
        assert (running.read("t"), running.revision()) == ({"k": {"n": 1}}, 1)

    def test_of_a_newer_plugreg_may_have_other_columns(self, database):
        """Nothing but the version is asked of it, so that it is not taken for a damaged store."""
        database.open().close()
        self.change(database, "UPDATE META SET schema_version = 2")
        self.change(database, "ALTER TABLE META DROP COLUMN last_commit")

        with pytest.raises(StorageFormatError):
            database.open()

    def test_that_was_broken_off_is_finished(self, database):
        """A process killed after making the tables, and before saying so, stops nobody."""
        database.open().close()
        self.change(database, "DELETE FROM META")
        storage = database.open()
        put(storage, "k", {})

        assert (storage.read("t"), storage.revision()) == ({"k": {}}, 1)

    def test_that_loses_its_row_is_damaged(self, database):
        """Without its revision a store that is in use does not begin again from nothing."""
        storage = database.open()
        put(storage, "k", {})
        self.change(database, "DELETE FROM META")

        for use in (storage.revision, lambda: put(storage, "k", {"n": 2})):
            with pytest.raises(StorageCorruptError, match="has lost its row"):
                use()
        assert storage.read("t") == {"k": {}}

    @pytest.mark.parametrize("loss", ["DELETE FROM META", "DROP TABLE META"])
    def test_that_has_records_alone_is_damaged(self, database, loss):
        """Records whose revision is gone are not taken for a store that has only begun."""
        put(database.open(), "k", {"n": 1})
        self.change(database, loss)

        for _ in range(2):
            with pytest.raises(StorageCorruptError, match="has records, and table"):
                database.open()

    def test_that_others_make_meanwhile_is_theirs(self, database):
        """A store that comes to be while one looks for it, records and all, is not damaged."""
        engine = database_of(database)
        others = []

        @event.listens_for(engine, "do_execute")
        def execute(cursor, statement, parameters, context):
            # It has seen that there is no meta by now, and looks for records.
            if f"{database.prefix}records" in f"{statement} {parameters}" and not others:
                others.append(database.open())
                put(others[0], "k", {"n": 1})

        storage = SQLStorage(engine, prefix=database.prefix)
        assert others
        assert storage.read("t") == {"k": {"n": 1}}

    @pytest.mark.parametrize(
        "text",
        [
            *("", "{", "[]", "1", '{"x": NaN}', '{"x": 1e999}', r'{"x": "\ud800"}', "[" * 90_000),
            '{"x": ' + "[" * 100 + "]" * 100 + "}",
            '{"x": ' + "[" * 700 + "]" * 700 + "}",
        ],
    )
    def test_with_a_record_that_is_none_keeps_the_others(self, database, text):
        """A row that is no JSON object is shown as damaged and never written over."""
        if database.name == "mariadb":
            text = text.replace("\\", "\\\\")
        storage = database.open()
        put(storage, "good", {})
        put(storage, "bad", {})
        good = "CAST('good' AS BLOB)" if database.name == "sqlite" else "'good'"
        self.change(
            database,
            f"UPDATE {database.prefix}records SET record = '{text}' WHERE record_key != {good}",
        )

        found = storage.read("t")
        assert (sorted(found), found["good"]) == (["bad", "good"], {})
        assert type(found["bad"]) is DamagedRecord
        with storage.transaction() as transaction:
            assert dict(transaction.items("t"))["bad"].reason == found["bad"].reason
            assert type(transaction.get("t", "bad")) is DamagedRecord
            for record in ({}, found["bad"]):
                with pytest.raises(StorageError, match="'bad' of table 't'"):
                    transaction.put("t", "bad", record)
            transaction.put("t", "new", {})
        with pytest.raises(RecordCorruptError), storage.transaction() as transaction:
            transaction.put("t", "bad", {})
        assert type(storage.read("t")["bad"]) is DamagedRecord
        with storage.transaction() as transaction:
            assert transaction.delete("t", "bad")
            transaction.put("t", "bad", {"n": 2})
        assert storage.read("t") == {"bad": {"n": 2}, "good": {}, "new": {}}

    def test_with_another_prefix_is_another_store(self, database):
        """Two prefixes in one database share nothing, not even the lock."""
        other = f"{database.prefix}2_"
        if database.server:
            database.server.own(other)
        one = database.open()
        url = sa.make_url(database.url).difference_update_query(["prefix"])
        with closing(SQLStorage(url, prefix=other)) as two:
            put(one, "k", {"of": "one"})
            assert (two.read("t"), two.revision()) == ({}, 0)
            put(two, "k", {"of": "two"})
            assert one.read("t") == {"k": {"of": "one"}}

    @pytest.mark.parametrize("prefix", ["", "1_", "a-b", 'a"; DROP TABLE x; --', "A", "a" * 41])
    def test_with_a_prefix_that_is_no_name_is_refused(self, tmp_path, prefix):
        """A prefix becomes a part of SQL, so it must be a plain name."""
        with pytest.raises(ValueError, match="prefix="):
            SQLStorage(f"sqlite:///{tmp_path}/x.db", prefix=prefix)


class TestMaking:
    """Whoever opens a new store first makes its tables; nobody waits for one who cannot."""

    @pytest.fixture
    def mariadb(self, new_database):
        """Return a new, empty database."""
        return new_database("mariadb")

    def test_that_fails_holds_up_nobody(self, mariadb):
        """A process that may not make tables leaves it to the next one, though it lives on."""
        user = mariadb.prefix.rstrip("_")
        mariadb.server.execute(f"CREATE USER {user} IDENTIFIED BY 'x'")
        mariadb.server.execute(f"GRANT SELECT ON test.* TO {user}")
        url = sa.make_url(mariadb.server.url).set(username=user, password="x")
        engine = sa.create_engine(url)
        try:
            with pytest.raises(StorageUnavailableError, match="CREATE command denied"):
                SQLStorage(engine, prefix=mariadb.prefix)
            storage = mariadb.open(lock_timeout=1)
        finally:
            engine.dispose()
            mariadb.server.execute(f"DROP USER {user}")

        assert storage.revision() == 0

    def test_by_many_at_once(self, database):
        """Each finds the same store, whichever has made the tables, and may write to it."""
        count = 8
        ready = threading.Barrier(count)

        def begin(number):
            ready.wait()
            with closing(database.open()) as storage:
                put(storage, f"k{number}", {"n": number})

        with ThreadPoolExecutor(count) as pool:
            list(pool.map(begin, range(count)))

        storage = database.open()
        assert storage.read("t") == {f"k{number}": {"n": number} for number in range(count)}
        assert storage.revision() == count


class TestLock:
    def test_that_another_one_holds_is_named(self, database):
        """A lock not acquired in time is one typed error; reading goes on meanwhile."""
        holder, storage = database.open(), database.open(lock_timeout=0.1)
        put(storage, "k", {"n": 1})
        inside, leave = threading.Event(), threading.Event()
        with ThreadPoolExecutor(1) as pool:
            holding = pool.submit(hold, holder, inside, leave)
            try:
                inside.wait()
                with pytest.raises(StorageLockedError) as caught:
                    put(storage, "k", {"n": 2})
                assert storage.read("t") == {"k": {"n": 1}}
                assert storage.revision() == 1
            finally:
                leave.set()
            holding.result()
        put(storage, "k", {"n": 3})

        assert caught.value.seconds == 0.1
        assert caught.value.lock == f"the lock of {repr(storage)[12:-2]}"
        assert storage.read("t") == {"held": {}, "k": {"n": 3}}

    @pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
    def test_with_no_sensible_time_out_is_refused(self, tmp_path, seconds):
        """A lock is waited for as long as was said, so that must be a number of seconds."""
        with pytest.raises(ValueError, match="lock_timeout"):
            SQLStorage(f"sqlite:///{tmp_path}/x.db", lock_timeout=seconds)


class TestBrokenConnections:
    def test_that_were_idle_cost_nothing(self, served, proxy):
        """A connection that the server ended is opened again: reads and writes just work."""
        storage = served.open(proxy.url)
        put(storage, "k", {"n": 1})
        proxy.kill()
        assert storage.read("t") == {"k": {"n": 1}}
        proxy.cut()
        assert storage.revision() == 1
        proxy.kill()
        put(storage, "k", {"n": 2})

        assert (storage.read("t"), storage.revision()) == ({"k": {"n": 2}}, 2)

    @pytest.mark.parametrize("end", ["kill", "cut"])
    def test_in_a_transaction_undo_it(self, served, proxy, end):
        """A transaction whose connection breaks changes nothing, says so, and stops no other."""
        storage = served.open(proxy.url)
        put(storage, "k", {"n": 1})

        def change():
            with storage.transaction() as transaction:
                transaction.put("t", "k", {"n": 2})
                getattr(proxy, end)()

        with pytest.raises(StorageUnavailableError):
            change()
        assert (storage.read("t"), storage.revision()) == ({"k": {"n": 1}}, 1)
        put(storage, "k", {"n": 3})

        assert (storage.read("t"), storage.revision()) == ({"k": {"n": 3}}, 2)

    def test_in_a_transaction_are_not_forgotten(self, served, proxy):
        """A transaction that goes on after a failed read does not commit its changes."""
        storage = served.open(proxy.url)

        def go_on():
            with storage.transaction() as transaction:
                transaction.put("t", "k", {})
                proxy.kill()
                with pytest.raises(StorageUnavailableError):
                    transaction.get("t", "other")
                transaction.put("t", "l", {})

        with pytest.raises(StorageUnavailableError):
            go_on()
        assert (storage.read("t"), storage.revision()) == ({}, 0)

    def test_to_a_server_that_is_away_are_one_error_until_it_is_back(self, served, proxy):
        """Every verb raises the same typed error, at opening too; then the same object works."""
        storage = served.open(proxy.url)
        put(storage, "k", {"n": 1})
        proxy.refuses = True
        proxy.cut()
        for use in (
            lambda: storage.read("t"),
            storage.revision,
            lambda: put(storage, "k", {}),
            lambda: served.open(proxy.url),
        ):
            with pytest.raises(StorageUnavailableError) as caught:
                use()
            assert caught.value.place == repr(storage)[12:-2]
            assert caught.value.reason
        proxy.refuses = False

        assert storage.read("t") == {"k": {"n": 1}}
        put(storage, "k", {"n": 2})
        assert storage.revision() == 2


class TestUnknownCommit:
    @pytest.mark.parametrize(
        ("when", "made", "words"),
        [("after", True, "do not do it again"), ("before", False, "was not made; do it again")],
    )
    def test_is_one_error_that_tells_which_it_was(self, served, proxy, when, made, words):
        """Nothing is done twice; a look at the store afterwards shows which."""
        storage = served.open(proxy.url)
        put(storage, "k", {"n": 1})
        proxy.break_commit(when)
        with pytest.raises(CommitUnknownError, match=words) as caught:
            put(storage, "k", {"n": 2})
        assert (caught.value.committed, caught.value.revision) == (made, 2)
        assert caught.value.place == repr(storage)[12:-2]
        assert storage.read("t") == {"k": {"n": 2 if made else 1}}
        assert storage.revision() == (2 if made else 1)
        put(storage, "k", {"n": 3})

        assert storage.revision() == (3 if made else 2)

    @pytest.mark.parametrize("when", ["after", "before"])
    def test_says_so_when_the_server_cannot_be_asked(self, served, proxy, when):
        """Without a look nothing is claimed; the error names revision and remedy."""
        storage, watching = served.open(proxy.url), served.open()
        proxy.break_commit(when, refuses=True)
        with pytest.raises(CommitUnknownError, match="compare the store's revision") as caught:
            put(storage, "k", {})
        assert (caught.value.committed, caught.value.revision) == (None, 1)
        proxy.refuses = False

        assert storage.revision() == watching.revision()


FORKED = """
import os, sys, threading
from plugreg.exceptions import StorageError
from plugreg.storage import open_storage

storage = open_storage(sys.argv[1])
where = sys.argv[2]

def put(key):
    with storage.transaction() as transaction:
        transaction.put("t", key, {})

def use(key):
    try:
        put(key)
        print("child", sorted(storage.read("t")))
    except StorageError as error:
        print("child refused:", error)

def forked(work):
    sys.stdout.flush()
    child = os.fork()
    if not child:
        work()
        sys.stdout.flush()
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

put("before")
storage.read("t")
if where == "between":
    forked(lambda: use("child"))
    forked(lambda: forked(lambda: use("grandchild")))
elif where == "together":
    child = os.fork()
    for number in range(40):
        with storage.transaction() as transaction:
            count = transaction.get("t", "before").get("n", 0)
            transaction.put("t", "before", {"n": count + 1})
        assert storage.read("t")["before"]["n"] > number
    if not child:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    print(storage.read("t"))
elif where == "outlived":
    closed, close = os.pipe()
    child = os.fork()
    if not child:
        os.read(closed, 1)
        use("child")
        sys.stdout.flush()
        os._exit(0)
    storage.close()
    os.write(close, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    storage = open_storage(sys.argv[1])
elif where == "beside":
    inside, leave = threading.Event(), threading.Event()
    def hold():
        with storage.transaction() as transaction:
            transaction.get("t", "before")
            transaction.put("t", "thread", {})
            inside.set()
            leave.wait()
    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    def look():
        try:
            print("child", sorted(storage.read("t")))
        except StorageError as error:
            print("child refused:", error)
    forked(look)
    leave.set()
    thread.join()
else:
    parent = os.getpid()
    try:
        with storage.transaction() as transaction:
            transaction.get("t", "before")
            transaction.put("t", "inside", {})
            child = os.fork()
            if not child:
                for verb in (transaction.get, transaction.delete):
                    try:
                        verb("t", "before")
                    except StorageError as error:
                        print("child refused:", error)
                use("child")
            else:
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    except StorageError as error:
        print("child refused:", error)
    if os.getpid() != parent:
        sys.exit(0)
put("after")
print("parent", sorted(storage.read("t")), storage.revision())
storage.close()
"""


class TestFork:
    def test_between_two_verbs_harms_nobody(self, database, run_python):
        """A store opened before a fork works in the child, in its child, and in the parent."""
        lines = run_python(FORKED, database.url, "between").splitlines()

        assert lines == [
            "child ['before', 'child']",
            "child ['before', 'child', 'grandchild']",
            "parent ['after', 'before', 'child', 'grandchild'] 4",
        ]

    def test_leaves_two_that_work_at_the_same_time(self, database, run_python):
        """Parent and child share no connection: neither reads the other's answers."""
        counted, last = run_python(FORKED, database.url, "together").splitlines()

        assert counted == "{'before': {'n': 80}}"
        assert last == "parent ['after', 'before'] 82"

    def test_keeps_what_a_child_commits_after_its_parent(self, database, run_python):
        """A child depends on nothing of its parent's, such as a file that the parent removes."""
        lines = run_python(FORKED, database.url, "outlived").splitlines()

        assert lines == [
            "child ['before', 'child']",
            "parent ['after', 'before', 'child'] 3",
        ]

    def test_beside_a_transaction_works_or_is_refused(self, database, run_python):
        """A transaction of another thread stays the parent's; SQLite's child is refused."""
        child, parent = run_python(FORKED, database.url, "beside").splitlines()

        if database.name == "sqlite":
            assert child.startswith("child refused: this process was forked while its parent")
        else:
            assert child == "child ['before']"
        assert parent == "parent ['after', 'before', 'thread'] 3"

    def test_inside_a_transaction_is_refused(self, database, run_python):
        """Every use of it in the child is refused at once, and the parent commits it."""
        *refused, parent = run_python(FORKED, database.url, "inside").splitlines()

        assert len(refused) == 4
        assert all(line.startswith("child refused: this ") for line in refused)
        assert parent == "parent ['after', 'before', 'inside'] 3"


def raised_by(work):
    """Return the exception; an interrupt that came through would end all tests."""
    try:
        work()
    except BaseException as error:
        return error
    return None


class TestInterrupt:
    def test_that_was_handled_before_is_over(self, tmp_path):
        """While a host ends because of Ctrl-C, an error of the store is that error."""
        path = tmp_path / "plugins.db"
        with closing(SQLStorage(f"sqlite:///{path}")) as storage:
            put(storage, "k", {})
            try:
                raise KeyboardInterrupt
            except KeyboardInterrupt:
                path.unlink()
                for use in (lambda: storage.read("t"), lambda: put(storage, "k", {})):
                    assert type(raised_by(use)) is StorageUnavailableError

    @pytest.mark.parametrize("handled", [None, KeyboardInterrupt(), LookupError()])
    def test_that_a_driver_hides_ends_the_transaction(self, tmp_path, handled):
        """It is raised, and a transaction that goes on after it is not committed."""
        engine = sa.create_engine(f"sqlite:///{tmp_path}/plugins.db")
        storage = SQLStorage(engine)
        busy = threading.Event()

        @event.listens_for(engine, "do_execute")
        def execute(cursor, statement, parameters, context):
            if busy.is_set():
                try:
                    raise KeyboardInterrupt
                except KeyboardInterrupt:
                    cursor.execute("not while it is busy")

        def go_on():
            with storage.transaction() as transaction:
                transaction.put("t", "k", {})
                busy.set()
                error = raised_by(lambda: transaction.get("t", "other"))
                assert type(error) is KeyboardInterrupt
                assert error is not handled
                busy.clear()
                transaction.put("t", "l", {})

        def go_on_while_handling():
            try:
                if handled is not None:
                    raise handled
                go_on()
            except (KeyboardInterrupt, LookupError):
                go_on()

        assert type(raised_by(go_on_while_handling)) is StorageUnavailableError
        assert (storage.read("t"), storage.revision()) == ({}, 0)
        engine.dispose()


class TestFile:
    @pytest.fixture
    def path(self, tmp_path):
        """Return the path of a database that is not there yet."""
        return tmp_path / "plugins.db"

    def test_is_its_owners_alone(self, path):
        """A new file may hold secrets: nobody else reads it, or its log, whatever the umask."""
        before = os.umask(0)
        try:
            storage = SQLStorage(f"sqlite:///{path}")
            put(storage, "k", {})
            found = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
            storage.close()
        finally:
            os.umask(before)

        assert found == dict.fromkeys(["plugins.db", "plugins.db-shm", "plugins.db-wal"], 0o600)

    def test_has_a_write_ahead_log(self, path):
        """SQLite has the requested mode: WAL, for every connection to the file."""
        SQLStorage(f"sqlite:///{path}").close()
        with closing(sqlite3.connect(path)) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()

        assert mode == "wal"

    def test_keeps_its_place_when_the_process_moves(self, path, monkeypatch, tmp_path_factory):
        """A relative path means the folder at opening, whatever the working folder is later."""
        monkeypatch.chdir(path.parent)
        with closing(SQLStorage("sqlite:///plugins.db")) as storage:
            monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
            put(storage, "k", {})

            assert repr(storage) == f"SQLStorage({str(path)!r})"
        with closing(SQLStorage(f"sqlite:///{path}")) as again:
            assert again.read("t") == {"k": {}}

    def test_in_a_missing_folder_is_refused(self, tmp_path):
        """No folder is made; the error names the file and the folder."""
        path = tmp_path / "none" / "plugins.db"
        with pytest.raises(StorageUnavailableError, match="no folder") as caught:
            SQLStorage(f"sqlite:///{path}")

        assert caught.value.place == str(path)
        assert not path.parent.exists()

    def test_that_is_gone_is_not_an_empty_store(self, path):
        """A running process takes no lost file for one that never was, and makes no new one."""
        with closing(SQLStorage(f"sqlite:///{path}")) as storage:
            put(storage, "k", {"n": 1})
            saved = path.with_name("saved")
            path.rename(saved)
            for use in (lambda: storage.read("t"), storage.revision, lambda: put(storage, "x", {})):
                with pytest.raises(StorageUnavailableError):
                    use()
            assert not path.exists()
            saved.rename(path)

            assert storage.read("t") == {"k": {"n": 1}}

    @pytest.mark.parametrize("given", [str, sa.create_engine])
    @pytest.mark.parametrize("left", [None, b""])
    def test_that_is_gone_leaves_its_log_alone(self, path, given, left):
        """The last commits may be in the log alone: no new file is made that would cost them."""
        log = path.with_name("plugins.db-wal")
        with closing(SQLStorage(f"sqlite:///{path}")) as storage:
            put(storage, "k", {"n": 1})
            # The files that a killed process leaves.
            file_then, log_then = path.read_bytes(), log.read_bytes()
        path.unlink()
        log.write_bytes(log_then)
        if left is not None:
            path.write_bytes(left)
        with pytest.raises(StorageCorruptError, match="put the file back") as caught:
            SQLStorage(given(f"sqlite:///{path}"))

        assert caught.value.path == str(path)
        assert log.read_bytes() == log_then
        assert path.exists() == (left is not None)
        path.write_bytes(file_then)
        with closing(SQLStorage(f"sqlite:///{path}")) as storage:
            assert storage.read("t") == {"k": {"n": 1}}

    def test_that_was_put_back_from_a_copy_is_read_again(self, path):
        """A restored file counts, though connections to the one before it were open."""
        with closing(SQLStorage(f"sqlite:///{path}")) as first:
            put(first, "k", {"from": "copy"})
        copy = path.with_name("copy")
        copy.write_bytes(path.read_bytes())
        with closing(SQLStorage(f"sqlite:///{path}")) as storage:
            put(storage, "k", {"from": "later"})
            for file in (path, *path.parent.glob("plugins.db-*")):
                file.unlink()
            copy.rename(path)

            assert (storage.read("t"), storage.revision()) == ({"k": {"from": "copy"}}, 1)
            put(storage, "k", {"n": 2})
            assert storage.revision() == 2

    def test_that_cannot_grow_keeps_what_it_has(self, path, run_python):
        """On a full disk a write is one typed error, and the next one works once there is room."""
        assert run_python(FULL, f"sqlite:///{path}").splitlines() == [
            "StorageUnavailableError",
            "['small'] 1",
            "['after', 'small'] 2",
        ]


FULL = """
import resource, sys
from plugreg.exceptions import StorageError
from plugreg.storage import SQLStorage
storage = SQLStorage(sys.argv[1])

def put(key, text):
    with storage.transaction() as transaction:
        transaction.put("t", key, {"text": text})

put("small", "x")
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    put("big", "x" * 1_000_000)
except StorageError as error:
    print(type(error).__name__)
print(sorted(SQLStorage(sys.argv[1]).read("t")), storage.revision())
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
put("after", "x" * 1_000_000)
print(sorted(storage.read("t")), storage.revision())
"""

PAGE = 4096

DAMAGE = {
    "half": lambda content: content[: len(content) // 2],
    "one-page": lambda content: content[:PAGE],
    "zeros": lambda content: bytes(len(content)),
    "noise": lambda content: bytes(range(256)) * (len(content) // 256),
    "text": lambda content: b"plugins, once\n" * 500,
    "magic": lambda content: b"X" + content[1:],
    "page-of-zeros": lambda content: content[:-PAGE] + bytes(PAGE),
    "page-of-noise": lambda content: content[:-PAGE] + b"\xa5" * PAGE,
    "pages-exchanged": lambda content: (
        content[: -2 * PAGE] + content[-PAGE:] + content[-2 * PAGE : -PAGE]
    ),
    "first-page-of-noise": lambda content: content[:100] + b"\xa5" * (PAGE - 100) + content[PAGE:],
    "definition-not-utf-8": lambda content: content.replace(
        b"CREATE TABLE plugreg_r", b"CRE\xc1TE TABLE plugreg_r"
    ),
    "column-renamed": lambda content: content.replace(b"schema_version", b"schema_versiom"),
}


class TestDamage:
    @pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
    def test_is_refused_and_left_as_it_is(self, tmp_path, damage):
        """A file that SQLite refuses is refused at each opening, with the path; no byte changes."""
        path = tmp_path / "plugins.db"
        storage = SQLStorage(f"sqlite:///{path}")
        with closing(storage), storage.transaction() as transaction:
            for number in range(300):
                transaction.put("t", f"key-{number}", {"value": "precious", "n": number})
        content = path.read_bytes()
        damaged = damage(content)
        assert damaged != content
        path.write_bytes(damaged)

        for _ in range(2):
            with pytest.raises(StorageCorruptError, match="restore it from a copy") as caught:
                SQLStorage(f"sqlite:///{path}")
            assert caught.value.path == str(path)
            assert caught.value.reason
            assert path.read_bytes() == damaged
        path.write_bytes(content)
        with closing(SQLStorage(f"sqlite:///{path}")) as storage:
            assert len(storage.read("t")) == 300

    def test_of_a_record_shows_nothing_of_it(self, tmp_path):
        """A string that is not UTF-8 is named by its key; the rest of it may be a secret."""
        path = tmp_path / "plugins.db"
        with closing(SQLStorage(f"sqlite:///{path}")) as storage:
            put(storage, "k", {"value": "hunter2!"})
        path.write_bytes(path.read_bytes().replace(b"hunter2!", b"hunter2\xa1"))

        storage = SQLStorage(f"sqlite:///{path}")
        with closing(storage), pytest.raises(RecordCorruptError, match="'k' of tab") as caught:
            export_json(storage)
        assert "hunter2" not in all_words(caught.value)


class TestURL:
    @pytest.mark.parametrize(
        "url",
        [
            "",
            "plugins.db",
            "oracle://u:hunter2@h/d",
            "sqlite://",
            "sqlite:///:memory:",
            "sqlite:///x.db?mode=ro",
            "sqlite+aiosqlite:///x.db",
            "postgresql+asyncpg://u:hunter2@h/d",
            "mysql+mysqldb://u:hunter2@h/d",
            "mysql+nope://u:hunter2@h/d",
            "sqlite+nope:///x.db",
            "nope://u:hunter2@h",
            "u:hunter2@h",
            "sqlite://u:hunter2@h/x.db",
            "sqlite://hunter2@/x.db",
            "sqlite://h/x.db",
            "postgresql+psycopg://u:x@hunter2@h/d",
            "mysql+pymysql://u:x@hunter2/y@h/d",
            5,
            None,
        ],
    )
    def test_that_is_none_is_refused(self, url, tmp_path, monkeypatch):
        """The error shows the form of a URL, shows no password, and no file was made."""
        monkeypatch.chdir(tmp_path)
        with pytest.raises(StorageURLError) as caught:
            SQLStorage(url)

        assert "hunter2" not in all_words(caught.value)
        assert list(tmp_path.iterdir()) == []

    def test_of_an_engine_with_a_broken_password_is_refused(self):
        """The part after an unescaped @ is not shown, though SQLAlchemy takes it for a host."""
        engine = sa.create_engine("postgresql+psycopg://u:x@hunter2@h/d")
        with pytest.raises(StorageURLError, match="write %40") as caught:
            SQLStorage(engine)

        assert "hunter2" not in all_words(caught.value)

    @pytest.mark.parametrize("scheme", ["postgresql+psycopg", "mysql+pymysql"])
    def test_with_an_option_that_its_driver_does_not_know_is_one_error(self, scheme):
        """Whatever a driver raises at connecting, it is typed and names the option."""
        with pytest.raises(StorageUnavailableError, match="nonsense"):
            SQLStorage(f"{scheme}://127.0.0.1:1/test?nonsense=1")

    @pytest.mark.parametrize("scheme", ["postgresql+psycopg", "mysql+pymysql"])
    def test_hides_its_password(self, scheme):
        """Neither an error nor its cause has the password, in whatever form it was given."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(StorageUnavailableError) as caught:
            SQLStorage(f"{scheme}://someone:hunter2@127.0.0.1:{port}/test")

        assert caught.value.place == f"{scheme}://127.0.0.1:{port}/test"
        assert "hunter2" not in all_words(caught.value)

    @pytest.mark.parametrize(
        ("url", "package", "extra"),
        [
            ("sqlite:///x.db", "sqlalchemy", "sql"),
            ("postgresql+psycopg://h/d", "psycopg", "postgresql"),
            ("mysql+pymysql://h/d", "pymysql", "mariadb"),
        ],
    )
    def test_without_its_package_names_the_extra(self, run_python, url, package, extra):
        """A missing package is named together with the extra that brings it along."""
        program = """
import sys
sys.modules[sys.argv[2]] = None
from plugreg.exceptions import MissingExtraError
from plugreg.storage import open_storage
try:
    open_storage(sys.argv[1])
except MissingExtraError as error:
    print(error.package, error.extra, "pip install" in str(error))
"""

        assert run_python(program, url, package).split() == [package, extra, "True"]
