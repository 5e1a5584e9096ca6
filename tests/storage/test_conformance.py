"""The contract of every storage: each test runs on each backend."""

from __future__ import annotations

import enum
import json
import math
import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugreg.exceptions import StorageError
from plugreg.storage.base import MAX_DEPTH, MAX_INT_BITS, MAX_KEY_BYTES, MAX_TABLE_BYTES


def put(storage, table, key, record):
    with storage.transaction() as transaction:
        transaction.put(table, key, record)


class TestRead:
    def test_a_table_nobody_has_written_to_is_empty(self, storage):
        """An unknown table reads as an empty mapping, and asking for it does not make a commit."""
        assert storage.read("unknown") == {}
        assert storage.revision() == 0

    def test_gives_what_was_put(self, storage):
        """Every kind of JSON value comes back equal, of the same type, under its own key."""
        record = {"none": None, "yes": True, "int": -(2**80), "float": 0.1, "text": "ü\n\0\u2028😀"}
        record["nested"] = {"": [1, 1.0, True, [], {}, "x"]}
        put(storage, "settings", "a/b ü", record)

        assert list(storage.read("settings")) == ["a/b ü"]
        assert json.dumps(storage.read("settings")["a/b ü"]) == json.dumps(record)

    def test_is_sorted_by_key(self, storage):
        """The same contents read in the same order, however they came to be there."""
        for key in ("b", "c", "a", "Z", "10", "9"):
            put(storage, "t", key, {})
        put(storage, "t", "b", {"again": True})

        assert list(storage.read("t")) == ["10", "9", "Z", "a", "b", "c"]

    def test_tables_are_apart(self, storage):
        """The same key in two tables names two records."""
        put(storage, "one", "key", {"of": "one"})
        put(storage, "two", "key", {"of": "two"})

        assert storage.read("one") == {"key": {"of": "one"}}
        assert storage.read("two") == {"key": {"of": "two"}}

    def test_is_a_copy(self, storage):
        """Whatever a caller does to a record that it has read, the store keeps its own."""
        put(storage, "t", "k", {"list": [{"x": 1}]})
        table = storage.read("t")
        table["k"]["list"][0]["x"] = 2
        table["k"]["more"] = 1
        del table["k"]

        assert storage.read("t") == {"k": {"list": [{"x": 1}]}}

    def test_inside_a_transaction_shows_the_last_commit(self, storage):
        """A read neither waits for a transaction nor sees into it, even from its own thread."""
        put(storage, "t", "k", {"n": 1})
        with storage.transaction() as transaction:
            transaction.put("t", "k", {"n": 2})

            assert storage.read("t") == {"k": {"n": 1}}
        assert storage.read("t") == {"k": {"n": 2}}


