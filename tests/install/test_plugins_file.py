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
FORMS += ["https://h/foo_bar-1.0-py3-none-any.whl", "git+https://h/x#egg=Foo.Bar", "foo-bar==1 "]
FORMS += ["foo-bar==1 --hash=sha256:ab", "foo-bar \\\n ==1 \\\n --hash=sha256:ab"]

MISREAD = ["", "foo==1\nbar==1", "foo==1\rbar", "foo==1\x0cbar", "foo==1\x85bar", "foo\u2028bar"]
MISREAD += ["bar==1", "bar@https://h/x", "foo-bar", "-r x", "foo -r x", "foo --hash=sha256:ab"]
MISREAD += ["foo==1 # c", "# foo", "foo @ https://h/x\\", "foo @ https://h/x -e .", "foo==1 \\"]
MISREAD += ["foo @ https://h/${TOKEN}", "https://${TOKEN}@h/x", "https://h/a b", "https://h/x\nbar"]
MISREAD += ['foo; os_name == "a #b"', "foo bar", "foo==", "./foo", "foo @ https://h/x #c"]


@pytest.fixture
def path(tmp_path):
    """Give the path of a plugins file, not there yet, in a folder of its own."""
    folder = tmp_path / "config"
    folder.mkdir()
    return folder / "plugins.txt"


def written(path, text):
    path.write_bytes(text.encode())
    return PluginsFile(path)


def content(path):
    return path.read_bytes().decode()


def names_beside(path):
    return sorted(each.name for each in path.parent.iterdir())


class TestLines:
    @pytest.mark.parametrize(
        ("line", "name", "text", "options"),
        [
            ("foo", "foo", "foo", ()),
            ("foo>=1,<2", "foo", "foo>=1,<2", ()),
            ("Foo_Bar[a, b] == 1.0", "foo-bar", "Foo_Bar[a, b] == 1.0", ()),
            ("  foo   ==1   # pinned", "foo", "foo ==1", ()),
            ("foo @ https://h/x#subdirectory=y", "foo", "foo @ https://h/x#subdirectory=y", ()),
            ("git+https://h/x@v1#egg=Foo", "foo", "git+https://h/x@v1#egg=Foo", ()),
            ("git+https://h/x", None, "git+https://h/x", ()),
            ("https://h/a/Foo-1.0-py3-none-any.whl?x=1", "foo", ..., ()),
            ("./wheels/foo_bar-1.0.tar.gz", "foo-bar", "./wheels/foo_bar-1.0.tar.gz", ()),
            ("foo==1 --hash=sha256:ab --hash=sha256:cd", "foo", "foo==1", ...),
            ("-r others.txt", None, "", ("-r", "others.txt")),
            ("--index-url https://h/simple", None, "", ("--index-url", "https://h/simple")),
            ("-e git+https://h/x#egg=foo", None, "", ("-e", "git+https://h/x#egg=foo")),
            ("no requirement at all", None, "no requirement at all", ()),
            ('foo; python_version ~= "abc"', None, 'foo; python_version ~= "abc"', ()),
        ],
    )
    def test_a_line_is_read_as_an_installer_reads_it(self, path, line, name, text, options):
        """Name, requirement and options of each form that a line may have."""
        (found,) = written(path, f"{line}\n").lines()
        assert found.name == name
        assert found.text == (line if text is ... else text)
        assert found.options == (tuple(line.split()[1:]) if options is ... else options)
        assert found.applies

    def test_lines_are_numbered_and_what_asks_for_nothing_is_left_out(self, path):
        """Comments and blank lines count, but are no lines of the answer."""
        file = written(path, "# c\n\n  # d\r\nfoo\nbar \\\n  ==1 \\\n  --hash=sha256:ab\n\nbaz")
        assert [(each.number, each.name, each.text) for each in file.lines()] == [
            (4, "foo", "foo"),
            (5, "bar", "bar ==1"),
            (9, "baz", "baz"),
        ]

    def test_a_comment_ends_a_line_that_goes_on(self, path):
        """As in pip: a backslash at the end of a comment line joins nothing to it."""
        file = written(path, "# c \\\nfoo\\\n# d \\\nbar # e \\\nbaz\nqux\n")
        assert [each.text for each in file.lines()] == ["foo", "bar", "qux"]

    def test_a_marker_says_whether_a_line_applies(self, path):
        """``applies`` is what the marker comes to for this interpreter."""
        file = written(path, f"foo==1; {ELSEWHERE}\nfoo==2; {HERE}\nfoo @ https://h/x ; {HERE}\n")
        assert [each.applies for each in file.lines()] == [False, True, True]

    def test_a_byte_order_mark_is_no_part_of_a_name(self, path):
        """Editors that write one do not hide the first line."""
        assert written(path, "\ufefffoo==1\n").lines()[0].name == "foo"

    def test_reading_makes_no_file(self, path):
        """A file that is not there lists nothing, and stays away."""
        assert PluginsFile(path).lines() == ()
        assert names_beside(path) == []

    def test_credentials_are_in_no_repr(self, path):
        """A line that is logged shows neither its URL nor its options."""
        file = written(path, "foo @ https://me:secret@h/x\n--index-url https://me:secret@h\n")
        assert "secret" not in repr(file.lines())


