"""One change of the environment at a time, and the way back from any instant of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugreg.exceptions import InstallError
from plugreg.install.backup import SMALL
from plugreg.install.environment import Environment
from plugreg.install.exceptions import InstallBusyError, InstallPermissionError
from plugreg.install.safeguard import Safeguard

LARGE = b"x" * (SMALL + 1)
LONG = 60.0
"""Seconds after which a test gives up; what it waits for takes far less."""


COPY = re.compile(r"\.plugreg-[0-9a-f]{32}(\.json)?")
"""The name of a copy, and of its journal."""


class OopsError(Exception):
    """What ends a change in these tests."""


def tree(*folders):
    """Return what is at each path in folders, but for what the safeguard keeps itself.

    Of a file that is mode, time and content; a folder's time is no part of an environment.
    """
    found = {}
    for folder in folders:
        for each in [folder, *folder.rglob("*")]:
            if any(part == ".plugreg" or COPY.fullmatch(part) for part in each.parts):
                continue
            status = each.lstat()
            if each.is_symlink():
                found[each] = str(each.readlink())
            elif each.is_dir():
                found[each] = stat.filemode(status.st_mode)
            else:
                content = each.read_bytes() if each.is_file() else b""
                found[each] = (stat.filemode(status.st_mode), status.st_mtime_ns, content)
    return found


def everything(folder):
    """Return all that is below a folder, the safeguard's own included, down to times and links."""
    return {
        each: (status.st_mode, status.st_mtime_ns, status.st_ino, status.st_nlink, status.st_size)
        for each in [folder, *folder.rglob("*")]
        for status in [each.lstat()]
    }


class Place:
    """An environment of some files of each kind, and its safeguard."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.lib, self.bin = self.root / "lib", self.root / "bin"
        self.environment = Environment((self.lib, self.lib, self.bin))
        self.safeguard = Safeguard(self.environment, lock_timeout=0.2)

    def fill(self):
        """Put a distribution into it, links, a large file, an empty folder, and a script."""
        info = self.lib / "pack-1.0.dist-info"
        (self.lib / "pack" / "data" / "empty").mkdir(parents=True)
        info.mkdir()
        self.bin.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pack\nVersion: 1.0\n")
        (self.lib / "pack" / "__init__.py").write_text("version = 1\n")
        (self.lib / "pack" / "data" / "table.bin").write_bytes(LARGE)
        (self.lib / "pack" / "current").symlink_to("data")
        (self.lib / "dangling").symlink_to("nowhere")
        (self.lib / "extra.pth").write_text("/somewhere\n")
        (self.bin / "run").write_text("#!python\n")
        (self.bin / "run").chmod(0o755)
        return self

    def tree(self):
        return tree(self.lib, self.bin)

    @property
    def own(self):
        """What the safeguard keeps but for its lock: while a change is made, and not after it."""
        return sorted(each.name for each in self.lib.glob(".plugreg?*"))

    @property
    def backup(self):
        [found] = [each for each in self.lib.glob(".plugreg-*") if each.is_dir()]
        return found

    @property
    def journal(self):
        [found] = self.lib.glob(".plugreg-*.json")
        return found

    @contextmanager
    def undone(self, what="test", files=()):
        """Expect the block's change to be put back, to the last bit, as the block raises."""
        before = self.tree()
        with suppress(OopsError), self.safeguard.changing(what, files) as undo:
            yield undo
            raise OopsError
        assert self.tree() == before
        assert undo.done
        assert self.own == []


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "environment").fill()


def skip(reason):
    if os.environ.get("PLUGREG_TEST_NO_SKIP") == "1":
        pytest.fail(f"{reason}, and PLUGREG_TEST_NO_SKIP=1 forbids to skip")
    pytest.skip(reason)


