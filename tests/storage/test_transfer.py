"""Moving everything in a store: to another one, and through JSON."""

from __future__ import annotations

import json
import threading
from contextlib import closing

import pytest

from plugreg.exceptions import StorageError, StorageFormatError
from plugreg.storage import MemoryStorage, SQLStorage, TinyDBStorage, copy, export_json, import_json

CONTENTS = {
    "plugins": {"shop": {"wanted": True}, "gone ü": {"wanted": False, "notes": [1, 2.5, None]}},
    "settings": {
        "shop:COLOUR": {"value": "red", "protected": False},
        "shop:KEY": {"value": "hunter2", "protected": True, "encrypted": False},
        "shop:OLD": {"value": "hunter1"},
    },
    "user_settings": {"shop:7:TOKEN": {"value": "hunter3", "protected": True}},
}
MASKED = (("settings", "shop:KEY"), ("settings", "shop:OLD"), ("user_settings", "shop:7:TOKEN"))


def fill(storage, contents=CONTENTS):
    with storage.transaction() as transaction:
        for table, records in contents.items():
            for key, record in records.items():
                transaction.put(table, key, record)


def contents_of(storage):
    with storage.transaction() as transaction:
        return {table: dict(transaction.items(table)) for table in transaction.tables()}


@pytest.fixture
def source():
    """Return a store with something in each kind of table."""
    storage = MemoryStorage()
    fill(storage)
    return storage


@pytest.fixture(params=["memory", "tinydb", "sqlite"])
def target(request, tmp_path):
    """Yield an empty store of each kind that is at hand everywhere."""
    storage = {
        "memory": MemoryStorage,
        "tinydb": lambda: TinyDBStorage(tmp_path / "target.json"),
        "sqlite": lambda: SQLStorage(f"sqlite:///{tmp_path}/target.db"),
    }[request.param]()
    yield storage
    storage.close()


class TestCopy:
    def test_moves_everything_there_and_back(self, source, target):
        """All tables and records arrive, in one commit, and come back the same."""
        copy(source, target)
        back = MemoryStorage()
        copy(target, back)

        assert contents_of(target) == contents_of(back) == CONTENTS
        assert target.revision() == 1
        assert source.revision() == 1

    def test_reaches_every_database(self, source, served):
        """A store moves from memory to a server, and from there to a file."""
        storage = served.open()
        copy(source, storage)

        assert contents_of(storage) == CONTENTS

    def test_refuses_a_store_that_is_not_empty(self, source, target):
        """Existing records stay, unless they may go; then none of them is left."""
        fill(target, {"old": {"k": {"n": 1}}, "plugins": {"shop": {"wanted": False}}})
        with pytest.raises(StorageError, match=r"not empty.*'old'.*replace=True"):
            copy(source, target)
        assert contents_of(target)["old"] == {"k": {"n": 1}}
        assert target.revision() == 1
        copy(source, target, replace=True)

        assert contents_of(target) == CONTENTS
        assert target.revision() == 2

    def test_refuses_a_store_onto_itself(self, target):
        """A store is not emptied to be filled from itself."""
        fill(target)
        with pytest.raises(StorageError, match="onto itself"):
            copy(target, target, replace=True)

        assert contents_of(target) == CONTENTS

    def test_keeps_those_who_write_waiting(self, source):
        """Nobody writes to either store meanwhile: both have the same records then."""

        class Watched(MemoryStorage):
            def transaction(self):
                writer.start()
                # It would be done long before, if it had not to wait.
                writer.join(0.2)
                self.writer_waits = writer.is_alive()
                return super().transaction()

        writer = threading.Thread(target=fill, args=(source, {"late": {"k": {}}}))
        watched = Watched()
        copy(source, watched)
        writer.join()
        assert watched.writer_waits
        assert {table: watched.read(table) for table in CONTENTS} == CONTENTS
        assert watched.read("late") == {}
        assert contents_of(source) == {**CONTENTS, "late": {"k": {}}}

    @pytest.mark.parametrize("kind", [TinyDBStorage, SQLStorage])
    def test_of_a_store_onto_itself_through_another_handle_is_refused(self, kind, tmp_path):
        """It does not wait for the lock that it holds itself, and nothing has changed."""
        place = str(tmp_path / "same")
        (tmp_path / "link").symlink_to(place)
        link = str(tmp_path / "link")
        if kind is SQLStorage:
            place, link = f"sqlite:///{place}", f"sqlite:///{link}"
        # Nobody would wait that long.
        one, two = kind(place, lock_timeout=86_400.0), kind(link, lock_timeout=86_400.0)
        with closing(one), closing(two):
            fill(one)
            with pytest.raises(StorageError, match="onto itself"):
                copy(one, two, replace=True)
            assert (contents_of(two), two.revision()) == (CONTENTS, 1)

    def test_of_a_store_onto_its_wrapper_is_refused_at_once(self, source):
        """One lock of one process is known to be held by this thread."""

        class Wrapper:
            transaction = source.transaction

        with pytest.raises(StorageError, match="inside another one"):
            copy(source, Wrapper(), replace=True)
        assert contents_of(source) == CONTENTS

    def test_is_of_one_moment(self, target):
        """Tables that are changed together are never copied from before and after a change."""
        done = threading.Event()

        def write():
            number = 0
            while not done.is_set():
                number += 1
                fill(target, {"a": {"k": {"n": number}}, "b": {"k": {"n": number}}})

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(20):
                taken = MemoryStorage()
                copy(target, taken)
                assert taken.read("a") == taken.read("b")
        finally:
            done.set()
            writer.join()


