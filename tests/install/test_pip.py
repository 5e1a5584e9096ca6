"""pip makes a plan that touches nothing, and carries out exactly that one."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

GROUP = "shop.plugins"
TEA = {GROUP: {"tea": "shop_tea:Tea"}}
PREAMBLE = """
import dataclasses, json, os, pickle, sys
from plugreg.exceptions import InstallError
from plugreg.install.pip import PipInstaller
from plugreg.install.policy import InstallPolicy
from plugreg.install.requirements import parse_target

with open("given.json") as file:
    given = json.load(file)
installer = PipInstaller(policy=InstallPolicy(**given["policy"]), timeout=given["timeout"])
told = []

def plan(requirement, index_url=None):
    plan = installer.plan(parse_target(requirement, index_url), "shop.plugins")
    with open("plan", "wb") as file:
        pickle.dump(plan, file)
    return plan

def planned():
    with open("plan", "rb") as file:
        return pickle.load(file)

def install(plan):
    return installer.install(plan, told.append)

def outcome(verb, *arguments):
    try:
        return shown(verb(*arguments))
    except InstallError as error:
        told = {name: value for name, value in vars(error).items() if name != "plan"}
        return {"error": type(error).__name__, **told}

def shown(value):
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value

"""


class Pip:
    """Programs that use PipInstaller, each in a process of the same virtual environment.

    ``policy`` is theirs where a test gives none: all comes from the index.
    """

    def __init__(self, venv, index):
        self.venv = venv
        self.policy = {"indexes": [index.url, index.host], "vcs_hosts": [index.host]}

    def run(self, result, *, policy=None, timeout=300, unprivileged=False, **changed):
        """Return what an expression gives in the environment, after the statements before it."""
        given = {"policy": self.policy if policy is None else policy, "timeout": timeout}
        # A file, since everybody may read arguments.
        (self.venv.home / "given.json").write_text(json.dumps(given))
        *before, last = result.strip().splitlines()
        code = PREAMBLE + "\n".join([*before, f"print(json.dumps(shown({last})))"])
        return self.venv.run(code, unprivileged=unprivileged, **changed)

    def plan(self, requirement, **how):
        return self.run(f"outcome(plan, {requirement!r})", **how)

    def install(self, requirement, **how):
        return self.run(f"install(plan({requirement!r}))", **how)


@pytest.fixture
def pip(venv, index):
    return Pip(venv, index)


@pytest.fixture
def system(tmp_path):
    """Give a standard library like this interpreter's, in a prefix with no distributions."""
    library = tmp_path / "system" / "lib" / Path(os.__file__).parent.name
    (library / "site-packages").mkdir(parents=True)
    for each in Path(os.__file__).parent.iterdir():
        if each.name not in ("site-packages", "EXTERNALLY-MANAGED"):
            (library / each.name).symlink_to(each)
    return library


def spoil(sdist, code):
    """Put code before that of the backend in a source distribution."""
    with tarfile.open(sdist) as archive:
        files = {each.name: archive.extractfile(each).read() for each in archive}
    with tarfile.open(sdist, "w:gz") as archive:
        for name, data in files.items():
            data = code.encode() + data if name.endswith("/backend.py") else data
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def rules(plan):
    return [each["rule"] for each in plan["refusals"]]


def versions(plan):
    return {each["name"]: (each["before"], each["after"]) for each in plan["changes"]}


