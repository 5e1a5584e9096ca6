"""What any installer's program is given, what it tells, and what is made of both."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from plugreg.exceptions import InstallError
from plugreg.install.commands import CommandInstaller
from plugreg.install.environment import Found
from plugreg.install.exact import exact, pinned, sha256_of, size_of, source_of
from plugreg.install.exceptions import (
    BuildFailedError,
    ExternallyManagedError,
    InstallConflictError,
    InstallerMissingError,
    InstallPermissionError,
    InstallRefusedError,
    InstallSpaceError,
)
from plugreg.install.installer import Installed
from plugreg.install.keeping import pins, unmet
from plugreg.install.pip import PipInstaller
from plugreg.install.plan import Change, InstallPlan, Refusal, Target
from plugreg.install.processes import Completed
from plugreg.install.uv import UvInstaller

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TARGET = Target(text="shop-tea", shown="shop-tea", name="shop-tea")
PLAN = InstallPlan(
    target=TARGET,
    distribution="shop-tea",
    changes=(Change(name="shop-tea", before=None, after="1.0"),),
)

names = st.from_regex(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", fullmatch=True)
segments = st.from_regex(r"[a-z0-9._~%-]{1,8}", fullmatch=True)
repositories = st.tuples(
    st.builds(
        lambda scheme, login, host, path: f"{scheme}://{login}{host}/{'/'.join(path)}",
        st.sampled_from(["git+https", "hg+https", "svn+https", "git+http"]),
        st.sampled_from(["", "me@", "me:p%40w@"]),
        st.sampled_from(["example.org", "127.0.0.1:8443", "[::1]"]),
        st.lists(segments, min_size=1, max_size=3),
    ),
    st.one_of(st.just(""), segments.map(lambda each: f"@{each}")),
    st.sampled_from(["", "#subdirectory=a/b"]),
)


class Script(CommandInstaller):
    """An installer whose program is a few lines of Python, run for each thing that is put."""

    program = "script"
    own_variables = re.compile("SCRIPT_OWN|SCRIPT_URL")
    netrc_variables = ("SCRIPT_URL",)

    def __init__(self, code, **how):
        super().__init__(**how)
        self.code = code

    def _check_program(self):
        pass

    def show(self, name):
        return Installed(name=name, version="1.0", location=".", installer="script")

    def _given(self, index_url, links):
        return {"SCRIPT_INDEX": index_url or "", "SCRIPT_LINKS": " ".join(links)}

    def _resolve(self, work, requirement, constraints, before):
        return ()

    def _put(self, work, lines, prefix=None):
        name = work.file("exact.txt", lines)
        return self._completed(work.run(sys.executable, "-c", self.code, name)).output

    def _remove(self, work, names):
        return ""

    def _conflicts(self, output):
        return tuple(each for each in output.splitlines() if " needs " in each)


class TestWork:
    def test_requirements_stand_in_a_file_that_nobody_else_reads(self):
        """The program works in a folder of its own, its temporary files too, and that goes."""
        output = Script(
            "import os, stat, sys, tempfile\n"
            "print(open(sys.argv[1]).read().strip())\n"
            "print(oct(stat.S_IMODE(os.stat(sys.argv[1]).st_mode)))\n"
            "print(oct(stat.S_IMODE(os.stat('.').st_mode)))\n"
            "print(os.getcwd())\n"
            "print(os.path.dirname(tempfile.mkdtemp()))"
        ).install(PLAN)
        *told, folder, temporary = output.splitlines()

        assert told == ["shop-tea==1.0", "0o600", "0o700"]
        assert folder == temporary
        assert not Path(folder).exists()

    def test_it_is_given_the_index_that_the_policy_says(self, monkeypatch, tmp_path):
        """By its own variables, of which the host's pass too, and nothing of others."""
        from plugreg.install.policy import InstallPolicy

        monkeypatch.setenv("SCRIPT_OWN", "1")
        monkeypatch.setenv("SCRIPT_TARGET", "/elsewhere")
        monkeypatch.setenv("PIP_OTHER", "1")
        policy = InstallPolicy(indexes=["https://example.org/simple"], find_links=[tmp_path])
        output = Script(
            "import os; print(sorted(f'{k}={v}' for k, v in os.environ.items() if '_' in k))",
            policy=policy,
        ).install(PLAN)

        assert "SCRIPT_INDEX=https://example.org/simple" in output
        assert f"SCRIPT_LINKS={tmp_path}" in output
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
        output = Script(
            "import json, netrc, os, stat\n"
            "path = os.environ['NETRC']\n"
            "mode = oct(stat.S_IMODE(os.stat(path).st_mode))\n"
            "told = [os.path.dirname(path) == os.getcwd(), mode, netrc.netrc(path).hosts]\n"
            "told.append(os.environ['SCRIPT_URL'])\n"
            # The output is masked.
            "print(json.dumps(told).encode().hex())"
        ).install(PLAN)
        in_folder, mode, hosts, urls = json.loads(bytes.fromhex(output))

        assert (in_folder, mode) == (True, "0o600")
        expected = {"a": ["me", "", 'a "\\b@'], "b": ["t0ken", "", ""]}
        assert hosts == (expected if own is None else {**expected, "c": ["c", "", ""]})
        assert (
            urls
            == "https://a:8443/simple?x=1  http://B/ https://d/\nhttps://you:other@a/ https://a/"
        )

    def test_credentials_of_all_that_it_is_given_are_masked(self, monkeypatch):
        """Those of the target, and those in any URL in its variables."""
        monkeypatch.setenv("HTTPS_PROXY", "http://clerk:pr0xy-canary@proxy:1")
        target = Target(text="x", shown="x", name="x", secrets=("t0ken-canary",))
        plan = InstallPlan(target=target, distribution="x", changes=PLAN.changes)
        output = Script("print('a t0ken-canary and a pr0xy-canary')").install(plan)

        assert output == "a *** and a ***"

    @pytest.mark.parametrize(
        ("number", "error"), [(errno.ENOSPC, InstallSpaceError), (errno.EIO, InstallError)]
    )
    def test_a_fault_of_the_disk_is_an_error_of_installing(self, number, error):
        """Whoever installs catches InstallError, whatever has failed."""

        class Faulty(Script):
            def _put(self, work, lines, prefix=None):
                raise OSError(number, os.strerror(number))

        with pytest.raises(InstallError, match=os.strerror(number)) as caught:
            Faulty("").install(PLAN)

        assert type(caught.value) is error

    def test_no_folder_for_temporary_files(self, monkeypatch, tmp_path):
        """The reason names it."""
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
        with pytest.raises(InstallError, match=f"{tmp_path}/none"):
            Script("").install(PLAN)

    def test_what_is_refused_is_not_run(self, tmp_path):
        """A plan that a rule forbids is never carried out, and one without changes does nothing."""
        ran = tmp_path / "ran"
        script = Script(f"open({str(ran)!r}, 'w')")
        refused = InstallPlan(
            target=TARGET,
            distribution="shop-tea",
            changes=PLAN.changes,
            refusals=(Refusal(rule="denied", reason="it is denied"),),
        )
        with pytest.raises(InstallRefusedError, match="it is denied"):
            script.install(refused)

        assert script.install(InstallPlan(target=TARGET, distribution="shop-tea")) == ""
        assert not ran.exists()


