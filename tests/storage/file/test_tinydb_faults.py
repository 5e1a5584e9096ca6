"""Full disks and I/O errors at each system call of a write of a TinyDBStorage."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager

import pytest

from plugreg.exceptions import StorageUnavailableError
from plugreg.storage import TinyDBStorage

CALLS = ["open", "read", "write", "fsync", "close", "replace", "chmod", "fstat", "stat"]
ERRORS = [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS]


def put(storage, key, record):
    with storage.transaction() as transaction:
        transaction.put("t", key, record)


@pytest.fixture
def path(tmp_path):
    """Return the path of a store in a folder of its own."""
    folder = tmp_path / "store"
    folder.mkdir()
    return folder / "plugins.json"


@contextmanager
def failing(monkeypatch, number=None, error=errno.EIO, only=lambda name, arguments: True):
    """Let the system call with this number fail; give the list of those that were made.

    As the system does, a failing ``close`` closes, and the others do nothing.
    """
    made = []

    def shim(name, real):
        def call(*arguments, **options):
            if not only(name, arguments):
                return real(*arguments, **options)
            made.append(name)
            if len(made) - 1 == number:
                if name == "close":
                    real(*arguments, **options)
                raise OSError(error, os.strerror(error))
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, shim(name, getattr(os, name)))
        yield made


def check_after_fault(path, storage, before):
    """See that the failed write left ``before``, and that the same object can write again."""
    fresh = TinyDBStorage(path)
    assert fresh.read("t") == storage.read("t") == before
    assert storage.revision() == fresh.revision()
    put(storage, "next", {"n": 3})
    assert storage.read("t") == TinyDBStorage(path).read("t") == {**before, "next": {"n": 3}}
    names = sorted(file.name for file in path.parent.iterdir())
    assert names == ["plugins.json", "plugins.json.lock"]


class TestFault:
    @pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
    @pytest.mark.parametrize("first", [True, False])
    def test_at_each_call_changes_nothing(self, path, monkeypatch, first, error):
        """Whichever call fails: the old state is readable, the error typed, the next write works.

        The exceptions are those after the commit, letting go of the lock: it is on disk by then.
        """
        seen = set()
        failed = 0
        for number in range(100):
            store = path.with_name(str(number)) / path.name
            store.parent.mkdir()
            storage = TinyDBStorage(store)
            before = {} if first else {"k": {"n": 1}}
            if not first:
                put(storage, "k", {"n": 1})
                store.chmod(0o640)
            with failing(monkeypatch, number, error) as made:
                try:
                    put(storage, "k", {"n": 2})
                except StorageUnavailableError as fault:
                    assert os.strerror(error) in fault.reason
                    assert fault.place in (str(store), f"{store}.lock")
                    failed += 1
                else:
                    before = {"k": {"n": 2}}
            check_after_fault(store, storage, before)
            if number >= len(made):
                break
            seen.add(made[number])
            # Nothing is reported as failed that has happened, nor the other way round.
            if made[number] in {"open", "write", "fsync", "replace", "chmod"}:
                assert before.get("k") != {"n": 2}
        else:
            pytest.fail("a write makes more calls than were tried")

        assert seen >= set(CALLS) - ({"chmod", "read"} if first else set())
        assert failed >= number - 2

    @pytest.mark.parametrize("all_fails", [False, True])
    def test_after_the_rename_is_taken_back_or_told(self, path, monkeypatch, all_fails):
        """A commit that cannot be flushed is undone; if that fails, the error says it was made."""
        storage, other = TinyDBStorage(path), TinyDBStorage(path)
        put(storage, "k", {"n": 1})
        real_fsync, real_write, broken = os.fsync, os.write, []

        def fsync(descriptor):
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                broken.append((other.revision(), other.read("t")))
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            real_fsync(descriptor)

        def write(*arguments):
            if broken and all_fails:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real_write(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            patch.setattr(os, "write", write)
            with pytest.raises(StorageUnavailableError) as caught:
                put(storage, "k", {"n": 2})

        assert broken == [(2, {"k": {"n": 2}})]
        assert ("was made, but may not survive" in caught.value.reason) is all_fails
        # Who read the change meanwhile sees by the revision that it is not the last word.
        assert (other.revision(), other.read("t")) == (
            (2, {"k": {"n": 2}}) if all_fails else (3, {"k": {"n": 1}})
        )
        check_after_fault(path, storage, other.read("t"))

    def test_in_looking_is_typed(self, path, monkeypatch):
        """A read that fails raises the typed error, and works again once the disk does."""
        storage = TinyDBStorage(path)
        put(storage, "k", {"n": 1})
        other = TinyDBStorage(path)
        put(other, "k", {"n": 2})
        for number in range(4):
            with failing(monkeypatch, number) as made:
                with pytest.raises(StorageUnavailableError, match=os.strerror(errno.EIO)):
                    TinyDBStorage(path)
                assert len(made) > number
        with failing(monkeypatch, 0), pytest.raises(StorageUnavailableError) as caught:
            storage.revision()

        assert caught.value.place == str(path)
        assert (storage.revision(), storage.read("t")) == (2, {"k": {"n": 2}})