class TestPut:
    @pytest.mark.parametrize(
        "line",
        FORMS,
    )
    def test_a_line_of_the_name_is_replaced_whatever_its_form(self, path, line):
        """Weakness 77: canonical names are compared, so that no line is doubled."""
        file = written(path, f"a==1\n{line}\nb==1 --hash=sha256:cd # kept\n")
        file.put("FOO.bar", "foo-bar==2", "ef")
        told = " --hash=sha256:ef" if "--hash" in line else ""
        assert content(path) == f"a==1\nfoo-bar==2{told}\nb==1 --hash=sha256:cd # kept\n"

    @pytest.mark.parametrize("line", ["foobar==1", "foo-bar==1", "# foo==1", "-e ./foo", "fo==1"])
    def test_other_lines_are_not_taken_for_it(self, path, line):
        """Weakness 77: a name that begins alike, a comment or an option is another line."""
        file = written(path, f"{line}\n")
        file.put("foo", "foo==2")
        assert content(path) == f"{line}\nfoo==2\n"

    def test_indent_comment_and_line_break_stay(self, path):
        """What people wrote around a requirement is theirs."""
        file = written(path, "a\r\n  foo==1   # since May\r\nb\n")
        file.put("foo", "foo==2")
        assert content(path) == "a\r\n  foo==2   # since May\r\nb\n"

    def test_a_comment_of_several_lines_swallows_no_other_line(self, path):
        """The comment ends where it ended, though its backslash could join what follows."""
        file = written(path, "foo==1 \\\n# c \\\nbar==1\n")
        file.put("foo", "foo==2")
        assert [each.text for each in file.lines()] == ["foo==2", "bar==1"]
        assert "# c" in content(path)

    def test_further_lines_of_the_name_go(self, path):
        """Requirement I13: two pins of one distribution would break every installation."""
        file = written(path, "foo==1\na==1\nFoo>=1 \\\n  # c\nb==1\nfoo")
        file.put("foo", "foo==2")
        assert content(path) == "foo==2\na==1\nb==1"

    def test_a_byte_order_mark_stays_before_the_first_line(self, path):
        """It is neither a part of the line that is replaced, nor taken out with it."""
        file = written(path, "\ufefffoo==1\na\n")
        file.put("foo", "foo==2")
        assert content(path) == "\ufefffoo==2\na\n"
        assert file.remove("foo")
        assert content(path) == "\ufeffa\n"

    def test_lines_for_other_interpreters_stay(self, path):
        """Of two lines with markers only the one that holds here is replaced, and keeps it."""
        file = written(path, f"foo==1; {ELSEWHERE}\nfoo==2; {HERE} # c\n")
        file.put("foo", "foo==3")
        assert content(path) == f"foo==1; {ELSEWHERE}\nfoo==3 ; {HERE} # c\n"

    def test_a_marker_of_its_own_counts(self, path):
        """A requirement that brings a marker is written as it is."""
        file = written(path, f"foo==2; {HERE}\n")
        file.put("foo", 'foo==3; os_name != "x"')
        assert content(path) == 'foo==3; os_name != "x"\n'

    @pytest.mark.parametrize(
        "line",
        ["Foo == 2 --hash=sha256:ab  # c", "foo==2 \\\n  --hash=sha256:ab", f"foo==2;{HERE}"],
    )
    def test_a_line_that_asks_for_just_that_stays(self, path, line):
        """Nothing is written then: spelling, hashes and the file itself are the same."""
        file = written(path, f"{line}\n")
        before = path.stat()
        file.put("foo", "foo==2")
        assert content(path) == f"{line}\n"
        after = path.stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    @pytest.mark.parametrize(
        ("line", "requirement", "after"),
        [
            ("foo==1 --hash=sha256:ab  # c", "foo==2", "foo==2 --hash=sha256:ef  # c"),
            ("foo==1 --hash=sha256:ab", "foo==1", "foo==1 --hash=sha256:ef"),
            ("foo==1 --hash=sha256:ab --hash=sha256:ef", "foo==1", ...),
            ("foo==1", "foo==2", "foo==2"),
        ],
    )
    def test_hashes_are_those_of_the_file_that_is_installed(self, path, line, requirement, after):
        """A line that has hashes keeps having one, even where the same version is another file."""
        file = written(path, f"{line}\n")
        file.put("foo", requirement, "ef")
        assert content(path) == f"{line if after is ... else after}\n"

    def test_a_line_does_not_lose_its_hashes(self, path):
        """Where the hash of what was asked for is not known, the line is not changed."""
        text = "foo==1 --hash=sha256:ab\n"
        file = written(path, text)
        with pytest.raises(InstallError, match=r"'foo'.*has hashes, and no sha256 is known"):
            file.put("foo", "foo==2")
        assert content(path) == text
        file.put("foo", "foo==1")
        assert content(path) == text

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("", "foo==1\n"),
            ("a\n", "a\nfoo==1\n"),
            ("a", "a\nfoo==1"),
            ("a\r\n", "a\r\nfoo==1\r\n"),
            ("a\r\nb", "a\r\nb\r\nfoo==1"),
            ("\ufeffa\n", "\ufeffa\nfoo==1\n"),
            ("b\na \\\n", "b\nfoo==1\na \\\n"),
            ("a \\", "foo==1\na \\"),
            ("# c \\\n", "# c \\\nfoo==1\n"),
        ],
    )
    def test_a_new_line_is_put_at_the_end(self, path, before, after):
        """Line breaks as before, with or without the last; never as a part of another line."""
        file = written(path, before)
        file.put("foo", "foo==1")
        assert content(path) == after
        assert file.remove("foo")
        assert content(path) == before

    def test_a_missing_file_is_made_with_a_header(self, path):
        """It has comments and one line, and the mode that the umask leaves of 0644."""
        umask = os.umask(0o027)
        try:
            PluginsFile(path).put("foo", "foo==1")
        finally:
            os.umask(umask)
        *header, line = content(path).splitlines()
        assert header
        assert all(each.startswith("#") for each in header)
        assert line == "foo==1"
        assert stat.S_IMODE(path.stat().st_mode) == 0o640

    def test_a_url_is_listed_under_the_name(self, path):
        """A repository alone would not tell later which line is to be taken out."""
        file = PluginsFile(path)
        file.put("foo", "git+https://me@h/x@v1#subdirectory=y")
        assert file.lines()[0].text == "foo @ git+https://me@h/x@v1#subdirectory=y"
        assert file.remove("Foo")
        assert file.lines() == ()

    @pytest.mark.parametrize(
        "requirement",
        MISREAD,
    )
    def test_what_would_be_read_back_as_something_else_is_refused(self, path, requirement):
        """One requirement of that name or nothing: no second line, option, comment or variable."""
        file = written(path, "a\n")
        with pytest.raises(RequirementError, match="'foo'") as caught:
            file.put("foo", requirement)
        assert caught.value.field == "packagename"
        assert content(path) == "a\n"


