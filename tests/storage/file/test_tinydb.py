"""Guarantees of TinyDBStorage beside the contract: its file, other processes, and its lock."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import filelock
import pytest

from plugreg.exceptions import StorageLockedError, StorageUnavailableError
from plugreg.storage import TinyDBStorage


@pytest.fixture
def path(tmp_path):
    """Return the path of a store that is not there yet, in a folder of its own."""
    folder = tmp_path / "store"
    folder.mkdir()
    return folder / "plugins.json"


def put(storage, key, record, table="t"):
    with storage.transaction() as transaction:
        transaction.put(table, key, record)


def names(path):
    return sorted(file.name for file in path.parent.iterdir())


class TestImport:
    def test_of_the_package_imports_no_library(self, run_python):
        """TinyDB is imported when TinyDBStorage is asked for, and not before."""
        program = """
import sys
import plugreg.storage
print("tinydb" in sys.modules, "TinyDBStorage" in dir(plugreg.storage))
plugreg.storage.TinyDBStorage
print("tinydb" in sys.modules)
"""

        assert run_python(program).splitlines() == ["False True", "True"]

    def test_of_an_unknown_name_fails(self):
        """The lazy package has no attribute but those it lists."""
        import plugreg.storage

        with pytest.raises(AttributeError, match="'FileStorage'"):
            plugreg.storage.FileStorage  # noqa: B018 - the access is tested


class TestOpening:
    def test_of_a_missing_file_is_an_empty_store(self, path):
        """Opening, reading and a transaction without changes make no file; a commit makes it."""
        storage = TinyDBStorage(path)
        assert storage.read("t") == {}
        with storage.transaction() as transaction:
            transaction.delete("t", "k")
        assert not path.exists()
        put(storage, "k", {})

        assert names(path) == ["plugins.json", "plugins.json.lock"]

    def test_finds_everything_again(self, path):
        """Records of one object are read by another that is opened later, revision included."""
        storage = TinyDBStorage(path)
        put(storage, "ü", {"x": [1, {"y": "😀\u2028"}]})
        put(storage, "k", {}, table="other")
        storage.close()
        again = TinyDBStorage(str(path))
        put(again, "more", {})

        assert again.read("t") == {"more": {}, "ü": {"x": [1, {"y": "😀\u2028"}]}}
        assert TinyDBStorage(path).read("other") == {"k": {}}
        assert TinyDBStorage(path).revision() == 3

    def test_in_a_missing_folder_is_refused(self, tmp_path):
        """No folder is made; the error names the file and the folder."""
        path = tmp_path / "none" / "plugins.json"
        with pytest.raises(StorageUnavailableError, match="no folder") as caught:
            TinyDBStorage(path)

        assert caught.value.place == str(path)
        assert not path.parent.exists()

    @pytest.mark.parametrize("on_corrupt", ["raise", "set_aside"])
    @pytest.mark.parametrize("kind", ["folder", "pipe", "loop"])
    def test_of_what_is_no_file_is_refused(self, path, kind, on_corrupt):
        """Neither read, nor waited for, nor replaced or renamed: it may be somebody else's."""
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(path.name)
        before = os.lstat(path)
        with pytest.raises(StorageUnavailableError) as caught:
            TinyDBStorage(path, on_corrupt=on_corrupt)

        assert caught.value.place == str(path)
        assert os.path.samestat(os.lstat(path), before)
        assert names(path) == ["plugins.json"]

    def test_that_the_system_refuses_is_no_damage(self, path, monkeypatch):
        """A file that may not be read now may be a good one: it is not set aside."""
        put(TinyDBStorage(path), "k", {})
        content = path.read_bytes()

        def refuse(*arguments, **options):
            raise PermissionError(13, "Permission denied")

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", refuse)
            with pytest.raises(StorageUnavailableError, match="Permission denied") as caught:
                TinyDBStorage(path, on_corrupt="set_aside")

        assert caught.value.place == str(path)
        assert path.read_bytes() == content
        assert names(path) == ["plugins.json", "plugins.json.lock"]

    @pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
    def test_with_no_sensible_time_out_is_refused(self, path, seconds):
        """A lock is waited for as long as was said, so that must be a number of seconds."""
        with pytest.raises(ValueError, match="lock_timeout"):
            TinyDBStorage(path, lock_timeout=seconds)

    def test_keeps_its_place_when_the_process_moves(self, path, monkeypatch, tmp_path):
        """A relative path means the folder at opening, whatever the working folder is later."""
        monkeypatch.chdir(path.parent)
        storage = TinyDBStorage(path.name)
        monkeypatch.chdir(tmp_path)
        put(storage, "k", {})

        assert TinyDBStorage(path).read("t") == {"k": {}}
        assert repr(str(path)) in repr(storage)

    def test_through_a_link_changes_the_file_it_names(self, path):
        """A symbolic link stays one; the lock is that of the file, so both names share it."""
        link = path.with_name("link.json")
        link.symlink_to(path)
        put(TinyDBStorage(link), "k", {})

        assert link.is_symlink()
        assert TinyDBStorage(path).read("t") == {"k": {}}
        assert names(path) == ["link.json", "plugins.json", "plugins.json.lock"]


