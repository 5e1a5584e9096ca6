"""Installing with uv: the real one, into real environments, from an index on loopback."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from plugreg.exceptions import InstallError
from plugreg.install import uv as driver

GROUP = "shop.plugins"
LOGIN = ("clerk-of-the-shop", "pa55-of-the-shop")

PROGRAM = """
import dataclasses, json, pickle, sys
from pathlib import Path
from plugreg.exceptions import InstallError
from plugreg.install.policy import InstallPolicy
from plugreg.install.requirements import parse_target
from plugreg.install.uv import UvInstaller

asked = json.loads(sys.argv[1])
installer = UvInstaller(policy=InstallPolicy(**asked["policy"]), uv=asked["uv"])
kept, lines, told = Path("plan.pickle"), [], {"output": None}

def shown(plan):
    return {
        "distribution": plan.distribution,
        "changes": {
            each.name: {**dataclasses.asdict(each), "kind": each.kind} for each in plan.changes
        },
        "refusals": {each.rule: each.reason for each in plan.refusals},
        "plugins": plan.plugins,
    }

try:
    if "plan" in asked:
        plan = installer.plan(parse_target(asked["plan"], asked["index"]), asked["group"])
        kept.write_bytes(pickle.dumps(plan))
        told |= shown(plan)
    if "install" in asked:
        plan = pickle.loads(kept.read_bytes())
        told["output"] = installer.install(plan, lines.append)
        told["shown"] = dataclasses.asdict(installer.show(plan.distribution))
    if "remove" in asked:
        told["output"] = installer.uninstall(asked["remove"], lines.append)
        told["shown"] = [installer.show(each) for each in asked["remove"]]
except InstallError as error:
    told["error"] = type(error).__name__
    told["reasons"] = error.reasons
    told["conflicts"] = getattr(error, "conflicts", None)