class TestRemove:
    def test_all_lines_that_apply_go(self, path):
        """Weakness 77: neither a bare name nor another spelling survives."""
        file = written(
            path, f"# c\nFOO\na==1\nfoo[x]>=1 \\\n --hash=sha256:ab\nfoo==1; {ELSEWHERE}\nb\n"
        )
        assert file.remove("foo")
        assert content(path) == f"# c\na==1\nfoo==1; {ELSEWHERE}\nb\n"

    @pytest.mark.parametrize("text", ["", "a==1", "foobar\n# foo\n-e foo\n", "\ufeff"])
    def test_without_a_line_nothing_is_written(self, path, text):
        """The answer is False, and the file the same one."""
        file = written(path, text)
        before = path.stat()
        assert not file.remove("foo")
        assert path.stat() == before

    def test_without_a_file_none_is_made(self, path):
        """Removing from a file that is not there is no change."""
        assert not PluginsFile(path).remove("foo")
        assert names_beside(path) == []


class TestKeep:
    """``put`` or ``remove`` was undone by bringing the old content back."""

    @pytest.mark.parametrize(
        ("before", "edited", "after"),
        [
            # People have changed other lines while foo==2 was there.
            ("a\nfoo==1\nb\n", "a\nfoo==2\nb\n# c\n", "a\nfoo==1\nb\n# c\n"),
            ("a\nb\n", "a==2\nb\nfoo==2\n", "a==2\nb\n"),
            ("a\nfoo==1", "a\nc\n", "a\nc\nfoo==1\n"),
            ("foo==1", "foo==2\nc\n", "foo==1\nc\n"),
            ("\ufefffoo==1\n", "foo==2\nc\n", "\ufefffoo==1\nc\n"),
            # Nobody has.
            ("foo==1\na\nfoo>=1\n", "foo==2\na\n", ...),
            ("a\nfoo==1", "a", ...),
            ("a\n", "a\nfoo==2\n", ...),
        ],
    )
    def test_only_the_lines_of_the_name_stay_as_they_were(self, path, before, edited, after):
        """What people have saved is there again, and nothing of what was undone."""
        written(path, before).keep(edited, "Foo")
        assert content(path) == (before if after is ... else after)

    def test_a_file_that_was_not_there(self, path):
        """It is away again, unless people have written something into it."""
        file = PluginsFile(path)
        file.put("foo", "foo==1")
        made = file.text()
        path.unlink()
        file.keep(made, "foo")
        assert names_beside(path) == []
        file.keep(f"{made}bar\n", "foo")
        assert [each.text for each in file.lines()] == ["bar"]