@pytest.fixture
def start_python():
    """Give a function that starts a Python process with a program and its arguments."""
    processes = []

    def start(program, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        processes.append(process)
        return process

    yield start
    for each in processes:
        each.kill()
        each.communicate()


@pytest.fixture
def run_python(start_python):
    """Give a function that runs a program, expects it to succeed, and returns its output."""

    def run(program, *arguments):
        process = start_python(program, *arguments)
        output, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        return output

    return run


@pytest.fixture
def unprivileged():
    """Give a folder whose owner this process is meanwhile, a user who may not do everything."""
    folder = Path(tempfile.mkdtemp()).resolve()
    if os.geteuid():
        yield folder
    else:
        os.chown(folder, 65534, 65534)
        os.setegid(65534)
        os.seteuid(65534)
        yield folder
        os.seteuid(0)
        os.setegid(0)
    for each in folder.rglob("*"):
        if each.is_dir() and not each.is_symlink():
            each.chmod(0o700)
    shutil.rmtree(folder)


# -- what is put back -----------------------------------------------------------------------------


def replaced(path, content):
    """Do as installers do: remove, then write anew."""
    path.unlink()
    path.write_bytes(content)


def swapped_to_folder(path):
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("new")


def swapped_to_file(path):
    shutil.rmtree(path)
    path.write_text("new")


def moved(path):
    path.rename(path.with_name(f"~{path.name}"))


def linked_elsewhere(path):
    path.unlink()
    path.symlink_to("elsewhere")


def replaced_by_link(path):
    """Put a link to another folder of the environment in the place of a folder."""
    shutil.rmtree(path)
    path.symlink_to("../bin")


CHANGES = {
    "file replaced": lambda place: replaced(place.lib / "pack/__init__.py", b"version = 2\n"),
    "file written in place": lambda place: (place.lib / "extra.pth").write_text("/elsewhere\n"),
    "file emptied": lambda place: (place.lib / "extra.pth").write_text(""),
    "file removed": lambda place: (place.lib / "pack/__init__.py").unlink(),
    "file added": lambda place: (place.lib / "new.py").write_text("new"),
    "module compiled": lambda place: swapped_to_folder(place.lib / "extra.pth"),
    "time of a file": lambda place: os.utime(place.lib / "extra.pth", (1, 1)),
    "mode of a file": lambda place: (place.bin / "run").chmod(0o600),
    "large file replaced": lambda place: replaced(place.lib / "pack/data/table.bin", b"new"),
    "large file removed": lambda place: (place.lib / "pack/data/table.bin").unlink(),
    "large file moved": lambda place: moved(place.lib / "pack/data/table.bin"),
    "mode of a large file": lambda place: (place.lib / "pack/data/table.bin").chmod(0o600),
    "link leads elsewhere": lambda place: linked_elsewhere(place.lib / "dangling"),
    "link removed": lambda place: (place.lib / "pack/current").unlink(),
    "link became a folder": lambda place: swapped_to_folder(place.lib / "dangling"),
    "file became a folder": lambda place: swapped_to_folder(place.lib / "pack/__init__.py"),
    "file became a link": lambda place: linked_elsewhere(place.lib / "extra.pth"),
    "folder became a file": lambda place: swapped_to_file(place.lib / "pack"),
    "folder became a link": lambda place: replaced_by_link(place.lib / "pack"),
    "folder moved": lambda place: moved(place.lib / "pack"),
    "folder removed": lambda place: shutil.rmtree(place.lib / "pack"),
    "empty folder removed": lambda place: (place.lib / "pack/data/empty").rmdir(),
    "folder added": lambda place: (place.lib / "a/b/c").mkdir(parents=True),
    "mode of a folder": lambda place: (place.lib / "pack").chmod(0o500),
    "folder of all removed": lambda place: shutil.rmtree(place.bin),
    "pipe added": lambda place: os.mkfifo(place.lib / "pipe"),
    "odd name added": lambda place: (place.lib / "\udcff\n").write_text("new"),
}


class TestPuttingBack:
    @pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
    def test_undoes_each_kind_of_change(self, place, change):
        """Whatever was done to a file, a folder or a link, all is as it was after an exception."""
        with place.undone():
            change(place)

    def test_undoes_a_change_that_no_time_or_size_tells(self, place):
        """The content decides: the same size and the same time may be set on other bytes."""
        file = place.lib / "extra.pth"
        status = file.stat()
        with place.undone():
            file.write_text("/some0here\n")
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    def test_follows_no_link(self, place, tmp_path):
        """What a link leads to is neither copied, nor removed, nor changed."""
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "file").write_text("1")
        (place.lib / "out").symlink_to(outside)
        with place.undone():
            (outside / "file").write_text("2")
            (place.lib / "out").unlink()
            (place.lib / "also").symlink_to(outside)
            swapped_to_file(place.lib / "pack")
            (place.lib / "pack").unlink()
            (place.lib / "pack").symlink_to(outside)

        assert (outside / "file").read_text() == "2"
        assert [each.name for each in outside.iterdir()] == ["file"]

    def test_leaves_what_is_no_file_alone(self, place):
        """A named pipe that was there is neither opened, which would wait, nor removed."""
        os.mkfifo(place.lib / "pipe")
        with place.undone():
            (place.lib / "new").write_text("new")

        assert (place.lib / "pipe").is_fifo()

    def test_touches_nothing_that_is_as_it_was(self, place):
        """A file that nobody changed is the same file afterwards, with all its hard links."""
        (place.lib / "twin.py").hardlink_to(place.lib / "pack/__init__.py")
        before = {each: each.lstat().st_ino for each in place.tree()}
        links = {each: each.lstat().st_nlink for each in place.tree() if each.is_file()}
        with place.undone():
            (place.lib / "new").write_text("new")

        assert {each: each.lstat().st_ino for each in place.tree()} == before
        assert {each: each.lstat().st_nlink for each in links} == links

    def test_works_where_a_mode_forbids_it(self, unprivileged):
        """A folder that may not be written to is put back by its owner, and keeps its mode."""
        place = Place(unprivileged).fill()
        (place.lib / "pack" / "data").chmod(0o500)
        (place.lib / "pack").chmod(0o500)
        with place.undone():
            for each in (place.lib / "pack", place.lib / "pack/data"):
                each.chmod(0o700)
            (place.lib / "pack/__init__.py").unlink()
            (place.lib / "pack/data/new").mkdir()
            (place.lib / "pack/data/new/file").write_text("new")
            (place.lib / "pack/data/new").chmod(0o400)
            (place.lib / "pack/data").chmod(0o500)
            (place.lib / "pack").chmod(0)

    def test_gives_files_back_to_their_owners(self, place):
        """Where the host runs as root, files of others are theirs again, copied or linked."""
        if os.geteuid():
            skip("only root may give files away")
        files = [place.lib / "extra.pth", place.lib / "pack/data/table.bin", place.lib / "pack"]
        for each in files:
            os.chown(each, 65534, 65533)
        with place.undone():
            replaced(files[0], b"new")
            os.chown(files[1], 0, 0)
            shutil.rmtree(files[2])

        assert {(each.stat().st_uid, each.stat().st_gid) for each in files} == {(65534, 65533)}

    def test_lets_nobody_else_look_at_the_copy(self, place, tmp_path):
        """A plugins file with a password in it may be read by its owner alone, and so its copy."""
        plugins = tmp_path / "plugins.txt"
        plugins.write_text("pack @ https://user:password@host/pack.whl\n")
        plugins.chmod(0o600)
        with place.undone(files=[plugins]):
            assert stat.S_IMODE(place.backup.stat().st_mode) == 0o700

    def test_a_large_file_written_in_place_is_told(self, place):
        """Only a hard link of it is kept, so that it is lost; it is named, and the rest is back."""
        table = place.lib / "pack/data/table.bin"
        with suppress(OopsError), place.safeguard.changing("test") as undo:
            table.write_bytes(b"other")
            (place.lib / "extra.pth").unlink()
            raise OopsError

        assert undo.done
        assert undo.lost == (str(table),)
        assert (place.lib / "extra.pth").read_text() == "/somewhere\n"
        assert place.safeguard.interrupted() is None

    def test_content_of_any_size_comes_back(self, place):
        """Both sides of the size up to which a file is copied, and no bytes at all."""
        sizes = [0, 1, SMALL - 1, SMALL, SMALL + 1, 3 * SMALL]
        for size in sizes:
            (place.lib / f"{size}.bin").write_bytes(os.urandom(size))
        with place.undone():
            for size in sizes:
                replaced(place.lib / f"{size}.bin", b"?")

    def test_large_files_come_back_from_another_file_system(self, place):
        """Where no hard link can be made, a large file is copied, and comes back with its mode."""
        other = Path("/dev/shm")
        if not other.is_dir() or other.stat().st_dev == place.root.stat().st_dev:
            skip("there is no other file system at /dev/shm")
        scripts = Path(tempfile.mkdtemp(dir=other))
        try:
            (scripts / "tool").write_bytes(LARGE * 20)
            (scripts / "tool").chmod(0o750)
            safeguard = Safeguard(Environment((place.lib, place.lib, scripts)))
            before = tree(scripts)
            with suppress(OopsError), safeguard.changing("test") as undo:
                (scripts / "tool").write_bytes(b"other")
                raise OopsError

            assert tree(scripts) == before
            assert undo.lost == ()
        finally:
            shutil.rmtree(scripts)

    @pytest.mark.parametrize("error", [OopsError, KeyboardInterrupt, SystemExit])
    def test_follows_whatever_ends_the_block(self, place, error):
        """An error, Ctrl-C and the end of the process put all back, and go on."""
        before = place.tree()

        def change():
            with place.safeguard.changing("test"):
                (place.lib / "new").write_text("new")
                raise error

        with pytest.raises(error):
            change()
        assert place.tree() == before


