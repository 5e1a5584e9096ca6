"""Stores by their URLs: the kinds, their parts, and the errors for others."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from plugreg.exceptions import StorageCorruptError, StorageLockedError, StorageURLError
from plugreg.storage import MemoryStorage, SQLStorage, TinyDBStorage, open_storage


def put(storage, key, record):
    with storage.transaction() as transaction:
        transaction.put("t", key, record)


FILES = [("tinydb", TinyDBStorage), ("sqlite", SQLStorage)]


class TestSchemes:
    def test_memory_is_a_new_store_each_time(self):
        """Nothing names a store in memory, so that two are two."""
        one, two = open_storage("memory://"), open_storage("memory://")
        put(one, "k", {})

        assert type(one) is type(two) is MemoryStorage
        assert two.read("t") == {}

    @pytest.mark.parametrize(("scheme", "kind"), FILES)
    def test_a_file_may_have_an_absolute_path(self, tmp_path, scheme, kind):
        """Four slashes and a path from the root name that file; opening it again finds it."""
        path = tmp_path / "a b%20ü.store"
        storage = open_storage(f"{scheme}:///{path}")
        put(storage, "k", {"n": 1})
        storage.close()
        again = open_storage(f"{scheme}:///{path}")

        assert type(again) is kind
        assert again.read("t") == {"k": {"n": 1}}
        assert path.exists()
        again.close()

    @pytest.mark.parametrize(("scheme", "kind"), FILES)
    def test_a_file_may_have_a_relative_path(self, tmp_path, monkeypatch, scheme, kind):
        """Three slashes and a name mean a file in the working folder."""
        monkeypatch.chdir(tmp_path)
        storage = open_storage(f"{scheme}:///plugins.store")
        put(storage, "k", {})
        storage.close()

        assert type(storage) is kind
        assert (tmp_path / "plugins.store").exists()

    def test_a_server_is_reached(self, served):
        """The URL of a server opens its store, options of plugreg's own taken out."""
        storage = open_storage(served.url + "&lock_timeout=2.5")
        put(storage, "k", {"n": 1})

        assert type(storage) is SQLStorage
        assert served.open().read("t") == {"k": {"n": 1}}
        storage.close()

    def test_options_of_the_driver_reach_it(self, new_database):
        """A part of a server's URL that is not plugreg's is its driver's."""
        database = new_database("postgresql")
        marked = sa.make_url(database.url).update_query_dict({"application_name": database.prefix})
        storage = open_storage(marked.render_as_string(hide_password=False))
        found = database.server.execute(
            f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{database.prefix}'"
        )

        assert found == [(1,)]
        storage.close()


class TestOptions:
    @pytest.mark.parametrize(("scheme", "kind"), FILES)
    def test_lock_timeout_is_that_of_the_store(self, tmp_path, scheme, kind):
        """A lock is waited for as long as the URL says."""
        url = f"{scheme}:///{tmp_path}/plugins.store"
        holder, storage = open_storage(url), open_storage(f"{url}?lock_timeout=0.05")
        with holder.transaction(), pytest.raises(StorageLockedError) as caught:
            put(storage, "k", {})
        holder.close()
        storage.close()

        assert caught.value.seconds == 0.05

    def test_on_corrupt_is_that_of_the_store(self, tmp_path):
        """A damaged file is refused, or set aside where the URL says so."""
        path = tmp_path / "plugins.json"
        path.write_text("damaged")
        with pytest.raises(StorageCorruptError):
            open_storage(f"tinydb:///{path}")
        storage = open_storage(f"tinydb:///{path}?on_corrupt=set_aside")

        assert storage.read("t") == {}

    def test_prefix_is_that_of_the_store(self, tmp_path):
        """Two prefixes in one file are two stores."""
        url = f"sqlite:///{tmp_path}/plugins.db"
        one, two = open_storage(f"{url}?prefix=one_"), open_storage(f"{url}?prefix=two_")
        put(one, "k", {})

        assert (one.read("t"), two.read("t")) == ({"k": {}}, {})
        one.close()
        two.close()


WRONG = {
    "empty": ("", "memory://, tinydb://, sqlite://, postgresql"),
    "path": ("/srv/plugins.json", "must begin with"),
    "one-slash": ("tinydb:/plugins.json", "must begin with"),
    "misspelt": ("tinydbs:///x", "did you mean 'tinydb'"),
    "no-driver": ("postgresql://root:hunter2@h/d", "did you mean 'postgresql+psycopg'"),
    "other-driver": ("mysql+mysqldb://root:hunter2@h/d", "did you mean 'mysql+pymysql'"),
    "upper-case": ("SQLite:///x", "did you mean 'sqlite'"),
    "unknown": ("redis://:hunter2@h", "must begin with"),
    "password-before-scheme": ("root:hunter2@h://x", "must begin with"),
    "memory-with-path": ("memory:///x", "no path and no options"),
    "memory-with-option": ("memory://?lock_timeout=1", "no path and no options"),
    "tinydb-without-path": ("tinydb://", "three slashes"),
    "tinydb-with-host": ("tinydb://plugins.json", "three slashes"),
    "tinydb-with-prefix": ("tinydb:///x?prefix=a_", "no option 'prefix'"),
    "tinydb-on-corrupt": ("tinydb:///x?on_corrupt=ignore", "'ignore'"),
    "sqlite-without-path": ("sqlite:///", "three slashes"),
    "sqlite-in-memory": ("sqlite:///:memory:", "use MemoryStorage"),
    "tinydb-with-password": ("tinydb://root:hunter2@h/d", "three slashes"),
    "sqlite-with-password": ("sqlite://root:hunter2@h/d", "three slashes"),
    "sqlite-with-option": ("sqlite:///x?mode=ro", "no option 'mode'"),
    "time-out-no-number": ("sqlite:///x?lock_timeout=soon", "a number of seconds"),
    "time-out-negative": ("tinydb:///x?lock_timeout=-1", "at least 0"),
    "prefix-no-name": ("sqlite:///x?prefix=a-b", "prefix="),
    "server-time-out": ("mysql+pymysql://root:hunter2@h/d?lock_timeout=nan", "at least 0"),
    "server-prefix-twice": (
        "postgresql+psycopg://root:hunter2@h/d?prefix=a_&prefix=b_",
        "more than once",
    ),
    "server-at": ("postgresql+psycopg://root:x@hunter2@h/d", "write %40"),
    "server-at-and-slash": ("mysql+pymysql://root:x@hunter2/y@h/d", "write %40"),
    "nothing": (None, "must be a string"),
    "bytes": (b"memory://", "must be a string"),
    "server-port": ("mysql+pymysql://root:hunter2@h:port/d", "no URL of a database"),
    "server-option": (
        "mysql+pymysql://root:hunter2@h/d?nope=1&connect_timeout=x",
        "not understand",
    ),
}


class TestRefusal:
    @pytest.mark.parametrize(("url", "words"), WRONG.values(), ids=WRONG.keys())
    def test_says_what_is_wrong(self, tmp_path, monkeypatch, url, words):
        """The error is one type, has the remedy and no password, and nothing was made."""
        monkeypatch.chdir(tmp_path)
        with pytest.raises(StorageURLError) as caught:
            open_storage(url)

        assert words in caught.value.reason
        assert "hunter2" not in str(caught.value)
        assert isinstance(caught.value, ValueError)
        assert list(tmp_path.iterdir()) == []
