"""Installations that a host permits: by name, by place, by hash, and never at others' cost."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from plugreg.exceptions import InstallError
from plugreg.install.plan import Change
from plugreg.install.policy import InstallPolicy
from plugreg.install.requirements import parse_target

HASH, OTHER_HASH = "ab" * 32, "cd" * 32
WHEEL = "https://files.example/shop_tea-1.0-py3-none-any.whl"


def added(name="shop-tea", version="1.0", source=None, sha256=None, *, direct=False):
    return Change(
        name=name, before=None, after=version, source=source, sha256=sha256, direct=direct
    )


def rules(refusals):
    return [each.rule for each in refusals]


def target_rules(policy, requirement, index_url=None):
    return rules(policy.of_target(parse_target(requirement, index_url)))


def change_rules(policy, *changes, named="shop-tea"):
    return rules(policy.of_changes(changes, named))


@pytest.fixture
def constraints(tmp_path):
    """Return a function that writes a constraints file and returns its path."""

    def write(text):
        path = tmp_path / "constraints.txt"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


class TestFields:
    def test_names_are_canonical_and_nothing_can_be_changed_later(self):
        """Later changes of the host's lists do not change the policy."""
        denied = ["Shop_Tea"]
        policy = InstallPolicy(allowed={"Shop.Milk"}, denied=denied)
        denied.clear()

        assert policy.allowed == frozenset({"shop-milk"})
        assert policy.denied == frozenset({"shop-tea"})
        assert hash(policy) == hash(InstallPolicy(allowed=["shop-milk"], denied=["shop-tea"]))
        with pytest.raises(dataclasses.FrozenInstanceError):
            policy.denied = ()

    def test_paths_are_absolute(self, tmp_path, monkeypatch):
        """A later change of the current folder leads nowhere else."""
        monkeypatch.chdir(tmp_path)
        policy = InstallPolicy(
            find_links=["wheels", Path("more"), "https://pages.example/wheels"],
            constraints="constraints.txt",
        )

        assert policy.find_links == (
            str(tmp_path / "wheels"),
            str(tmp_path / "more"),
            "https://pages.example/wheels",
        )
        assert policy.constraints == tmp_path / "constraints.txt"
        assert dataclasses.replace(policy, isolated=True).find_links == policy.find_links

    @pytest.mark.parametrize(
        ("field", "value", "kind"),
        [
            ("allowed", "shop-tea", TypeError),
            ("allowed", [None], TypeError),
            ("allowed", ["shop-tea>=1"], ValueError),
            ("allowed", ["-r"], ValueError),
            ("denied", None, TypeError),
            ("denied", b"shop-tea", TypeError),
            ("denied", [""], ValueError),
            ("denied", ["shop tea"], ValueError),
            ("indexes", "https://pypi.example", TypeError),
            ("indexes", 1, TypeError),
            ("indexes", [Path("pypi.example")], TypeError),
            ("indexes", [" "], ValueError),
            ("indexes", ["http://pypi.example/simple"], ValueError),
            ("indexes", ["git+https://pypi.example/simple"], ValueError),
            ("indexes", ["ftp://pypi.example"], ValueError),
            ("indexes", ["file:///srv"], ValueError),
            ("indexes", ["pypi.example/simple"], ValueError),
            ("indexes", ["user@pypi.example"], ValueError),
            ("indexes", ["pypi.example:0"], ValueError),
            ("indexes", ["pypi example"], ValueError),
            ("indexes", ["*.example"], ValueError),
            ("indexes", ["::1"], ValueError),
            ("indexes", ["-i"], ValueError),
            ("indexes", ["https://pypi.example/a/../b"], ValueError),
            ("indexes", ["https://pypi.example/simple?x=y"], ValueError),
            ("indexes", ["https://pypi.example/simple#x"], ValueError),
            ("vcs_hosts", "git.example", TypeError),
            ("vcs_hosts", ["https://git.example/us@v1"], ValueError),
            ("vcs_hosts", ["git+https://git.example/us@v1"], ValueError),
            ("vcs_hosts", ["https://user@git.example/us"], ValueError),
            ("vcs_hosts", ["git+ssh://git.example/us"], ValueError),
            ("find_links", "wheels", TypeError),
            ("find_links", [1], TypeError),
            ("find_links", [""], ValueError),
            ("find_links", ["http://pages.example"], ValueError),
            ("find_links", ["file:///srv/wheels"], ValueError),
            ("find_links", ["https://user:pass@pages.example"], ValueError),
            ("wheels_only", 1, TypeError),
            ("require_hashes", None, TypeError),
            ("isolated", "no", TypeError),
            ("constraints", 1, TypeError),
            ("constraints", ["constraints.txt"], TypeError),
            ("min_age", 7, TypeError),
            ("min_age", timedelta(days=-7), ValueError),
            ("allow_pth", None, TypeError),
        ],
    )
    def test_what_makes_no_sense_is_told_at_once(self, field, value, kind):
        """A policy without the intended effect is refused; the message names the field."""
        with pytest.raises(kind, match=field):
            InstallPolicy(**{field: value})

    def test_hashes_come_from_the_constraints(self):
        """Without the file no hash would be right, so that nothing could be installed."""
        with pytest.raises(ValueError, match=r"require_hashes needs constraints="):
            InstallPolicy(require_hashes=True)

    @pytest.mark.parametrize(
        ("field", "entry"),
        [
            ("indexes", "quentin:s3cret@pypi.example"),
            ("indexes", "https:/quentin:s3cret@pypi.example"),
            ("indexes", "ftp://quentin:s3cret@pypi.example"),
            ("indexes", "https://pypi.example/?token=s3cret"),
            ("vcs_hosts", "https://quentin:s3cret@git.example"),
            ("find_links", "https://quentin:s3cret@pages.example"),
        ],
    )
    def test_no_error_and_no_repr_has_credentials(self, field, entry):
        """Those of a wrong entry are not shown, nor those of a right one."""
        for given in ([entry], entry, [entry, 1]):
            with pytest.raises((TypeError, ValueError)) as caught:
                InstallPolicy(**{field: given})
            assert "s3cret" not in str(caught.value)
            assert "quentin" not in str(caught.value)

    def test_credentials_of_an_index_are_for_the_installer_alone(self):
        """They are not in the repr."""
        policy = InstallPolicy(indexes=["https://quentin:s3cret@pypi.example/simple"])

        assert "s3cret" not in repr(policy)

    def test_importing_it_is_cheap(self):
        """A host that makes a policy at its start loads nothing that only plans need."""
        heavy = ["packaging", "subprocess", "importlib.metadata", "tempfile"]
        code = (
            "import sys\n"
            "from plugreg.install.policy import InstallPolicy\n"
            f"print([each for each in {heavy!r} if each in sys.modules])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )

        assert done.stdout.strip() == "[]"


class TestNames:
    def test_by_default_any_name_is_allowed(self):
        """A host that says nothing of names means none."""
        assert target_rules(InstallPolicy(), "shop-tea") == []
        assert change_rules(InstallPolicy(), added()) == []

    def test_only_allowed_names(self):
        """The one that is asked for, and each dependency; names are compared canonically."""
        policy = InstallPolicy(allowed=["Shop_Tea"])

        assert target_rules(policy, "shop.tea>=1") == []
        assert target_rules(policy, "shop-milk") == ["allowed"]
        assert change_rules(policy, added(), added("leaves")) == ["allowed"]
        assert target_rules(InstallPolicy(allowed=()), "shop-tea") == ["allowed"]

    def test_denied_names(self):
        """A denied dependency is refused like a denied plugin, allowed or not."""
        policy = InstallPolicy(allowed=["leaves", "shop-tea"], denied=["Leaves"])

        assert target_rules(policy, "LEAVES") == ["denied"]
        assert change_rules(policy, added(), added("leaves")) == ["denied"]

    def test_what_a_url_brings_is_known_from_the_plan(self):
        """A bare URL has no name, but its result has one."""
        policy = InstallPolicy(denied=["shop-tea"], indexes=["files.example"])

        assert target_rules(policy, f"other @ {WHEEL}") == []
        change = added(source=WHEEL)
        assert change_rules(policy, change) == ["denied"]

    def test_a_denied_distribution_may_go(self):
        """Names decide on additions, and the rule of the environment on removals."""
        gone = Change(name="leaves", before="1.0", after=None)

        assert change_rules(InstallPolicy(denied=["leaves"]), gone, named="leaves") == []


class TestNoIndex:
    def test_an_empty_collection_means_none(self, tmp_path):
        """No index may be named, and each file must come from a folder of the host's."""
        policy = InstallPolicy(indexes=(), find_links=[tmp_path])
        linked = added(source=(tmp_path / "shop_tea-1.0-py3-none-any.whl").as_uri())

        assert target_rules(policy, "shop-tea", "https://pypi.example/simple") == ["indexes"]
        assert change_rules(policy, added(source=WHEEL)) == ["indexes"]
        assert change_rules(policy, added()) == ["indexes"]
        assert change_rules(policy, linked) == []

    def test_none_means_the_configured_ones(self):
        """The default lets a requirement name no index, and a file come from anywhere."""
        policy = InstallPolicy()

        assert policy.indexes is None
        assert policy.index_url(parse_target("shop-tea")) is None
        assert target_rules(policy, "shop-tea", "https://pypi.example/simple") == ["indexes"]
        assert change_rules(policy, added(source=WHEEL)) == []


class TestPlaces:
    @pytest.mark.parametrize(
        ("entry", "index", "allowed"),
        [
            ("pypi.example", "https://pypi.example/simple", True),
            ("PyPI.example", "https://pypi.EXAMPLE/any/path", True),
            ("pypi.example", "https://pypi.example:443/simple", True),
            ("pypi.example", "https://pypi.example:8443/simple", False),
            ("pypi.example:8443", "https://pypi.example:8443/simple", True),
            ("pypi.example:8443", "https://pypi.example/simple", False),
            ("pypi.example", "https://evil.pypi.example/simple", False),
            ("pypi.example", "https://pypi.example.evil/simple", False),
            ("pypi.example", "https://evilpypi.example/simple", False),
            ("pypi.example", "https://pypi.example@evil.example/simple", False),
            ("pypi.example", "https://evil.example/pypi.example", False),
            ("localhost", "http://localhost/simple", True),
            ("localhost:8000", "http://localhost:8000/simple", True),
            ("localhost", "http://localhost:8000/simple", False),
            ("[::1]:8000", "http://[::1]:8000/simple", True),
            ("[::1]", "http://[::1]/simple", True),
            ("https://pypi.example", "https://pypi.example/simple", True),
            ("https://pypi.example/", "https://pypi.example", True),
            ("https://pypi.example/us", "https://pypi.example/us/simple/", True),
            ("https://pypi.example/us/", "https://pypi.example/us", True),
            ("https://pypi.example/us", "https://pypi.example/usual", False),
            ("https://pypi.example/us", "https://pypi.example/", False),
            ("https://pypi.example/us", "https://pypi.example/US/simple", False),
            ("https://pypi.example/us", "https://pypi.example//us", False),
            ("https://pypi.example:8443/us", "https://pypi.example/us", False),
            ("https://a:b@pypi.example/us", "https://c:d@pypi.example/us", True),
            ("https://localhost/us", "http://localhost/us", False),
            ("http://localhost:8000/us", "http://localhost:8000/us/simple", True),
        ],
    )
    def test_an_index_is_one_of_the_hosts(self, entry, index, allowed):
        """An entry is a host, at one port, or all below a URL; nothing that only looks like it."""
        policy = InstallPolicy(indexes=[entry])

        assert target_rules(policy, "shop-tea", index) == ([] if allowed else ["indexes"])

    @pytest.mark.parametrize(
        ("entry", "url", "allowed"),
        [
            ("git.example", "git+https://git.example/us/shop@v1", True),
            ("git.example", "hg+https://git.example/us/shop", True),
            ("git.example", "git+https://evil.example/us/shop", False),
            ("https://git.example/us", "git+https://git.example/us/shop.git@v1", True),
            ("https://git.example/us", "git+https://git.example/usual/shop", False),
            ("https://git.example/us", "git+https://git.example/them/shop@us/shop", False),
            ("https://git.example/us/shop", "git+https://git.example/us/shop", True),
            ("https://git.example/us/shop", "git+https://git.example/us/shop.git@v1", True),
            ("https://git.example/us/shop.git", "git+https://git.example/us/shop", True),
            ("https://git.example/us/shop", "git+https://git.example/us/shopping", False),
            ("git+https://git.example/us", "git+https://git.example/us/shop", True),
            ("git+https://git.example/us", "hg+https://git.example/us/shop", False),
            ("localhost:90", "git+http://localhost:90/shop", True),
        ],
    )
    def test_a_repository_is_on_one_of_the_hosts(self, entry, url, allowed):
        """So of the target, and of the requirements of a dependency."""
        policy = InstallPolicy(vcs_hosts=[entry])
        expected = [] if allowed else ["vcs_hosts"]

        assert target_rules(policy, url) == expected
        assert target_rules(policy, f"shop-tea @ {url}") == expected
        assert change_rules(policy, added(source=url, direct=True)) == expected
        assert change_rules(policy, added("leaves", source=url)) == expected

    def test_by_default_no_place_may_be_named(self):
        """Neither an index nor a file nor a repository, be it by a dependency."""
        policy = InstallPolicy()

        assert target_rules(policy, "shop-tea", "https://pypi.example/simple") == ["indexes"]
        assert target_rules(policy, f"shop-tea @ {WHEEL}") == ["indexes"]
        assert target_rules(policy, "git+https://git.example/shop") == ["vcs_hosts"]
        assert change_rules(policy, added(source=WHEEL)) == []
        assert change_rules(policy, added(source=WHEEL, direct=True)) == ["indexes"]
        assert change_rules(policy, added(source="git+https://git.example/x")) == ["vcs_hosts"]
        assert change_rules(policy, added(source="git+file:///srv/x")) == ["vcs_hosts"]
        assert change_rules(policy, added(source="git+ssh://git.example/x")) == ["vcs_hosts"]
        assert change_rules(policy, added(source="file:///srv/x.whl", direct=True)) == ["indexes"]

    def test_a_file_that_is_named_lies_below_an_entry(self):
        """A URL that somebody chose is compared with its path."""
        policy = InstallPolicy(indexes=["https://files.example/us"])

        assert target_rules(policy, "a @ https://files.example/us/a.whl") == []
        assert target_rules(policy, "a @ https://files.example/them/a.whl") == ["indexes"]
        named = added(source="https://files.example/them/a.whl", direct=True)
        assert change_rules(policy, named) == ["indexes"]

    def test_the_files_of_an_index_lie_on_its_host(self):
        """The path of a file is the index's own affair, its host is the policy's."""
        policy = InstallPolicy(indexes=["https://pypi.example/us/simple", "files.example"])

        for source in (
            "https://pypi.example/packages/ab/shop_tea-1.0.tar.gz#sha256=" + HASH,
            "https://****@pypi.example/packages/shop_tea-1.0.tar.gz",
            WHEEL,
        ):
            assert change_rules(policy, added(source=source)) == []
        for source in (
            "https://other.example/shop_tea-1.0.tar.gz",
            "https://pypi.example:8443/shop_tea-1.0.tar.gz",
            "http://pypi.example/shop_tea-1.0.tar.gz",
            "ftp://pypi.example/shop_tea-1.0.tar.gz",
            "file:///srv/shop_tea-1.0.tar.gz",
            "/srv/shop_tea-1.0.tar.gz",
            "https://[",
            "file://[",
            "",
            None,
        ):
            assert change_rules(policy, added(source=source)) == ["indexes"], source

    def test_a_file_on_another_host_is_told_of_clearly(self):
        """The reason names that host and the remedy."""
        source = "https://me:s3cret@files.example:8443/x.whl?token=s3cret"
        policy = InstallPolicy(indexes=["pypi.example"])
        [refusal] = policy.of_changes([added(source=source)], "shop-tea")

        assert "'files.example:8443'" in refusal.reason
        assert "has to be in it too" in refusal.reason
        here = added(source="http://[::1]:8000/x.whl")
        assert "'[::1]:8000'" in policy.of_changes([here], "shop-tea")[0].reason
        for other in (source, source.replace("https", "ftp"), source.replace("https", "git+ssh")):
            assert "s3cret" not in repr(policy.of_changes([added(source=other)], "shop-tea"))

    def test_files_come_from_find_links_too(self, tmp_path):
        """From within such a folder, also where it is a link, and from the host of such a page."""
        wheels = tmp_path / "real" / "wheel house"
        wheels.mkdir(parents=True)
        (tmp_path / "link").symlink_to(wheels)
        policy = InstallPolicy(
            indexes=["pypi.example"],
            find_links=[tmp_path / "link", "https://pages.example/wheels"],
        )

        for path in (wheels / "x.whl", tmp_path / "link" / "sub" / "x.whl"):
            for source in (path.as_uri(), f"file://localhost{path.as_posix()}"):
                source = source.replace(" ", "%20")
                assert change_rules(policy, added(source=source)) == []
                assert change_rules(policy, added(source=source, direct=True)) == []
        assert change_rules(policy, added(source="https://pages.example/x.whl")) == []
        for source in (
            f"{wheels.as_uri()}/../x.whl",
            f"{wheels.as_uri()}/%2e%2e/x.whl",
            f"{wheels.as_uri()}-other/x.whl",
            f"file://server{wheels.as_posix()}/x.whl",
            f"https://pypi2.example{wheels.as_posix()}/x.whl",
            str(wheels.parent / "x.whl"),
        ):
            assert change_rules(policy, added(source=source)) == ["indexes"], source

    def test_refusals_have_no_credentials(self):
        """The request is shown without them."""
        target = parse_target(
            "shop-tea @ git+https://quentin:s3cret@git.example/x",
            "https://quentin:s3cret@pypi.example/simple",
        )
        refusals = InstallPolicy(wheels_only=True, denied=["shop-tea"]).of_target(target)

        assert rules(refusals) == ["denied", "indexes", "vcs_hosts", "wheels_only"]
        assert "s3cret" not in repr(refusals)
        assert "quentin" not in repr(refusals)

    def test_the_index_to_use(self):
        """That which was asked for, else the first URL of the policy, else the installer's own."""
        target, asked = parse_target("a"), parse_target("a", "https://b.example/simple")
        both = InstallPolicy(indexes=["a.example", "https://u:p@b.example/simple", "https://c.d"])

        assert both.index_url(target) == "https://u:p@b.example/simple"
        assert both.index_url(asked) == "https://b.example/simple"
        assert InstallPolicy(indexes=["a.example"]).index_url(target) is None
        assert InstallPolicy().index_url(target) is None


class TestWheels:
    @pytest.mark.parametrize(
        ("source", "allowed"),
        [
            (WHEEL, True),
            (WHEEL + "#sha256=" + HASH, True),
            (WHEEL + "?****", True),
            ("/srv/wheels/shop_tea-1.0-py3-none-any.whl", True),
            ("https://files.example/shop_tea-1.0.tar.gz", False),
            ("https://files.example/shop_tea-1.0.zip#x.whl", False),
            ("https://files.example/shop_tea-1.0.zip?x.whl", False),
            ("https://files.example/shop.whl/x.tar.gz", False),
            ("git+https://git.example/x.whl", False),
            (None, False),
        ],
    )
    def test_only_wheels(self, source, allowed):
        """A distribution that must be built is refused, and one of an unknown form."""
        policy = InstallPolicy(wheels_only=True, vcs_hosts=["git.example"])

        assert change_rules(policy, added(source=source)) == ([] if allowed else ["wheels_only"])

    def test_what_is_no_wheel_is_refused_before_anything_is_run(self):
        """Looking into a repository, or an archive of sources, runs code of it."""
        policy = InstallPolicy(
            wheels_only=True, vcs_hosts=["git.example"], indexes=["files.example"]
        )

        assert target_rules(policy, "git+https://git.example/x") == ["wheels_only"]
        assert target_rules(policy, "a @ https://files.example/a.tar.gz") == ["wheels_only"]
        assert target_rules(policy, f"a @ {WHEEL}") == []

    @pytest.mark.parametrize("field", [{"denied": ["leaves"]}, {"allowed": ["a"]}])
    def test_where_names_or_hashes_are_judged_nothing_is_built(self, constraints, field):
        """Only a build knows them, and its code would have run by then."""
        places = {"vcs_hosts": ["git.example"], "indexes": ["files.example"]}
        hashes = {"require_hashes": True, "constraints": constraints("")}
        [rule] = field
        policy, hashed = InstallPolicy(**field, **places), InstallPolicy(**hashes, **places)

        assert target_rules(policy, "git+https://git.example/x") == [rule]
        assert target_rules(policy, "leaves @ git+https://git.example/x") == [rule]
        # It has stated an allowed name, which is compared with the built distribution.
        assert target_rules(policy, "a @ git+https://git.example/x") == []
        assert target_rules(policy, "a @ https://files.example/a.tar.gz") == []
        assert target_rules(hashed, "a @ https://files.example/a.tar.gz") == ["require_hashes"]
        assert target_rules(policy, f"a @ {WHEEL}") == target_rules(hashed, f"a @ {WHEEL}") == []
        assert not policy.may_build
        assert not hashed.may_build
        assert InstallPolicy(**places).may_build

    @pytest.mark.parametrize("field", [{"denied": ["leaves"]}, {"allowed": ["shop-tea", "milk"]}])
    def test_what_a_dependency_names_by_url_is_a_wheel(self, constraints, field):
        """Only a request by URL may be built, where its name is judged and nothing else."""
        [rule] = field
        archive = "https://files.example/x-1.0.tar.gz"
        policy = InstallPolicy(**field, indexes=["files.example"])
        named, milk = added(source=archive, direct=True), added("milk", source=archive, direct=True)

        assert change_rules(policy, named, milk) == [rule]
        assert change_rules(policy, added("milk", source=WHEEL, direct=True)) == []
        # An index was asked for it, and should have given a wheel.
        assert change_rules(policy, added(source=archive)) == [rule]
        # Where nobody knows, the name is judged.
        assert change_rules(InstallPolicy(**field), added(), added("milk")) == []


class TestConstraints:
    def test_versions_are_within_the_constraints(self, constraints):
        """A version that contradicts one line is refused; pre-releases and others may be."""
        path = constraints("# ours\nShop_Tea >=1,<2  # not yet\n\nleaves==1.0\n")
        policy = InstallPolicy(constraints=path)

        assert change_rules(policy, added(), added("leaves"), added("milk", "9")) == []
        assert change_rules(policy, added(version="1.5rc1")) == []
        assert change_rules(policy, added(version="2.0")) == ["constraints"]
        assert change_rules(policy, added("leaves", "1.1")) == ["constraints"]
        assert change_rules(policy, added("leaves", "no version")) == ["constraints"]

    def test_lines_for_another_interpreter_are_left_out(self, constraints):
        """Only the line whose marker holds here counts."""
        path = constraints("a==1; python_version<'3'\na==2; python_version>='3'\n")
        policy = InstallPolicy(constraints=path)

        assert change_rules(policy, added("a", "2")) == []
        assert change_rules(policy, added("a", "1")) == ["constraints"]
        assert len(policy.constraint_lines()) == 1

    def test_lines_for_the_installer_have_no_hashes(self, constraints):
        """They are the requirements alone, joined where they go on."""
        path = constraints(
            b"\xef\xbb\xbf--index-url https://pypi.example\r\n"
            b"shop-tea==1.0 \\\r\n    --hash=sha256:" + HASH.encode() + b"\r\n    # via x\r\n"
            b"leaves\r\n"
        )

        assert InstallPolicy(constraints=path).constraint_lines() == ("shop-tea==1.0", "leaves")
        assert InstallPolicy().constraint_lines() == ()

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("ok==1\nshop tea==1\n", "line 2"),
            ("ok \\\n ==1\n\n==2\n", "line 4"),
            ("-r other.txt\n", "line 1: other files are not followed"),
            ("ok\n--constraint=other.txt", "line 2: other files are not followed"),
            ("a; os_name ~= 'b'", "line 1"),
            ("./wheels/a.whl", "line 1"),
            (b"\xff\xfe", "cannot be read"),
            ("https://quentin:s3cret@example.org/x", "line 1"),
        ],
    )
    def test_a_file_that_cannot_be_read_allows_nothing(self, constraints, text, said):
        """It is reported with the line; the distribution that it should forbid is refused."""
        policy = InstallPolicy(constraints=constraints(text))

        for ask in (policy.constraint_lines, lambda: policy.of_changes([added()], "shop-tea")):
            with pytest.raises(InstallError) as caught:
                ask()
            assert said in str(caught.value)
            assert "constraints.txt" in str(caught.value)
            assert "s3cret" not in str(caught.value)

    def test_a_file_that_is_not_there(self, tmp_path):
        """It is missed when it is needed, not when the policy is made."""
        policy = InstallPolicy(constraints=tmp_path / "none.txt")

        with pytest.raises(InstallError, match=r"none\.txt"):
            policy.of_changes([], None)

    def test_it_is_read_anew(self, constraints):
        """The host's changes of the file count from then on."""
        policy = InstallPolicy(constraints=constraints("a==1"))
        assert change_rules(policy, added("a", "2")) == ["constraints"]

        constraints("a==2")
        assert change_rules(policy, added("a", "2")) == []