class TestPlanning:
    def test_it_tells_what_would_come_and_touches_nothing(
        self, pip, venv, index, make_wheel, sha256
    ):
        """Versions, files and their hashes, and plugins are known before anything has changed."""
        milk = make_wheel(index.folder, "shop-milk", "1.5")
        tea = make_wheel(
            index.folder, "Shop.Tea", "2.0", requires=["shop_milk>=1"], entry_points=TEA
        )
        before = venv.snapshot()
        plan = pip.plan("shop-tea>=1")

        assert venv.snapshot() == before
        assert plan["changes"] == [
            {
                "name": name,
                "before": None,
                "after": version,
                "source": f"http://{index.host}/files/{file.name}",
                "sha256": sha256(file),
                "size": None,
                "direct": False,
                "plugins": ["tea"] if name == "shop-tea" else [],
                "entry_points": [],
            }
            for name, version, file in [("shop-milk", "1.5", milk), ("shop-tea", "2.0", tea)]
        ]
        assert plan["distribution"] == "shop-tea"
        assert plan["plugins"] == ["tea"]
        assert plan["refusals"] == []
        assert list((venv.home / "tmp").iterdir()) == []

    def test_the_named_one_is_upgraded_and_nothing_else(self, pip, venv, index, make_wheel):
        """A newer version of a dependency that does its work is left alone."""
        for version in ("1.0", "2.0"):
            venv_has = make_wheel(index.folder, "shop-milk", version)
            tea = make_wheel(
                index.folder, "shop-tea", version, requires=["shop-milk"], entry_points=TEA
            )
            if version == "1.0":
                venv.put(venv_has)
                venv.put(tea)

        assert versions(pip.plan("shop-tea")) == {"shop-tea": ("1.0", "2.0")}
        assert versions(pip.plan("shop-tea<2")) == {}

    def test_what_is_installed_already_needs_no_change(self, pip, venv, index, make_wheel):
        """Its plugins are those that it has."""
        venv.put(make_wheel(index.folder, "shop-tea", "1.0", entry_points=TEA))
        plan = pip.plan("shop-tea")

        assert (plan["changes"], plan["plugins"], plan["refusals"]) == ([], ["tea"], [])
        assert pip.run("install(planned())") == ""

    def test_a_dependency_of_the_host_is_not_changed(self, pip, venv, index, make_wheel):
        """A plugin that needs another version is refused with the conflict, and nothing happens."""
        for version in ("1.0", "2.0"):
            make_wheel(index.folder, "lib", version)
        venv.put(index.folder / "lib-1.0-py3-none-any.whl")
        venv.put(make_wheel(index.folder / "own", "host", "1.0", requires=["lib<2"]))
        make_wheel(index.folder, "shop-tea", "1.0", requires=["lib>=2"], entry_points=TEA)
        before = venv.snapshot()
        plan = pip.plan("shop-tea")

        assert versions(plan) == {"lib": ("1.0", "2.0"), "shop-tea": (None, "1.0")}
        assert rules(plan) == ["environment", "conflict", "conflict"]
        assert "shop-tea 1.0 depends on lib>=2" in plan["refusals"][1]["reason"]
        assert plan["refusals"][2]["reason"] == "host 1.0 requires 'lib<2', not lib 2.0"
        assert plan["plugins"] is None
        refused = pip.run("outcome(install, planned())")
        assert refused["error"] == "InstallRefusedError"
        assert venv.snapshot() == before

    def test_what_the_system_has_is_not_changed_either(self, pip, venv, index, make_wheel, system):
        """An environment that is open to the system's has what is there as well."""
        venv.open_to(system.parents[1])
        with zipfile.ZipFile(make_wheel(index.folder, "lib", "1.0")) as wheel:
            wheel.extractall(system / "site-packages")
        make_wheel(index.folder, "lib", "2.0")
        make_wheel(index.folder, "shop-tea", "1.0", requires=["lib>=2"], entry_points=TEA)
        make_wheel(index.folder, "shop-milk", "1.0", requires=["lib"], entry_points=TEA)
        tea, milk = pip.run("[shown(plan('shop-tea')), shown(plan('shop-milk'))]")

        assert versions(tea)["lib"] == ("1.0", "2.0")
        assert rules(tea) == ["environment", "conflict"]
        assert versions(milk) == {"shop-milk": (None, "1.0")}

    def test_an_older_version_that_suits_is_taken(self, pip, venv, index, make_wheel):
        """What is installed decides which version comes, before anything is refused."""
        venv.put(make_wheel(index.folder, "lib", "1.0"))
        make_wheel(index.folder, "lib", "2.0")
        make_wheel(index.folder, "shop-tea", "1.0", requires=["lib"], entry_points=TEA)
        make_wheel(index.folder, "shop-tea", "2.0", requires=["lib>=2"], entry_points=TEA)
        plan = pip.plan("shop-tea")

        assert versions(plan) == {"shop-tea": (None, "1.0")}
        assert rules(plan) == []

    def test_an_upgrade_that_others_do_not_want_is_refused(self, pip, venv, index, make_wheel):
        """Pip does not ask what is installed whether it still has what it requires."""
        venv.put(make_wheel(index.folder, "shop-tea", "1.0", entry_points=TEA))
        venv.put(make_wheel(index.folder / "own", "tea-time", "3.0", requires=["shop-tea<2"]))
        make_wheel(index.folder, "shop-tea", "2.0", entry_points=TEA)
        plan = pip.plan("shop-tea")

        assert plan["refusals"] == [
            {"rule": "conflict", "reason": "tea-time 3.0 requires 'shop-tea<2', not shop-tea 2.0"}
        ]

    def test_what_brings_no_plugin_is_told(self, pip, index, make_wheel):
        """Entry points of another group are none of this registry."""
        make_wheel(index.folder, "shop-tea", "1.0", entry_points={"other": {"tea": "x:Y"}})
        plan = pip.plan("shop-tea")

        assert plan["plugins"] == []
        assert rules(plan) == ["plugin"]

    def test_what_is_forbidden_beforehand_runs_nothing(self, pip, index):
        """Not one request is made."""
        plan = pip.plan("shop-tea", policy={**pip.policy, "denied": ["shop-tea"]})

        assert rules(plan) == ["denied"]
        assert index.requests == []

    def test_extras_bring_what_they_require(self, pip, index, make_wheel):
        """They are asked for as they were written."""
        make_wheel(index.folder, "shop-milk", "1.0")
        requires = ["shop-milk; extra == 'milk'"]
        make_wheel(index.folder, "shop-tea", "1.0", requires=requires, entry_points=TEA)

        assert set(versions(pip.plan("shop-tea[milk]==1.0"))) == {
            "shop-milk",
            "shop-tea",
        }

    def test_constraints_of_the_host_hold(self, pip, tmp_path, index, make_wheel):
        """They decide the version, dependencies included; their hashes are for the policy."""
        for version in ("1.0", "2.0"):
            make_wheel(index.folder, "shop-milk", version)
            make_wheel(index.folder, "shop-tea", version, requires=["shop-milk"], entry_points=TEA)
        constraints = tmp_path / "constraints.txt"
        constraints.write_text(
            f"shop-milk==1.0 --hash=sha256:{'0' * 64}\nshop-tea<2  # a comment\n"
        )
        plan = pip.plan("shop-tea", policy={**pip.policy, "constraints": str(constraints)})

        assert versions(plan) == {"shop-milk": (None, "1.0"), "shop-tea": (None, "1.0")}


