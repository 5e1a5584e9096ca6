"""The lock of a file: over processes, over a fork in the middle, and after a file that went."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import filelock
import pytest

from plugreg.exceptions import StorageLockedError, StorageUnavailableError
from plugreg.storage import TinyDBStorage
from plugreg.storage.file import locking
from plugreg.storage.file.locking import FileLock

FORKED = """
import os, sys
from plugreg.exceptions import StorageError
from plugreg.storage import MemoryStorage, TinyDBStorage

path, what = sys.argv[1:]
storage = MemoryStorage() if path == "memory" else TinyDBStorage(path)

def begin(other, key):
    try:
        with other.transaction() as transaction:
            transaction.put("t", key, {})
        return "begun"
    except StorageError as error:
        return str(error)

def child():
    if what == "inside":
        with storage.transaction() as transaction:
            if os.fork():
                return os.wait()
            print(begin(storage, "child"), storage.read("t"), sep="|", flush=True)
            os._exit(0)
    if what == "left":
        try:
            with storage.transaction() as transaction:
                if os.fork():
                    os.wait()
                    # The child has left its block: the lock must still be this process's.
                    print(begin(TinyDBStorage(path, lock_timeout=0), "thief"), flush=True)
                    return
        except StorageError as error:
            print(error, flush=True)
        os._exit(0)
    if what == "killed":
        with storage.transaction() as transaction:
            if not os.fork():
                print("alive", flush=True)
                sys.stdin.readline()
                os._exit(0)
            os.kill(os.getpid(), 9)

child()
print(begin(storage, "parent"), sorted(storage.read("t")), sep="|")
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.json"


def descriptors(path=None):
    """Return the open descriptors of this process, or those of one file."""
    found = []
    for descriptor in Path("/dev/fd").iterdir():
        with suppress(OSError):  # The descriptor of this very listing is closed by now.
            if path is None or descriptor.samefile(path):
                found.append(descriptor.stat())
    return found


def held(lock, seconds=0.0):
    return lock.held(seconds, time.monotonic() + seconds)


class TestFork:
    @pytest.mark.parametrize("store", ["memory", "file"])
    def test_inside_a_transaction_is_told_at_once(self, path, run_python, store):
        """A child may read, and beginning another transaction raises: it does not wait."""
        lines = run_python(FORKED, "memory" if store == "memory" else path, "inside").splitlines()

        assert lines == [
            "this process was forked inside a transaction, which stays its parent's; "
            "leave its with block before beginning another one|{}",
            "begun|['parent']",
        ]

    def test_does_not_give_the_lock_away(self, path, run_python):
        """A child that leaves its copy of the block does not unlock its parent's lock."""
        lines = run_python(FORKED, path, "left").splitlines()

        assert lines[0].startswith("this transaction belongs to the process that began it")
        assert lines[1].startswith(f"lock '{path}.lock' could not be acquired")
        assert lines[2] == "begun|['parent']"

    def test_does_not_keep_the_lock_of_a_killed_parent(self, path, start_python):
        """The lock ends with its process, though a child that was forked meanwhile lives on."""
        process = start_python(FORKED, path, "killed")
        assert process.stdout.readline() == "alive\n"
        process.wait(timeout=60)
        storage = TinyDBStorage(path, lock_timeout=5)
        with storage.transaction() as transaction:
            transaction.put("t", "k", {})

        assert storage.read("t") == {"k": {}}


class TestFileLock:
    def test_keeps_others_out_while_it_is_held(self, path):
        """Another object, of this or of another process, has it only after the block."""
        one, two = FileLock(str(path)), FileLock(str(path))
        with held(one):
            with pytest.raises(StorageLockedError) as caught, held(two, 0.02):
                pass
            with pytest.raises(filelock.Timeout):
                filelock.FileLock(path).acquire(timeout=0)
        assert (caught.value.lock, caught.value.seconds) == (str(path), 0.02)
        with held(two), pytest.raises(StorageLockedError), held(one):
            pass

    def test_is_waited_for(self, path):
        """Whoever asks in time has it when the holder lets go."""
        one, two = FileLock(str(path)), FileLock(str(path))

        def wait():
            with held(two, 60.0):
                return "acquired"

        with ThreadPoolExecutor(1) as pool:
            with held(one):
                waiting = pool.submit(wait)
                assert not waiting.done()
            assert waiting.result() == "acquired"

    def test_whose_file_is_removed_meanwhile_is_that_of_the_new_one(self, path):
        """Two processes never hold the lock of one name, each on a file of its own."""
        one, two, three = (FileLock(str(path)) for _ in range(3))

        def wait():
            with held(two, 60.0), pytest.raises(StorageLockedError), held(three):
                pass

        with ThreadPoolExecutor(1) as pool:
            with held(one):
                waiting = pool.submit(wait)
                while len(descriptors(path)) < 2:
                    time.sleep(0.001)
                path.unlink()
            waiting.result()

        assert path.exists()

    def test_that_an_interrupt_kept_is_had_again(self, path, monkeypatch):
        """Ctrl-C in the middle of letting go does not lock the object out of its own lock."""
        lock = FileLock(str(path))

        def interrupt(descriptor):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(locking, "_unlock", interrupt)
            with pytest.raises(KeyboardInterrupt), held(lock):
                pass
        with held(lock):
            pass
        with held(FileLock(str(path))):
            pass

    def test_that_cannot_be_opened_is_named(self, path):
        """Where there is no folder for it, the error is typed and has the path."""
        missing = path / "none" / "lock"
        with pytest.raises(StorageUnavailableError) as caught, held(FileLock(str(missing))):
            pass

        assert caught.value.place == str(missing)

    @pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
    def test_is_a_regular_file(self, path, kind):
        """Whatever else is at its path is refused at once, and nothing is made through it."""
        target = path.with_name("target")
        make = {
            "pipe": lambda: os.mkfifo(path),
            "folder": path.mkdir,
            "link": lambda: path.symlink_to(target),
        }
        make[kind]()
        with pytest.raises(StorageUnavailableError) as caught, held(FileLock(str(path))):
            pass

        assert caught.value.place == str(path)
        assert not target.exists()

    def test_leaves_no_descriptor_behind(self, path):
        """Locking, failing to lock and dropping the object leave nothing open."""
        before = len(descriptors())
        for _ in range(50):
            lock = FileLock(str(path))
            with held(lock), pytest.raises(StorageLockedError), held(FileLock(str(path))):
                pass

        assert len(descriptors()) == before