print(json.dumps({**told, "lines": lines}))
"""


class Driver:
    """A UvInstaller of an environment; each call is a process, which returns what it was told.

    ``policy`` are the fields of its policy, ``variables`` those of the host's environment,
    ``path`` that of uv.
    """

    def __init__(self, venv, index, path: str) -> None:
        self.venv = venv
        self.index = index
        self.path: str | None = path
        self.policy: dict[str, object] = {"indexes": [index.host]}
        self.variables: dict[str, str] = {}

    def __call__(self, **asked):
        given = {"uv": self.path, "policy": self.policy, "index": self.index.url, "group": GROUP}
        return self.venv.run(PROGRAM, json.dumps({**given, **asked}), **self.variables)

    def plan(self, requirement: str, **more):
        return self(plan=requirement, **more)

    def install(self, requirement: str, **more):
        told = self(plan=requirement, install=True, **more)
        assert "error" not in told, told
        return told

    def wrapped(self, script: str) -> None:
        """Put a program of the shell in uv's place, which has uv's own path in ``$UV``."""
        wrapper = self.venv.home / "uv-wrapper"
        wrapper.write_text(f"#!/bin/sh\nUV={shlex.quote(str(self.path))}\n{script}\n")
        wrapper.chmod(0o700)
        self.path = str(wrapper)


@pytest.fixture
def uv(venv, index, uv_path):
    return Driver(venv, index, uv_path)


@pytest.fixture
def tea(index, make_wheel):
    """Give a function that puts a version of the plugin ``shop-tea`` into the index."""

    def make(version: str = "1.0", folder: Path | None = None, **more) -> Path:
        given = {
            "entry_points": {GROUP: {"tea": "shop_tea:Tea"}},
            "modules": {"shop_tea.py": f"VERSION = {version!r}\n"},
            **more,
        }
        return make_wheel(folder or index.folder, "shop-tea", version, **given)

    return make


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


class TestPlan:
    def test_it_says_what_would_come_from_where(self, uv, index, tea, make_wheel) -> None:
        """Each addition has its version, its URL, and the hash and size that the index tells."""
        files = {"shop-tea": tea(requires=["leaves>=1"])}
        files["leaves"] = make_wheel(index.folder, "leaves", "1.5")

        told = uv.plan("Shop_Tea")

        assert told["distribution"] == "shop-tea"
        assert told["plugins"] == ["tea"]
        assert told["refusals"] == {}
        assert told["changes"] == {
            name: {
                "name": name,
                "kind": "add",
                "before": None,
                "after": version,
                "source": f"http://{index.host}/files/{files[name].name}",
                "sha256": _sha256(files[name]),
                "size": files[name].stat().st_size,
                "direct": False,
                "plugins": {"shop-tea": ["tea"]}.get(name, []),
                "entry_points": [],
            }
            for name, version in {"shop-tea": "1.0", "leaves": "1.5"}.items()
        }

    def test_it_touches_nothing(self, uv, tea) -> None:
        """Nothing in the environment is another one afterwards, but for a lock of uv's own."""
        tea()
        before = uv.venv.snapshot()

        assert uv.plan("shop-tea")["changes"]

        after = uv.venv.snapshot()
        assert {each: after[each] for each in after if each != ".lock"} == before

    def test_what_no_index_tells_is_none(self, uv, index, tea, monkeypatch) -> None:
        """A page of HTML has hashes, but no sizes."""
        file = tea()
        answer = index._answer

        def in_html(path, headers):
            kept = {name: value for name, value in headers.items() if name != "Accept"}
            return answer(path, kept)

        monkeypatch.setattr(index, "_answer", in_html)

        [change] = uv.plan("shop-tea")["changes"].values()

        assert (change["sha256"], change["size"]) == (_sha256(file), None)

    def test_files_of_a_folder(self, uv, tea, tmp_path) -> None:
        """A folder of ``find_links`` is looked at, whatever its name is, and sizes are its."""
        folder = tmp_path / "our own, wheels%41"
        file = tea(folder=folder)
        uv.policy["find_links"] = [str(tmp_path / "empty"), str(folder)]
        (tmp_path / "empty").mkdir()

        told = uv.plan("shop-tea")

        [change] = told["changes"].values()
        assert told["refusals"] == {}
        assert unquote(change["source"]) == f"file://{file}"
        assert (change["sha256"], change["size"]) == (_sha256(file), file.stat().st_size)

    def test_no_index_at_all(self, uv, index, tea, tmp_path, make_wheel) -> None:
        """With an empty collection no index is asked, whatever the configuration names."""
        links = tmp_path / "links"
        tea("1.0", folder=links)
        tea("2.0")
        make_wheel(links, "shop-cup", "1.0", requires=["saucer"])
        make_wheel(index.folder, "saucer", "1.0")
        uv.variables = {"UV_INDEX_URL": index.url, "UV_EXTRA_INDEX_URL": index.url}
        for isolated in (False, True):
            uv.policy = {"indexes": [], "find_links": [str(links)], "isolated": isolated}
            told = uv.plan("shop-tea", index=None)
            failed = uv.plan("shop-cup", index=None)

            assert told["refusals"] == {}
            assert told["changes"]["shop-tea"]["after"] == "1.0"
            assert failed["error"] in ("InstallError", "InstallConflictError")
        assert list(uv.plan("shop-tea")["refusals"]) == ["indexes"]
        assert index.requests == []

    def test_the_file_that_is_taken_is_the_one_shown(self, uv, tea, tmp_path) -> None:
        """Of several wheels the plan shows the one that uv installs: the best for this machine."""
        python = f"cp3{sys.version_info.minor}-none-any"
        tags = ["py3-none-any", "3-py3-none-any", python, f"1-{python}", f"2-{python}"]
        tags += [f"4-{python.replace('any', 'win_amd64')}", "5-py2-none-any"]
        for tag in tags:
            built = tea(folder=tmp_path / "built", modules={"shop_tea.py": f"TAG = {tag!r}\n"})
            shutil.move(built, uv.index.folder / f"shop_tea-1.0-{tag}.whl")

        told = uv.install("shop-tea")

        best = f"2-{python}"
        assert (uv.venv.purelib / "shop_tea.py").read_text() == f"TAG = {best!r}\n"
        assert told["changes"]["shop-tea"]["source"].endswith(f"/shop_tea-1.0-{best}.whl")

    def test_only_what_is_asked_for_is_upgraded(self, uv, index, tea, make_wheel) -> None:
        """What is installed and suits stays, though the index has newer versions of it."""
        make_wheel(index.folder, "leaves", "1.0")
        tea("1.0", requires=["leaves"])
        uv.install("shop-tea")
        make_wheel(index.folder, "leaves", "2.0")
        tea("2.0", requires=["leaves"])

        told = uv.install("shop-tea")

        [change] = told["changes"].values()
        assert (change["kind"], change["before"], change["after"]) == ("change", "1.0", "2.0")
        assert {"leaves": "1.0", "shop-tea": "2.0"}.items() <= uv.venv.installed.items()

    def test_installed_already(self, uv, tea) -> None:
        """Nothing would change, and its plugins are known all the same."""
        tea()
        uv.install("shop-tea")

        told = uv.plan("shop-tea")

        assert (told["changes"], told["plugins"]) == ({}, ["tea"])

    def test_what_is_installed_needs_no_index(self, uv, tea, make_wheel, tmp_path) -> None:
        """A dependency that is there already is not looked for where it never was."""
        uv.venv.put(make_wheel(tmp_path, "our-own", "1.0+shop"))
        tea(requires=["our-own>=1"])

        told = uv.install("shop-tea")

        assert list(told["changes"]) == ["shop-tea"]

    def test_a_downgrade_of_the_host_is_refused(self, uv, index, tea, make_wheel) -> None:
        """The plan shows it, says which requirement wants it, and cannot be carried out.

        It shows nothing that would not have to change.
        """
        uv.venv.put(make_wheel(index.folder, "leaves", "2.0"))
        uv.venv.put(make_wheel(index.folder, "sugar", "1.0"))
        make_wheel(index.folder, "leaves", "1.0")
        make_wheel(index.folder, "sugar", "2.0")
        tea(requires=["leaves<2", "sugar"])
        before = uv.venv.installed

        told = uv(plan="shop-tea", install=True)

        assert set(told["changes"]) == {"leaves", "shop-tea"}
        leaves = told["changes"]["leaves"]
        assert (leaves["kind"], leaves["before"], leaves["after"]) == ("change", "2.0", "1.0")
        assert set(told["refusals"]) == {"environment", "conflict"}
        assert "leaves<2" in told["refusals"]["conflict"]
        assert told["error"] == "InstallRefusedError"
        assert uv.venv.installed == before

    def test_versions_for_other_pythons_hide_no_conflict(self, uv, tea, make_wheel, index) -> None:
        """Where one version is for another Python, what the older one would change is shown."""
        uv.venv.put(make_wheel(index.folder, "leaves", "2.0"))
        make_wheel(index.folder, "leaves", "1.0")
        tea("1.0", requires=["leaves<2"])
        tea("2.0", requires_python=">=3.99")

        told = uv.plan("shop-tea")

        assert set(told["changes"]) == {"leaves", "shop-tea"}
        assert set(told["refusals"]) == {"environment", "conflict"}

    def test_no_plugin(self, uv, tea) -> None:
        """What has no entry point in the registry's group is refused, and the group is named."""
        tea(entry_points={"other.plugins": {"tea": "shop_tea:Tea"}})

        told = uv.plan("shop-tea")

        assert told["plugins"] == []
        assert GROUP in told["refusals"]["plugin"]

    def test_extras_bring_their_dependencies(self, uv, index, tea, make_wheel) -> None:
        """An extra in the requirement is understood."""
        make_wheel(index.folder, "milk", "1.0")
        tea(requires=['milk; extra == "white"'], modules={"shop_tea.py": ""})

        assert set(uv.plan("shop-tea[white]")["changes"]) == {"shop-tea", "milk"}
        assert set(uv.plan("shop-tea")["changes"]) == {"shop-tea"}

    def test_the_host_s_own_constraints_hold(self, uv, tea, tmp_path) -> None:
        """``UV_CONSTRAINT`` counts beside what keeps the environment, unless isolated."""
        tea("1.0")
        tea("2.0")
        (tmp_path / "host.txt").write_text("shop-tea<2\n")
        uv.variables["UV_CONSTRAINT"] = str(tmp_path / "host.txt")

        assert uv.install("shop-tea")["changes"]["shop-tea"]["after"] == "1.0"
        uv.policy["isolated"] = True
        assert uv.plan("shop-tea")["changes"]["shop-tea"]["after"] == "2.0"

    def test_no_variable_of_the_host_leads_elsewhere(self, uv, tea, tmp_path) -> None:
        """Those that say where uv installs, what else, or in which folder, do not hold."""
        tea("1.0")
        tea("2.0")
        (tmp_path / "override.txt").write_text("shop-tea==1.0\n")
        elsewhere = str(tmp_path / "elsewhere")
        names = ("WORKING_DIR", "PROJECT", "PYTHON", "PROJECT_ENVIRONMENT", "ENV_FILE")
        uv.variables |= {f"UV_{each}": elsewhere for each in names}
        uv.variables |= dict.fromkeys(("UV_SYSTEM_PYTHON", "UV_REQUIRE_HASHES"), "1")
        uv.variables["UV_OVERRIDE"] = str(tmp_path / "override.txt")

        uv.install("shop-tea")

        assert uv.venv.installed["shop-tea"] == "2.0"

    def test_what_a_file_of_the_host_leads_elsewhere_is_an_error(self, uv, tea, tmp_path) -> None:
        """``target`` in ``uv.toml`` is not passed over in silence."""
        tea()
        uv.plan("shop-tea")
        file = uv.venv.home / ".config" / "uv" / "uv.toml"
        file.parent.mkdir(parents=True)
        file.write_text(f'[pip]\ntarget = "{tmp_path / "target"}"\n')
        failed = uv(install=True)

        assert failed["error"] == "InstallError"
        assert "has not put 'shop-tea' into" in failed["reasons"][0]

    def test_nothing_that_may_be_forbidden_is_built(self, uv, tea, index, make_sdist) -> None:
        """Names of dependencies are judged before code of them runs."""
        tea(requires=["milk"])
        make_sdist(index.folder, "milk", "1.0")
        uv.policy["denied"] = ["milk"]
        failed = uv.plan("shop-tea")

        assert failed["error"] == "InstallConflictError"
        assert "milk" in str(failed["reasons"])

    def test_isolated_means_no_file_of_configuration(self, uv, tea) -> None:
        """``uv.toml`` of the user holds, unless the policy is isolated."""
        tea("1.0")
        tea("2.0a1")
        file = uv.venv.home / ".config" / "uv" / "uv.toml"
        file.parent.mkdir(parents=True)
        file.write_text('prerelease = "allow"\n')

        assert uv.plan("shop-tea")["changes"]["shop-tea"]["after"] == "2.0a1"
        uv.policy["isolated"] = True
        assert uv.plan("shop-tea")["changes"]["shop-tea"]["after"] == "1.0"

    def test_no_other_index_is_asked(self, uv, tea) -> None:
        """With an index in the requirement, those of the host's configuration are not used."""
        tea()
        uv.variables["UV_INDEX"] = uv.variables["UV_EXTRA_INDEX_URL"] = "http://127.0.0.1:1/simple/"

        assert "error" not in uv.plan("shop-tea")

    def test_words_that_are_not_known_are_no_plan(self, uv, tea) -> None:
        """Where uv tells of a change in other words, nothing is taken for "no change"."""
        tea()
        uv.wrapped('"$UV" "$@" 2>&1 | sed "s/^ + / adding /"')

        told = uv.plan("shop-tea")

        assert told["error"] == "InstallError"
        assert "not known" in told["reasons"][0]