class TestFile:
    def test_is_a_header_and_the_json_of_tinydb(self, path):
        """The layout is the documented one: anybody can check and read it without plugreg."""
        storage = TinyDBStorage(path)
        put(storage, "a", {"name": "ü"})
        put(storage, "b", {})
        head, body = path.read_bytes().split(b"\n", 1)

        digest = hashlib.sha256(b"1 2\n" + body).hexdigest()
        assert json.loads(head) == {"plugreg": 1, "revision": 2, "sha256": digest}
        assert json.loads(body) == {"t": {"a": {"name": "ü"}, "b": {}}}
        assert "ü".encode() in body

    def test_is_its_owners_alone(self, path):
        """A new store may hold secrets: nobody else reads it, whatever the umask."""
        before = os.umask(0)
        try:
            put(TinyDBStorage(path), "k", {})
        finally:
            os.umask(before)

        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}

    @pytest.mark.parametrize("mode", [0o640, 0o664, 0o600])
    def test_keeps_the_mode_it_was_given(self, path, mode):
        """The operator's permissions stay, and no others, although the file is a new one."""
        storage = TinyDBStorage(path)
        put(storage, "k", {})
        path.chmod(mode)
        put(storage, "k", {"n": 2})

        lock = path.with_name("plugins.json.lock")
        assert [stat.S_IMODE(file.stat().st_mode) for file in (path, lock)] == [mode, mode]

    def test_of_a_killed_write_is_swept_up(self, path):
        """A temporary file that a killed process left stops nobody; the next commit takes it."""
        path.with_name("plugins.json.tmp").write_bytes(b"half a st")
        put(TinyDBStorage(path), "k", {})

        assert TinyDBStorage(path).read("t") == {"k": {}}
        assert names(path) == ["plugins.json", "plugins.json.lock"]

    def test_that_is_gone_is_not_an_empty_store(self, path):
        """A running process takes no lost file for one that never was, and makes no new one."""
        storage = TinyDBStorage(path)
        put(storage, "k", {"n": 1})
        saved = path.with_name("saved")
        path.rename(saved)
        for use in (lambda: storage.read("t"), storage.revision, lambda: put(storage, "x", {})):
            with pytest.raises(StorageUnavailableError, match="is gone"):
                use()
        assert not path.exists()
        saved.rename(path)

        assert storage.read("t") == {"k": {"n": 1}}

    def test_may_be_read_while_it_is_first_made(self, path):
        """A reader beside the first commit sees an empty store or that commit, never an error."""
        with ThreadPoolExecutor(1) as pool:
            for number in range(200):
                storage = TinyDBStorage(path.with_name(f"{number}.json"))
                commit = pool.submit(put, storage, "k", {})
                while not commit.done():
                    assert storage.read("t") in ({}, {"k": {}})
                commit.result()

    def test_that_others_change_without_the_lock_is_not_overwritten(self, path):
        """Contents that came into the file meanwhile stay, and the transaction raises."""
        storage = TinyDBStorage(path)
        put(storage, "k", {"n": 1})
        copy = path.read_bytes()
        put(storage, "k", {"n": 2})

        def overtaken():
            with storage.transaction() as transaction:
                transaction.put("t", "k", {"n": 3})
                path.write_bytes(copy)
                storage.read("t")

        with pytest.raises(StorageUnavailableError, match="nothing was written"):
            overtaken()
        assert path.read_bytes() == copy
        put(storage, "other", {})

        assert storage.read("t") == {"k": {"n": 1}, "other": {}}

    def test_that_was_put_back_from_a_copy_is_read_again(self, path):
        """A restored file counts, even where an earlier commit of its revision is remembered."""
        storage = TinyDBStorage(path)
        put(storage, "k", {"from": "copy"})
        copy = path.read_bytes()
        path.unlink()
        other = TinyDBStorage(path)
        put(other, "k", {"from": "other"})
        assert (other.revision(), storage.read("t")) == (1, {"k": {"from": "other"}})
        path.write_bytes(copy)

        assert storage.read("t") == other.read("t") == {"k": {"from": "copy"}}


