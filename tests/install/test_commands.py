"""Arguments of any installer's program, its output, and the results made of both."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from plugreg._support.command import Completed
from plugreg.exceptions import InstallError
from plugreg.install.commands import CommandInstaller
from plugreg.install.exceptions import (
    BuildFailedError,
    InstallConflictError,
    InstallPermissionError,
    InstallSpaceError,
)
from plugreg.install.plan import Pin, Target, pin_of
from plugreg.install.policy import InstallPolicy
from plugreg.install.sources import line_of, pin_from, pinned_url, size_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TEA = Pin(name="shop-tea", version="1.0", sha256="ab")

segments = st.from_regex(r"[a-z0-9._~%-]{1,8}", fullmatch=True)
repositories = st.tuples(
    st.builds(
        lambda scheme, login, host, path: f"{scheme}://{login}{host}/{'/'.join(path)}",
        st.sampled_from(["git+https", "hg+https", "svn+https", "git+http"]),
        st.sampled_from(["", "me@", "me:p%40w@"]),
        st.sampled_from(["example.org", "127.0.0.1:8443", "[::1]"]),
        st.lists(segments, min_size=1, max_size=3),
    ),
    st.one_of(st.just(""), segments.map(lambda revision: f"@{revision}")),
    st.sampled_from(["", "#subdirectory=a/b"]),
)


class Script(CommandInstaller):
    """An installer whose program is a few lines of Python, run for each set of pins.

    Its output is kept in ``lines``; it installs nothing, which is no error for it.
    """

    program = "script"
    own_variables = re.compile("SCRIPT_OWN|SCRIPT_URL")
    netrc_variables = ("SCRIPT_URL",)

    def __init__(self, code: str, **options) -> None:
        super().__init__(environment="plugins.d", **options)
        self.code = code
        self.lines: list[str] = []

    def _variables(self, index_url, links):
        return {"SCRIPT_INDEX": index_url or "", "SCRIPT_LINKS": " ".join(links)}

    def _solve(self, work, lines, constraints):
        return []

    def _unpack(self, work, lines, folder) -> None:
        folder.mkdir()
        name = work.file("exact.txt", lines)
        self.lines = self._call(work, sys.executable, "-c", self.code, name).splitlines()

    def _look_up(self, work, lines):
        return [], ""

    def _list(self, work):
        return "[]"

    def put(self, *targets: Target, pins=(TEA,)) -> list[str]:
        """Stage pins; return the program's output."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                self.stage(pins, Path(folder), targets=targets)
            except InstallError as error:
                if "has not installed" not in str(error):
                    raise
        return self.lines