class TestHashes:
    def policy(self, constraints, text):
        return InstallPolicy(constraints=constraints(text), require_hashes=True)

    def test_a_hash_is_one_of_the_constraints(self, constraints):
        """Any of those of the name and version, in either case; of each that comes or changes."""
        text = f"Shop_Tea==1.0 --hash=sha256:{HASH} --hash sha256:{OTHER_HASH.upper()}\n"
        policy = self.policy(constraints, text)

        assert change_rules(policy, added(sha256=HASH)) == []
        assert change_rules(policy, added(sha256=OTHER_HASH)) == []
        assert change_rules(policy, added(sha256=HASH.upper())) == []
        upgrade = Change(name="shop-tea", before="0.9", after="1.0", sha256=HASH)
        assert change_rules(policy, upgrade) == []

    @pytest.mark.parametrize(
        ("text", "change"),
        [
            ("", added(sha256=HASH)),
            ("shop-tea==1.0", added(sha256=HASH)),
            (f"shop-tea==1.0 --hash=sha256:{HASH}", added(sha256=OTHER_HASH)),
            (f"shop-tea==1.0 --hash=sha256:{HASH}", added(sha256=None)),
            (f"shop-tea==1.0 --hash=sha256:{HASH}", added(sha256="")),
            (f"shop-tea==1.0 --hash=sha512:{HASH}", added(sha256=HASH)),
            (f"shop-tea==1.0 --hash=sha256:{HASH}0", added(sha256=HASH)),
            (f"shop-tea==1.0 # --hash=sha256:{HASH}", added(sha256=HASH)),
            (f"shop-tea>=1.0 --hash=sha256:{HASH}", added(sha256=HASH)),
            (f"shop-tea==1.* --hash=sha256:{HASH}", added(sha256=HASH)),
            (f"shop-milk==1.0 --hash=sha256:{HASH}", added(sha256=HASH)),
            (f"shop-tea==1.0; os_name=='x' --hash=sha256:{HASH}", added(sha256=HASH)),
        ],
    )
    def test_any_other_is_refused(self, constraints, text, change):
        """None there, none told, another one, another version's, another name's, another kind."""
        assert change_rules(self.policy(constraints, text), change) == ["require_hashes"]

    def test_a_hash_of_another_version_is_none_of_this(self, constraints):
        """Both rules tell of it: the version is another, and so is the hash."""
        policy = self.policy(constraints, f"shop-tea==2.0 --hash=sha256:{HASH}")

        assert change_rules(policy, added(sha256=HASH)) == ["constraints", "require_hashes"]

    def test_dependencies_need_one_too(self, constraints):
        """A plan is as good as its weakest part; a removal needs none."""
        policy = self.policy(constraints, f"shop-tea==1.0 --hash=sha256:{HASH}")

        changes = (added(sha256=HASH), added("leaves", sha256=OTHER_HASH))
        assert change_rules(policy, *changes) == ["require_hashes"]
        gone = Change(name="shop-tea", before="1.0", after=None)
        assert change_rules(policy, gone) == []

    def test_the_hash_of_a_url(self, constraints):
        """A line with a URL is that of one file."""
        policy = self.policy(constraints, f"shop-tea @ {WHEEL} --hash=sha256:{HASH}")

        assert change_rules(policy, added(source=WHEEL, sha256=HASH)) == []
        assert change_rules(policy, added(source=WHEEL, sha256=OTHER_HASH)) == ["require_hashes"]

    def test_a_repository_has_none(self, constraints):
        """It is refused before it is fetched."""
        policy = InstallPolicy(
            constraints=constraints(""), require_hashes=True, vcs_hosts=["git.example"]
        )

        assert target_rules(policy, "git+https://git.example/x") == ["require_hashes"]