USERS = """
import grp, os, pwd, sys
from plugreg.exceptions import StorageUnavailableError
from plugreg.storage import TinyDBStorage

path = sys.argv[1]
os.umask(0o022)

def become(user, groups):
    os.setgroups(groups)
    os.setgid(groups[0])
    os.setuid(user)

def use(user, groups, key):
    '''Store something as this user of these groups, and print what came of it.'''
    sys.stdout.flush()
    if os.fork():
        os.wait()
        return
    become(user, groups)
    try:
        storage = TinyDBStorage(path, on_corrupt="set_aside")
        with storage.transaction() as transaction:
            transaction.put("t", key, {})
        print(*storage.read("t"))
    except StorageUnavailableError as error:
        print(error.reason.split(";")[0].split(":")[0])
    sys.stdout.flush()
    os._exit(0)

def give(group, mode):
    '''Have the store and its lock be what an operator makes of them.'''
    for name in (path, path + ".lock"):
        os.chown(name, -1, group)
        os.chmod(name, mode)

def show():
    status = os.stat(path)
    print(status.st_uid, status.st_gid, oct(status.st_mode & 0o7777))
"""

ANN, BOB, CREW = 61101, 61102, 62000
"""Two users, of whom nobody need know, with a group of the same number each, and one of both."""


