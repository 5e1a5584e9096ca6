"""Damage to the file of a TinyDBStorage: it is found, described, and never written over."""

from __future__ import annotations

import hashlib
import json
import os
import random
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import filelock
import pytest

from plugreg.exceptions import (
    StorageCorruptError,
    StorageFormatError,
    StorageLockedError,
    StorageUnavailableError,
)
from plugreg.storage import MemoryStorage, TinyDBStorage, copy, import_json, open_storage


def put(storage, key, record, table="t"):
    with storage.transaction() as transaction:
        transaction.put(table, key, record)


@pytest.fixture
def path(tmp_path):
    """Return the path of a store, in a folder of its own."""
    folder = tmp_path / "store"
    folder.mkdir()
    return folder / "plugins.json"


@pytest.fixture
def content(path):
    """Return the bytes of a good store of two commits that is at ``path``."""
    storage = TinyDBStorage(path)
    put(storage, "k", {"value": "precious"})
    put(storage, "l", {})
    return path.read_bytes()


def sealed(body, revision=2):
    """Return a file whose header is right for ``body``: only the contents can be wrong."""
    digest = hashlib.sha256(f"1 {revision}\n".encode() + body).hexdigest()
    header = {"plugreg": 1, "revision": revision, "sha256": digest}
    return json.dumps(header).encode() + b"\n" + body