class TestErrors:
    def test_no_versions_suit(self, uv, index, tea, make_wheel) -> None:
        """A conflict says which requirements do."""
        make_wheel(index.folder, "leaves", "1.0")
        make_wheel(index.folder, "leaves", "2.0")
        make_wheel(index.folder, "pot", "1.0", requires=["leaves<2"])
        tea(requires=["leaves>=2", "pot"])

        told = uv.plan("shop-tea")

        assert told["error"] == "InstallConflictError"
        words = " ".join(told["conflicts"])
        assert "leaves<2" in words
        assert "leaves>=2" in words
        assert "Using Python" not in words

    @pytest.mark.parametrize("asked", ["nowhere", "shop-tea==7", "shop-tea>7", "shop-tea>1,<1.5"])
    def test_what_is_nowhere_is_no_conflict(self, uv, tea, asked) -> None:
        """A name or a version that no index has is an InstallError that names it."""
        tea("1.0")
        tea("2.0")

        told = uv.plan(asked)

        assert told["error"] == "InstallError"
        assert any(asked in each for each in told["reasons"])

    @pytest.mark.parametrize("wanted", [">=3.99", "<3.9"])
    @pytest.mark.parametrize("asked", ["shop-tea", "shop-tea==1.0"])
    def test_another_python(self, uv, tea, wanted, asked) -> None:
        """What is for other Pythons is told so: newer ones, and older ones, which uv lets pass."""
        tea("0.9", requires_python=wanted)
        tea("1.0", requires_python=wanted)

        told = uv.plan(asked)

        assert told["error"] == "PythonMismatchError"
        assert any(wanted in each for each in told["reasons"])

    @pytest.mark.parametrize("tag", ["cp39-cp39-win_amd64", "py2-none-any", "py3-none-beos"])
    def test_no_wheel_for_this_interpreter(self, uv, tea, tag) -> None:
        """A wheel for another system, and nothing to build, is a BuildFailedError."""
        file = tea()
        file.rename(file.with_name(f"shop_tea-1.0-{tag}.whl"))

        assert uv.plan("shop-tea")["error"] == "BuildFailedError"

    def test_wheels_only(self, uv, index, make_sdist, tmp_path) -> None:
        """Nothing is built then, not even to find out what would be installed."""
        ran = tmp_path / "ran"
        step = f"open({str(ran)!r}, 'w')"
        make_sdist(index.folder, "shop-tea", "1.0", build_step=step)
        uv.policy["wheels_only"] = True

        assert uv.plan("shop-tea")["error"] == "BuildFailedError"
        assert not ran.exists()

    def test_a_dependency_that_is_no_wheel(self, uv, index, tea, make_sdist, tmp_path) -> None:
        """One that is named by URL is not built, and so there is no plan.

        uv takes it only from what has a URL itself.
        """
        ran = tmp_path / "ran"
        step = f"open({str(ran)!r}, 'w')"
        milk = make_sdist(index.folder / "else", "milk", "1.0", build_step=step)
        file = tea(requires=[f"milk @ {index.address}/files/else/{milk.name}"])
        uv.policy["wheels_only"] = True
        by_name = uv.plan("shop-tea")
        by_url = uv.plan(f"shop-tea @ {index.address}/files/{file.name}")

        assert by_name["error"] == "InstallError"
        assert "milk" in by_name["reasons"][-1]
        assert by_url["error"] == "BuildFailedError"
        assert "milk" in str(by_url["reasons"])
        assert not ran.exists()

    def test_a_build_that_fails(self, uv, index, make_sdist) -> None:
        """The reasons have what the build said, and nothing is installed."""
        make_sdist(index.folder, "shop-tea", "1.0", build_step="raise OSError('no kettle')")
        before = uv.venv.installed

        told = uv.plan("shop-tea")

        assert told["error"] == "BuildFailedError"
        assert any("no kettle" in each for each in told["reasons"])
        assert uv.venv.installed == before

    @pytest.mark.parametrize("given", ["/nowhere/uv", None])
    def test_no_uv(self, uv, tmp_path, given) -> None:
        """It is told that uv is not there, and how to get it, before anything else."""
        uv.path = given
        uv.variables["PATH"] = str(tmp_path)

        for told in (uv.plan("shop-tea"), uv(remove=["shop-tea"])):
            assert told["error"] == "InstallerMissingError"
            assert "pip install uv" in told["reasons"][0]

    @pytest.mark.parametrize("version", ["0.12.24", "0.4"])
    def test_an_old_uv(self, uv, tea, version) -> None:
        """It is told that it is too old, and how to get a newer one, before anything else."""
        tea()
        log = uv.venv.home / "commands"
        told = f'if [ "$1" = --version ]; then echo "uv {version} (abc 2025-01-01)"; exit; fi'
        uv.wrapped(f"{told}\necho >> {shlex.quote(str(log))}")

        for told in (uv.plan("shop-tea"), uv(remove=["shop-tea"])):
            assert told["error"] == "InstallerMissingError"
            assert f"uv {version} is too old" in told["reasons"][0]
            assert "0.13 at least" in told["reasons"][0]
            assert "pip install --upgrade uv" in told["reasons"][0]
        assert not log.exists()

    def test_what_is_no_uv(self, uv) -> None:
        """A program that tells no version is not used; it is named."""
        uv.wrapped("echo something else")

        told = uv.plan("shop-tea")

        assert told["error"] == "InstallerMissingError"
        assert uv.path in told["reasons"][0]

    def test_an_index_that_cannot_be_reached(self, uv) -> None:
        """The reasons say which, and no empty plan is made."""
        told = uv.plan("shop-tea", index="http://127.0.0.1:1/simple/")
        uv.policy = {}
        told = uv.plan("shop-tea", index=None)

        assert told["error"] == "InstallError"
        assert any("127.0.0.1:1" in each for each in told["reasons"])