class TestOwner:
    @pytest.fixture
    def as_users(self, run_python):
        """Yield a function that runs a program with the parts above, and returns its lines."""
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            reason = "only the superuser can act as other users"
            if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
                pytest.fail(f"{reason}, and PLUGREG_TEST_NO_SKIP=1 forbids to skip")
            pytest.skip(reason)
        folder = Path(tempfile.mkdtemp())
        folder.chmod(0o777)
        names = f"ANN, BOB, CREW = {ANN}, {BOB}, {CREW}\n"

        def run(program):
            return run_python(USERS + names + program, folder / "p.json").splitlines()

        run.folder = folder
        yield run
        shutil.rmtree(folder)

    def test_stays_when_the_superuser_commits(self, as_users):
        """A command that an operator runs as root does not lock the service out."""
        lines = as_users(
            "use(ANN, [ANN], 'a'); use(0, [0], 'root'); show(); use(ANN, [ANN], 'b'); show()"
        )

        assert lines == [
            "a",
            "a root",
            f"{ANN} {ANN} 0o600",
            "a b root",
            f"{ANN} {ANN} 0o600",
        ]

    def test_may_change_within_a_group_that_reads_and_writes(self, as_users):
        """The group and the mode are kept, so that all of it go on; so is a chgrp."""
        lines = as_users(
            "use(ANN, [ANN, CREW], 'a'); give(CREW, 0o660)\n"
            "use(BOB, [BOB, CREW], 'b'); show(); use(ANN, [ANN, CREW], 'c'); show()"
        )

        assert lines == [
            "a",
            "a b",
            f"{BOB} {CREW} 0o660",
            "a b c",
            f"{ANN} {CREW} 0o660",
        ]

    @pytest.mark.parametrize(
        ("mode", "user", "groups"),
        [
            (0o664, BOB, [BOB]),  # He may read it, but the group is none of his.
            (0o644, BOB, [BOB, CREW]),  # Ann could not write his file.
            (0o640, ANN, [ANN]),  # The crew could not read a file of Ann and her group.
        ],
    )
    def test_that_others_would_lose_is_refused(self, as_users, mode, user, groups):
        """A file whose owner cannot be kept is not replaced, and the error names the owner."""
        lines = as_users(
            f"use(ANN, [ANN], 'a'); give(CREW, {mode}); before = open(path, 'rb').read()\n"
            f"use({user}, {groups}, 'b'); show(); print(before == open(path, 'rb').read())"
        )

        assert lines[0] == "a"
        assert lines[1].startswith(f"it belongs to user {ANN} and group {CREW}, ")
        assert lines[2:] == [f"{ANN} {CREW} {oct(mode)}", "True"]
        assert sorted(file.name for file in as_users.folder.iterdir()) == [
            "p.json",
            "p.json.lock",
        ]

    def test_goes_on_with_another_group_where_it_may_do_nothing(self, as_users):
        """A service that is run with another group still writes its own files."""
        lines = as_users(
            "use(ANN, [ANN], 'a'); use(ANN, [CREW], 'b'); show(); give(BOB, 0o600)\n"
            "use(ANN, [ANN], 'c'); show()"
        )

        assert lines == ["a", "a b", f"{ANN} {CREW} 0o600", "a b c", f"{ANN} {ANN} 0o600"]

    def test_is_that_of_the_lock(self, as_users):
        """Nobody who may not read the store can hold its lock; an older lock is mended at once."""
        lines = as_users(
            "use(ANN, [ANN], 'a'); os.chmod(path + '.lock', 0o644); use(ANN, [ANN], 'b')\n"
            "use(BOB, [BOB], 'c'); path += '.lock'; show(); path = path[:-5]\n"
            "os.chown(path, -1, CREW); os.chmod(path, 0o660); use(0, [0], 'd')\n"
            "use(BOB, [BOB, CREW], 'e'); path += '.lock'; show()"
        )

        assert lines == [
            "a",
            "a b",
            "Permission denied",
            f"{ANN} {ANN} 0o600",
            "a b d",
            "a b d e",
            f"{ANN} {CREW} 0o660",
        ]

    def test_of_another_file_is_left_alone(self, as_users):
        """A second name of somebody's file in the lock's place gives that file to nobody."""
        lines = as_users(
            "use(ANN, [ANN], 'a'); store, other = path, path + '.other'\n"
            "open(other, 'w').close(); os.remove(path + '.lock'); os.link(other, path + '.lock')\n"
            "use(0, [0], 'b'); path = other; show()"
        )

        assert lines == ["a", "it is no plain file with one name", "0 0 0o644"]

    def test_stays_when_a_damaged_store_is_set_aside(self, as_users):
        """The empty store is its owner's too, or the damaged one stays where it is."""
        lines = as_users(
            "use(ANN, [ANN], 'a'); give(ANN, 0o644); open(path, 'r+b').write(b'damaged')\n"
            "use(BOB, [BOB], 'b'); show(); print(open(path, 'rb').read(7))\n"
            "use(0, [0], 'root'); show()"
        )

        assert lines == [
            "a",
            "it is damaged and stays",
            f"{ANN} {ANN} 0o644",
            "b'damaged'",
            "root",
            f"{ANN} {ANN} 0o644",
        ]