class TestWork:
    def test_requirements_stand_in_a_file_that_nobody_else_reads(self):
        """The program works in a folder of its own, its temporary files too, and that goes."""
        *printed, folder, temporary = Script(
            "import os, stat, sys, tempfile\n"
            "print(open(sys.argv[1]).read().strip())\n"
            "print(oct(stat.S_IMODE(os.stat(sys.argv[1]).st_mode)))\n"
            "print(oct(stat.S_IMODE(os.stat('.').st_mode)))\n"
            "print(os.getcwd())\n"
            "print(os.path.dirname(tempfile.mkdtemp()))"
        ).put()

        assert printed == ["shop-tea==1.0 --hash=sha256:ab", "0o600", "0o700"]
        assert folder == temporary
        assert not Path(folder).exists()

    def test_it_receives_the_index_of_the_policy(self, monkeypatch, tmp_path):
        """By its own variables, of which the host's pass too, and nothing of others."""
        monkeypatch.setenv("SCRIPT_OWN", "1")
        monkeypatch.setenv("SCRIPT_TARGET", "/elsewhere")
        monkeypatch.setenv("PIP_OTHER", "1")
        policy = InstallPolicy(indexes=["https://example.org/simple"], find_links=[tmp_path])
        [output] = Script(
            "import os; print(sorted(f'{k}={v}' for k, v in os.environ.items() if '_' in k))",
            policy=policy,
        ).put()

        assert "SCRIPT_INDEX=https://example.org/simple" in output
        assert f"SCRIPT_LINKS={tmp_path.as_uri()}" in output
        assert "SCRIPT_OWN=1" in output
        assert "PIP_OTHER" not in output
        assert "SCRIPT_TARGET" not in output

    @pytest.mark.parametrize("own", [".netrc", "NETRC", None])
    def test_logins_of_urls_stand_in_a_file_that_nobody_else_reads(
        self, monkeypatch, tmp_path, own
    ):
        """Decoded, beside those of the user's own file; one login of a host stands there."""
        if own is not None:
            (tmp_path / ".netrc").write_text("machine b login mine password old\nmachine c login c")
        monkeypatch.setenv("HOME", str(tmp_path if own == ".netrc" else tmp_path / "none"))
        monkeypatch.delenv("NETRC", raising=False)
        if own == "NETRC":
            monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        monkeypatch.setenv(
            "SCRIPT_URL",
            "https://me:a%20%22%5Cb%40@a:8443/simple?x=1  http://t0ken@B/ https://d/\n"
            "https://you:other@a/ https://me:a%20%22%5Cb%40@a/",
        )
        [output] = Script(
            "import json, netrc, os, stat\n"
            "path = os.environ['NETRC']\n"
            "mode = oct(stat.S_IMODE(os.stat(path).st_mode))\n"
            "seen = [os.path.dirname(path) == os.getcwd(), mode, netrc.netrc(path).hosts]\n"
            "seen.append(os.environ['SCRIPT_URL'])\n"
            # The output is masked.
            "print(json.dumps(seen).encode().hex())"
        ).put()
        in_folder, mode, hosts, urls = json.loads(bytes.fromhex(output))

        assert (in_folder, mode) == (True, "0o600")
        expected = {"a": ["me", "", 'a "\\b@'], "b": ["t0ken", "", ""]}
        assert hosts == (expected if own is None else {**expected, "c": ["c", "", ""]})
        assert (
            urls
            == "https://a:8443/simple?x=1  http://B/ https://d/\nhttps://you:other@a/ https://a/"
        )

    def test_credentials_of_all_that_it_receives_are_masked(self, monkeypatch):
        """Those of the targets, and those in any URL in its variables."""
        monkeypatch.setenv("HTTPS_PROXY", "http://clerk:pr0xy-canary@proxy:1")
        target = Target(text="x", shown="x", name="x", secrets=("t0ken-canary",))
        assert Script("print('a t0ken-canary and a pr0xy-canary')").put(target) == [
            "a *** and a ***"
        ]

    @pytest.mark.parametrize(
        ("number", "error"),
        [
            (errno.ENOSPC, InstallSpaceError),
            (errno.EDQUOT, InstallSpaceError),
            (errno.EROFS, InstallPermissionError),
            (errno.EIO, InstallError),
        ],
    )
    def test_a_fault_of_the_disk_is_an_error_of_installing(self, number, error):
        """Whoever installs catches InstallError, whatever has failed."""

        class Faulty(Script):
            def _unpack(self, work, lines, folder):
                raise OSError(number, os.strerror(number))

        with pytest.raises(InstallError, match=os.strerror(number)) as caught:
            Faulty("").put()

        assert type(caught.value) is error

    def test_no_folder_for_temporary_files(self, monkeypatch, tmp_path):
        """The reason names it."""
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
        with pytest.raises(InstallError, match=f"{tmp_path}/none"):
            Script("").latest({})

    def test_its_folder_is_in_the_one_that_is_staged(self, tmp_path):
        """So that the next change removes the files of a killed host."""
        code = "import os, sys; open('../seen', 'w').write(os.getcwd())"
        with pytest.raises(InstallError, match="has not installed"):
            Script(code).stage([TEA], tmp_path)

        assert Path((tmp_path / "seen").read_text()).parent == tmp_path
        assert [path.name for path in tmp_path.iterdir()] == ["seen"]

    def test_what_is_not_there_afterwards_is_an_error(self, tmp_path):
        """A program that succeeded may have installed it elsewhere."""
        with pytest.raises(InstallError, match=r"script has not installed 'shop-tea' into"):
            Script("print('installed')").stage([TEA], tmp_path)


class TestErrors:
    @pytest.mark.parametrize(
        ("line", "error"),
        [
            ("OSError: [Errno 28] No space left on device: 'x'", InstallSpaceError),
            ("Caused by: No space left on device (os error 28)", InstallSpaceError),
            ("OSError: [Errno 13] Permission denied: 'x'", InstallPermissionError),
            ("Caused by: failed to write: Permission denied (os error 13)", InstallPermissionError),
            ("OSError: [Errno 30] Read-only file system: 'x'", InstallPermissionError),
            ("error: Failed to build `x==1`", BuildFailedError),
            ("something else", InstallError),
        ],
    )
    def test_the_output_shows_which_error_it_is(self, line, error):
        """Its words are the reasons, without blank lines."""
        with pytest.raises(InstallError) as caught:
            Script(f"print('first\\n\\n   '); print({line!r}); exit(2)").put()

        assert type(caught.value) is error
        assert caught.value.reasons == ("first", line)

    def test_a_silent_failure_has_its_exit_code(self):
        """An error always has a reason."""
        with pytest.raises(InstallError, match="script ended with exit code 3 and without output"):
            Script("exit(3)").put()

    def test_a_distribution_alone_has_no_conflict(self):
        """It is not there, if no solution is found without what it requires."""
        failed = Completed(1, "No solution found\na needs b>1\nc needs b<1")
        for is_alone, kind in ((False, InstallConflictError), (True, InstallError)):
            with pytest.raises(InstallError) as caught:
                Script("")._check(failed, is_alone=is_alone)
            assert type(caught.value) is kind
            assert caught.value.reasons == tuple(failed.output.splitlines())