class TestInstalling:
    def test_exactly_the_plan_is_installed(self, pip, venv, index, make_wheel):
        """Newer versions that were published meanwhile do not come, and others stay as they are."""
        make_wheel(index.folder, "shop-milk", "1.0")
        make_wheel(index.folder, "shop-tea", "1.0", requires=["shop-milk"], entry_points=TEA)
        before = venv.installed
        pip.plan("shop-tea")
        make_wheel(index.folder, "shop-milk", "2.0")
        make_wheel(index.folder, "shop-tea", "2.0", requires=["shop-milk"], entry_points=TEA)
        output, told, found = pip.run(
            "output = install(planned())\n[output, told, shown(installer.show('Shop_Tea'))]",
        )

        assert venv.installed == before | {"shop-milk": "1.0", "shop-tea": "1.0"}
        assert "\n".join(told) == output
        assert "Successfully installed shop-milk-1.0 shop-tea-1.0" in output
        assert found == {
            "name": "shop-tea",
            "version": "1.0",
            "location": str(venv.purelib),
            "installer": "pip",
        }

    def test_another_file_than_planned_is_not_installed(self, pip, venv, index, make_wheel):
        """The hash of the plan counts, whatever the index says later."""
        make_wheel(index.folder, "shop-tea", "1.0", entry_points=TEA)
        pip.plan("shop-tea")
        make_wheel(index.folder, "shop-tea", "1.0", entry_points=TEA, modules={"evil.py": ""})
        failed = pip.run("outcome(install, planned())")

        assert failed["error"] == "InstallError"
        assert "DO NOT MATCH THE HASHES" in " ".join(failed["reasons"])
        assert "shop-tea" not in venv.installed

    def test_an_upgrade_replaces_the_old_version(self, pip, venv, index, make_wheel):
        """Files that the new version does not have are gone."""
        venv.put(
            make_wheel(
                index.folder, "shop-tea", "1.0", entry_points=TEA, modules={"old_tea.py": ""}
            )
        )
        make_wheel(index.folder, "shop-tea", "2.0", entry_points=TEA, modules={"new_tea.py": ""})
        pip.install("shop-tea")

        assert venv.installed["shop-tea"] == "2.0"
        assert not (venv.purelib / "old_tea.py").exists()
        assert (venv.purelib / "new_tea.py").exists()

    def test_a_wheel_in_a_folder(self, pip, venv, tmp_path, make_wheel, sha256):
        """It needs no index; its size is known, and odd characters in the path do no harm."""
        folder = tmp_path / "my wheels, 100% #1"
        wheel = make_wheel(folder, "shop-tea", "1.0", entry_points=TEA)
        pip.policy = {"find_links": [str(folder)]}
        plan = pip.plan("shop-tea", PIP_NO_INDEX="1")
        pip.run("install(planned())", PIP_NO_INDEX="1")

        [change] = plan["changes"]
        assert (change["sha256"], change["size"]) == (sha256(wheel), wheel.stat().st_size)
        assert change["source"] == wheel.as_uri()
        assert venv.installed["shop-tea"] == "1.0"

    def test_a_source_distribution_is_built(self, pip, venv, index, make_sdist, sha256):
        """It is checked by the hash of what is downloaded."""
        source = make_sdist(index.folder, "shop-tea", "1.0", entry_points=TEA)
        plan = pip.plan("shop-tea")
        pip.run("install(planned())")

        [change] = plan["changes"]
        assert change["sha256"] == sha256(source)
        assert plan["plugins"] == ["tea"]
        assert venv.installed["shop-tea"] == "1.0"

    def test_only_wheels(self, pip, index, tmp_path, make_sdist):
        """Nothing of a source distribution is run where the policy wants wheels."""
        ran = tmp_path / "ran"
        step = f"open({str(ran)!r}, 'w')"
        make_sdist(index.folder, "shop-tea", "1.0", entry_points=TEA, build_step=step)
        failed = pip.plan("shop-tea", policy={**pip.policy, "wheels_only": True})

        assert failed["error"] == "InstallError"
        assert "No matching distribution found for shop-tea" in failed["reasons"][-1]
        assert not ran.exists()

    @pytest.mark.parametrize("rule", ["wheels_only", "denied"])
    def test_a_dependency_that_is_no_wheel(self, pip, index, make_wheel, make_sdist, rule):
        """One that is named by URL is built by pip all the same, but never installed."""
        milk = make_sdist(index.folder / "else", "shop-milk", "1.0")
        requires = [f"shop-milk @ {index.address}/files/else/{milk.name}"]
        make_wheel(index.folder, "shop-tea", "1.0", requires=requires, entry_points=TEA)
        given = True if rule == "wheels_only" else ["shop-coffee"]
        before = pip.venv.snapshot()
        plan = pip.plan("shop-tea", policy={**pip.policy, rule: given})
        refused = pip.run("outcome(install, planned())")

        assert rules(plan) == [rule]
        assert "'shop-milk 1.0' is no wheel" in plan["refusals"][0]["reason"]
        assert refused["error"] == "InstallRefusedError"
        assert pip.venv.snapshot() == before

    @pytest.mark.parametrize(
        "policy", [{"denied": ["shop-milk"]}, {"allowed": ["shop-tea"]}, {"require_hashes": True}]
    )
    def test_nothing_that_may_be_forbidden_is_built(
        self, pip, index, make_sdist, make_wheel, policy
    ):
        """Names and hashes of dependencies are judged before code of them runs."""
        ran, hashes = pip.venv.home / "ran", pip.venv.home / "hashes.txt"
        code = f"open({str(ran)!r}, 'w')\n"
        make_wheel(index.folder, "shop-tea", "1.0", requires=["shop-milk"], entry_points=TEA)
        make_sdist(index.folder, "shop-milk", "1.0", build_step=code)
        spoil(index.folder / "shop_milk-1.0.tar.gz", code)
        if "require_hashes" in policy:
            hashes.write_text("shop-milk==1.0 --hash=sha256:" + "0" * 64)
            policy = {**policy, "constraints": str(hashes)}
        failed = pip.plan("shop-tea", policy={**pip.policy, **policy})

        assert "shop-milk" in str(failed["reasons"])
        assert not ran.exists()

    def test_a_wheel_at_an_address(self, pip, venv, index, make_wheel, sha256):
        """It is planned with its hash, and the installed one remembers where it came from."""
        wheel = make_wheel(index.folder, "shop-tea", "1.0", entry_points=TEA)
        address = f"{index.address}/files/{wheel.name}"
        plan = pip.plan(f"shop-tea @ {address}")
        pip.run("install(planned())")

        [change] = plan["changes"]
        assert (change["source"], change["direct"]) == (address, True)
        assert change["sha256"] == sha256(wheel)
        assert direct_url(venv, "shop_tea-1.0")["url"] == address

    def test_a_token_in_the_query(self, pip, venv, index, make_wheel, assert_recorded):
        """It is nowhere in the environment afterwards, and RECORD is true."""
        wheel = make_wheel(index.folder, "shop-tea", "1.0", entry_points=TEA)
        address = f"{index.address}/files/{wheel.name}"
        pip.install(f"shop-tea @ {address}?token=s3cret-canary")

        assert direct_url(venv, "shop_tea-1.0")["url"] == address
        assert_recorded(venv.purelib / "shop_tea-1.0.dist-info")

    def test_a_dependency_with_an_address_of_its_own(self, pip, venv, index, make_wheel):
        """It comes from there, and the plan says so."""
        milk = make_wheel(index.folder / "else", "shop-milk", "1.0")
        requires = [f"shop-milk @ {index.address}/files/else/{milk.name}"]
        make_wheel(index.folder, "shop-tea", "1.0", requires=requires, entry_points=TEA)
        plan = pip.plan("shop-tea")
        pip.run("install(planned())")

        assert [each["direct"] for each in plan["changes"]] == [True, False]
        assert venv.installed["shop-milk"] == "1.0"