class TestTransaction:
    def test_get_of_nothing_is_none(self, storage):
        """Neither an unknown table nor an unknown key is an error."""
        put(storage, "t", "k", {})
        with storage.transaction() as transaction:
            assert transaction.get("t", "other") is None
            assert transaction.get("other", "k") is None
            assert transaction.get("t", "k") == {}

    def test_put_replaces_the_whole_record(self, storage):
        """A put leaves no field of the record before it."""
        put(storage, "t", "k", {"old": 1, "both": 1})
        put(storage, "t", "k", {"both": 2})

        assert storage.read("t") == {"k": {"both": 2}}

    def test_delete_returns_whether_there_was_one(self, storage):
        """True exactly when a record was there for this transaction; then it is gone."""
        put(storage, "t", "k", {})
        with storage.transaction() as transaction:
            assert transaction.delete("t", "k") is True
            assert transaction.delete("t", "k") is False
            assert transaction.delete("none", "k") is False
            transaction.put("t", "new", {})
            assert transaction.delete("t", "new") is True
        assert storage.read("t") == {}

    def test_sees_its_own_changes(self, storage):
        """Get and items show the puts and deletes made so far, items in the order of keys."""
        put(storage, "t", "b", {"n": 1})
        put(storage, "t", "c", {"n": 1})
        with storage.transaction() as transaction:
            transaction.put("t", "a", {"n": 2})
            transaction.put("t", "c", {"n": 2})
            transaction.delete("t", "b")

            assert transaction.get("t", "b") is None
            assert transaction.get("t", "c") == {"n": 2}
            assert list(transaction.items("t")) == [("a", {"n": 2}), ("c", {"n": 2})]
            assert list(transaction.items("other")) == []

    def test_lists_the_tables_that_have_records(self, storage):
        """Tables are those of the moment, its own changes included, without emptied tables."""
        put(storage, "b", "k", {})
        put(storage, "gone", "k", {})
        with storage.transaction() as transaction:
            assert transaction.tables() == ["b", "gone"]
            transaction.put("a", "k", {})
            transaction.put("Z", "k", {})
            transaction.delete("Z", "k")
            transaction.delete("gone", "k")
            transaction.get("unknown", "k")
            assert transaction.tables() == ["a", "b"]
        with storage.transaction() as transaction:
            assert transaction.tables() == ["a", "b"]

    def test_distinguishes_keys_by_every_character(self, storage):
        """Case, accents, blanks and NUL count, in tables as in keys, in every database."""
        names = ["", " ", "a", "a ", "A", "ä", "a\u0308", "\0", "a\0", "😀", "%", "_", "\\", "'"]
        with storage.transaction() as transaction:
            for name in names:
                transaction.put("t", name, {"key": name})
                transaction.put(name, "k", {"table": name})

        assert storage.read("t") == {name: {"key": name} for name in names}
        assert list(storage.read("t")) == sorted(names)
        assert all(storage.read(name) == {"k": {"table": name}} for name in names)
        with storage.transaction() as transaction:
            assert transaction.tables() == sorted([*names, "t"])
            assert transaction.delete("t", "a") is True
            assert transaction.get("t", "A") == {"key": "A"}

    def test_of_names_that_cannot_be_there_finds_nothing(self, storage):
        """A record that could not be put is not found, and asking for it is no error."""
        put(storage, "t", "k", {})
        with storage.transaction() as transaction:
            for table, key in (("t", "\ud800"), ("\ud800", "k"), ("t", "k" * 5000)):
                assert transaction.get(table, key) is None
                assert transaction.delete(table, key) is False
            assert list(transaction.items("\ud800")) == []
        assert storage.read("\ud800") == {}

    def test_may_change_what_it_iterates_over(self, storage):
        """Items are those of the call: putting and deleting in the loop neither skips nor adds."""
        for key in "abc":
            put(storage, "t", key, {})
        seen = []
        with storage.transaction() as transaction:
            for key, _ in transaction.items("t"):
                seen.append(key)
                transaction.delete("t", key)
                transaction.put("t", key + key, {})

        assert seen == ["a", "b", "c"]
        assert list(storage.read("t")) == ["aa", "bb", "cc"]

    def test_copies_in_and_out(self, storage):
        """Nothing given to a transaction, or got from it, shares anything with the store."""
        given_record = {"list": [1]}
        with storage.transaction() as transaction:
            transaction.put("t", "k", given_record)
            given_record["list"].append(2)
            transaction.get("t", "k")["list"].append(3)
            next(iter(transaction.items("t")))[1]["list"].append(4)
            assert transaction.get("t", "k") == {"list": [1]}
        given_record["list"].append(5)
        with storage.transaction() as transaction:
            transaction.get("t", "k")["list"].append(6)
            next(iter(transaction.items("t")))[1]["list"].append(7)

        assert storage.read("t") == {"k": {"list": [1]}}

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, StorageError])
    def test_that_raises_changes_nothing(self, storage, error):
        """Whatever is raised passes on as it is, and none of the changes has happened."""
        put(storage, "t", "k", {"n": 1})
        thrown = error("from inside")

        def fail():
            with storage.transaction() as transaction:
                transaction.put("t", "k", {"n": 2})
                transaction.put("u", "k", {})
                transaction.delete("t", "k")
                raise thrown

        with pytest.raises(error) as caught:
            fail()

        assert caught.value is thrown
        assert (storage.read("t"), storage.read("u")) == ({"k": {"n": 1}}, {})
        assert storage.revision() == 1

    def test_after_one_that_raised_comes_the_next(self, storage):
        """A transaction that was rolled back leaves no lock and no change behind."""

        def interrupted():
            with storage.transaction() as transaction:
                transaction.put("t", "lost", {})
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        put(storage, "t", "kept", {})

        assert storage.read("t") == {"kept": {}}

    def test_nested_is_refused_and_the_outer_one_goes_on(self, storage):
        """A second transaction of the same thread raises at once; the first is not harmed."""
        with storage.transaction() as transaction:
            transaction.put("t", "before", {})
            with pytest.raises(StorageError, match="inside another one"), storage.transaction():
                pass
            transaction.put("t", "after", {})

        assert list(storage.read("t")) == ["after", "before"]

    def test_two_stores_may_be_changed_side_by_side(self, storage, storage_factory):
        """Nesting is refused within one store, not between two, which share nothing."""
        other = storage_factory()
        with storage.transaction() as one, other.transaction() as two:
            one.put("t", "k", {"in": 1})
            two.put("t", "k", {"in": 2})

        assert (storage.read("t"), other.read("t")) == ({"k": {"in": 1}}, {"k": {"in": 2}})

    @pytest.mark.parametrize("fails", [False, True])
    def test_is_refused_after_its_end(self, storage, fails):
        """No verb of an ended transaction does anything, however it ended."""
        try:
            with storage.transaction() as transaction:
                transaction.put("t", "k", {})
                if fails:
                    raise ValueError
        except ValueError:
            pass

        for use in (
            lambda: transaction.get("t", "k"),
            lambda: transaction.items("t"),
            transaction.tables,
            lambda: transaction.put("t", "late", {}),
            lambda: transaction.delete("t", "k"),
        ):
            with pytest.raises(StorageError, match="has ended"):
                use()
        assert "late" not in storage.read("t")

    def test_leaves_alone_what_nobody_asks_about(self, storage):
        """Records of a plugin that is not installed now outlive every other change."""
        gone = {"wanted": True, "settings": {"API_KEY": "kept"}}
        put(storage, "plugins", "gone", gone)
        put(storage, "old-table", "x", {"y": [1]})
        with storage.transaction() as transaction:
            transaction.put("plugins", "here", {})
            transaction.put("settings", "here", {})
            transaction.delete("plugins", "here")
        put(storage, "plugins", "other", {})

        assert storage.read("plugins") == {"gone": gone, "other": {}}
        assert storage.read("old-table") == {"x": {"y": [1]}}