class TestExactRequirements:
    @pytest.mark.parametrize(
        ("record", "source", "sha256"),
        [
            (
                {
                    "url": "https://h/x.whl",
                    "archive_info": {"hashes": {"sha256": "ab", "md5": "c"}},
                },
                "https://h/x.whl",
                "ab",
            ),
            ({"url": "https://h/x.whl", "archive_info": {"hashes": {"md5": "ab"}}}, ..., None),
            (
                {"url": "https://me:pw@h/x.zip?token=abc", "archive_info": {}},
                "https://h/x.zip?****",
                None,
            ),
            (
                {
                    "url": "https://h/r.git",
                    "vcs_info": {"vcs": "git", "requested_revision": "m", "commit_id": COMMIT},
                    "subdirectory": "a/b",
                },
                f"git+https://h/r.git@{COMMIT}#subdirectory=a/b",
                None,
            ),
        ],
    )
    def test_records_of_where_a_distribution_comes_from(self, record, source, sha256):
        """PEP 610; no credentials are in it."""
        pin = pin_from(record, "X", "1", is_direct=True)
        assert pin.source == (record["url"] if source is ... else source)
        assert pin.sha256 == sha256

    def test_the_size_of_a_file_of_this_machine(self, tmp_path):
        """Of another file it is not known."""
        file = tmp_path / "a file, 100%.whl"
        file.write_bytes(b"12345")

        assert size_of(file.as_uri()) == 5
        assert size_of((tmp_path / "none.whl").as_uri()) is None
        assert size_of("https://example.org/a.whl") is None

    @pytest.mark.parametrize(
        ("pin", "line"),
        [
            ({"version": "1.0"}, "lib==1.0"),
            ({"version": "1!2.0+local.1", "sha256": "a"}, "lib==1!2.0+local.1 --hash=sha256:a"),
            ({"version": "1", "source": "https://h/lib.whl"}, "lib==1"),
            (
                {"version": "1", "source": "https://h/l.whl", "direct": True},
                "lib @ https://h/l.whl",
            ),
            (
                {"version": "1", "source": "git+https://h/l@c", "direct": True},
                "lib @ git+https://h/l@c",
            ),
        ],
    )
    def test_a_pin_has_its_version_or_its_own_address(self, pin, line):
        """An index decides which file has the hash; a URL that was asked for stays."""
        code = "import sys; print(open(sys.argv[1]).read().strip())"
        [printed] = Script(code).put(pins=[Pin(name="lib", **pin)])
        assert printed == line

    def test_a_wheel_that_was_asked_for_by_url_keeps_it_with_credentials(self):
        """The pin only has them masked; the file with the requirement is not shown."""
        url = "https://me:pw@h/x.whl?token=a"
        target = Target(text=f"x @ {url}", shown="", name="x", url=url)
        pin = Pin(name="x", version="1", source="https://h/x.whl?****", direct=True)
        code = "import sys; print(open(sys.argv[1]).read().strip().encode().hex())"
        [printed] = Script(code).put(target, pins=[pin])

        assert bytes.fromhex(printed).decode() == f"x @ {url}"

    @given(repository=repositories)
    def test_a_repository_is_pinned_to_its_commit(self, repository):
        """Only the revision is another one: host, credentials, path and folder stay."""
        start, revision, fragment = repository
        url = f"{start}{revision}{fragment}"
        source = f"git+https://example.org/x@{COMMIT}{fragment}"

        assert pinned_url(url, source) == f"{start}@{COMMIT}{fragment}"

    def test_a_pin_answers_the_target_that_asked_for_it(self):
        """A URL alone is compared with where a pin comes from, without revision and login."""
        url = "git+https://me:pw@h/shop.git@main#subdirectory=tea"
        target = Target(text=url, shown="", name=None, url=url)
        pins = [
            Pin(name="bun", version="1", source=f"git+https://h/shop.git@{COMMIT}", direct=True),
            Pin(
                name="tea",
                version="1",
                source=f"git+https://h/shop.git@{COMMIT}#subdirectory=tea",
                direct=True,
            ),
        ]

        assert pin_of(target, pins) is pins[1]
        assert pin_of(target, pins[:1]) is None
        assert pin_of(Target(text="bun", shown="", name="bun"), pins) is pins[0]

    @pytest.mark.parametrize(
        "text",
        [
            "milk @ https://h/${HOME}/milk.whl",
            "milk @ file:///etc/milk.whl",
            "milk @ https://h/a;b.whl",
            "milk===${HOME}",
        ],
    )
    def test_metadata_bring_no_variable_into_a_file(self, text):
        """Programs would put the host's value in its place."""
        with pytest.raises(InstallError, match="milk"):
            line_of(Requirement(text))

    def test_metadata_bring_no_option_into_a_file(self):
        """Programs split a line at its blanks, quoted or not; a marker that holds is left out."""
        requirement = Requirement('milk[b,a]>=1,<2; os_name != "x --index-url=https://evil y"')
        assert line_of(requirement) == "milk[a,b]<2,>=1"

    @pytest.mark.parametrize("version", ["1 --pre", "1\n-r x", "", "${HOME}"])
    def test_a_pin_brings_none_either(self, version):
        """A lock file may be anybody's."""
        with pytest.raises(InstallError):
            Script("").put(pins=[Pin(name="milk", version=version)])