class TestRepositories:
    @pytest.mark.parametrize("name", ["", "Shop.Tea[x] @ "])
    def test_the_commit_of_the_plan_is_installed(
        self, pip, index, make_wheel, make_repository, name
    ):
        """Whatever the branch has by then; dependencies come from the index, with their hashes."""
        make_wheel(index.folder, "shop-milk", "1.0")
        repository = index.folder / "tea.git"
        content = {"requires": ["shop-milk"], "entry_points": TEA}
        commit = make_repository(repository, "shop-tea", "1.0", **content)
        address = f"git+{index.address}/files/tea.git"
        plan = pip.plan(f"{name}{address}@main")
        make_repository(repository, "shop-tea", "2.0", **content)
        pip.run("install(planned())")

        milk, tea = plan["changes"]
        assert milk["sha256"] is not None
        assert (tea["source"], tea["sha256"]) == (f"{address}@{commit}", None)
        assert tea["direct"]
        assert plan["distribution"] == "shop-tea"
        assert plan["plugins"] == ["tea"]
        assert pip.venv.installed["shop-tea"] == "1.0"
        assert pip.venv.installed["shop-milk"] == "1.0"
        assert direct_url(pip.venv, "shop_tea-1.0")["vcs_info"]["commit_id"] == commit

    def test_a_new_commit_of_the_same_version_is_installed(self, pip, venv, index, make_repository):
        """A repository may be changed without its version, and whoever asks wants the change."""
        repository = index.folder / "tea.git"
        address = f"git+{index.address}/files/tea.git"
        make_repository(repository, "shop-tea", "1.0", entry_points=TEA)
        pip.install(address)
        make_repository(repository, "shop-tea", "1.0", entry_points=TEA, modules={"new_tea.py": ""})
        plan = pip.plan(address)
        pip.run("install(planned())")

        assert versions(plan) == {"shop-tea": ("1.0", "1.0")}
        assert (venv.purelib / "new_tea.py").exists()

    def test_a_plan_is_of_one_commit(self, pip, index, make_repository, tmp_path):
        """A commit that comes while the plan is made has no part in it."""
        repository, newer = index.folder / "tea.git", tmp_path / "newer.git"
        step = (
            "import os, shutil\n"
            f"if os.path.exists({str(newer)!r}):\n"
            f"    shutil.rmtree({str(repository)!r})\n"
            f"    os.rename({str(newer)!r}, {str(repository)!r})"
        )
        make_repository(newer, "shop-tea", "1.0", entry_points=TEA, build_step=step)
        shutil.copytree(newer, repository)
        make_repository(newer, "shop-tea", "2.0", entry_points=TEA, requires=["no-such-thing"])
        plan = pip.plan(f"git+{index.address}/files/tea.git@main")

        assert not newer.exists()
        assert versions(plan) == {"shop-tea": (None, "1.0")}

    @pytest.mark.parametrize("at", ["none.git", "tea.git@no-such-branch"])
    def test_what_cannot_be_fetched_is_no_failed_build(self, pip, index, make_repository, at):
        """The reasons are git's own words."""
        make_repository(index.folder / "tea.git", "shop-tea", "1.0", entry_points=TEA)
        failed = pip.plan(f"git+{index.address}/files/{at}")

        assert failed["error"] == "InstallError"
        assert at.partition("@")[2] or "not found" in " ".join(failed["reasons"])


