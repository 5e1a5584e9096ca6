"""The plugins file: one distribution's lines are changed, and not a byte of the others."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugreg.exceptions import InstallError, RequirementError
from plugreg.install.exceptions import InstallPermissionError, InstallSpaceError
from plugreg.install.plugins_file import PluginsFile

HERE = 'python_version >= "3.11"'
ELSEWHERE = 'python_version < "3.11"'

FORMS = ["foo-bar", "Foo_Bar>=1", "foo.bar[x]==1", "foo--bar ~= 1.0", "foo-bar @ https://h/x"]
FORMS += ["foo-bar==1 ", "FOO-BAR @ git+https://h/x@v1", f"foo-bar==1; {HERE}"]

MISREAD = ["", "foo==1\nbar==1", "foo==1\rbar", "foo==1\x0cbar", "foo==1\x85bar", "foo\u2028bar"]
MISREAD += ["bar==1", "bar@https://h/x", "foo-bar", "-r x", "foo -r x", "foo --hash=sha256:ab"]
MISREAD += ["foo==1 # c", "# foo", "foo @ https://h/x\\", "foo @ https://h/x -e .", "foo==1 \\"]
MISREAD += ["foo @ https://h/${TOKEN}", "https://${TOKEN}@h/x", "https://h/a b", "https://h/x\nbar"]
MISREAD += ['foo; os_name == "a #b"', "foo bar", "foo==", "./foo", "foo @ https://h/x #c"]

REFUSED = ["-r others.txt", "--index-url https://me:geheim@h/simple", "-e git+https://h/x#egg=foo"]
REFUSED += ["no requirement at all", "./wheels/foo-1.0.tar.gz", "git+https://h/x@v1#egg=Foo"]
REFUSED += ["https://h/a/Foo-1.0-py3-none-any.whl?token=geheim", "foo==1 --hash=sha256:ab"]
REFUSED += [
    "foo \\",
    "foo @ file:///x",
    "foo @ http://me:geheim@h/x",
    'foo; python_version ~= "abc"',
]


@pytest.fixture
def path(tmp_path):
    """Return the path of a plugins file, not there yet, in a folder of its own."""
    folder = tmp_path / "config"
    folder.mkdir()
    return folder / "plugins.txt"


def written(path, text):
    path.write_bytes(text.encode())
    return PluginsFile(path)


def content(path):
    return path.read_bytes().decode()


def names_beside(path):
    return sorted(line.name for line in path.parent.iterdir())


class TestLines:
    @pytest.mark.parametrize(
        ("line", "name", "text"),
        [
            ("foo", "foo", "foo"),
            ("foo>=1,<2", "foo", "foo>=1,<2"),
            ("Foo_Bar[a, b] == 1.0", "foo-bar", "Foo_Bar[a, b] == 1.0"),
            ("  foo==1   # pinned", "foo", "foo==1"),
            ("foo @ https://h/x#subdirectory=y", "foo", "foo @ https://h/x#subdirectory=y"),
        ],
    )
    def test_a_line_is_one_requirement(self, path, line, name, text):
        """With its canonical name, and without its comment."""
        (found,) = written(path, f"{line}\n").lines()
        assert (found.number, found.name, found.text) == (1, name, text)
        assert found.applies

    @pytest.mark.parametrize("line", REFUSED)
    @pytest.mark.parametrize("after", [None, {}, {"foo": "foo==1"}])
    def test_all_else_is_refused_with_the_number_of_the_line(self, path, line, after):
        """Nothing is changed then, and no credentials of the line are shown."""
        text = f"# c\n\nbar\n{line}\nfoo\n"
        file = written(path, text)
        with pytest.raises(InstallError, match=r"plugins.txt', line 4: ") as caught:
            file.lines() if after is None else file.update({"foo": ""}, after)
        assert "geheim" not in str(caught.value)
        assert content(path) == text

    def test_comments_and_blank_lines_are_none(self, path):
        """They count, but are no lines of the answer."""
        file = written(path, "# c\n\n  # d\r\nfoo\nbar==1\n\n# \\\nbaz")
        assert [(line.number, line.name, line.text) for line in file.lines()] == [
            (4, "foo", "foo"),
            (5, "bar", "bar==1"),
            (8, "baz", "baz"),
        ]

    def test_a_marker_says_whether_a_line_applies(self, path):
        """``applies`` is the marker's value for this interpreter."""
        file = written(path, f"foo==1; {ELSEWHERE}\nfoo==2; {HERE}\nfoo @ https://h/x ; {HERE}\n")
        assert [line.applies for line in file.lines()] == [False, True, True]

    def test_a_byte_order_mark_is_no_part_of_a_name(self, path):
        """Editors that write one do not hide the first line."""
        assert written(path, "\ufefffoo==1\n").lines()[0].name == "foo"

    def test_reading_makes_no_file(self, path):
        """A file that is not there lists nothing, and stays away."""
        assert PluginsFile(path).lines() == ()
        assert names_beside(path) == []

    def test_credentials_are_in_no_repr(self, path):
        """A line that is logged does not show its URL."""
        file = written(path, "foo @ https://me:secret@h/x\n")
        assert "secret" not in repr(file.lines())