class TestEndingWell:
    def test_keeps_the_change(self, place):
        """Without an exception all stays as the block has left it, and no copy is kept."""
        with place.safeguard.changing("test") as undo:
            replaced(place.lib / "pack/__init__.py", b"version = 2\n")
            replaced(place.lib / "pack/data/table.bin", LARGE)
            (place.bin / "run").unlink()
            after = place.tree()

        assert place.tree() == after
        assert not undo.done
        assert [each.name for each in place.environment.folder.iterdir()] == ["lock"]
        assert place.own == []
        assert (place.lib / "pack/data/table.bin").stat().st_nlink == 1

    def test_lets_the_next_one_begin(self, place):
        """Changes follow each other, also after one that was put back."""
        with place.safeguard.changing("one"):
            (place.lib / "one").write_text("1")
        with place.undone("two"):
            (place.lib / "one").unlink()
        with place.safeguard.changing("three") as undo:
            (place.lib / "three").write_text("3")

        assert undo.recovered is None
        assert (place.lib / "one").read_text() == "1"

    def test_purelib_and_platlib_are_both_guarded(self, tmp_path):
        """Where they are two folders, both are put back; the copy is in purelib."""
        names = ("purelib", "platlib", "bin")
        folders = [tmp_path.resolve() / each for each in names]
        for each in folders:
            each.mkdir()
            (each / "file").write_text("1")
        safeguard = Safeguard(Environment(folders))
        before = tree(*folders)
        with suppress(OopsError), safeguard.changing("test"):
            for each in folders:
                (each / "file").write_text("2")
                (each / "new").write_text("2")
            raise OopsError

        assert tree(*folders) == before
        assert (folders[0] / ".plugreg" / "lock").exists()

    def test_a_folder_that_was_not_there_goes_again(self, tmp_path):
        """An installer makes the folder of scripts when it needs it."""
        place = Place(tmp_path)
        place.lib.mkdir()
        with suppress(OopsError), place.safeguard.changing("test"):
            place.bin.mkdir()
            (place.bin / "run").write_text("new")
            raise OopsError

        assert not place.bin.exists()