class TestFailures:
    def test_no_set_of_versions_suits(self, pip, index, make_wheel):
        """Those that conflict are named."""
        make_wheel(index.folder, "lib", "1.0")
        make_wheel(index.folder, "shop-tea", "1.0", requires=["lib>=1", "lib<1"])
        failed = pip.plan("shop-tea")

        assert failed["error"] == "InstallConflictError"
        assert failed["conflicts"] == [
            "shop-tea 1.0 depends on lib>=1",
            "shop-tea 1.0 depends on lib<1",
        ]
        assert 0 < len(failed["reasons"]) <= 20

    def test_each_has_its_error(self, pip, index, make_wheel, make_sdist):
        """The reasons are pip's own last words."""
        make_wheel(index.folder, "shop-tea", "1.0", entry_points=TEA)
        make_wheel(index.folder, "shop-tea", "2.0", requires_python=">=3.99", entry_points=TEA)
        make_wheel(index.folder, "shop-new", "1.0", requires_python="<3", entry_points=TEA)
        broken = "import sys; sys.exit('it cannot be built')"
        make_sdist(index.folder, "shop-broken", "1.0", entry_points=TEA, build_step=broken)
        full = "with open('/dev/full', 'w') as file: file.write('x')"
        make_sdist(index.folder, "shop-large", "1.0", entry_points=TEA, build_step=full)
        expected = {
            "nothing": ("InstallError", "No matching distribution found for nothing"),
            "shop-tea==9": ("InstallError", "(from versions: 1.0)"),
            "shop-tea==2.0": ("PythonMismatchError", "2.0 Requires-Python >=3.99"),
            "shop-tea>=2": ("PythonMismatchError", "2.0 Requires-Python >=3.99"),
            "shop-new": ("PythonMismatchError", "1.0 Requires-Python <3"),
            "shop-broken": ("BuildFailedError", "it cannot be built"),
            "shop-large": ("InstallSpaceError", "No space left on device"),
        }
        failed = pip.run(f"{{each: outcome(plan, each) for each in {list(expected)}}}")

        assert {name: each["error"] for name, each in failed.items()} == {
            name: error for name, (error, _) in expected.items()
        }
        for name, (_, words) in expected.items():
            assert words in " ".join(failed[name]["reasons"])
            assert all(each.strip() for each in failed[name]["reasons"])

    def test_a_wheel_for_another_python(self, pip, index, make_wheel):
        """It is found out when its own metadata are there."""
        wheel = make_wheel(index.folder, "shop-tea", "1.0", requires_python="<3", entry_points=TEA)
        failed = pip.plan(f"shop-tea @ {index.address}/files/{wheel.name}")

        assert failed["error"] == "PythonMismatchError"

    def test_a_folder_that_may_not_be_written(self, pip, venv, index, make_wheel):
        """Where it is found out before anything is run, and where pip comes upon it."""
        make_wheel(
            index.folder, "shop-tea", "1.0", entry_points=TEA, modules={"shop_tea/__init__.py": ""}
        )
        (venv.purelib / "shop_tea").mkdir(mode=0o555)
        within = pip.run("outcome(install, plan('shop-tea'))", unprivileged=True)
        index.requests.clear()
        venv.purelib.chmod(0o555)
        try:
            for verb in ("install, planned()", "installer.uninstall, ['shop-tea']"):
                failed = pip.run(f"outcome({verb})", unprivileged=True)
                assert failed["error"] == "InstallPermissionError"
                assert failed["reasons"] == [f"this process may not write to '{venv.purelib}'"]
            assert index.requests == []
            # To plan is to read.
            planned = pip.plan("shop-tea", unprivileged=True)
        finally:
            venv.purelib.chmod(0o755)

        assert within["error"] == "InstallPermissionError"
        assert versions(planned) == {"shop-tea": (None, "1.0")}

    def test_an_index_that_does_not_answer(self, pip, venv):
        """At the time limit pip is ended, and what it has left behind is gone."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            host = f"127.0.0.1:{server.getsockname()[1]}"
            failed = pip.plan("shop-tea", policy={"indexes": [f"http://{host}/simple/"]}, timeout=3)

        assert (failed["error"], failed["seconds"]) == ("InstallTimeoutError", 3)
        assert list((venv.home / "tmp").iterdir()) == []

    def test_pip_is_not_there_or_too_old(self, pip, venv):
        """Both are told with a remedy, before anything is run."""
        [metadata] = venv.purelib.glob("pip-*.dist-info")
        old = metadata.rename(venv.purelib / "pip-22.1.dist-info") / "METADATA"
        text = old.read_text(encoding="utf-8")
        old.write_text(text.replace(f"Version: {metadata.name[4:-10]}", "Version: 22.1", 1))
        too_old = pip.plan("shop-tea")
        shutil.rmtree(old.parent)
        missing = pip.plan("shop-tea")

        assert too_old["error"] == missing["error"] == "InstallerMissingError"
        assert "22.2 at least is needed" in too_old["reasons"][0]
        assert "run: python -m pip install --upgrade pip" in too_old["reasons"][0]
        assert "run: python -m ensurepip" in missing["reasons"][0]

    def test_an_environment_of_the_system_is_left_alone(self, pip, venv, system):
        """PEP 668: the marker beside the standard library forbids all, outside of venvs."""
        (system / "EXTERNALLY-MANAGED").write_text("[externally-managed]\nError=Ask apt\n")
        venv.open_to(system.parents[1])
        within = pip.run("outcome(installer.uninstall, [])")
        (system / "site-packages").rmdir()
        (system / "site-packages").symlink_to(venv.purelib)
        # Debian's Python looks there instead.
        (system.parent / "python3").mkdir()
        (system.parent / "python3" / "dist-packages").symlink_to(venv.purelib)
        venv.python = Path(sys.base_prefix, "bin", "python3")
        failed = pip.run("outcome(installer.uninstall, [])", PYTHONHOME=str(system.parents[1]))

        assert within == ""
        assert failed["error"] == "ExternallyManagedError"


class TestWhatPipIsGiven:
    def test_an_index_with_a_login(self, pip, venv, index, make_wheel):
        """It works, and neither output nor plan, nor any command line, has the password."""
        index.login = ("clerk", "s3cret-canary")
        make_wheel(index.folder, "shop-tea", "1.0", entry_points=TEA)
        told, lines, shown = pip.run(
            "lines = []\n"
            "def progress(line):\n"
            "    for each in filter(str.isdigit, os.listdir('/proc')):\n"
            "        try:\n"
            "            with open(f'/proc/{each}/cmdline') as file:\n"
            "                lines.append(file.read())\n"
            "        except OSError:\n"
            "            pass\n"
            "found = plan('shop-tea')\n"
            "told = installer.install(found, progress)\n"
            "[told, lines, repr(found) + str(dataclasses.asdict(found)['changes'])]",
            policy={"indexes": [index.url]},
        )

        assert venv.installed["shop-tea"] == "1.0"
        assert any("pip" in each for each in lines)
        for text in (told, shown, *lines):
            assert "s3cret-canary" not in text
            assert "clerk" not in text

    def test_no_command_of_a_build_has_a_login(self, pip, index, tmp_path, make_sdist, monkeypatch):
        """Pip gives its indexes as arguments to the pip that fetches what a build needs."""
        seen = tmp_path / "seen"
        step = (
            "import pathlib\n"
            "for each in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
            "    try:\n"
            f"        open({str(seen)!r}, 'ab').write(each.read_bytes() + b'\\n')\n"
            "    except OSError:\n"
            "        pass\n"
        )
        make_sdist(index.folder, "kettle", "1.0", build_step=step)
        project = make_sdist.__globals__["PYPROJECT"].replace("= []", "= ['kettle']")
        monkeypatch.setitem(make_sdist.__globals__, "PYPROJECT", project)
        make_sdist(index.folder, "shop-tea", "1.0", entry_points=TEA)
        index.login = ("cl%40erk", "s3cret-canary%2F")
        url, extra = index.url, index.url.replace("simple", "files")
        index.login = ("cl@erk", "s3cret-canary/")
        plan = pip.plan("shop-tea", policy={}, PIP_INDEX_URL=url, PIP_EXTRA_INDEX_URL=extra)

        assert versions(plan) == {"shop-tea": (None, "1.0")}
        assert b"--extra-index-url" in seen.read_bytes()
        assert b"s3cret-canary" not in seen.read_bytes()
        assert b"erk" not in seen.read_bytes()

    def test_a_wrong_password_is_not_told(self, pip, index, make_wheel):
        """An error has the address without it."""
        index.login = ("clerk", "right")
        url = index.url.replace("right", "s3cret-canary")
        failed = pip.plan("shop-tea", policy={"indexes": [url]})

        assert failed["error"] == "InstallError"
        assert "s3cret-canary" not in str(failed)
        assert index.host in str(failed)

    def test_a_login_in_the_hosts_configuration_is_not_told(self, pip, venv, index):
        """PIP_INDEX_URL of the host may have one as well."""
        index.login = ("clerk", "right")
        failed = pip.plan(
            "shop-tea", policy={}, PIP_INDEX_URL=index.url.replace("right", "s3cret-canary")
        )

        assert "s3cret-canary" not in str(failed)
        assert "clerk" not in str(failed)

    @pytest.mark.parametrize("name", ["PIP_PROXY", "HTTP_PROXY", "http_proxy"])
    @pytest.mark.parametrize("scheme", ["http://", ""])
    def test_a_login_of_a_proxy_is_not_told(self, pip, index, make_sdist, name, scheme):
        """Neither when it does not answer, nor by a build that tells all it knows."""
        proxy = f"{scheme}clerk-canary:s3cret-canary@127.0.0.1:1"
        step = "import os; raise OSError(str(dict(os.environ)))"
        folder = pip.venv.home / "wheels"
        make_sdist(folder, "shop-tea", "1.0", entry_points=TEA, build_step=step)
        policy = {"find_links": [str(folder)]}
        failed = pip.plan("shop-tea", policy={}, PIP_INDEX_URL="http://a.example/", **{name: proxy})
        told = pip.plan("shop-tea", policy=policy, PIP_NO_INDEX="1", **{name: proxy})

        assert failed["error"] == "InstallError"
        assert told["error"] == "BuildFailedError"
        assert "127.0.0.1:1" in str(told)
        assert "canary" not in str([failed, told])

    def test_an_index_that_is_asked_for(self, pip, venv, index, make_wheel):
        """It is used in place of all the host's, those of pip.conf too."""
        make_wheel(index.folder, "shop-tea", "1.0", entry_points=TEA)
        config = venv.home / ".config" / "pip" / "pip.conf"
        config.parent.mkdir(parents=True)
        config.write_text(f"[global]\nextra-index-url = {index.address}/of-file/\n")
        plan = pip.run(
            f"plan('shop-tea', {index.url!r})",
            policy={"indexes": [index.host]},
            PIP_EXTRA_INDEX_URL=f"{index.address}/of-variable/",
        )

        assert versions(plan) == {"shop-tea": (None, "1.0")}
        assert {each.split("/")[1] for each in index.requests} == {"simple", "files"}

    def test_no_index_at_all(self, pip, index, tmp_path, make_wheel):
        """With an empty collection no index is asked, whatever the configuration names."""
        links = tmp_path / "links"
        make_wheel(links, "shop-tea", "1.0", entry_points=TEA)
        make_wheel(links, "shop-cup", "1.0", entry_points=TEA, requires=["saucer"])
        make_wheel(index.folder, "shop-tea", "2.0", entry_points=TEA)
        make_wheel(index.folder, "saucer", "1.0")
        for isolated in (False, True):
            policy = {"indexes": [], "find_links": [str(links)], "isolated": isolated}
            plan = pip.plan("shop-tea", policy=policy, PIP_INDEX_URL=index.url)
            failed = pip.plan("shop-cup", policy=policy, PIP_EXTRA_INDEX_URL=index.url)

            assert (versions(plan), plan["refusals"]) == ({"shop-tea": (None, "1.0")}, [])
            assert failed["error"] == "InstallError"
        asked = pip.run(f"outcome(plan, 'shop-tea', {index.url!r})", policy=policy)
        assert [each["rule"] for each in asked["refusals"]] == ["indexes"]
        assert index.requests == []

    def test_no_variable_of_the_host_leads_elsewhere(self, pip, venv, index, tmp_path, make_wheel):
        """Those that say where pip installs, or what else, or that it shall not, do not hold."""
        make_wheel(index.folder, "shop-tea", "1.0", entry_points=TEA)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (tmp_path / "more.txt").write_text("nowhere\n")
        names = ("TARGET", "PREFIX", "ROOT", "REPORT", "LOG", "PYTHON", "SRC", "BUILD")
        pip.install(
            "shop-tea",
            **{f"PIP_{each}": str(elsewhere / each) for each in names},
            **dict.fromkeys(("PIP_USER", "PIP_DRY_RUN", "PIP_REQUIRE_VIRTUALENV"), "1"),
            PIP_REQUIREMENT=str(tmp_path / "more.txt"),
            PIP_EDITABLE=str(elsewhere),
        )

        assert venv.installed["shop-tea"] == "1.0"
        assert list(elsewhere.iterdir()) == []

    def test_no_file_of_the_host_leads_elsewhere(self, pip, venv, index, tmp_path, make_wheel):
        """What pip.conf says of that does not hold; where it does, it is an error."""
        make_wheel(index.folder, "shop-tea", "1.0", entry_points=TEA)
        config = venv.home / ".config" / "pip" / "pip.conf"
        config.parent.mkdir(parents=True)
        config.write_text(
            f"[install]\nuser = true\ntarget = {tmp_path / 'target'}\ndry-run = true\n"
            f"requirement = {tmp_path / 'none.txt'}\neditable = {tmp_path}\n"
        )
        pip.install("shop-tea")
        within = venv.installed
        pip.run("installer.uninstall(['shop-tea'])")
        pip.plan("shop-tea")
        config.write_text(f"[install]\nroot = {tmp_path / 'root'}\n")
        failed = pip.run("outcome(install, planned())")

        assert within["shop-tea"] == "1.0"
        assert failed["error"] == "InstallError"
        assert "has not put 'shop-tea' into" in failed["reasons"][0]

    def test_the_configuration_of_the_host_holds_unless_isolated(self, pip, venv, index):
        """Variables and the file pip.conf both."""
        config = venv.home / ".config" / "pip" / "pip.conf"
        config.parent.mkdir(parents=True)
        config.write_text(f"[global]\nextra-index-url = {index.address}/of-file/\n")
        asked = []
        for isolated in (False, True):
            pip.plan(
                "shop-tea",
                policy={"isolated": isolated, "find_links": [f"{index.address}/links/"]},
                PIP_INDEX_URL=f"{index.address}/of-variable/",
            )
            asked.append({each.split("/")[1] for each in index.requests})
            index.requests.clear()

        assert asked[0] == {"links", "of-file", "of-variable"}
        assert asked[1] == {"links"}

    def test_a_build_sees_no_secret_of_the_host(self, pip, index, tmp_path, make_sdist):
        """The code of a distribution that is built has few variables, and none of the host's."""
        seen = tmp_path / "seen"
        step = f"import os; open({str(seen)!r}, 'w').write(str(dict(os.environ)))"
        make_sdist(index.folder, "shop-tea", "1.0", entry_points=TEA, build_step=step)
        pip.plan("shop-tea", DATABASE_URL="s3cret-canary", UV_TOKEN="s3cret-canary")

        assert "PATH" in seen.read_text()
        assert "s3cret-canary" not in seen.read_text()

    def test_pip_is_the_environments_own(self, pip, venv, index, make_sdist):
        """Neither PYTHONPATH nor what a build writes where pip works puts another in its place."""
        other = "raise SystemExit('not this one')"
        (venv.home / "pip.py").write_text(other)
        step = (
            "import pathlib, tempfile\n"
            f"pathlib.Path(tempfile.gettempdir(), 'pip.py').write_text({other!r})"
        )
        tea = make_sdist(index.folder, "shop-tea", "1.0", entry_points=TEA, build_step=step)
        address = f"{index.address}/files/{tea.name}"
        plan = pip.plan(f"shop-tea @ {address}", PYTHONPATH=str(venv.home))

        assert versions(plan) == {"shop-tea": (None, "1.0")}

    def test_a_dependency_names_no_variable(self, pip, venv, index, make_wheel):
        """Pip would put its value into the address, and so send it to whoever made the wheel."""
        milk = make_wheel(index.folder / "${PIP_CANARY}", "shop-milk", "1.0")
        requires = [f"shop-milk @ {index.address}/files/${{PIP_CANARY}}/{milk.name}"]
        make_wheel(index.folder, "shop-tea", "1.0", requires=requires, entry_points=TEA)
        result = pip.run(
            "outcome(lambda: install(plan('shop-tea')))",
            policy={},
            PIP_INDEX_URL=index.url,
            PIP_CANARY="s3cret-canary",
        )

        assert result["error"] == "InstallRefusedError"
        assert not any("s3cret-canary" in each for each in index.requests)

    def test_hostile_names_in_the_environment_do_no_harm(self, pip, venv, index, make_wheel):
        """A distribution whose version is none is no constraint, and stays."""
        (venv.purelib / "odd.dist-info").mkdir()
        (venv.purelib / "odd.dist-info" / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: odd\nVersion: not --a version\n"
        )
        make_wheel(index.folder, "shop-tea", "1.0", entry_points=TEA)

        assert versions(pip.plan("shop-tea")) == {"shop-tea": (None, "1.0")}