class TestPut:
    @pytest.mark.parametrize(
        "line",
        FORMS,
    )
    def test_a_line_of_the_name_is_replaced_whatever_its_form(self, path, line):
        """Canonical names are compared, so that no line is doubled."""
        file = written(path, f"a==1\n{line}\nb==1 # kept\n")
        file.update({}, {"FOO.bar": "foo-bar==2"})
        marker = f" ; {HERE}" if ";" in line else ""
        assert content(path) == f"a==1\nfoo-bar==2{marker}\nb==1 # kept\n"

    @pytest.mark.parametrize("line", ["foobar==1", "foo-bar==1", "# foo==1", "fo==1"])
    def test_other_lines_are_not_taken_for_it(self, path, line):
        """A name that begins alike or a comment is another line."""
        file = written(path, f"{line}\n")
        file.update({}, {"foo": "foo==2"})
        assert content(path) == f"{line}\nfoo==2\n"

    def test_indent_comment_and_line_break_stay(self, path):
        """Text around a requirement belongs to its author."""
        file = written(path, "a\r\n  foo==1   # since May\r\nb\n")
        file.update({}, {"foo": "foo==2"})
        assert content(path) == "a\r\n  foo==2   # since May\r\nb\n"

    def test_further_lines_of_the_name_go(self, path):
        """Two pins of one distribution would break every installation."""
        file = written(path, "foo==1\na==1\nFoo>=1 # c\nb==1\nfoo")
        file.update({}, {"foo": "foo==2"})
        assert content(path) == "foo==2\na==1\nb==1"

    def test_all_of_a_change_is_written_at_once(self, path, monkeypatch):
        """Nobody finds a part of it, as where a process ends between two lines."""
        file = written(path, "# mine\nold\nfoo==1 # kept\n")
        texts = []
        replace = Path.replace

        def replaced(new, target):
            done = replace(new, target)
            texts.append(content(path))
            return done

        monkeypatch.setattr(Path, "replace", replaced)
        before = {"old": "old", "foo": "foo==1"}
        assert file.update(before, {"foo": "foo==2", "b": "b==1", "a": "a==1"})
        assert texts == ["# mine\nfoo==2 # kept\na==1\nb==1\n"]

    def test_a_byte_order_mark_stays_before_the_first_line(self, path):
        """It is neither a part of the line that is replaced, nor taken out with it."""
        file = written(path, "\ufefffoo==1\na\n")
        file.update({}, {"foo": "foo==2"})
        assert content(path) == "\ufefffoo==2\na\n"
        assert file.update({"foo": ""}, {})
        assert content(path) == "\ufeffa\n"

    def test_lines_for_other_interpreters_stay(self, path):
        """Of two lines with markers only the one that holds here is replaced, and keeps it."""
        file = written(path, f"foo==1; {ELSEWHERE}\nfoo==2; {HERE} # c\n")
        file.update({}, {"foo": "foo==3"})
        assert content(path) == f"foo==1; {ELSEWHERE}\nfoo==3 ; {HERE} # c\n"

    def test_a_marker_of_its_own_counts(self, path):
        """A requirement that brings a marker is written as it is."""
        file = written(path, f"foo==2; {HERE}\n")
        file.update({}, {"foo": 'foo==3; os_name != "x"'})
        assert content(path) == 'foo==3; os_name != "x"\n'

    @pytest.mark.parametrize(
        "line",
        ["Foo == 2  # c", f"foo==2;{HERE}"],
    )
    def test_a_line_that_asks_for_just_that_stays(self, path, line):
        """Nothing is written then: spelling and the file itself are the same."""
        file = written(path, f"{line}\n")
        before = path.stat()
        file.update({}, {"foo": "foo==2"})
        assert content(path) == f"{line}\n"
        after = path.stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("", "foo==1\n"),
            ("a\n", "a\nfoo==1\n"),
            ("a", "a\nfoo==1"),
            ("a\r\n", "a\r\nfoo==1\r\n"),
            ("a\r\nb", "a\r\nb\r\nfoo==1"),
            ("\ufeffa\n", "\ufeffa\nfoo==1\n"),
            ("# c \\\n", "# c \\\nfoo==1\n"),
        ],
    )
    def test_a_new_line_is_put_at_the_end(self, path, before, after):
        """Line breaks as before, with or without the last; never as a part of another line."""
        file = written(path, before)
        file.update({}, {"foo": "foo==1"})
        assert content(path) == after
        assert file.update({"foo": ""}, {})
        assert content(path) == before

    def test_a_missing_file_is_made_with_a_header(self, path):
        """It has comments and one line, and the mode that the umask leaves of 0644."""
        umask = os.umask(0o027)
        try:
            PluginsFile(path).update({}, {"foo": "foo==1"})
        finally:
            os.umask(umask)
        *header, line = content(path).splitlines()
        assert header
        assert all(line.startswith("#") for line in header)
        assert line == "foo==1"
        assert stat.S_IMODE(path.stat().st_mode) == 0o640

    def test_a_url_is_listed_under_the_name(self, path):
        """A repository alone would not tell later which line is to be taken out."""
        file = PluginsFile(path)
        file.update({}, {"foo": "git+https://me@h/x@v1#subdirectory=y"})
        assert file.lines()[0].text == "foo @ git+https://me@h/x@v1#subdirectory=y"
        assert file.update({"Foo": ""}, {})
        assert file.lines() == ()

    @pytest.mark.parametrize(
        "requirement",
        MISREAD,
    )
    def test_what_would_be_read_back_as_something_else_is_refused(self, path, requirement):
        """One requirement of that name or nothing: no second line, option, comment or variable."""
        file = written(path, "a\n")
        with pytest.raises(RequirementError):
            file.update({}, {"foo": requirement})
        assert content(path) == "a\n"