class TestInstall:
    def test_the_plan_and_nothing_else(self, uv, index, tea, make_wheel) -> None:
        """What has come into the index since the plan was made is not installed."""
        make_wheel(index.folder, "leaves", "1.0")
        tea("1.0", requires=["leaves"])
        uv.plan("shop-tea")
        make_wheel(index.folder, "leaves", "2.0")
        tea("2.0", requires=["leaves"])

        told = uv(install=True)

        assert {"leaves": "1.0", "shop-tea": "1.0"}.items() <= uv.venv.installed.items()
        assert told["shown"] == {
            "name": "shop-tea",
            "version": "1.0",
            "location": str(uv.venv.purelib.resolve()),
            "installer": "uv",
        }

    @pytest.mark.parametrize("by_url", [False, True])
    def test_another_file_than_planned(self, uv, index, tea, make_wheel, by_url) -> None:
        """A file with another hash is not installed, nor is what was planned with it.

        A configuration in which uv does not look at hashes changes nothing of that.
        """
        uv.variables["UV_NO_VERIFY_HASHES"] = "1"
        make_wheel(index.folder, "leaves", "1.0")
        file = tea(requires=["leaves"])
        url = f"shop-tea @ http://{index.host}/files/{file.name}"
        assert uv.plan(url if by_url else "shop-tea")["refusals"] == {}
        tea(requires=["leaves"], modules={"shop_tea.py": "raise SystemExit\n"})
        uv.variables["UV_CACHE_DIR"] = str(uv.venv.home / "another")
        before = uv.venv.installed

        told = uv(install=True)

        assert told["error"] == "InstallError"
        assert any("Hash mismatch" in each for each in told["reasons"])
        assert uv.venv.installed == before

    def test_it_is_told_as_it_goes(self, uv, tea) -> None:
        """Each line goes to the callback, and all of them are returned."""
        tea()

        told = uv.install("shop-tea")

        assert " + shop-tea==1.0" in told["lines"]
        assert told["output"].splitlines() == told["lines"]

    def test_what_must_be_built(self, uv, index, make_sdist) -> None:
        """A source distribution is built, and its hash is that of the archive."""
        file = make_sdist(
            index.folder, "shop-tea", "1.0", entry_points={GROUP: {"tea": "shop_tea:Tea"}}
        )

        told = uv.install("shop-tea")

        assert told["changes"]["shop-tea"]["sha256"] == _sha256(file)
        assert uv.venv.installed["shop-tea"] == "1.0"

    def test_files_are_the_environment_s_own(self, uv, tea) -> None:
        """None is a link to uv's cache, though the host wants links."""
        uv.variables["UV_LINK_MODE"] = "hardlink"
        tea()

        uv.install("shop-tea")

        assert (uv.venv.purelib / "shop_tea.py").stat().st_nlink == 1

    @pytest.mark.parametrize("how", ["package", "path"])
    def test_uv_is_found(self, uv, tea, how, tmp_path, make_wheel) -> None:
        """Without a path it is that of the package ``uv``, else the one on the path.

        No module is imported for that, which may be anybody's.
        """
        tea()
        where = tmp_path / "programs"
        where.mkdir()
        program = uv.venv.scripts if how == "package" else where
        (program / "uv").symlink_to(uv.path)
        if how == "package":
            code = "raise SystemExit('imported')\n"
            uv.venv.put(make_wheel(tmp_path, "uv", "9", modules={"uv/__init__.py": code}))
            with (uv.venv.purelib / "uv-9.dist-info" / "RECORD").open("a") as record:
                record.write("../../../bin/uv,,\n")
        uv.variables["PATH"] = str(where)
        uv.path = None

        assert uv.install("shop-tea")["shown"]["installer"] == "uv"