class TestAbout:
    def test_what_is_no_data_of_json_is_refused(self, place):
        """What could not be told later is refused at once, and nothing is begun."""
        for about in ({"actor": object()}, {"number": float("nan")}):
            with (
                pytest.raises((TypeError, ValueError)),
                place.safeguard.changing("test", about=about),
            ):
                pytest.fail("it may not begin")
        assert place.own == []

    def test_a_copy_that_was_never_begun_with_goes(self, place):
        """What a process has left that was killed while it copied is removed by the next change."""
        name = place.lib / f".plugreg-{'0' * 32}"
        name.mkdir()
        (name / "copies").write_bytes(LARGE)
        name.with_name(f"{name.name}.json.tmp").write_text("{")
        with place.safeguard.changing("test"):
            pass
        assert place.own == []


class TestFilesOutside:
    def test_are_put_back(self, place, tmp_path):
        """A plugins file and a page of a manual: content, mode, and the folder that vanished."""
        plugins, page = tmp_path / "plugins.txt", tmp_path / "share/man/page.1"
        page.parent.mkdir(parents=True)
        page.parent.chmod(0o750)
        plugins.write_text("pack==1.0\n")
        plugins.chmod(0o640)
        page.write_bytes(LARGE)
        before = tree(tmp_path / "share"), plugins.stat().st_mtime_ns
        with place.undone(files=[plugins, page]):
            plugins.write_text("pack==2.0\n")
            plugins.chmod(0o600)
            shutil.rmtree(page.parent)

        assert plugins.read_text() == "pack==1.0\n"
        assert stat.S_IMODE(plugins.stat().st_mode) == 0o640
        assert (tree(tmp_path / "share"), plugins.stat().st_mtime_ns) == before

    def test_that_were_not_there_go_again(self, place, tmp_path):
        """With the folders that were made for them, if nobody has put anything else there."""
        paths = [tmp_path / "made/for/one.txt", tmp_path / "made/for/two.txt", tmp_path / "used/a"]
        with place.undone(files=paths):
            for each in paths:
                each.parent.mkdir(parents=True, exist_ok=True)
                each.write_text("new")
            (tmp_path / "used" / "of-others").write_text("stays")

        assert not (tmp_path / "made").exists()
        assert [each.name for each in (tmp_path / "used").iterdir()] == ["of-others"]

    def test_are_the_only_ones_looked_at(self, place, tmp_path):
        """What stands beside them is nobody's business here."""
        beside = tmp_path / "beside.txt"
        with place.undone(files=[tmp_path / "plugins.txt"]):
            beside.write_text("stays")
            tmp_path.chmod(0o711)

        assert beside.read_text() == "stays"
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o711

    def test_behind_a_link_are_put_back(self, place, tmp_path):
        """Who writes a file by its link changes the file that it leads to; the link may go too."""
        real, link = tmp_path / "real.txt", tmp_path / "plugins.txt"
        real.write_text("1")
        link.symlink_to("real.txt")
        with place.undone(files=[link]):
            real.write_text("2")
            link.unlink()
            link.write_text("3")

        assert real.read_text() == "1"
        assert link.readlink() == Path("real.txt")

    def test_within_the_folders_need_no_naming(self, place):
        """RECORD lists modules and scripts too, by whatever way: they are guarded anyway."""
        (place.root / "lib64").symlink_to("lib")
        files = [place.lib / "pack/../pack/__init__.py", place.root / "lib64/extra.pth"]
        small = [each for each in place.tree() if each.is_file() and each.name != "table.bin"]
        with place.undone(files=[*files, place.environment.folder / "lock"]):
            copies = place.backup / "copies"
            assert copies.stat().st_size == sum(each.stat().st_size for each in small)
            for each in files:
                each.write_text("new")


# -- random changes of random trees ---------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c.py", "d.pth", "__pycache__"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/".join(parts))
# A file of a size, a folder, or a link.
ENTRIES = st.tuples(PATHS, st.one_of(st.sampled_from([0, 1, SMALL, SMALL + 1]), st.none(), PATHS))
MODES = st.sampled_from([0o400, 0o600, 0o644, 0o700, 0o755, 0o4755])
CHANGE = st.tuples(
    st.sampled_from(["put", "write", "remove", "chmod", "touch", "move"]), ENTRIES, PATHS, MODES
)


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def put(root, path, content):
    """Make a file of a size, a folder (None) or a link (a text), whatever is in its way."""
    target = root / path
    for parent in [*target.relative_to(root).parents][-2::-1]:
        if (root / parent).is_symlink() or not (root / parent).is_dir():
            remove(root / parent)
            (root / parent).mkdir()
    remove(target)
    if content is None:
        target.mkdir()
    elif isinstance(content, str):
        target.symlink_to(content)
    else:
        target.write_bytes(os.urandom(1) * content)


def apply(root, kind, entry, other, mode):
    path = root / entry[0]
    plain = path.is_file() and not path.is_symlink()
    if kind == "put":
        put(root, *entry)
    elif kind == "write" and plain and path.stat().st_size <= SMALL:
        path.write_bytes(b"in place")
    elif kind == "remove":
        remove(path)
    elif kind == "chmod" and (plain or (path.is_dir() and not path.is_symlink())):
        path.chmod(mode)
    elif kind == "touch" and plain and path.stat().st_size <= SMALL:
        os.utime(path, (5, 5))
    elif kind == "move":
        path.rename(root / other)