class TestRemove:
    def test_all_lines_that_apply_go(self, path):
        """Neither a bare name nor another spelling survives."""
        file = written(path, f"# c\nFOO\na==1\nfoo[x]>=1 # d\nfoo==1; {ELSEWHERE}\nb\n")
        assert file.update({"foo": ""}, {})
        assert content(path) == f"# c\na==1\nfoo==1; {ELSEWHERE}\nb\n"

    @pytest.mark.parametrize("text", ["", "a==1", "foobar\n# foo\n", "\ufeff"])
    def test_without_a_line_nothing_is_written(self, path, text):
        """The answer is False, and the file the same one."""
        file = written(path, text)
        before = path.stat()
        assert not file.update({"foo": ""}, {})
        after = path.stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    def test_without_a_file_none_is_made(self, path):
        """Removing from a file that is not there is no change."""
        assert not PluginsFile(path).update({"foo": ""}, {})
        assert names_beside(path) == []


_LINES = st.builds(
    lambda indent, asked, comment, end: f"{indent}{asked}{comment}{end}",
    st.sampled_from(["", " ", "\t"]),
    st.sampled_from(["", "bar==1", "Bar", "foo", "Foo>=1", "foo_x[a]>=2", "baz @ https://h/x"])
    | st.sampled_from([f"foo==2; {ELSEWHERE}", f"foo==3; {HERE}", f"bar; {ELSEWHERE}"]),
    st.sampled_from(["", " # d", "  # é \\", " #"]),
    st.sampled_from(["\n", "\r\n", "\r", "\x0c", "\u2028"]),
)
_TEXTS = st.builds(
    lambda mark, lines, last: mark + "".join(lines) + last,
    st.sampled_from(["", "\ufeff"]),
    st.lists(_LINES, max_size=8),
    st.sampled_from(["", "bar", "foo", "# c"]),
)