class TestUrls:
    def test_a_file(self, uv, index, tea, make_wheel) -> None:
        """Its hash is known, its credentials are in nothing that is shown, and it is installed."""
        make_wheel(index.folder, "leaves", "1.0")
        file = tea(requires=["leaves"])
        index.login = LOGIN

        told = uv.install(f"shop-tea @ {index.address}/files/{file.name}")

        change = told["changes"]["shop-tea"]
        assert change["direct"]
        assert change["source"] == f"http://{index.host}/files/{file.name}"
        assert change["sha256"] == _sha256(file)
        assert {"leaves": "1.0", "shop-tea": "1.0"}.items() <= uv.venv.installed.items()
        assert not any(each in json.dumps(told) for each in LOGIN)

    def test_a_token_in_the_query(self, uv, index, tea, assert_recorded) -> None:
        """It is nowhere in the environment afterwards, and RECORD is true."""
        file = tea()
        told = uv.install(f"shop-tea @ {index.address}/files/{file.name}?token=s3cret-canary")

        metadata = uv.venv.purelib / "shop_tea-1.0.dist-info"
        direct = json.loads((metadata / "direct_url.json").read_text())
        assert direct["url"] == f"http://{index.host}/files/{file.name}"
        assert "s3cret-canary" not in json.dumps(told)
        assert_recorded(metadata)

    def test_another_file_at_the_same_url(self, uv, index, tea, tmp_path) -> None:
        """It is installed anew, with what is there now, though uv knows the URL already."""
        file = tea("1.0", folder=tmp_path)
        (index.folder / "files").mkdir()
        url = f"http://{index.host}/files/files/{file.name}"
        shutil.copy(file, index.folder / "files" / file.name)
        uv.install(f"shop-tea @ {url}")
        newer = tea("1.0", folder=tmp_path, modules={"shop_tea.py": "NEWER = True\n"})
        shutil.copy(newer, index.folder / "files" / file.name)

        told = uv.install(f"shop-tea[white] @ {url}")

        assert told["changes"]["shop-tea"]["sha256"] == _sha256(newer)
        assert (uv.venv.purelib / "shop_tea.py").read_text() == "NEWER = True\n"

    def test_a_repository(self, uv, index, make_repository) -> None:
        """The commit that the plan has found is installed, also where the branch has moved on."""
        folder = index.folder / "tea.git"
        given = {"entry_points": {GROUP: {"tea": "shop_tea:Tea"}}}
        planned = make_repository(folder, "shop-tea", "1.0", **given)
        uv.policy["vcs_hosts"] = [index.host]
        index.login = LOGIN

        told = uv.plan(f"git+{index.address}/files/tea.git@main")
        make_repository(folder, "shop-tea", "2.0", **given)
        done = uv(install=True)

        source = f"git+http://{index.host}/files/tea.git@{planned}"
        assert told["distribution"] == "shop-tea"
        assert told["plugins"] == ["tea"]
        assert told["changes"]["shop-tea"]["source"] == source
        assert told["changes"]["shop-tea"]["sha256"] is None
        assert uv.venv.installed["shop-tea"] == "1.0"
        assert not any(each in json.dumps([told, done]) for each in LOGIN)