def flipped(content, place):
    at = content.index(place)
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGE = {
    "empty": lambda content: b"",
    "header-only": lambda content: content[: content.index(b"\n") + 1],
    "half-a-header": lambda content: content[:40],
    "header-without-its-line-feed": lambda content: content[: content.index(b"\n")],
    "half": lambda content: content[: len(content) * 3 // 4],
    "last-byte-missing": lambda content: content[:-1],
    "something-appended": lambda content: content + b"\n",
    "nuls-appended": lambda content: content + bytes(512),
    "second-line-twice": lambda content: content + content[content.index(b"\n") + 1 :],
    "header-twice": lambda content: content[: content.index(b"\n") + 1] + content,
    "one-byte": lambda content: content[:1],
    "nul-in-the-middle": lambda content: content.replace(b"precious", b"prec\0ous"),
    "revision-grown": lambda content: content.replace(b": 2,", b": 3,"),
    "another-record": lambda content: content.replace(b'"l": {}', b'"m": {}'),
    "twice": lambda content: content * 2,
    "zeros": lambda content: bytes(len(content)),
    "noise": lambda content: random.Random(1).randbytes(200),
    "long-first-line": lambda content: b" " * 5000 + content,
    "bit-in-a-value": lambda content: flipped(content, b"precious"),
    "bit-in-the-revision": lambda content: flipped(content, b"2, "),
    "bit-in-the-checksum": lambda content: flipped(content, b'"}\n'),
    "edited-by-hand": lambda content: content.replace(b"precious", b"edited"),
    "header-reformatted": lambda content: content.replace(b'{"plugreg": 1', b'{"plugreg":1'),
    "header-nested": lambda content: b"[" * 500 + b"\n" + content,
    "header-with-a-huge-number": lambda content: content.replace(b"2, ", b"2" * 400 + b", "),
    "checksum-no-text": lambda content: content.replace(b'"sha256": "', b'"sha256": "\\ud800'),
    "no-revision": lambda content: content.replace(b'"revision"', b'"revisions"'),
    "revision-no-number": lambda content: content.replace(b": 2,", b": true,"),
    "format-no-number": lambda content: content.replace(b'"plugreg": 1', b'"plugreg": "1"'),
    "older-format": lambda content: content.replace(b'"plugreg": 1', b'"plugreg": 0'),
    "byte-order-mark": lambda content: b"\xef\xbb\xbf" + content,
    "utf-16": lambda content: content.decode().encode("utf-16"),
    "windows-line-ends": lambda content: content.replace(b"\n", b"\r\n"),
    "a-tinydb-file": lambda content: content[content.index(b"\n") + 1 :],
    "null": lambda content: b"null\n",
    "a-list": lambda content: b"[]\n",
    "an-object": lambda content: b"{}\n",
    "sealed-latin-1": lambda content: sealed('{"t": {"k": {"x": "ü"}}}\n'.encode("latin-1")),
    "sealed-nothing": lambda content: sealed(b""),
    "sealed-no-json": lambda content: sealed(b'{"t": {"k": {}}\n'),
    "sealed-nan": lambda content: sealed(b'{"t": {"k": {"x": NaN}}}\n'),
    "sealed-null": lambda content: sealed(b"null\n"),
    "sealed-list": lambda content: sealed(b"[]\n"),
    "sealed-list-of-records": lambda content: sealed(b'{"t": [{}]}\n'),
    "sealed-record-no-object": lambda content: sealed(b'{"t": {"k": 1}}\n'),
    "sealed-too-deep": lambda content: sealed(b'{"t": {"k": {"x": ' + b"[" * 200_000),
    "sealed-huge-number": lambda content: sealed(b'{"t": {"k": {"x": ' + b"9" * 5000 + b"}}}\n"),
    "sealed-infinity": lambda content: sealed(b'{"t": {"k": {"x": [1e999]}}}\n'),
    "sealed-minus-infinity": lambda content: sealed(b'{"t": {"k": {"x": -1e999}}}\n'),
    "sealed-surrogate": lambda content: sealed(b'{"t": {"k": {"x": "\\uD800"}}}\n'),
    "sealed-surrogate-in-a-name": lambda content: sealed(b'{"t": {"k": {"\\udfff": 1}}}\n'),
    "sealed-surrogate-in-a-key": lambda content: sealed(b'{"t": {"\\udc00": {}}}\n'),
    "sealed-surrogate-in-a-table": lambda content: sealed(b'{"\\ud800": {"k": {}}}\n'),
}

REASONS = {
    "empty": "it is empty",
    "half": "checksum",
    "noise": "not the header",
    "an-object": "not the header",
    "sealed-latin-1": "JSON that can be read",
    "sealed-list": "not tables of records",
    "sealed-too-deep": "nested too deeply",
    "sealed-huge-number": "JSON that can be read",
    "sealed-infinity": "not finite",
    "sealed-surrogate": "without a UTF-8 form",
}


class TestDamage:
    @pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
    def test_is_refused_and_left_as_it_is(self, path, content, damage):
        """A damaged file is refused at each opening, with its path, and is never written to."""
        running = TinyDBStorage(path)
        damaged = damage(content)
        assert damaged != content
        path.write_bytes(damaged)

        for use in (
            lambda: TinyDBStorage(path),
            lambda: TinyDBStorage(path),
            lambda: running.read("t"),
            running.revision,
            lambda: put(running, "k", {}),
        ):
            with pytest.raises(StorageCorruptError) as caught:
                use()
            assert caught.value.path == str(path)
            assert caught.value.reason
        assert path.read_bytes() == damaged
        path.write_bytes(content)
        assert running.read("t") == {"k": {"value": "precious"}, "l": {}}

    @pytest.mark.parametrize(("name", "reason"), REASONS.items(), ids=REASONS.keys())
    def test_is_described(self, path, content, name, reason):
        """The message has the file, the fault, and the remedy."""
        path.write_bytes(DAMAGE[name](content))
        with pytest.raises(StorageCorruptError) as caught:
            TinyDBStorage(path)

        assert reason in caught.value.reason
        assert repr(str(path)) in str(caught.value)
        assert "restore it from a copy" in str(caught.value)

    def test_of_any_single_bit_is_found(self, path, content):
        """There is no bit in the file that may flip unseen."""
        unseen = []
        for bit in range(len(content) * 8):
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            try:
                TinyDBStorage(path)
            except (StorageCorruptError, StorageFormatError):
                continue  # A bit of the format's number makes it that of a newer plugreg.
            unseen.append(bit)

        assert unseen == []

    def test_sealed_by_hand_is_none_when_the_content_is_right(self, path, content):
        """A file that follows the layout is a store, so that the sealed cases mean something."""
        path.write_bytes(sealed(b'{"t": {"k": {"x": 1}}}\n', revision=7))
        storage = TinyDBStorage(path)

        assert (storage.read("t"), storage.revision()) == ({"k": {"x": 1}}, 7)

    def test_is_not_in_an_escaped_pair_of_surrogates(self, path):
        """Both halves of a character together are a string like others, at any depth there is."""
        deepest = b"[" * 99 + b'"\\ud83d\\ude00 \\\\ud800"' + b"]" * 99
        path.write_bytes(sealed(b'{"t": {"k": {"x": ' + deepest + b"}}}\n"))
        storage = TinyDBStorage(path)
        put(storage, "copy", storage.read("t")["k"])
        value = storage.read("t")["copy"]["x"]
        while type(value) is list:
            (value,) = value

        assert value == "\U0001f600 \\ud800"


@pytest.mark.parametrize("levels", [1, 90])
def test_a_caller_near_the_recursion_limit_is_no_damage(path, levels):
    """It gets RecursionError, and the healthy store stays where it is."""
    value = json.loads("[" * levels + "]" * levels)
    writer = TinyDBStorage(path)
    put(writer, "k", {"x": value})
    storage = TinyDBStorage(path, on_corrupt="set_aside")

    def down(frames):
        return down(frames - 1) if frames else storage.read("t")

    raised = 0
    for left in range(1, 150):
        put(writer, "l", {"left": left})
        try:
            assert down(sys.getrecursionlimit() - depth() - left)["l"] == {"left": left}
        except RecursionError:
            raised += 1
        assert (aside(path), storage.set_aside) == ([], ())
    assert raised
    assert storage.read("t")["k"] == {"x": value}


def depth():
    frames, frame = 0, sys._getframe()
    while frame is not None:
        frames, frame = frames + 1, frame.f_back
    return frames


class TestNewerFormat:
    @pytest.mark.parametrize(
        "content",
        [
            b'{"plugreg": 2, "x": "' + b"y" * 600 + b'"}\n{}\n',
            b'{\n  "plugreg": 2\n}\n',
            b'{"plugreg": 2}\n\x00\xff',
        ],
        ids=["long", "indented", "binary"],
    )
    def test_is_known_by_how_it_begins(self, path, content):
        """A newer layout may have a longer first line than this one, or several."""
        path.write_bytes(content)
        with pytest.raises(StorageFormatError):
            TinyDBStorage(path, on_corrupt="set_aside")
        assert (aside(path), path.read_bytes()) == ([], content)

    @pytest.mark.parametrize("on_corrupt", ["raise", "set_aside"])
    def test_is_refused_and_never_set_aside(self, path, content, on_corrupt):
        """A store of a newer plugreg is healthy: it stays, and the remedy is to update plugreg."""
        running = TinyDBStorage(path, on_corrupt=on_corrupt)
        newer = content.replace(b'"plugreg": 1', b'"plugreg": 2')
        path.write_bytes(newer)

        for use in (
            lambda: TinyDBStorage(path, on_corrupt=on_corrupt),
            lambda: open_storage(f"tinydb:///{path}?on_corrupt={on_corrupt}"),
            lambda: running.read("t"),
            running.revision,
            lambda: put(running, "k", {}),
            lambda: copy(running, MemoryStorage()),
            lambda: import_json(running, '{"plugreg": 1, "tables": {}}', replace=True),
        ):
            with pytest.raises(
                StorageFormatError, match=r"newer plugreg.*update plugreg"
            ) as caught:
                use()
            assert (caught.value.path, caught.value.found) == (str(path), 2)
            assert "move it away" not in str(caught.value)
        assert (aside(path), path.read_bytes(), running.set_aside) == ([], newer, ())

    def test_that_comes_during_a_transaction_is_not_written_over(self, path, content):
        """A commit that began before it changes nothing."""
        storage = TinyDBStorage(path, on_corrupt="set_aside")
        newer = content.replace(b'"plugreg": 1', b'"plugreg": 2')

        def overtaken():
            with storage.transaction() as transaction:
                transaction.put("t", "k", {})
                path.write_bytes(newer)

        with pytest.raises(StorageUnavailableError, match="nothing was written"):
            overtaken()
        assert (aside(path), path.read_bytes()) == ([], newer)


def aside(path):
    """Return the files that were set aside, oldest first."""
    return sorted(path.parent.glob("plugins.json.corrupt-*"))


OPENER = """
import sys
from plugreg.storage import TinyDBStorage
sys.stdin.readline()
storage = TinyDBStorage(sys.argv[1], on_corrupt="set_aside")
print(len(storage.set_aside), storage.read("t"))
"""


class TestSetAside:
    @pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
    def test_keeps_the_bytes_and_starts_empty(self, path, content, damage):
        """Asked so, opening renames a damaged file, lists it, and starts an empty store."""
        damaged = damage(content)
        path.write_bytes(damaged)
        before = datetime.now(UTC)
        storage = TinyDBStorage(path, on_corrupt="set_aside")

        (renamed,) = storage.set_aside
        assert (storage.read("t"), storage.revision()) == ({}, 0)
        assert [Path(renamed.path)] == aside(path)
        assert Path(renamed.path).read_bytes() == damaged
        assert renamed.reason
        assert before <= renamed.when <= datetime.now(UTC)
        assert renamed.path.endswith(f".corrupt-{renamed.when:%Y%m%dT%H%M%SZ}")
        put(storage, "k", {"n": 1})
        again = TinyDBStorage(path)
        assert (again.read("t"), again.set_aside) == ({"k": {"n": 1}}, ())
        assert Path(renamed.path).read_bytes() == damaged

    def test_is_refused_with_another_word(self, path, content):
        """The option for a damaged file is one of two words, checked before it is read."""
        path.write_bytes(b"")
        with pytest.raises(ValueError, match="on_corrupt='delete'"):
            TinyDBStorage(path, on_corrupt="delete")

        assert path.read_bytes() == b""

    def test_leaves_a_good_file_alone(self, path, content):
        """Nothing is renamed where nothing is wrong."""
        storage = TinyDBStorage(path, on_corrupt="set_aside")

        assert (storage.set_aside, aside(path)) == ((), [])
        assert path.read_bytes() == content

    @pytest.mark.parametrize("use", ["read", "revision", "transaction"])
    def test_also_happens_while_it_is_open(self, path, content, use):
        """Each verb that finds the damage sets it aside, and the revision does not go back."""
        storage = TinyDBStorage(path, on_corrupt="set_aside")
        before = storage.revision()
        path.write_bytes(content[:-5])
        if use == "read":
            assert storage.read("t") == {}
        elif use == "revision":
            assert storage.revision() > before
        else:
            with storage.transaction() as transaction:
                assert list(transaction.items("t")) == []
                transaction.put("t", "new", {})

        assert storage.read("t") == ({"new": {}} if use == "transaction" else {})
        assert storage.revision() > before
        assert [file.read_bytes() for file in aside(path)] == [content[:-5]]
        assert len(storage.set_aside) == 1

    def test_waits_for_the_end_of_a_transaction(self, path, content):
        """Damage done during a transaction is not written over by it, and set aside after it."""
        storage = TinyDBStorage(path, on_corrupt="set_aside")

        def overtaken():
            with storage.transaction() as transaction:
                transaction.put("t", "k", {})
                path.write_bytes(b"damaged")
                with pytest.raises(StorageCorruptError):
                    storage.read("t")

        with pytest.raises(StorageUnavailableError, match="nothing was written"):
            overtaken()
        assert path.read_bytes() == b"damaged"

        assert storage.read("t") == {}
        assert [file.read_bytes() for file in aside(path)] == [b"damaged"]

    def test_of_several_files_keeps_each(self, path, content):
        """A name that is taken gets a counter: no earlier file is written over, in any order."""
        storage = TinyDBStorage(path, on_corrupt="set_aside")
        now = datetime.now(UTC)
        for seconds in range(30):
            name = f"plugins.json.corrupt-{now + timedelta(seconds=seconds):%Y%m%dT%H%M%SZ}"
            path.with_name(name).write_bytes(b"taken")
        for number in range(12):
            path.write_bytes(b"damaged %d" % number)
            assert storage.read("t") == {}

        renamed = [Path(file.path) for file in storage.set_aside]
        assert [file.read_bytes() for file in renamed] == [b"damaged %d" % n for n in range(12)]
        assert renamed == sorted(renamed)
        assert len(aside(path)) == 42

    def test_keeps_the_mode(self, path, content):
        """Those who could use the store can use the empty one, and nobody else."""
        path.chmod(0o660)
        path.write_bytes(b"")
        TinyDBStorage(path, on_corrupt="set_aside")

        assert stat.S_IMODE(path.stat().st_mode) == 0o660

    def test_is_seen_by_others_as_an_empty_store(self, path, content):
        """A process that had the file open goes on with the empty one, and sees that it is new."""
        other = TinyDBStorage(path)
        before = other.revision()
        path.write_bytes(content[1:])
        TinyDBStorage(path, on_corrupt="set_aside")

        assert other.read("t") == {}
        assert other.revision() != before

    def test_by_several_processes_happens_once(self, path, content, start_python):
        """Of those that open a damaged file at one time, one sets it aside."""
        path.write_bytes(content[:-1])
        processes = [start_python(OPENER, path) for _ in range(4)]
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        lines = []
        for process in processes:
            output, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
            lines.append(output)

        assert sorted(lines) == ["0 {}\n", "0 {}\n", "0 {}\n", "1 {}\n"]
        assert [file.read_bytes() for file in aside(path)] == [content[:-1]]

    def test_that_the_system_refuses_leaves_the_file(self, path, content, monkeypatch):
        """Where it cannot be renamed, opening raises, and the damaged file is as it was."""
        path.write_bytes(b"damaged")

        def refuse(*arguments, **options):
            raise OSError(30, "Read-only file system")

        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", refuse)
            with pytest.raises(StorageUnavailableError, match="Read-only") as caught:
                TinyDBStorage(path, on_corrupt="set_aside")

        assert caught.value.place == str(path)
        assert path.read_bytes() == b"damaged"
        assert aside(path) == []

    def test_on_a_full_disk_still_starts(self, path, content, monkeypatch):
        """Where no new file can be written, the store is empty until a commit can make one."""
        path.write_bytes(b"damaged")

        def refuse(*arguments, **options):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", refuse)
            storage = TinyDBStorage(path, on_corrupt="set_aside")
            assert (storage.read("t"), len(storage.set_aside)) == ({}, 1)
        put(storage, "k", {})
        path.write_bytes(b"again")
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", refuse)
            assert (storage.read("t"), len(storage.set_aside)) == ({}, 2)
        put(storage, "l", {})

        assert TinyDBStorage(path).read("t") == {"l": {}}
        assert [file.read_bytes() for file in aside(path)] == [b"damaged", b"again"]

    def test_waits_for_the_lock(self, path, content):
        """While another process is writing, a damaged file stays where that one may replace it."""
        path.write_bytes(b"damaged")
        with filelock.FileLock(f"{path}.lock"), pytest.raises(StorageLockedError):
            TinyDBStorage(path, lock_timeout=0.05, on_corrupt="set_aside")

        assert path.read_bytes() == b"damaged"
        assert aside(path) == []