def asked(file):
    """Return the requests beside the distribution foo."""
    return [
        (line.name, line.text) for line in file.lines() if not (line.name == "foo" and line.applies)
    ]


class TestAnyFile:
    @given(_TEXTS)
    def test_install_upgrade_uninstall_leaves_it_as_it_was(self, text):
        """Byte for byte, whatever is in it, if there was no line before."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "plugins.txt")
            file = written(path, text)
            file.update({"foo": ""}, {})
            before = path.read_bytes()
            file.update({}, {"foo": "foo==1"})
            file.update({}, {"Foo": "foo[x]>=2"})
            assert file.update({"FOO": ""}, {})
            assert path.read_bytes() == before

    @given(_TEXTS)
    def test_one_line_of_the_name_and_all_others_as_before(self, text):
        """After a put just one line of the name applies; all other requests are the same."""
        with tempfile.TemporaryDirectory() as folder:
            file = written(Path(folder, "plugins.txt"), text)
            others = asked(file)
            file.update({}, {"foo": "foo==7"})
            (own,) = (line for line in file.lines() if line.name == "foo" and line.applies)
            assert own.text.partition(" ;")[0] == "foo==7"
            assert asked(file) == others
            assert file.update({"foo": ""}, {})
            assert asked(file) == others


class TestWriting:
    def test_the_mode_stays(self, path):
        """A file that only its owner may read is not opened to others by a change."""
        file = written(path, "a\n")
        for mode in (0o600, 0o664):
            path.chmod(mode)
            file.update({}, {"foo": f"foo=={mode}"})
            assert stat.S_IMODE(path.stat().st_mode) == mode

    def test_a_link_is_followed(self, path, tmp_path):
        """The link stays a link, and its target is changed; also where that is not there yet."""
        real = tmp_path / "real.txt"
        path.symlink_to(real)
        file = PluginsFile(path)
        for requirement in ("foo==1", "foo==2"):
            file.update({}, {"foo": requirement})
            assert path.is_symlink()
            assert real.read_text().splitlines()[-1] == requirement
        assert file.path == real.resolve()
        assert names_beside(path) == ["plugins.txt"]

    def test_the_path_is_that_of_the_beginning(self, path, monkeypatch):
        """A relative path does not lead elsewhere once the process has gone to another folder."""
        monkeypatch.chdir(path.parent)
        file = PluginsFile(path.name)
        monkeypatch.chdir("/")
        file.update({}, {"foo": "foo==1"})
        assert path.exists()

    def test_it_is_on_disk_before_and_after_the_rename(self, path, monkeypatch):
        """Content first, then the name, then the folder: a power cut finds one or the other."""
        made = []
        real = {name: getattr(os, name) for name in ("fsync", "replace")}

        def fsync(descriptor):
            is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            made.append("folder" if is_folder else os.fstat(descriptor).st_size)
            real["fsync"](descriptor)

        def replace(*arguments, **options):
            made.append("rename")
            real["replace"](*arguments, **options)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "replace", replace)
        written(path, "a\n").update({}, {"foo": "foo==1"})
        assert made == [len("a\nfoo==1\n"), "rename", "folder"]

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            (errno.ENOSPC, InstallSpaceError),
            (errno.EDQUOT, InstallSpaceError),
            (errno.EROFS, InstallPermissionError),
            (errno.EIO, InstallError),
        ],
    )
    @pytest.mark.parametrize("call", ["open", "fsync", "replace", "chmod"])
    def test_a_call_that_fails_changes_nothing(self, path, monkeypatch, call, error, kind):
        """The error is typed and names the path; old content, nothing left behind."""
        file = written(path, "a\n")

        def failing(*arguments, **options):
            raise OSError(error, os.strerror(error))

        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            with pytest.raises(InstallError) as caught:
                file.update({}, {"foo": "foo==1"})
        assert type(caught.value) is kind
        assert repr(str(path)) in str(caught.value)
        assert (content(path), names_beside(path)) == ("a\n", ["plugins.txt"])

    def test_no_right_to_write(self):
        """Who may not write to the folder is told so, and nothing is changed."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o555)
            done = run(
                "if os.geteuid() == 0:\n"
                "    os.setgid(65534), os.setuid(65534)\n"
                "try:\n"
                "    PluginsFile(sys.argv[1]).update({}, {'foo': 'foo==1'})\n"
                "except InstallPermissionError as error:\n"
                "    print(error)\n",
                Path(folder, "plugins.txt"),
            )
            assert list(Path(folder).iterdir()) == []
            Path(folder).chmod(0o700)
        assert "plugins.txt' could not be written: Permission denied" in done.stdout, done.stderr

    @pytest.mark.parametrize("after", [None, {}, {"foo": "foo==1"}])
    @pytest.mark.parametrize(
        ("data", "line"),
        [(b"a\nb\n# \xe9\nc\n", 3), (b"\xff\xfea\0", 1), (b"a\r\n\xed\xa0\x80", 2)],
    )
    def test_what_is_no_utf8_is_told_with_its_line(self, path, after, data, line):
        """Nothing is written over a file that was not understood."""
        path.write_bytes(data)
        file = PluginsFile(path)
        with pytest.raises(InstallError, match=f"plugins.txt', line {line}: it is not UTF-8"):
            file.lines() if after is None else file.update({"foo": ""}, after)
        assert path.read_bytes() == data

    def test_only_a_file_is_replaced(self, path):
        """A folder or a pipe is refused at once, and not put away or waited for."""
        os.mkfifo(path)
        for place in (path, path.parent):
            done = run(
                "try:\n"
                "    PluginsFile(sys.argv[1]).update({}, {'foo': 'foo==1'})\n"
                "except InstallError as error:\n"
                "    print(error)\n",
                place,
            )
            assert "is no file" in done.stdout, done.stderr
        assert stat.S_ISFIFO(path.stat().st_mode)
        assert names_beside(path) == ["plugins.txt"]

    def test_a_missing_folder_is_told_of(self, path):
        """The folder is the host's to make."""
        with pytest.raises(InstallError, match="could not be written: No such file"):
            PluginsFile(path.parent / "no" / "plugins.txt").update({}, {"foo": "foo==1"})