class TestCredentials:
    def test_of_an_index(self, uv, index, tea) -> None:
        """They reach the index, and neither a command line, nor a text, nor the environment."""
        log = uv.venv.home / "commands"
        uv.wrapped(f'echo "$@" >> {shlex.quote(str(log))}\nexec "$UV" "$@"')
        index.login = LOGIN
        tea()

        told = uv.install("shop-tea")
        failed = uv.plan("nowhere")
        gone = uv(remove=["shop-tea"])

        texts = [json.dumps([told, failed, gone]), log.read_text()]
        texts += [each.read_text("utf-8", "replace") for each in uv.venv.purelib.glob("shop*/*")]
        assert failed["error"] == "InstallError"
        assert not any(secret in text for secret in LOGIN for text in texts)

    def test_in_the_words_of_an_error(self, uv, index) -> None:
        """What uv, or a program that it starts, tells of them does not come through."""
        index.login = LOGIN
        uv.wrapped(
            'if [ "$1" = --version ]; then exec "$UV" "$@"; fi\n'
            f'echo "{LOGIN[0]} is not known, nor {LOGIN[1]}"; exit 2'
        )

        told = uv.plan("shop-tea")

        assert "is not known" in told["reasons"][-1]
        assert not any(each in json.dumps(told) for each in LOGIN)

    def test_of_an_index_in_variables(self, uv, index, tea) -> None:
        """It takes them from there, and what is told does not have them, an error included."""
        index.login = LOGIN
        tea()
        uv.policy = {}
        uv.variables |= {"UV_INDEX_URL": "", "UV_INDEX": f"shop=http://{index.host}/simple/"}
        uv.variables |= {"UV_INDEX_SHOP_USERNAME": LOGIN[0], "UV_INDEX_SHOP_PASSWORD": LOGIN[1]}

        told = uv.install("shop-tea", index=None)
        uv.wrapped(
            'if [ "$1" = --version ]; then exec "$UV" "$@"; fi\n'
            'echo "$UV_INDEX_SHOP_USERNAME is not known, nor $UV_INDEX_SHOP_PASSWORD"; exit 2'
        )
        failed = uv.plan("shop-tea", index=None)

        assert list(told["changes"]) == ["shop-tea"]
        assert "is not known" in failed["reasons"][-1]
        assert not any(each in json.dumps([told, failed]) for each in LOGIN)

    @pytest.mark.parametrize("scheme", ["http://", ""])
    def test_of_a_proxy(self, uv, tea, scheme) -> None:
        """It is a URL, which needs no scheme."""
        tea()
        uv.policy = {}
        uv.variables["HTTP_PROXY"] = f"{scheme}{LOGIN[0]}:{LOGIN[1]}@127.0.0.1:1"
        uv.variables["UV_INDEX_URL"] = "http://index.example/simple/"
        failed = uv.plan("shop-tea", index=None)
        uv.wrapped(
            'if [ "$1" = --version ]; then exec "$UV" "$@"; fi\n'
            'echo "$HTTP_PROXY is not known"; exit 2'
        )
        told = uv.plan("shop-tea", index=None)

        assert failed["error"] == "InstallError"
        assert "is not known" in told["reasons"][-1]
        assert not any(each in json.dumps([told, failed]) for each in LOGIN)

    def test_a_user_called_like_a_distribution(self, uv, index, tea) -> None:
        """What is masked in texts is not missing in the plan."""
        index.login = ("shop-tea", "files")
        tea()

        [change] = uv.plan("shop-tea")["changes"].values()

        assert change["name"] == "shop-tea"
        assert change["source"].startswith(f"http://{index.host}/files/")

    def test_none_of_publishing_reach_a_build(self, uv, index, make_sdist, tmp_path) -> None:
        """What the host publishes with is nothing that a build could read."""
        seen = tmp_path / "seen"
        step = f"open({str(seen)!r}, 'w').write(repr(dict(os.environ)))"
        make_sdist(index.folder, "shop-tea", "1.0", build_step=step)
        uv.variables |= {"UV_PUBLISH_TOKEN": "t0ken-of-the-shop", "SHOP_SECRET": "t0ken-of-ours"}

        uv.plan("shop-tea")

        assert "UV_DEFAULT_INDEX" in seen.read_text()
        assert "t0ken" not in seen.read_text()