class TestExport:
    def test_leaves_out_protected_values(self, source):
        """Without being asked by name, no protected value is in the text; all the rest is.

        A value of which it is not said that it is none counts as protected.
        """
        text = export_json(source)
        tables = json.loads(text)["tables"]

        assert "hunter" not in text
        assert tables["plugins"] == CONTENTS["plugins"]
        assert tables["settings"]["shop:COLOUR"] == {"value": "red", "protected": False}
        assert tables["settings"]["shop:OLD"] == {"masked": True}
        assert tables["settings"]["shop:KEY"] == {
            "encrypted": False,
            "masked": True,
            "protected": True,
        }

    def test_has_them_when_asked_by_name(self, source):
        """With secrets=True everything is there."""
        assert json.loads(export_json(source, secrets=True)) == {"plugreg": 1, "tables": CONTENTS}

    def test_is_the_same_text_for_the_same_contents(self, source, target):
        """Neither the backend nor the order of writing shows in the text, so it can be compared."""
        backwards = {name: dict(reversed(table.items())) for name, table in CONTENTS.items()}
        fill(target, backwards)

        assert export_json(target, secrets=True) == export_json(source, secrets=True)


class TestImport:
    def test_gives_everything_back(self, source, target):
        """With its secrets a text makes the same store of an empty one, in one commit."""
        assert import_json(target, export_json(source, secrets=True)) == ()
        assert contents_of(target) == CONTENTS
        assert target.revision() == 1

    def test_skips_what_was_masked_and_tells(self, source, target):
        """A value that was left out is not invented: its record is not made."""
        assert import_json(target, export_json(source)) == MASKED
        assert contents_of(target) == {
            "plugins": CONTENTS["plugins"],
            "settings": {"shop:COLOUR": CONTENTS["settings"]["shop:COLOUR"]},
        }

    def test_keeps_a_value_that_was_masked(self, source, target):
        """Put back where it came from, a text without secrets changes none of them."""
        fill(target)
        fill(target, {"plugins": {"new": {}}, "settings": {"shop:COLOUR": {"value": "blue"}}})
        assert import_json(target, export_json(source), replace=True) == MASKED

        assert contents_of(target) == CONTENTS

    def test_refuses_a_store_that_is_not_empty(self, source, target):
        """Existing records stay, unless they may go."""
        fill(target, {"old": {"k": {}}})
        with pytest.raises(StorageError, match="replace=True"):
            import_json(target, export_json(source))

        assert contents_of(target) == {"old": {"k": {}}}

    def test_refuses_that_of_a_newer_plugreg(self, target):
        """An export of a newer plugreg is for it to import."""
        with pytest.raises(StorageFormatError, match="update plugreg"):
            import_json(target, '{"plugreg": 2, "tables": {}}')

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ("", "not JSON"),
            ("{", "not JSON"),
            ("[" * 100_000, "not JSON"),
            ("[]", "'plugreg'"),
            ('{"tables": {}}', "'plugreg'"),
            ('{"plugreg": true, "tables": {}}', "'plugreg'"),
            ('{"plugreg": 0, "tables": {}}', "format 0"),
            ('{"plugreg": 1}', "['tables']"),
            ('{"plugreg": 1, "tables": []}', "['tables']"),
            ('{"plugreg": 1, "tables": {"t": 1}}', "['tables']['t']"),
            ('{"plugreg": 1, "tables": {"t": {"k": [1]}}}', "['tables']['t']['k']"),
            ('{"plugreg": 1, "tables": {"t": {"k": {"x": NaN}}}}', "NaN"),
            ('{"plugreg": 1, "tables": {"t": {"k": {"x": 1, "x": 2}}}}', "'x' is twice"),
            ('{"plugreg": 1, "tables": {"t": {"k": {"x": 1e999}}}}', "'k' of table 't'"),
            ('{"plugreg": 1, "tables": {"t": {"k": {"x": "\\ud800"}}}}', "'k' of table 't'"),
        ],
    )
    def test_refuses_what_is_no_export(self, target, text, place):
        """The error has the place of the fault, and the store is as it was."""
        fill(target, {"old": {"k": {}}})
        with pytest.raises(StorageError) as caught:
            import_json(target, text, replace=True)

        assert place in str(caught.value)
        assert (contents_of(target), target.revision()) == ({"old": {"k": {}}}, 1)