class Colour(enum.StrEnum):
    RED = "red"


def cycle():
    record = {"list": []}
    record["list"].append(record)
    return record


def nested(levels):
    value = {}
    for _ in range(levels - 1):
        value = {"x": value}
    return value


REFUSED = {
    "nan": {"x": math.nan},
    "infinity": {"x": [-math.inf]},
    "tuple": {"x": (1, 2)},
    "set": {"x": {1}},
    "bytes": {"x": b"1"},
    "object": {"x": object()},
    "class": {"x": int},
    "enum": {"x": Colour.RED},
    "key-int": {1: "x"},
    "key-none": {"x": [{None: 1}]},
    "key-bool": {True: 1},
    "key-enum": {Colour.RED: 1},
    "key-surrogate": {"\ud800": 1},
    "surrogate": {"x": "a\udfffb"},
    "huge-int": {"x": 2**MAX_INT_BITS},
    "too-deep": nested(MAX_DEPTH + 1),
    "dict-subclass": {"x": OrderedDict()},
    "cycle": cycle(),
    "not-a-dict": [1],
    "none": None,
    "record-subclass": OrderedDict(a=1),
}


class TestRefusal:
    @pytest.mark.parametrize("record", REFUSED.values(), ids=REFUSED.keys())
    def test_of_what_is_no_json_record(self, storage, record):
        """A value that JSON would change or lose is refused by name; the transaction goes on."""
        put(storage, "plugins", "shop", {"n": 1})
        with storage.transaction() as transaction:
            with pytest.raises(StorageError) as caught:
                transaction.put("plugins", "shop", record)
            transaction.put("plugins", "other", {})

        assert "'shop'" in str(caught.value)
        assert "'plugins'" in str(caught.value)
        assert storage.read("plugins") == {"shop": {"n": 1}, "other": {}}

    @pytest.mark.parametrize(
        ("table", "key"), [("t", 5), ("t", None), (b"t", "k"), ("\ud800", "k"), ("t", "\ud800")]
    )
    def test_of_names_that_are_no_text(self, storage, table, key):
        """A table and a key are text; nothing else is turned into it."""
        with (
            storage.transaction() as transaction,
            pytest.raises(StorageError, match="must be a str"),
        ):
            transaction.put(table, key, {})

        assert storage.revision() == 0

    @pytest.mark.parametrize(
        ("table", "key", "word"),
        [("t" * 256, "k", "table"), ("ü" * 128, "k", "table"), ("t", "ü" * 513, "key")],
    )
    def test_of_names_that_are_too_long(self, storage, table, key, word):
        """No longer name is taken than every database can keep, so that stores can be moved."""
        with (
            storage.transaction() as transaction,
            pytest.raises(StorageError, match=f"its {word}, which begins with"),
        ):
            transaction.put(table, key, {})

        assert storage.revision() == 0

    def test_says_where_and_not_what(self, storage):
        """The message has the place of the value in the record; the value may be a secret."""
        with storage.transaction() as transaction, pytest.raises(StorageError) as caught:
            transaction.put("t", "k", {"user": {"keys": ["ok", ("hunter2",)]}})

        assert "['user']['keys'][1]" in str(caught.value)
        assert "'tuple'" in str(caught.value)
        assert "hunter2" not in str(caught.value)

    def test_stops_at_the_limits(self, storage):
        """The deepest record and the widest integers allowed come back as they were."""
        record = nested(MAX_DEPTH)
        record["ints"] = [2**MAX_INT_BITS - 1, 1 - 2**MAX_INT_BITS]
        put(storage, "t", "k", record)

        assert storage.read("t") == {"k": record}

    def test_stops_at_the_longest_names(self, storage):
        """The longest table and key that are allowed can be stored, and found again."""
        table, key = "ü" * (MAX_TABLE_BYTES // 2), "😀" * (MAX_KEY_BYTES // 4)
        put(storage, table, key, {"n": 1})

        assert storage.read(table) == {key: {"n": 1}}

    def test_is_of_no_size(self, storage):
        """A record of a million characters is kept like any other."""
        put(storage, "t", "k", {"text": "ü\0'" * 333_333})

        assert storage.read("t") == {"k": {"text": "ü\0'" * 333_333}}


class TestRevision:
    def test_counts_commits(self, storage):
        """A new store has 0; each commit adds one, whatever it changed, and how much."""
        assert storage.revision() == 0
        put(storage, "t", "a", {})
        assert storage.revision() == 1
        with storage.transaction() as transaction:
            transaction.put("t", "b", {})
            transaction.put("u", "c", {})
            transaction.delete("t", "a")
            assert storage.revision() == 1
        assert storage.revision() == 2

    def test_a_put_counts_even_of_what_is_there(self, storage):
        """A put of an equal record is a commit, and so is a put that a delete undoes."""
        put(storage, "t", "a", {"n": 1})
        put(storage, "t", "a", {"n": 1})
        assert storage.revision() == 2
        with storage.transaction() as transaction:
            transaction.put("t", "b", {})
            transaction.delete("t", "b")
        assert storage.revision() == 3

    def test_stays_when_nothing_was_put_or_deleted(self, storage):
        """Reading, deleting a missing record, and a refused put commit nothing."""
        put(storage, "t", "a", {})
        storage.read("t")
        with storage.transaction() as transaction:
            transaction.get("t", "a")
            list(transaction.items("t"))
            transaction.delete("t", "other")
            with pytest.raises(StorageError):
                transaction.put("t", "a", {"x": ()})

        assert storage.revision() == 1


class TestClose:
    def test_refuses_every_verb_afterwards(self, storage):
        """A closed store answers nothing, not even the making of a transaction."""
        put(storage, "t", "k", {})
        storage.close()

        for use in (lambda: storage.read("t"), storage.revision, storage.transaction):
            with pytest.raises(StorageError, match="closed"):
                use()

    def test_refuses_a_transaction_that_was_not_entered_yet(self, storage):
        """A context manager from before the close cannot begin after it."""
        manager = storage.transaction()
        storage.close()

        with pytest.raises(StorageError, match="closed"), manager:
            pass

    def test_twice_is_once(self, storage):
        """Closing again does nothing and raises nothing; the store stays closed."""
        storage.close()
        storage.close()

        with pytest.raises(StorageError, match="closed"):
            storage.read("t")

    def test_lets_a_transaction_under_way_end(self, storage):
        """A transaction that began before the close is committed; one that waited is refused."""
        waiting = threading.Event()

        def late():
            waiting.set()
            put(storage, "t", "late", {})

        with ThreadPoolExecutor(1) as pool:
            with storage.transaction() as transaction:
                other = pool.submit(late)
                waiting.wait()
                storage.close()
                transaction.put("t", "k", {})
                assert transaction.get("t", "k") == {}
            with pytest.raises(StorageError, match="closed"):
                other.result()


class TestThreads:
    def test_lose_no_update(self, storage):
        """Eight threads that read and then write in one transaction each count every time."""
        threads, rounds = 8, 40
        start = threading.Barrier(threads)

        def work(number):
            start.wait()
            for _ in range(rounds):
                with storage.transaction() as transaction:
                    for key in ("shared", f"own-{number}"):
                        count = (transaction.get("t", key) or {"n": 0})["n"]
                        time.sleep(0.0005)  # The others come in between where they can.
                        transaction.put("t", key, {"n": count + 1})

        with ThreadPoolExecutor(threads) as pool:
            for future in [pool.submit(work, number) for number in range(threads)]:
                future.result()

        expected = {"shared": {"n": threads * rounds}}
        expected |= {f"own-{number}": {"n": rounds} for number in range(threads)}
        assert storage.read("t") == expected
        assert storage.revision() == threads * rounds

    def test_read_no_half_transaction(self, storage):
        """Readers beside a writer see all changes of a commit or none, and never go back."""
        done = threading.Event()

        def watch():
            seen = [0]
            while not done.is_set():
                table = storage.read("t")
                numbers = [table[key]["n"] for key in sorted(table)]
                seen.append(numbers[0] if numbers else 0)
                assert numbers in ([], [seen[-1]] * 3)
            return seen

        with ThreadPoolExecutor(3) as pool:
            readers = [pool.submit(watch) for _ in range(3)]
            try:
                for number in range(1, 150):
                    with storage.transaction() as transaction:
                        for key in "abc":
                            transaction.put("t", key, {"n": number})
            finally:
                done.set()
            for reader in readers:
                seen = reader.result()
                assert seen == sorted(seen)

    def test_a_failed_transaction_does_not_keep_the_others_out(self, storage):
        """A thread that fails in its transaction lets the next thread in."""

        def fail():
            with storage.transaction() as transaction:
                transaction.put("t", "failed", {})
                raise ValueError("on purpose")

        with ThreadPoolExecutor(1) as pool:
            with pytest.raises(ValueError, match="on purpose"):
                pool.submit(fail).result()
            pool.submit(put, storage, "t", "next", {}).result()

        assert storage.read("t") == {"next": {}}


names = st.sampled_from(["", "a", "b", "ü", "10", "9"])
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
scalars |= st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
records = st.dictionaries(st.text(max_size=3), values, max_size=3)
steps = st.one_of(
    st.tuples(st.just("put"), names, names, records),
    st.tuples(st.just("delete"), names, names),
    st.tuples(st.just("get"), names, names),
    st.tuples(st.just("items"), names),
)


def exact(value):
    """Text that differs between 1, 1.0 and True, which ``==`` does not; floats by their digits."""
    return json.dumps(value, sort_keys=True)


def check_step(transaction, model, step):
    """Do one step in the transaction and in a dict of dicts, and compare the answers."""
    verb, table, *rest = step
    answer = getattr(transaction, verb)(table, *rest)
    if verb == "put":
        key, record = rest
        model.setdefault(table, {})[key] = record
        assert answer is None
    elif verb == "delete":
        assert answer is (model.get(table, {}).pop(rest[0], None) is not None)
    elif verb == "get":
        assert exact(answer) == exact(model.get(table, {}).get(rest[0]))
    else:
        assert exact(list(answer)) == exact(sorted(model.get(table, {}).items()))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=st.lists(st.tuples(st.lists(steps, max_size=8), st.booleans()), max_size=6))
def test_any_history_gives_what_a_dict_would_give(storage_factory, history):
    """A store is a dict of dicts, replaced by each transaction that commits and by no other."""
    storage = storage_factory()
    model, revision = {}, 0
    for wanted, commits in history:
        draft = {table: dict(content) for table, content in model.items()}
        written = False
        try:
            with storage.transaction() as transaction:
                for step in wanted:
                    deletes = step[0] == "delete" and step[2] in draft.get(step[1], {})
                    check_step(transaction, draft, step)
                    written = written or step[0] == "put" or deletes
                if not commits:
                    raise LookupError
        except LookupError:
            pass
        else:
            model, revision = draft, revision + written
        for table in ("", "a", "b", "ü", "10", "9"):
            found = storage.read(table)
            assert exact(found) == exact(model.get(table, {}))
            assert list(found) == sorted(found)
        assert storage.revision() == revision
    storage.close()