_PROGRAM = """
import os, signal, sys
from pathlib import Path
from plugreg.install.exceptions import InstallError, InstallPermissionError
from plugreg.install.plugins_file import PluginsFile
import packaging.requirements, packaging.utils, urllib.parse
"""


def run(program, *arguments):
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM + program, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        timeout=60,
    )


class TestKill:
    def test_killed_at_any_call_it_is_the_old_or_the_new(self, path):
        """A kill -9 at line call of the system that changes a file leaves no part of one."""
        before, after = "a\n" * 500, "a\n" * 500 + "foo==1\n"
        states = []
        for number in range(100):
            path.write_text(before)
            done = run(
                "left = int(sys.argv[2])\n"
                "def kill(event, arguments):\n"
                "    global left\n"
                "    if event.split('.')[0] in ('open', 'os'):\n"
                "        left -= 1\n"
                "        if left == -1: os.kill(os.getpid(), signal.SIGKILL)\n"
                "file = PluginsFile(sys.argv[1])\n"
                "sys.addaudithook(kill)\n"
                "file.update({}, {'foo': 'foo==1'})\n"
                "left = 1000\n",
                path,
                number,
            )
            states.append(content(path))
            assert states[-1] in (before, after)
            if done.returncode == 0:
                break
            assert done.returncode == -9, done.stderr
        assert done.returncode == 0
        assert len(states) > 5
        assert states == sorted(states, key=len)
        assert {states[0], states[-1]} == {before, after}


def test_importing_it_brings_in_nothing_heavy():
    """A host that installs nothing does not pay for packaging, subprocess or tempfile."""
    code = (
        "import sys, plugreg; before = set(sys.modules)\n"
        "import plugreg.install.plugins_file, plugreg.install.audit\n"
        "heavy = {'packaging.requirements', 'packaging.utils', 'subprocess', 'tempfile'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.stdout.strip() == "[]"