@settings(max_examples=100)
@given(st.lists(ENTRIES, max_size=12), st.lists(CHANGE, max_size=12))
def test_any_change_of_any_tree_is_put_back(entries, changes):
    """Whatever was there, and whatever was done to it, all is as it was: bytes, modes, times."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        place.lib.mkdir()
        place.bin.mkdir()
        for entry in entries:
            put(place.lib, *entry)
        with place.undone() as undo:
            for change in changes:
                with suppress(OSError):  # A link may lead in a circle, and a file be no folder.
                    apply(place.lib, *change)
        assert undo.lost == ()


# -- when it cannot be done -----------------------------------------------------------------------


class TestOneAtATime:
    HOLDER = """
import os, sys
from pathlib import Path
from plugreg.install.environment import Environment
from plugreg.install.safeguard import Safeguard
root, what = Path(sys.argv[1]), sys.argv[2]
lib = root / "lib"
about = {"actor": "who asked", "changes": {"pack": ["1.0", None]}}
with Safeguard(Environment((lib, lib, root / "bin"))).changing("hold it", about=about):
    (lib / "half").write_text("new")
    is_child = what != "hold" and not os.fork()
    if is_child and what == "stays":
        sys.stdin.readline()
        os._exit(0)
    if is_child and what == "raises":
        raise SystemExit(0)
    if not is_child:
        if what in ("raises", "leaves"):
            os.wait()
        journals = [*lib.glob(".plugreg-*.json")]
        print("begun" if journals and (lib / "half").exists() else "ended", flush=True)
        sys.stdin.readline()
"""

    def test_another_process_is_told_who_is_at_it(self, place, start_python):
        """It gets InstallBusyError that names the lock and what is done; the change goes on."""
        process = start_python(self.HOLDER, place.root, "hold")
        assert process.stdout.readline() == "begun\n"
        with pytest.raises(InstallBusyError) as caught, place.safeguard.changing("other"):
            pass
        with pytest.raises(InstallBusyError):
            place.safeguard.recover()

        assert caught.value.lock == str(place.environment.folder / "lock")
        assert "is being changed: 'hold it', since" in str(caught.value)
        assert place.safeguard.interrupted() is None
        process.communicate("\n", timeout=LONG)
        assert process.returncode == 0
        with place.safeguard.changing("other"):
            assert (place.lib / "half").exists()

    def test_a_thread_that_is_at_it_already_is_told(self, place):
        """A change within a change would wait for itself."""
        with place.safeguard.changing("outer"):
            with pytest.raises(InstallBusyError), place.safeguard.changing("inner"):
                pass
            with (
                pytest.raises(InstallBusyError),
                Safeguard(place.environment, lock_timeout=0).changing("inner"),
            ):
                pass
            assert place.safeguard.interrupted() is None
            assert Safeguard(place.environment).interrupted() is None

    def test_a_forked_child_does_not_keep_the_lock(self, place, start_python):
        """A worker that was forked during a change and outlives it keeps nobody out."""
        before = place.tree()
        process = start_python(self.HOLDER, place.root, "stays")
        assert process.stdout.readline() == "begun\n"
        process.kill()
        process.wait(timeout=LONG)

        assert place.safeguard.interrupted().what == "hold it"
        assert place.safeguard.recover().what == "hold it"
        assert place.tree() == before

    @pytest.mark.parametrize("how", ["leaves", "raises"])
    def test_a_forked_child_ends_nothing(self, place, start_python, how):
        """A child that comes to the end of its copy of the block leaves all to its parent."""
        process = start_python(self.HOLDER, place.root, how)
        assert process.stdout.readline() == "begun\n"
        process.communicate("\n", timeout=LONG)

        assert process.returncode == 0
        assert (place.lib / "half").exists()


class TestFailing:
    FULL = """
import errno, json, os, sys
from pathlib import Path
from plugreg.install.environment import Environment
from plugreg.install.exceptions import InstallSpaceError
from plugreg.install.safeguard import Safeguard
root, kilobytes = Path(sys.argv[1]), int(sys.argv[2])
lib = root / "lib"
lib.mkdir()
for number in range(20):
    (lib / f"{number}.py").write_bytes(bytes([number]) * 10_000)
safeguard = Safeguard(Environment((lib, lib, lib)))

def fill():
    with (root / "ballast").open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError as error:
            assert error.errno == errno.ENOSPC

def tree():
    return {str(each): each.read_bytes().hex() for each in lib.rglob("*.py")}

before = tree()
(root / "ballast").write_bytes(b"x" * 1024 * kilobytes)
told, entered, again = [], False, False
try:
    with safeguard.changing("test"):
        entered = True
        for number in range(20):
            (lib / f"{number}.py").unlink()
        fill()
        raise KeyError
except InstallSpaceError as error:
    told = list(error.reasons)