_WORDS = [
    "bar==1",
    "Bar",
    "foo",
    "foo_x[a]>=2",
    "baz @ https://h/x",
    "https://h/y",
    "é",
    "#",
    "# c",
]
_WORDS += [
    "--hash=sha256:ab",
    "-r x",
    "-e .",
    "x y",
    "; python_version < '3'",
    " ",
    "\\",
    " # d \\",
]
_LINES = st.builds(
    lambda words, end: "".join(words) + end,
    st.lists(st.sampled_from(_WORDS), max_size=4),
    st.sampled_from(["\n", "\r\n", "\r", "\x0c", "\u2028", ""]),
)
_TEXTS = st.builds(
    lambda mark, lines: mark + "".join(lines),
    st.sampled_from(["", "\ufeff"]),
    st.lists(_LINES, max_size=8),
) | st.text(st.characters(exclude_categories=["Cs"]))


def asked(file):
    """Return what is asked for beside the distribution foo."""
    return [
        (each.name, each.text, each.options)
        for each in file.lines()
        if not (each.name == "foo" and each.applies)
    ]


class TestAnyFile:
    @given(_TEXTS)
    def test_install_upgrade_uninstall_leaves_it_as_it_was(self, text):
        """Requirement I13: byte for byte, whatever is in it, if there was no line before."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "plugins.txt")
            file = written(path, text)
            file.remove("foo")
            before = path.read_bytes()
            file.put("foo", "foo==1")
            file.put("Foo", "foo[x]>=2")
            assert file.remove("FOO")
            assert path.read_bytes() == before

    @given(_TEXTS)
    def test_what_was_put_and_undone_leaves_no_trace(self, text):
        """Where nobody else has written, the old content stays, byte for byte."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "plugins.txt")
            file = written(path, text)
            file.put("foo", "foo==7", "ab")
            changed = file.text()
            path.write_bytes(text.encode())
            file.keep(changed, "foo")
            assert path.read_bytes() == text.encode()

    @given(_TEXTS)
    def test_one_line_of_the_name_and_all_others_as_before(self, text):
        """After a put just one line of the name applies; what else is asked for is the same."""
        with tempfile.TemporaryDirectory() as folder:
            file = written(Path(folder, "plugins.txt"), text)
            others = asked(file)
            file.put("foo", "foo==7", "ab")
            (own,) = (each for each in file.lines() if each.name == "foo" and each.applies)
            assert own.text.partition(" ;")[0] == "foo==7"
            assert asked(file) == others
            assert file.remove("foo")
            assert asked(file) == others