class TestErrors:
    @pytest.mark.parametrize(
        ("line", "error"),
        [
            ("/usr/bin/python: No module named pip", InstallerMissingError),
            ("error: externally-managed-environment", ExternallyManagedError),
            ("error: The interpreter at /usr is externally managed", ExternallyManagedError),
            ("OSError: [Errno 28] No space left on device: 'x'", InstallSpaceError),
            ("Caused by: No space left on device (os error 28)", InstallSpaceError),
            ("OSError: [Errno 13] Permission denied: 'x'", InstallPermissionError),
            ("Caused by: failed to write: Permission denied (os error 13)", InstallPermissionError),
            ("OSError: [Errno 30] Read-only file system: 'x'", InstallPermissionError),
            ("error: Failed to build `x==1`", BuildFailedError),
            ("No solution found when resolving", InstallConflictError),
            ("something else", InstallError),
            ("ModuleNotFoundError: No module named 'pip.req'", InstallError),
            ("│ /usr/bin/python: No module named pip", InstallError),
            ("this machine is externally managed", InstallError),
        ],
    )
    def test_the_output_tells_which_error_it_is(self, line, error):
        """Its words are the reasons, without blank lines."""
        with pytest.raises(InstallError) as caught:
            Script(f"print('first\\n\\n   '); print({line!r}); exit(2)").install(PLAN)

        assert type(caught.value) is error
        assert caught.value.reasons == ("first", line)

    def test_the_last_twenty_lines_are_the_reasons(self):
        """The first ones tell what went well."""
        with pytest.raises(InstallError) as caught:
            Script("for at in range(30): print('line', at)\nexit(1)").install(PLAN)

        assert caught.value.reasons == tuple(f"line {at}" for at in range(10, 30))

    def test_of_a_traceback_what_was_raised_is_the_reason(self):
        """Where it was raised is nothing for who has asked, indented or not."""
        with pytest.raises(InstallError) as caught:
            Script(
                "import textwrap, traceback\n"
                "def fail():\n"
                "    raise ValueError('wrong')\n"
                "try:\n"
                "    fail()\n"
                "except ValueError:\n"
                "    told = traceback.format_exc()\n"
                "print('before')\n"
                "print(textwrap.indent(told, '      ') + told + '  after')\n"
                "exit(1)"
            ).install(PLAN)

        wrong = "ValueError: wrong"
        assert caught.value.reasons == ("before", wrong, wrong, "after")

    def test_a_silent_failure_is_told_by_its_exit_code(self):
        """An error always has a reason."""
        with pytest.raises(InstallError, match="script ended with exit code 3 and told nothing"):
            Script("exit(3)").install(PLAN)

    @pytest.mark.parametrize("installer", [PipInstaller(), UvInstaller()])
    @pytest.mark.parametrize(
        "line",
        [
            "No solution found\n",
            "No solution found x\n Because only the following versions of a are available:\n 1 1\n",
            "require a different python version: 1 Requires-Python satisfies the requirement a\n",
        ],
    )
    def test_a_hostile_output_is_judged_at_once(self, installer, line):
        """What a build prints is looked through while all threads wait."""
        start = time.process_time()
        with pytest.raises(InstallError):
            installer._completed(Completed(1, line * (1_000_000 // len(line))))

        # Looked through as a whole, it takes many minutes.
        assert time.process_time() - start < 10

    def test_what_is_not_there_afterwards_is_an_error(self):
        """A program that went well may have put it elsewhere; an older one is still here then."""

        class Elsewhere(Script):
            show = CommandInstaller.show

        upgrade = Change(name="shop-tea", before="1.0", after="2.0")
        plan = InstallPlan(target=TARGET, distribution="shop-tea", changes=(upgrade,))
        with pytest.raises(InstallError, match=r"script has not put 'shop-tea' into"):
            Script("print('put')").install(plan)
        with pytest.raises(InstallError, match=r"script has not put 'shop-tea' into") as caught:
            Elsewhere("print('put')").install(PLAN)

        assert caught.value.reasons[-1] == "put"

    def test_a_conflict_has_its_lines(self):
        """They are apart from the rest of what was told."""
        with pytest.raises(InstallConflictError) as caught:
            Script("print('No solution found\\na needs b>1\\nc needs b<1'); exit(1)").install(PLAN)

        assert caught.value.conflicts == ("a needs b>1", "c needs b<1")


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
            (
                {"url": "https://h/x.whl", "archive_info": {"hash": "sha256=ab"}},
                "https://h/x.whl",
                "ab",
            ),
            (
                {"url": "https://h/x.whl", "archive_info": {"hash": "md5=ab"}},
                "https://h/x.whl",
                None,
            ),
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
        """PEP 610, in the two forms that hashes have had; no credentials are in it."""
        assert source_of(record) == source
        assert sha256_of(record) == sha256

    def test_the_size_of_a_file_of_this_machine(self, tmp_path):
        """Of another file it is not known."""
        file = tmp_path / "a file, 100%.whl"
        file.write_bytes(b"12345")

        assert size_of(file.as_uri()) == 5
        assert size_of((tmp_path / "none.whl").as_uri()) is None
        assert size_of("https://example.org/a.whl") is None

    @pytest.mark.parametrize(
        ("change", "line"),
        [
            ({"after": "1.0"}, "lib==1.0"),
            ({"after": "1!2.0+local.1", "sha256": "ab"}, "lib==1!2.0+local.1 --hash=sha256:ab"),
            ({"after": "1", "source": "https://h/lib.whl"}, "lib==1"),
            ({"after": "1", "source": "https://h/l.whl", "direct": True}, "lib @ https://h/l.whl"),
            (
                {"after": "1", "source": "git+https://h/l@c", "direct": True},
                "lib @ git+https://h/l@c",
            ),
        ],
    )
    def test_a_dependency_has_its_version_or_its_own_address(self, change, line):
        """An index decides which file has the hash; an address that was asked for stays."""
        assert exact(TARGET, "shop-tea", Change(name="lib", before=None, **change)) == line

    def test_a_wheel_that_was_asked_for_by_address_keeps_it_with_credentials(self):
        """The change only has them masked."""
        url = "https://me:pw@h/x.whl?token=a"
        target = Target(text=f"x @ {url}", shown="", name="x", url=url)
        change = Change(name="x", before=None, after="1", source="https://****@h/x.whl?****")

        assert exact(target, "x", change) == f"x @ {url}"

    @given(name=names, repository=repositories, extras=st.sampled_from(["", "[a,b]"]))
    def test_a_repository_is_pinned_to_its_commit(self, name, repository, extras):
        """Only the revision is another one: host, credentials, path, folder and extras stay."""
        start, revision, fragment = repository
        url = f"{start}{revision}{fragment}"
        source = f"git+https://example.org/x@{COMMIT}{fragment}"
        asked = Change(name=name, before=None, after="1", source=source, direct=True)
        named = Target(text=f"{name}{extras} @ {url}", shown="", name=name, url=url)
        bare = Target(text=url, shown="", name=None, url=url)

        requirement = Requirement(pinned(named, asked))
        assert requirement.url == f"{start}@{COMMIT}{fragment}"
        assert requirement.extras == Requirement(f"x{extras}").extras
        assert pinned(bare, asked) == f"{name} @ {start}@{COMMIT}{fragment}"
        assert exact(bare, name, asked) == pinned(bare, asked)


def found(name, version="1.0", *requires):
    return Found(name=name, version=version, path=Path(name), requires=requires)


class TestKeeping:
    def test_each_version_is_a_constraint(self):
        """What has no version of PEP 440, or no name of PEP 508, cannot be one, and is left out."""
        installed = [found("a"), found("b", "1!2.0+x"), found("c", "2004d-weird"), found("d", "")]
        installed += [found("my shop"), found("-e"), found("e[x]"), found("")]

        assert pins(installed) == ["a==1.0", "b==1!2.0+x"]

    @pytest.mark.parametrize(
        ("requirement", "breaks"),
        [
            ("lib<2", True),
            ("Lib < 2", True),
            ("lib==1.*", True),
            ("lib>=1", False),
            ("lib", False),
            ("other<2", False),
            ("lib<1", False),
            ("lib<2; python_version < '3'", False),
            ("lib<2; extra == 'x'", False),
            ("lib<2; python_version > '3'", True),
            ("lib @ https://h/x.whl", False),
            ("no requirement <", False),
            ("lib<2; os_name ~= 'posix'", False),
            ("lib<2; 'x' in extras", False),
        ],
    )
    def test_who_stays_keeps_what_it_requires(self, requirement, breaks):
        """Only what was met before can be broken; what holds for others, or not here, is not."""
        installed = {"host": found("host", "3.0", requirement), "lib": found("lib")}
        refusals = list(unmet(installed, [Change(name="lib", before="1.0", after="2.0")]))

        expected = Refusal(
            rule="conflict", reason=f"host 3.0 requires {requirement!r}, not lib 2.0"
        )
        assert refusals == ([expected] if breaks else [])

    def test_who_changes_too_is_not_asked(self):
        """Its new version has other requirements, which the installer has seen to."""
        installed = {"host": found("host", "3.0", "lib<2"), "lib": found("lib")}
        changes = [
            Change(name="lib", before="1.0", after="2.0"),
            Change(name="host", before="3.0", after="4.0"),
        ]

        assert list(unmet(installed, changes)) == []

    def test_a_removal_and_an_addition_break_nothing_that_was(self):
        """What is new was required by nobody that worked; a removal is refused elsewhere."""
        installed = {"host": found("host", "3.0", "lib<2")}

        assert list(unmet(installed, [Change(name="lib", before=None, after="2.0")])) == []

    def test_an_odd_version_is_no_fault(self):
        """It cannot be compared, so nothing is known to break."""
        installed = {"host": found("host", "3.0", "lib<2"), "lib": found("lib", "odd one")}

        assert list(unmet(installed, [Change(name="lib", before="odd one", after="2.0")])) == []