after, own = tree(), sorted([*os.listdir(lib / ".plugreg"), *map(str, lib.glob(".plugreg-*"))])
interrupted = safeguard.interrupted() is not None
(root / "ballast").unlink()
safeguard.recover()
print(json.dumps({
    "entered": entered, "told": told, "same": after == before, "own": own,
    "interrupted": interrupted, "recovered": tree() == before,
    "clean": safeguard.interrupted() is None,
}))
"""

    def full(self, tmp_path, kilobytes):
        """Run the program above on a disk of 1 MB of its own, of which so many kB are in use."""
        root = tmp_path / "disk"
        root.mkdir()
        script = 'mount -t tmpfs -o size=1m disk "$1" && exec "$2" -c "$3" "$1" "$4"'
        command = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", root]
        done = subprocess.run(
            [*command, sys.executable, self.FULL, str(kilobytes)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            timeout=LONG,
            check=False,
        )
        if "unshare:" in done.stderr or "mount:" in done.stderr:
            skip(f"no disk of its own can be mounted: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def test_a_full_disk_lets_nothing_begin(self, tmp_path):
        """Where the copy finds no room the change does not begin, and what was copied is gone."""
        told = self.full(tmp_path, kilobytes=700)

        assert not told["entered"]
        assert told["same"]
        assert told["own"] == ["lock"]
        assert not told["interrupted"]
        assert "the environment could not be copied, and is untouched" in told["told"][0]

    def test_a_disk_that_fills_up_meanwhile_loses_nothing(self, tmp_path):
        """What cannot be put back is named; once there is room again, recover() puts it back."""
        told = self.full(tmp_path, kilobytes=100)

        assert told["entered"]
        assert not told["same"]
        assert told["interrupted"]
        assert told["told"][0].endswith("could not be put back: No space left on device")
        assert ".json' tells what was being changed" in told["told"][-1]
        assert told["recovered"]
        assert told["clean"]

    def test_an_environment_of_others_is_refused(self, unprivileged):
        """Who may not write there is told so, and nothing was made."""
        place = Place(unprivileged / "environment").fill()
        place.lib.chmod(0o500)
        with pytest.raises(InstallPermissionError) as caught, place.safeguard.changing("test"):
            pytest.fail("it may not begin")

        assert str(place.environment.folder) in str(caught.value)
        assert not place.environment.folder.exists()

    def test_a_file_that_cannot_be_read_is_named(self, unprivileged):
        """What could not be put back is not risked."""
        place = Place(unprivileged / "environment").fill()
        (place.lib / "extra.pth").chmod(0)
        with pytest.raises(InstallPermissionError) as caught, place.safeguard.changing("test"):
            pytest.fail("it may not begin")

        assert str(place.lib / "extra.pth") in str(caught.value)
        assert [each.name for each in place.environment.folder.iterdir()] == ["lock"]
        assert place.own == []

    def test_what_cannot_be_put_back_is_named_and_the_rest_is_done(self, place, tmp_path):
        """A path outside that became a folder is left to a person; the change stays interrupted."""
        plugins = tmp_path / "plugins.txt"
        plugins.write_text("1")
        before = place.tree()

        def change():
            with place.safeguard.changing("test", [plugins]):
                plugins.unlink()
                plugins.mkdir()
                (plugins / "of-others").write_text("stays")
                (place.lib / "new").write_text("new")
                raise OopsError

        with pytest.raises(InstallError, match="could not be put back: Is a directory") as caught:
            change()
        assert str(plugins) in str(caught.value)
        assert place.tree() == before
        assert {each.name for each in tmp_path.iterdir()} == {"environment", "plugins.txt"}
        assert place.safeguard.interrupted().what == "test"
        shutil.rmtree(plugins)
        place.safeguard.recover()
        assert plugins.read_text() == "1"
        assert place.safeguard.interrupted() is None


LATER = '{"format": 2, "what": "it", "started": "2030-01-01T00:00:00+00:00", "before": {}}'


class TestInterrupted:
    def kill(self, place, start_python):
        """Begin a change in another process, and kill that."""
        process = start_python(TestOneAtATime.HOLDER, place.root, "hold")
        assert process.stdout.readline() == "begun\n"
        process.kill()
        process.wait(timeout=LONG)

    def test_tells_what_was_begun(self, place, start_python):
        """What, when, who asked, and the versions before, as the process of it was killed."""
        began = datetime.now(UTC)
        self.kill(place, start_python)
        found = place.safeguard.interrupted()

        assert found.what == "hold it"
        assert began <= found.started <= datetime.now(UTC)
        assert found.before == {"pack": "1.0"}
        assert found.about == {"actor": "who asked", "changes": {"pack": ["1.0", None]}}
        assert found.lost == ()
        assert place.safeguard.recover() == found
        assert place.safeguard.recover() is None

    def test_the_next_change_puts_it_back_first(self, place, start_python):
        """It begins from the environment that was there before, and says so."""
        before = place.tree()
        self.kill(place, start_python)
        with place.safeguard.changing("next") as undo:
            assert place.tree() == before

        assert undo.recovered.what == "hold it"

    def test_nothing_is_written_where_nothing_was_begun(self, place):
        """To ask leaves no trace, not even a folder."""
        assert place.safeguard.interrupted() is None
        assert place.safeguard.recover() is None
        assert not place.environment.folder.exists()

    @pytest.mark.parametrize("text", ["", "{}", "[1]", LATER, "\xff"])
    def test_a_journal_that_cannot_be_read_is_named(self, place, text):
        """It is a typed error: nothing is put back by guesswork, and nothing is begun.

        It says what to do, and who does that can go on.
        """
        before = place.tree()
        journal = place.lib / f".plugreg-{'0' * 32}.json"
        journal.write_text(text, encoding="latin-1")
        journal.chmod(0o444)
        for attempt in (
            place.safeguard.interrupted,
            place.safeguard.recover,
            place.safeguard.changing("test").__enter__,
        ):
            with pytest.raises(InstallError) as caught:
                attempt()
            assert "look at what is installed" in str(caught.value)
            assert f"then remove {str(journal)!r}" in str(caught.value)
        assert place.tree() == before
        journal.unlink()
        with place.safeguard.changing("test"):
            pass

    @pytest.mark.parametrize(
        ("name", "told"),
        [("manifest.json", "manifest.json"), ("copies", "copies"), ("0", "table.bin")],
    )
    def test_a_copy_of_which_a_part_is_gone_is_told(self, place, start_python, name, told):
        """The error names what is missing, and the change stays interrupted."""
        self.kill(place, start_python)
        (place.backup / name).unlink()
        (place.lib / "pack/data/table.bin").unlink()
        with pytest.raises(InstallError, match=told):
            place.safeguard.recover()

        assert place.safeguard.interrupted() is not None

    @pytest.mark.parametrize("name", ["manifest.json", "copies"])
    def test_a_copy_that_is_another_one_is_not_put_back(self, place, start_python, name):
        """What something has written into it since decides nothing; the error says what to do."""
        self.kill(place, start_python)
        before = place.tree()
        with (place.backup / name).open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b" ")
        with pytest.raises(InstallError, match="not as it was written") as caught:
            place.safeguard.recover()

        assert f"then remove {str(place.journal)!r}" in str(caught.value)
        assert place.tree() == before
        assert place.safeguard.interrupted() is not None
        place.journal.unlink()
        with place.safeguard.changing("next"):
            pass
        assert place.own == []

    def test_of_two_journals_none_is_followed(self, place, start_python):
        """Nobody can tell which is right; both are named, and what to do."""
        self.kill(place, start_python)
        before = place.tree()
        other = place.lib / f".plugreg-{'0' * 32}.json"
        shutil.copy(place.journal, other)
        with pytest.raises(InstallError, match="more than one journal") as caught:
            place.safeguard.recover()

        assert str(other) in str(caught.value)
        assert place.tree() == before
        other.unlink()
        assert place.safeguard.recover().what == "hold it"

    def test_a_copy_of_another_place_is_not_put_back(self, place, start_python, tmp_path):
        """An environment that was copied with its journal does not change the original."""
        self.kill(place, start_python)
        before = everything(place.lib)
        shutil.copytree(place.lib, tmp_path / "moved", symlinks=True)
        lib = tmp_path / "moved"
        with pytest.raises(InstallError) as caught:
            Safeguard(Environment((lib, lib, lib))).recover()

        assert str(place.lib) in str(caught.value)
        assert everything(place.lib) == before


# -- distributions that bring files of plugreg's own ----------------------------------------------

FORGED = f".plugreg-{'f' * 32}"


def forged(place, victim):
    """Return files of a wheel that would have the environment emptied, and ``victim`` removed."""
    folders = sorted(map(str, place.environment.folders))
    manifest = {"folders": folders, "tree": [], "copies": hashlib.sha256(b"").hexdigest()}
    manifest["others"] = [[str(victim), 0, 0, 0, 0, 0, None, None]]
    text = json.dumps(manifest)
    journal = {"format": 1, "what": "forged", "started": "2030-01-01T00:00:00+00:00"}
    journal |= {"before": {}, "about": {}, "pid": 1}
    journal["manifest"] = hashlib.sha256(text.encode()).hexdigest()
    return {
        f"{FORGED}.json": json.dumps(journal),
        f"{FORGED}/manifest.json": text,
        f"{FORGED}/copies": "",
        ".plugreg/journal.json": json.dumps(journal),
        ".plugreg/backup/manifest.json": text,
        ".plugreg/backup/copies": "",
        ".plugreg/lock": "mine",
    }


def bring(place, files):
    for name, text in files.items():
        path = place.lib / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)


class TestForgedFiles:
    @pytest.fixture
    def victim(self, tmp_path):
        victim = tmp_path / "victim.txt"
        victim.write_text("not yours")
        return victim

    def test_decide_nothing_when_the_block_raises(self, place, victim):
        """All is put back from what this process remembers, and the files themselves go."""
        with place.undone():
            bring(place, forged(place, victim))

        assert victim.read_text() == "not yours"
        assert [each.name for each in place.environment.folder.iterdir()] == ["lock"]

    def test_decide_nothing_even_in_the_copy_itself(self, place, victim):
        """What is removed and put back is what this process remembers, not what the disk says."""
        with place.undone():
            text = forged(place, victim)[f"{FORGED}/manifest.json"]
            (place.backup / "manifest.json").write_text(text)
            place.journal.unlink()
            (place.lib / "extra.pth").unlink()

        assert victim.read_text() == "not yours"

    @pytest.mark.parametrize(
        "name", [*forged(Place(Path("/nowhere")), "/victim"), ".plugreg.py", ".PlugReg-x/y"]
    )
    def test_undo_a_change_that_would_have_ended_well(self, place, victim, name):
        """Each alone: the change is put back, and the error names the file."""
        before = place.tree()

        def change():
            with place.safeguard.changing("test") as undo:
                told.append(undo)
                bring(place, {name: forged(place, victim).get(name, "")})

        told = []
        with pytest.raises(InstallError, match="writes into plugreg's own folder") as caught:
            change()
        assert str(place.lib / name) in str(caught.value)
        assert told[0].done
        assert place.tree() == before
        assert [each.name for each in place.environment.folder.iterdir()] == ["lock"]
        assert victim.read_text() == "not yours"

    def test_decide_nothing_after_a_kill(self, place, victim, start_python):
        """The change that was really begun is the one that is told and put back."""
        before = place.tree()
        process = start_python(TestOneAtATime.HOLDER, place.root, "hold")
        assert process.stdout.readline() == "begun\n"
        bring(place, forged(place, victim))
        process.kill()
        process.wait(timeout=LONG)

        assert place.safeguard.interrupted().what == "hold it"
        assert place.safeguard.recover().what == "hold it"
        assert place.tree() == before
        assert victim.read_text() == "not yours"
        assert place.own == []

    def test_decide_nothing_where_no_change_was_begun(self, place, victim):
        """They may have come by another way than plugreg."""
        before = place.tree()
        bring(place, forged(place, victim))

        assert place.safeguard.interrupted() is None
        assert place.safeguard.recover() is None
        with place.safeguard.changing("next") as undo:
            pass
        assert undo.recovered is None
        assert place.tree() == before
        assert victim.read_text() == "not yours"

    @pytest.fixture(params=["pip", "uv"])
    def command(self, request, tmp_path, venv):
        """Give what installs a wheel, with each of the programs."""
        if request.param == "pip":
            return [str(venv.python), "-m", "pip", "install", "--no-deps", "--no-index"]
        uv = request.getfixturevalue("uv_path")
        command = [uv, "pip", "install", "--offline", "--no-deps", f"--python={venv.python}"]
        return [*command, f"--cache-dir={tmp_path / 'cache'}"]

    def test_are_no_journal_as_installers_write_them(
        self, tmp_path, venv, make_wheel, victim, command
    ):
        """Whatever mode a wheel says, an installer lets the owner write to what it installs."""
        [lib] = [each.resolve() for each in venv.folder.glob("lib/*/site-packages")]
        place = Place(tmp_path)
        place.environment = Environment((lib, lib, venv.folder / "bin"))
        plain = make_wheel(tmp_path / "plain", "pack", "1.0", modules=forged(place, victim))
        other = f".plugreg-{'e' * 32}.json"
        modes = {f"{FORGED}.json": 0o444, other: 0o555}
        wheel = tmp_path / plain.name
        with zipfile.ZipFile(plain) as old, zipfile.ZipFile(wheel, "w") as new:
            for info in old.infolist():
                new.writestr(with_mode(info, modes.get(info.filename)), old.read(info))
            journal = old.read(f"{FORGED}.json")
            new.writestr(with_mode(zipfile.ZipInfo(other), modes[other]), journal)
        subprocess.run([*command, str(wheel)], check=True, capture_output=True, timeout=LONG)

        assert all((lib / each).exists() for each in modes)
        assert Safeguard(place.environment).interrupted() is None


def with_mode(info, mode):
    if mode is not None:
        info.external_attr = (stat.S_IFREG | mode) << 16
    return info


# -- what installers do ---------------------------------------------------------------------------


class TestInstallers:
    """The promise at work: what pip and uv have done to an environment is undone."""

    def wheels(self, folder, make_wheel):
        for version in ("1.0", "2.0"):
            modules = {
                "pack/__init__.py": f"version = {version!r}\n",
                "pack/big.py": f"#{version}" + "x" * SMALL,
            }
            make_wheel(folder, "pack", version, modules=modules)
        # It brings a file that pack has as well, which an installer may write over in place.
        make_wheel(folder, "other", "1.0", modules={"pack/__init__.py": "version = 'other'\n"})

    def undone(self, folder, commands):
        lib = next(folder.glob("**/site-packages")).resolve()
        environment = Environment((lib, lib, folder / "bin", folder / "include"))
        before = self.all_of(folder)
        assert environment.distributions()["pack"].version == "1.0"
        with suppress(OopsError), Safeguard(environment).changing("test") as undo:
            for each in commands:
                subprocess.run(each, check=True, capture_output=True, timeout=LONG)
            assert environment.distributions()["pack"].version == "2.0"
            assert self.all_of(folder) != before
            raise OopsError

        assert self.all_of(folder) == before
        assert undo.lost == ()

    def all_of(self, folder):
        """Return what is in an environment, but for the lock that uv has of its own."""
        found = tree(folder)
        found.pop(folder / ".lock", None)
        return found

    def test_what_pip_has_done_is_undone(self, tmp_path, venv, make_wheel):
        """Both an upgrade and a distribution that writes over another one's file."""
        self.wheels(tmp_path / "wheels", make_wheel)
        pip = [str(venv.python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
        pip += ["--disable-pip-version-check", f"--find-links={tmp_path / 'wheels'}"]
        subprocess.run([*pip, "pack==1.0"], check=True, timeout=LONG)

        self.undone(venv.folder, [[*pip, "other"], [*pip, "--upgrade", "pack"]])

    @pytest.mark.parametrize("mode", ["clone", "copy", "hardlink", "symlink"])
    def test_what_uv_has_done_is_undone(self, tmp_path, venv, make_wheel, uv_path, mode):
        """In each way of uv's to put files there, links into its own memory among them."""
        self.wheels(tmp_path / "wheels", make_wheel)
        install = [uv_path, "pip", "install", "--quiet", "--no-deps", "--offline", "--no-index"]
        install += [f"--python={venv.python}", f"--find-links={tmp_path / 'wheels'}"]
        install += [f"--link-mode={mode}", f"--cache-dir={tmp_path / 'cache'}"]
        subprocess.run([*install, "pack==1.0"], check=True, timeout=LONG)

        self.undone(venv.folder, [[*install, "other"], [*install, "--upgrade", "pack"]])