FORKED = """
import os, sys, threading
from plugreg.exceptions import StorageError
from plugreg.storage import TinyDBStorage

storage = TinyDBStorage(sys.argv[1])

def put(key):
    with storage.transaction() as transaction:
        transaction.put("t", key, {})

def forked(function):
    sys.stdout.flush()
    child = os.fork()
    if not child:
        function()
        sys.stdout.flush()
        os._exit(0)
    return child

put("parent before")
os.waitpid(forked(lambda: put("child")), 0)
put("parent after")

# The fork happens while another thread of the parent is in a transaction.
inside, leave = threading.Event(), threading.Event()
def hold():
    with storage.transaction() as transaction:
        transaction.put("t", "thread", {})
        inside.set()
        leave.wait()
thread = threading.Thread(target=hold)
thread.start()
inside.wait()
child = forked(lambda: put("child beside a thread"))
leave.set()
thread.join()
os.waitpid(child, 0)

# The fork happens inside the transaction: it stays the parent's.
try:
    with storage.transaction() as transaction:
        transaction.put("t", "forked inside", {})
        child = os.fork()
        if not child:
            try:
                transaction.put("t", "stolen", {})
            except StorageError as error:
                print(error)
except StorageError as error:
    print(error)
if not child:
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
print(sorted(storage.read("t")))
"""


class TestProcesses:
    def test_see_each_others_commits(self, path):
        """Reads and transactions of an open object show the commits of another since."""
        one, two = TinyDBStorage(path), TinyDBStorage(path)
        put(one, "k", {"n": 1})
        assert two.read("t") == {"k": {"n": 1}}
        put(two, "k", {"n": 2})
        assert (one.revision(), one.read("t")) == (2, {"k": {"n": 2}})
        put(one, "other", {})
        with two.transaction() as transaction:
            assert dict(transaction.items("t")) == {"k": {"n": 2}, "other": {}}

    def test_may_fork(self, path, run_python):
        """An object made before a fork works in the child; a transaction stays its parent's."""
        lines = run_python(FORKED, path).splitlines()
        expected = ["child", "child beside a thread", "forked inside", "parent after"]

        assert [line.split(";")[0] for line in lines[:2]] == [
            "this transaction belongs to the process that began it"
        ] * 2
        assert lines[2:] == [repr([*expected, "parent before", "thread"])]


class TestLock:
    def test_that_another_process_holds_is_named(self, path):
        """A lock not acquired in time is one typed error, with its file; reads go on meanwhile."""
        storage = TinyDBStorage(path, lock_timeout=0.05)
        put(storage, "k", {"n": 1})
        with filelock.FileLock(f"{path}.lock"):
            with pytest.raises(StorageLockedError) as caught:
                put(storage, "k", {"n": 2})
            assert storage.read("t") == {"k": {"n": 1}}
        assert (caught.value.lock, caught.value.seconds) == (f"{path}.lock", 0.05)
        put(storage, "k", {"n": 3})

        assert storage.read("t") == {"k": {"n": 3}}

    def test_that_another_thread_holds_is_named_too(self, path):
        """Threads of one process wait no longer than processes do."""
        storage = TinyDBStorage(path, lock_timeout=0.05)
        with ThreadPoolExecutor(1) as pool, storage.transaction() as transaction:
            with pytest.raises(StorageLockedError) as caught:
                pool.submit(put, storage, "k", {"n": 1}).result()
            transaction.put("t", "k", {"n": 2})

        assert caught.value.lock == f"{path}.lock"
        assert storage.read("t") == {"k": {"n": 2}}

    def test_that_cannot_be_made_is_a_typed_error(self, path):
        """Where the lock file cannot be opened the error names it, and nothing is written."""
        path.with_name("plugins.json.lock").mkdir()
        with pytest.raises(StorageUnavailableError) as caught:
            put(TinyDBStorage(path), "k", {})

        assert caught.value.place == f"{path}.lock"
        assert not path.exists()


