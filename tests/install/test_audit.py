"""The audit: every attempt to change the environment is kept, in the order of time."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
import sqlalchemy as sa

from plugreg.exceptions import StorageError
from plugreg.install.audit import Audit, AuditEntry
from plugreg.install.plan import Change
from plugreg.storage import MemoryStorage, SQLStorage, TinyDBStorage

SERVERS = {
    "postgresql": os.environ.get(
        "PLUGREG_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"
    ),
    "mariadb": os.environ.get("PLUGREG_TEST_MARIADB", "mysql+pymysql://root@127.0.0.1:3306/test"),
}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FULL = AuditEntry(
    when=NOON,
    actor="ann",
    action="install",
    requirement="foo @ https://****@h/foo-2.0-py3-none-any.whl",
    changes=(
        Change(name="bar", before="2.0", after=None),
        Change(name="baz", before=None, after="1.0"),
        Change(
            name="foo",
            before="1.0",
            after="2.0",
            source="https://h/foo-2.0-py3-none-any.whl",
            sha256="ab" * 32,
            size=12345,
        ),
    ),
    outcome="put back",
    reasons=("No space left on device", "the environment is as it was"),
    seconds=1.5,
)


def entry(minute=0, **fields):
    fields = {"actor": None, "action": "sync", "requirement": "", "outcome": "done", **fields}
    return AuditEntry(**{"when": NOON + timedelta(minutes=minute), "seconds": 0.0, **fields})


@pytest.fixture(params=["memory", "tinydb", "sqlite", "postgresql", "mariadb"])
def storage(request, tmp_path):
    """Yield a new, empty store of each kind."""
    if request.param == "memory":
        yield MemoryStorage()
    elif request.param == "tinydb":
        yield TinyDBStorage(tmp_path / "store.json")
    elif request.param == "sqlite":
        with_file = SQLStorage(f"sqlite:///{tmp_path / 'store.db'}")
        yield with_file
        with_file.close()
    else:
        yield from _on_server(SERVERS[request.param])


def _on_server(url):
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        engine.connect().close()
    except sa.exc.SQLAlchemyError as error:
        reason = f"no server at {engine.url!r}: {type(error.orig).__name__}"
        if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
            pytest.fail(f"{reason}, and PLUGREG_TEST_NO_SKIP=1 forbids to skip")
        pytest.skip(reason)
    prefix = f"t{uuid4().hex[:12]}_"
    storage = SQLStorage(url, prefix=prefix)
    yield storage
    storage.close()
    with engine.connect() as connection:
        for table in ("records", "meta"):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {prefix}{table}")
    engine.dispose()


class TestEntries:
    def test_an_entry_comes_back_as_it_was(self, storage):
        """Actor, time, request, the changes with hashes, and the result, from any store."""
        audit = Audit(storage)
        audit.put(FULL)
        assert Audit(storage).entries() == (FULL,)
        assert audit.entries()[0].when.utcoffset() == timedelta(0)

    def test_texts_that_no_store_could_hold_are_kept_escaped(self, storage):
        """The output of an installer may be broken; the attempt is kept all the same."""
        Audit(storage).put(
            entry(
                actor="\udcff",
                requirement="a\0b",
                reasons=("\ud800 é",),
                changes=(Change(name="foo", before=None, after="1\udc80"),),
            )
        )
        (found,) = Audit(storage).entries()
        assert (found.actor, found.reasons) == ("\\udcff", ("\\ud800 é",))
        assert (found.requirement, found.changes[0].after) == ("a\0b", "1\\udc80")

    def test_the_oldest_is_first_whenever_it_was_stored(self):
        """Time orders the entries, with parts of a second that are 0 as with others."""
        audit = Audit(MemoryStorage())
        times = [NOON + timedelta(microseconds=each) for each in (0, 1, 999_999, 1_000_000)]
        for each in reversed(times):
            audit.put(entry(when=each))
        assert [each.when for each in audit.entries()] == times

    def test_a_limit_gives_the_latest(self):
        """As many as asked for, the oldest of them first."""
        audit = Audit(MemoryStorage())
        for minute in range(4):
            audit.put(entry(minute))
        found = {limit: [e.when.minute for e in audit.entries(limit)] for limit in (0, 1, 3, 9)}
        assert found == {0: [], 1: [3], 3: [1, 2, 3], 9: [0, 1, 2, 3]}
        with pytest.raises(ValueError, match="limit is -1"):
            audit.entries(-1)

    def test_nothing_is_ever_written_over(self):
        """A thousand entries of one moment are a thousand."""
        audit = Audit(MemoryStorage())
        for number in range(1000):
            audit.put(entry(actor=str(number)))
        assert {each.actor for each in audit.entries()} == {str(each) for each in range(1000)}

    def test_an_attempt_has_one_entry(self, storage):
        """The result takes the place of its beginning, at its place in the order."""
        audit = Audit(storage)
        begun = entry(outcome="begun")
        audit.put(begun)
        audit.put(entry(1))
        ended = replace(begun, outcome="done", seconds=2.0)
        audit.put(ended)
        assert [each.outcome for each in audit.entries()] == ["done", "done"]
        assert audit.entries()[0] == ended

    def test_reading_writes_nothing(self, storage):
        """The store is at the revision it was at; one entry is one commit."""
        assert Audit(storage).entries() == ()
        assert storage.revision() == 0
        Audit(storage).put(FULL)
        Audit(storage).entries()
        assert storage.revision() == 1

    @pytest.mark.parametrize(
        "when", [NOON.replace(tzinfo=None), NOON.astimezone(timezone(timedelta(hours=1)))]
    )
    def test_a_time_that_is_not_utc_is_refused(self, when):
        """Entries of several time zones could not be put in order by their keys."""
        with pytest.raises(ValueError, match="it must be aware and in UTC"):
            entry(when=when)


class TestDamage:
    @pytest.mark.parametrize(
        "damage",
        [
            {"when": "yesterday"},
            {"when": "2026-01-01T12:00:00"},
            {"when": None},
            {"actor": 1},
            {"action": "eat"},
            {"requirement": None},
            {"changes": {}},
            {"changes": ["foo"]},
            {"changes": [{"name": "foo"}]},
            {"changes": [None]},
            {"outcome": "well"},
            {"reasons": "no"},
            {"reasons": [1]},
            {"seconds": "1"},
        ],
    )
    def test_a_row_that_is_none_of_ours_is_told_of_with_its_place(self, damage):
        """No entry is guessed or left out in silence; an entry that nobody requests is not read."""
        storage = MemoryStorage()
        audit = Audit(storage)
        audit.put(FULL)
        last = entry(5)
        audit.put(last)
        with storage.transaction() as transaction:
            key, row = transaction.items("audit")[0]
            transaction.put("audit", key, {**row, **damage})
        with pytest.raises(StorageError, match=key):
            audit.entries()
        assert audit.entries(1) == (last,)


def test_processes_lose_no_entry(tmp_path):
    """Four processes append 25 entries each to one store: a hundred are there."""
    path = tmp_path / "store.json"
    program = (
        "import sys\n"
        "from datetime import UTC, datetime\n"
        "from plugreg.install.audit import Audit, AuditEntry\n"
        "from plugreg.storage import TinyDBStorage\n"
        "audit = Audit(TinyDBStorage(sys.argv[1]))\n"
        "for number in range(25):\n"
        "    audit.put(AuditEntry(when=datetime.now(UTC), actor=sys.argv[2], action='sync',\n"
        "        requirement=str(number), outcome='done', seconds=0.0))\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, path, str(actor)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        for actor in range(4)
    ]
    try:
        assert [each.wait(timeout=60) for each in processes] == [0] * 4
    finally:
        for each in processes:
            each.kill()
    found = Audit(TinyDBStorage(path)).entries()
    assert len({(each.actor, each.requirement) for each in found}) == len(found) == 100
    assert [each.when for each in found] == sorted(each.when for each in found)