class TestWriting:
    def test_the_mode_stays(self, path):
        """A file that only its owner may read is not opened to others by a change."""
        file = written(path, "a\n")
        for mode in (0o600, 0o664):
            path.chmod(mode)
            file.put("foo", f"foo=={mode}")
            assert stat.S_IMODE(path.stat().st_mode) == mode

    def test_a_link_is_followed(self, path, tmp_path):
        """The link stays one, and what it leads to is changed; so where that is not there yet."""
        real = tmp_path / "real.txt"
        path.symlink_to(real)
        file = PluginsFile(path)
        for requirement in ("foo==1", "foo==2"):
            file.put("foo", requirement)
            assert path.is_symlink()
            assert real.read_text().splitlines()[-1] == requirement
        assert file.path == real.resolve()
        assert names_beside(path) == ["plugins.txt"]

    def test_the_path_is_that_of_the_beginning(self, path, monkeypatch):
        """A relative path does not lead elsewhere once the process has gone to another folder."""
        monkeypatch.chdir(path.parent)
        file = PluginsFile(path.name)
        monkeypatch.chdir("/")
        file.put("foo", "foo==1")
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
        written(path, "a\n").put("foo", "foo==1")
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
        """Weakness 78: the error is typed and names the path; old content, nothing left behind."""
        file = written(path, "a\n")

        def failing(*arguments, **options):
            raise OSError(error, os.strerror(error))

        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            with pytest.raises(InstallError) as caught:
                file.put("foo", "foo==1")
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
                "    PluginsFile(sys.argv[1]).put('foo', 'foo==1')\n"
                "except InstallPermissionError as error:\n"
                "    print(error)\n",
                Path(folder, "plugins.txt"),
            )
            assert list(Path(folder).iterdir()) == []
            Path(folder).chmod(0o700)
        assert "plugins.txt' could not be written: Permission denied" in done.stdout, done.stderr

    @pytest.mark.parametrize("verb", ["lines", "put", "remove"])
    @pytest.mark.parametrize(
        ("data", "line"),
        [(b"a\nb\n# \xe9\nc\n", 3), (b"\xff\xfea\0", 1), (b"a\r\n\xed\xa0\x80", 2)],
    )
    def test_what_is_no_utf8_is_told_with_its_line(self, path, verb, data, line):
        """Nothing is written over a file that was not understood."""
        path.write_bytes(data)
        file = PluginsFile(path)
        arguments = {"lines": [], "put": ["foo", "foo==1"], "remove": ["foo"]}[verb]
        with pytest.raises(InstallError, match=f"plugins.txt', line {line}: it is not UTF-8"):
            getattr(file, verb)(*arguments)
        assert path.read_bytes() == data

    def test_only_a_file_is_replaced(self, path):
        """A folder or a pipe is refused at once, and not put away or waited for."""
        os.mkfifo(path)
        for place in (path, path.parent):
            done = run(
                "try:\n"
                "    PluginsFile(sys.argv[1]).put('foo', 'foo==1')\n"
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
            PluginsFile(path.parent / "no" / "plugins.txt").put("foo", "foo==1")


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


class TestOthers:
    @pytest.mark.parametrize("how", ["in place", "by a rename", "removed"])
    def test_what_an_editor_saves_meanwhile_is_kept(self, path, how):
        """The file is changed by somebody else while the new one is written: both changes count."""
        path.write_text("a\n")
        done = run(
            "path, how, done = Path(sys.argv[1]), sys.argv[2], []\n"
            "def edit(event, arguments):\n"
            "    if event == 'open' and str(arguments[0]).endswith('.tmp') and not done:\n"
            "        done.append(True)\n"
            "        if how == 'in place': path.write_text('a\\nb\\n')\n"
            "        elif how == 'removed': path.unlink()\n"
            "        else:\n"
            "            path.with_name('new').write_text('a\\nb\\n')\n"
            "            path.with_name('new').replace(path)\n"
            "sys.addaudithook(edit)\n"
            "PluginsFile(path).put('foo', 'foo==1')\n"
            "assert done\n",
            path,
            how,
        )
        assert done.returncode == 0, done.stderr
        lines = [each.text for each in PluginsFile(path).lines()]
        assert lines == (["foo==1"] if how == "removed" else ["a", "b", "foo==1"])
        assert names_beside(path) == ["plugins.txt"]

    def test_a_file_that_never_rests_is_given_up(self, path):
        """Something that writes all the time is told of, instead of being raced for ever."""
        path.write_text("a\n")
        done = run(
            "path = Path(sys.argv[1])\n"
            "def edit(event, arguments):\n"
            "    if event == 'open' and str(arguments[0]).endswith('.tmp'):\n"
            "        path.write_text(path.read_text() + 'a\\n')\n"
            "sys.addaudithook(edit)\n"
            "try:\n"
            "    PluginsFile(path).put('foo', 'foo==1')\n"
            "except InstallError as error:\n"
            "    print(error)\n",
            path,
        )
        assert "is changed by something else all the time" in done.stdout, done.stderr
        assert set(content(path).splitlines()) == {"a"}
        assert names_beside(path) == ["plugins.txt"]

    def test_killed_at_any_call_it_is_the_old_or_the_new(self, path):
        """A kill -9 at each call of the system that changes a file leaves no part of one."""
        before, after = "a\n" * 5000, "a\n" * 5000 + "foo==1\n"
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
                "file.put('foo', 'foo==1')\n"
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