INTERRUPTED = """
import os, sys, threading
from plugreg.storage import open_storage

storage = open_storage(sys.argv[1])


def put():
    with storage.transaction() as transaction:
        transaction.put("t", "k", {})


class CtrlC:
    '''Raises KeyboardInterrupt where Python would: as functions begin, or one in C has ended.'''

    def __init__(self, at):
        self.left = at

    def __call__(self, frame, event, argument):
        if event in ("call", "c_return"):
            self.left -= 1
            if not self.left:
                sys.setprofile(None)
                raise KeyboardInterrupt

    def during(self, work):
        sys.setprofile(self)
        try:
            work()
        finally:
            sys.setprofile(None)


put()
places = CtrlC(-1)
places.during(put)
came, held = 0, []
for at in range(1, -places.left):
    try:
        CtrlC(at).during(put)
    except KeyboardInterrupt:
        came += 1
    other = threading.Thread(target=put, daemon=True)
    other.start()
    other.join(30)
    if other.is_alive():
        held.append(at)
        break
print(came > 20, held, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("scheme", ["memory", "tinydb"])
def test_a_ctrl_c_keeps_no_other_thread_out(tmp_path, run_python, scheme):
    """Wherever it comes in a transaction, the next thread that wants one gets it."""
    url = "memory://" if scheme == "memory" else f"tinydb:///{tmp_path}/store"

    assert run_python(INTERRUPTED, url) == "True []\n"


FULL_DISK = """
import os, resource, sys
from plugreg.exceptions import StorageUnavailableError
from plugreg.storage import TinyDBStorage

def put(key, record):
    with storage.transaction() as transaction:
        transaction.put("t", key, record)

storage = TinyDBStorage(sys.argv[1])
put("k", {"n": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
try:
    put("k", {"n": 2, "padding": "x" * 20_000})
except StorageUnavailableError as error:
    print(error.place == sys.argv[1], error.reason)
print(storage.read("t"), TinyDBStorage(sys.argv[1]).read("t"), storage.revision())
print(sorted(os.listdir(os.path.dirname(sys.argv[1]))))
put("k", {"n": 3})
print(storage.read("t"))
"""


class TestWriting:
    def test_on_a_full_disk_leaves_the_old_state(self, path, run_python):
        """A real write that the system cuts off is a typed error, and the next that fits works."""
        lines = run_python(FULL_DISK, path).splitlines()

        assert lines == [
            "True File too large",
            "{'k': {'n': 1}} {'k': {'n': 1}} 1",
            "['plugins.json', 'plugins.json.lock']",
            "{'k': {'n': 3}}",
        ]

    def test_that_cannot_make_its_file_leaves_the_old_state(self, path):
        """Where the temporary file cannot be made, nothing changes and the error is typed."""
        storage = TinyDBStorage(path)
        put(storage, "k", {"n": 1})
        obstacle = path.with_name("plugins.json.tmp")
        obstacle.mkdir()
        with pytest.raises(StorageUnavailableError) as caught:
            put(storage, "k", {"n": 2})
        assert caught.value.place == str(path)
        assert (storage.read("t"), storage.revision()) == ({"k": {"n": 1}}, 1)
        obstacle.rmdir()
        put(storage, "k", {"n": 3})

        assert storage.read("t") == {"k": {"n": 3}}

    def test_that_is_interrupted_is_never_seen(self, path, monkeypatch):
        """Data that did not reach the disk are not renamed into place, and leave nothing behind."""
        storage = TinyDBStorage(path)
        put(storage, "k", {"n": 1})

        def fsync(descriptor):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            with pytest.raises(KeyboardInterrupt):
                put(storage, "k", {"n": 2})
        assert storage.read("t") == TinyDBStorage(path).read("t") == {"k": {"n": 1}}
        assert names(path) == ["plugins.json", "plugins.json.lock"]
        put(storage, "k", {"n": 3})

        assert storage.read("t") == {"k": {"n": 3}}


def test_a_slow_reader_stops_no_writer(path):
    """A reader's memory of an older file is not taken for a change by someone else."""
    storage = TinyDBStorage(path)
    with storage.transaction() as transaction:
        transaction.put("t", "k", {"n": 1})
    older = storage._file._known
    with storage.transaction() as transaction:
        transaction.put("t", "k", {"n": 2})
    with storage.transaction() as transaction:
        transaction.put("t", "k", {"n": 3})
        # As a thread leaves it that had read the file before the last commit.
        storage._file._known = older

    assert TinyDBStorage(path).read("t") == {"k": {"n": 3}}