class TestUninstalling:
    def test_all_that_is_named_goes(self, pip, venv, index, make_wheel):
        """Nothing else does, and what was told is returned."""
        before = venv.installed
        venv.put(make_wheel(index.folder, "shop-tea", "1.0", modules={"shop_tea.py": ""}))
        venv.put(make_wheel(index.folder, "shop-milk", "1.0"))
        output, told, found = pip.run(
            "output = installer.uninstall(['shop-tea', 'shop-milk'], told.append)\n"
            "[output, told, installer.show('shop-tea')]"
        )

        assert venv.installed == before
        assert not (venv.purelib / "shop_tea.py").exists()
        assert "Successfully uninstalled shop-tea-1.0" in output
        assert "\n".join(told) == output
        assert found is None

    def test_nothing_to_remove_runs_nothing(self, pip):
        """There is no pip without names."""
        assert pip.run("installer.uninstall([])") == ""

    def test_what_cannot_be_removed_is_an_error(self, pip, venv, index, make_wheel):
        """Where pip knows no files of it, and where it leaves some that still make it one."""
        for name in ("shop_tea", "shop_milk"):
            venv.put(make_wheel(index.folder, name, "1.0", modules={f"{name}.py": ""}))
        (venv.purelib / "shop_tea-1.0.dist-info" / "RECORD").unlink()
        (venv.purelib / "shop_milk-1.0.dist-info" / "RECORD").write_text("shop_milk.py,,\n")
        failed = pip.run(
            "[outcome(installer.uninstall, [each]) for each in ('shop-tea', 'shop-milk')]"
        )

        assert [each["error"] for each in failed] == ["InstallError", "InstallError"]
        assert failed[1]["reasons"][0] == "pip has not removed 'shop-milk'"
        assert {"shop-tea", "shop-milk"} <= venv.installed.keys()


def direct_url(venv, info):
    return json.loads((venv.purelib / f"{info}.dist-info" / "direct_url.json").read_text())