def test_uninstall(uv, index, tea, make_wheel) -> None:
    """Exactly the named ones are gone, and what uv has told is given back."""
    make_wheel(index.folder, "leaves", "1.0")
    tea(requires=["leaves"])
    before = uv.venv.installed
    uv.install("shop-tea")

    told = uv(remove=["shop-tea"])

    assert told["shown"] == [None]
    assert " - shop-tea==1.0" in told["lines"]
    assert uv.venv.installed == {**before, "leaves": "1.0"}
    assert not (uv.venv.purelib / "shop_tea.py").exists()


def test_uninstall_of_what_cannot_be(uv, tea) -> None:
    """Where uv cannot say what belongs to a distribution, that is an error, not silence."""
    tea()
    uv.install("shop-tea")
    next(uv.venv.purelib.glob("shop_tea-*/RECORD")).unlink()

    told = uv(remove=["shop-tea"])

    assert told["error"] == "InstallError"
    assert any("RECORD" in each for each in told["reasons"])


def test_places_are_told_apart() -> None:
    """A place with a comma stays one, though commas part those that uv is given."""
    assert driver._as_url("https://files.example/a,b/") == "https://files.example/a%2Cb/"


@pytest.mark.parametrize(
    "output",
    [
        "",
        "Resolved 1 package in 2ms\n",
        "Would install 1 package\n",
        "Would install 2 packages\n + shop-tea==1.0\n",
        "Would uninstall 1 package\nWould install 1 package\n + shop-tea==2.0\n",
        "Would make no changes\n + shop-tea==1.0\n",
    ],
)
def test_a_dry_run_must_be_understood_wholly(output: str) -> None:
    """The counts that uv gives must be those of the lines that were read."""
    with pytest.raises(InstallError, match="not known"):
        driver._steps(output)
