"""Guarantees of both drivers: resolve beside the host's distributions, and stage exactly that."""

from __future__ import annotations

import base64
import csv
import hashlib
import sys
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from plugreg.exceptions import InstallError
from plugreg.install import PipInstaller, UvInstaller
from plugreg.install.exceptions import (
    BuildFailedError,
    InstallConflictError,
    InstallTimeoutError,
    PythonMismatchError,
)
from plugreg.install.installer import Release
from plugreg.install.plan import Pin, pin_of
from plugreg.install.requirements import parse_target

PLUGIN = {"entry_points": {"shop.plugins": {"tea": "shop_tea:Tea"}}}


@pytest.fixture(params=["pip", "uv"])
def driver(request, make_driver) -> Any:
    """Return a function that makes the driver under test; its arguments are rules of the policy."""

    def make(**options: Any) -> Any:
        return make_driver(request.param, **options)

    return make


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def resolve(installer: Any, *requirements: str, **options: Any) -> dict[str, str]:
    """Return the versions that an installer would fetch."""
    pins = installer.resolve([parse_target(line) for line in requirements], **options)
    return {pin.name: pin.version for pin in pins}


def stage(installer: Any, folder: Path, *requirements: str) -> dict[str, str]:
    folder.mkdir()
    return resolve(installer, *requirements, folder=folder)


def assert_recorded(folder: Path) -> None:
    """Check that the RECORDs list each file once, with its hash, and nothing else."""
    listed: dict[str, str] = {}
    for record in folder.glob("*.dist-info/RECORD"):
        for path, digest, _ in csv.reader(record.read_text().splitlines()):
            assert path not in listed
            listed[path] = digest
    files = files_in(folder)
    assert sorted(listed) == sorted(files)
    for path, digest in listed.items():
        if not path.endswith("/RECORD"):
            found = base64.urlsafe_b64encode(hashlib.sha256(files[path]).digest()).decode()
            assert digest == f"sha256={found.rstrip('=')}"


class TestResolving:
    def test_pins_are_exact(self, driver, make, index, sha256) -> None:
        """Each has the URL of its file and the hash of that, dependencies included."""
        wheel = make("shop-tea", "2.0", "leaf>=1", **PLUGIN)
        make("shop-tea", "1.0", **PLUGIN)
        make("leaf", "1.5")
        leaf, tea = driver().resolve([parse_target("shop-tea")])
        assert (leaf.name, leaf.version, leaf.direct) == ("leaf", "1.5", False)
        assert (tea.name, tea.version, tea.sha256) == ("shop-tea", "2.0", sha256(wheel))
        assert tea.source == f"{index.address}/files/{wheel.name}"

    def test_both_drivers_agree(self, make_driver, make, host) -> None:
        """The same question has the same answer, whichever program finds it."""
        host("ours", "1.0")
        make("shop-tea", "2.0", "leaf>=1", "ours")
        make("leaf", "1.5", "ours<2")
        pip, uv = (make_driver(name).resolve([parse_target("shop-tea")]) for name in ("pip", "uv"))
        assert [(pin.name, pin.version, pin.source, pin.sha256) for pin in pip] == [
            (pin.name, pin.version, pin.source, pin.sha256) for pin in uv
        ]

    def test_private_and_editable_distributions_count(self, driver, make, host) -> None:
        """The host's distributions are not fetched, though no index has them, and do not change."""
        host("ours", "1.0")
        folder = host("dev", "2.0.dev3+local", "nowhere-at-all", is_editable=True)
        make("shop-tea", "1.0", "ours<2", "dev>=2.0.dev1")
        before = files_in(folder)
        assert resolve(driver(), "shop-tea") == {"shop-tea": "1.0"}
        assert files_in(folder) == before

    def test_the_hosts_version_decides(self, driver, make, host) -> None:
        """A version of the plugin that the host does not suit is passed over for an older one."""
        host("ours", "1.0")
        make("ours", "2.0")
        make("shop-tea", "2.0", "ours>=2")
        make("shop-tea", "1.0", "ours")
        assert resolve(driver(), "shop-tea") == {"shop-tea": "1.0"}

    def test_an_extra_of_the_host_is_fetched(self, driver, make, host) -> None:
        """The host's own distribution stays, and the plugin gets the requirements of the extra."""
        host("ours", "1.0", "printer; extra == 'pdf'")
        make("printer", "3.0")
        make("shop-tea", "1.0", "ours[pdf]")
        assert resolve(driver(), "shop-tea") == {"printer": "3.0", "shop-tea": "1.0"}

    def test_odd_metadata_of_the_host_blocks_nothing(self, driver, make, host) -> None:
        """A version or requirement that no standard knows is the host's own matter."""
        host("odd", "1.0-what-ever")
        host("odder", "1.0", "no requirement >> 1", "leaf @ file:///gone/leaf-1.0-py3-none-any.whl")
        make("shop-tea", "1.0", "odder", "leaf")
        make("leaf", "2.0")
        assert resolve(driver(), "shop-tea") == {"leaf": "2.0", "shop-tea": "1.0"}

    @pytest.mark.parametrize("has_newer", [True, False])
    def test_a_conflict_names_both_sides_and_the_chain(self, driver, make, host, has_newer) -> None:
        """It is the same with both drivers, and whether or not an index has the requirements."""
        host("ours", "1.0")
        make("shop-tea", "1.0", "leaf")
        make("leaf", "1.5", "ours>=3")
        if has_newer:
            make("ours", "3.0")
        with pytest.raises(InstallConflictError) as caught:
            resolve(driver(), "shop-tea")
        assert caught.value.conflicts == (
            "shop-tea is asked for",
            "shop-tea 1.0 requires leaf",
            "leaf 1.5 requires ours>=3",
            "the host has ours 1.0",
        )

    def test_a_conflict_of_what_is_asked_for_names_both_chains(self, driver, make) -> None:
        """Neither the host nor the environment is a side of it."""
        make("shop-tea", "1.0", "leaf>=2", "cup")
        make("cup", "1.0", "leaf<2")
        make("leaf", "1.5")
        make("leaf", "2.5")
        with pytest.raises(InstallConflictError) as caught:
            resolve(driver(), "shop-tea")
        assert caught.value.conflicts == (
            "shop-tea is asked for",
            "shop-tea 1.0 requires leaf>=2",
            "shop-tea 1.0 requires cup",
            "cup 1.0 requires leaf<2",
        )

    def test_a_conflict_with_an_installed_one_names_both_chains(
        self, driver, make, tmp_path
    ) -> None:
        """Its requirement holds as long as it is installed."""
        make("shop-bun", "1.0", "leaf<2")
        make("leaf", "1.5")
        stage(driver(), tmp_path / "beside", "shop-bun")
        make("leaf", "2.5")
        make("shop-tea", "1.0", "leaf>=2")
        options = {"beside": tmp_path / "beside", "constraints": ["shop-bun==1.0"]}
        with pytest.raises(InstallConflictError) as caught:
            resolve(driver(), "shop-tea", **options)
        assert set(caught.value.conflicts) == {
            "shop-tea is asked for",
            "shop-tea 1.0 requires leaf>=2",
            "the environment has shop-bun 1.0",
            "shop-bun 1.0 requires leaf<2",
        }

    def test_what_the_host_has_is_not_replaced(self, driver, make, host) -> None:
        """Asking for it changes nothing, and another version of it is a conflict."""
        host("ours", "1.0")
        make("ours", "3.0")
        assert resolve(driver(), "ours") == {}
        with pytest.raises(InstallConflictError) as caught:
            resolve(driver(), "ours>=3")
        assert caught.value.conflicts == ("ours>=3 is asked for", "the host has ours 1.0")

    def test_what_is_missing_is_no_conflict(self, driver) -> None:
        """A distribution that no index has is an error that names it."""
        with pytest.raises(InstallError, match="shop-nowhere") as caught:
            resolve(driver(), "shop-nowhere")
        assert not isinstance(caught.value, InstallConflictError)

    def test_another_python_is_its_own_error(self, driver, make) -> None:
        """So that nobody looks for the fault elsewhere."""
        make("shop-tea", "1.0", requires_python=">=4")
        with pytest.raises(PythonMismatchError):
            resolve(driver(), "shop-tea")

    def test_constraints_of_the_policy_hold(self, driver, make, tmp_path) -> None:
        """For dependencies too, which nobody has asked for."""
        constraints = tmp_path / "constraints.txt"
        constraints.write_text("leaf < 2 \\\n  --hash=sha256:00\n# leaf<1\nother==1\n")
        make("shop-tea", "1.0", "leaf")
        make("leaf", "1.5")
        make("leaf", "2.5")
        assert resolve(driver(constraints=constraints), "shop-tea")["leaf"] == "1.5"

    def test_releases_have_an_age(self, driver, make, index) -> None:
        """Younger releases are left out, and so is a release without a time of upload."""
        for version, time in (("1.0", "2020-01-01"), ("2.0", "2999-01-01")):
            wheel = make("shop-tea", version)
            index.entries[wheel.name] = {"upload-time": f"{time}T00:00:00Z"}
        aged = driver(min_age=timedelta(days=7))
        assert resolve(aged, "shop-tea") == {"shop-tea": "1.0"}
        assert aged.latest({"shop-tea": "1.0"}) == {"shop-tea": Release(version="1.0")}
        make("shop-bun", "1.0")
        with pytest.raises(InstallError):
            resolve(aged, "shop-bun")

    def test_files_of_find_links_need_no_age(self, driver, make_wheel, tmp_path) -> None:
        """The host has put them there."""
        make_wheel(tmp_path / "links", "shop-tea", "1.0")
        aged = driver(indexes=(), find_links=[tmp_path / "links"], min_age=timedelta(days=7))
        assert resolve(aged, "shop-tea") == {"shop-tea": "1.0"}

    def test_no_index_at_all(self, driver, index, make_wheel, tmp_path, monkeypatch) -> None:
        """Not even the one that is configured."""
        for name in ("INDEX_URL", "DEFAULT_INDEX", "EXTRA_INDEX_URL", "INDEX"):
            monkeypatch.setenv(f"PIP_{name}", index.url)
            monkeypatch.setenv(f"UV_{name}", index.url)
        for name in ("PIP_FIND_LINKS", "UV_FIND_LINKS"):
            monkeypatch.setenv(name, index.folder.as_uri())
        make_wheel(index.folder, "shop-tea", "2.0")
        make_wheel(tmp_path / "links, with a comma", "shop-tea", "1.0")
        alone = driver(indexes=(), find_links=[tmp_path / "links, with a comma"])
        assert stage(alone, tmp_path / "next", "shop-tea") == {"shop-tea": "1.0"}
        assert index.requests == []
        with pytest.raises(InstallError):
            resolve(driver(indexes=()), "shop-tea")
        assert index.requests == []


class TestBeside:
    @pytest.fixture
    def beside(self, make_driver, make, tmp_path) -> Path:
        """Return the folder of a generation with shop-bun 1.0, which has brought leaf 1.5."""
        make("shop-bun", "1.0", "leaf>=1")
        make("leaf", "1.5")
        stage(make_driver("uv"), tmp_path / "beside", "shop-bun")
        return tmp_path / "beside"

    def test_it_counts_as_installed(self, driver, make, beside, index) -> None:
        """Its distributions are not fetched again, even if no index has them any more."""
        (index.folder / "leaf-1.5-py3-none-any.whl").unlink()
        make("shop-tea", "1.0", "leaf")
        assert resolve(driver(), "shop-tea", beside=beside) == {"shop-tea": "1.0"}

    def test_what_is_asked_for_gets_its_latest_version(
        self, driver, make, beside, tmp_path
    ) -> None:
        """Nothing is fetched where that is the one that is there, and nothing is staged."""
        (tmp_path / "next").mkdir()
        options = {"beside": beside, "folder": tmp_path / "next"}
        assert resolve(driver(), "shop-bun", **options) == {}
        assert files_in(tmp_path / "next") == {}
        make("shop-bun", "2.0", "leaf>=1")
        assert resolve(driver(), "shop-bun", **options) == {"shop-bun": "2.0"}
        assert (tmp_path / "next/shop_bun.py").read_text() == "VERSION = '2.0'\n"

    def test_a_dependency_moves_as_far_as_constraints_let_it(self, driver, make, beside) -> None:
        """Without one it moves where it must; one that cannot be met is named."""
        make("leaf", "2.5")
        make("shop-tea", "1.0", "leaf>=2")
        moved = resolve(driver(), "shop-tea", beside=beside, constraints=["leaf>=1"])
        assert moved == {"leaf": "2.5", "shop-tea": "1.0"}
        with pytest.raises(InstallConflictError) as caught:
            resolve(driver(), "shop-tea", beside=beside, constraints=["leaf==1.5"])
        assert caught.value.conflicts == (
            "shop-tea is asked for",
            "shop-tea 1.0 requires leaf>=2",
            "the environment has leaf 1.5",
        )


class TestStaging:
    def test_the_folder_is_flat_and_recorded(self, driver, make, tmp_path) -> None:
        """Modules and metadata lie in it, and its RECORDs list each file, and no other."""
        make("shop-tea", "1.0", "leaf", **PLUGIN)
        make("leaf", "1.5")
        stage(driver(), tmp_path / "next", "shop-tea")
        assert {"shop_tea.py", "leaf.py"} <= files_in(tmp_path / "next").keys()
        assert_recorded(tmp_path / "next")

    def test_data_and_scripts_lie_beside_packages(
        self, driver, index, make_wheel, tmp_path
    ) -> None:
        """Folders of packages, and those of the modules themselves, are folders of data, too."""
        wheel = make_wheel(index.folder, "shop-tea", "1.0", modules={"bin/__init__.py": ""})
        data = {f"shop_tea-1.0.data/data/{path}": b"" for path in ("lib/tea.so", "share/tea.svg")}
        data |= {"shop_tea-1.0.data/scripts/brew": b"#!python\n"}
        with zipfile.ZipFile(wheel) as archive:
            record = archive.read("shop_tea-1.0.dist-info/RECORD").decode()
        record += "".join(f"{path},,\n" for path in data)
        _rewrite(wheel, {**data, "shop_tea-1.0.dist-info/RECORD": record.encode()})
        stage(driver(), tmp_path / "next", "shop-tea")
        there = {"bin/__init__.py", "bin/brew", "lib/tea.so", "share/tea.svg"}
        files = files_in(tmp_path / "next")
        listed = files["shop_tea-1.0.dist-info/RECORD"].decode().splitlines()
        assert there <= files.keys()
        assert sorted(line.partition(",")[0] for line in listed) == sorted(files)

    def test_scripts_and_data_lie_below_it(self, driver, index, make_wheel, tmp_path) -> None:
        """A script is for the interpreter of the host, and RECORD says where it is."""
        wheel = make_wheel(index.folder, "shop-tea", "1.0")
        with zipfile.ZipFile(wheel, "a") as archive:
            archive.writestr("shop_tea-1.0.data/scripts/brew", "#!python\nprint('tea')\n")
            archive.writestr("shop_tea-1.0.data/data/share/tea.svg", "<svg/>")
            record = archive.read("shop_tea-1.0.dist-info/RECORD").decode()
        _rewrite(
            wheel,
            {
                "shop_tea-1.0.dist-info/entry_points.txt": b"[console_scripts]\nsip = tea:sip\n",
                "shop_tea-1.0.dist-info/RECORD": (
                    record
                    + "shop_tea-1.0.data/scripts/brew,,\nshop_tea-1.0.data/data/share/tea.svg,,\n"
                    + "shop_tea-1.0.dist-info/entry_points.txt,,\n"
                ).encode(),
            },
        )
        stage(driver(), tmp_path / "next", "shop-tea")
        files = files_in(tmp_path / "next")
        assert files["share/tea.svg"] == b"<svg/>"
        for script in ("bin/brew", "bin/sip"):
            assert files[script].startswith(f"#!{sys.executable}\n".encode())
        listed = (tmp_path / "next/shop_tea-1.0.dist-info/RECORD").read_text()
        paths = {line.partition(",")[0] for line in listed.splitlines()}
        assert {"bin/brew", "bin/sip", "share/tea.svg"} <= paths
        assert "bin/brew,sha256=" in listed

    def test_staging_pins_gives_the_same_again(self, driver, make, tmp_path) -> None:
        """The files of a plan can be staged later, except the installer's own notes."""
        make("shop-tea", "1.0", "leaf", **PLUGIN)
        make("leaf", "1.5")
        installer = driver()
        (tmp_path / "first").mkdir()
        pins = installer.resolve([parse_target("shop-tea")], folder=tmp_path / "first")
        (tmp_path / "again").mkdir()
        lines: list[str] = []
        installer.stage(pins, tmp_path / "again", progress=lines.append)
        first, again = (
            {
                path: data
                for path, data in files_in(tmp_path / name).items()
                if not path.endswith(("/RECORD", "/REQUESTED", "/uv_cache.json"))
            }
            for name in ("first", "again")
        )
        assert first == again
        assert_recorded(tmp_path / "again")
        assert any("leaf" in line for line in lines)

    def test_another_file_is_refused(self, driver, make, tmp_path, sha256) -> None:
        """The hash is that of the plan; a newer file on the index is not installed."""
        wheel = make("shop-tea", "1.0")
        pin = Pin(name="shop-tea", version="1.0", source="", sha256=sha256(wheel))
        make("shop-tea", "1.0", requires_python=">=3")
        (tmp_path / "next").mkdir()
        with pytest.raises(InstallError):
            driver().stage([pin], tmp_path / "next")
        assert not (tmp_path / "next/shop_tea.py").exists()

    def test_a_pin_has_an_age_too(self, driver, make, index, tmp_path) -> None:
        """A release of a lock is not younger than the policy allows."""
        wheel = make("shop-tea", "1.0")
        index.entries[wheel.name] = {"upload-time": "2999-01-01T00:00:00Z"}
        pins = driver().resolve([parse_target("shop-tea")])
        (tmp_path / "next").mkdir()
        with pytest.raises(InstallError):
            driver(min_age=timedelta(days=7)).stage(pins, tmp_path / "next")

    @pytest.mark.parametrize("keep", [-1, -3])
    def test_a_negative_number_to_keep_is_refused(self, driver, keep, tmp_path) -> None:
        """It would remove the current generation, or nothing at all."""
        with pytest.raises(ValueError, match="keep is -"):
            type(driver())(environment=tmp_path, keep=keep)

    def test_nothing_but_the_pins_is_asked_for(self, driver, make, index, tmp_path) -> None:
        """Their requirements are not looked at again."""
        make("shop-tea", "1.0", "leaf")
        make("leaf", "1.5")
        pins = driver().resolve([parse_target("shop-tea")])
        index.requests.clear()
        (tmp_path / "next").mkdir()
        driver().stage([pin for pin in pins if pin.name == "leaf"], tmp_path / "next")
        assert not [path for path in index.requests if "tea" in path]

    def test_no_code_of_a_wheel_runs(self, driver, index, make_wheel, tmp_path) -> None:
        """A ``.pth`` file beside its modules is only a file."""
        mark = tmp_path / "it-ran"
        code = f"import pathlib; pathlib.Path({str(mark)!r}).touch()\n"
        modules = {"shop_tea.pth": code, "sitecustomize.py": code, "shop_tea.py": code}
        make_wheel(index.folder, "shop-tea", "1.0", modules=modules)
        stage(driver(), tmp_path / "next", "shop-tea")
        assert (tmp_path / "next/shop_tea.pth").read_text() == code
        assert not mark.exists()

    def test_configuration_does_not_lead_elsewhere(
        self, driver, make, tmp_path, monkeypatch
    ) -> None:
        """Files go into the folder, whatever a configuration file says of places."""
        elsewhere = tmp_path / "elsewhere"
        (tmp_path / "pip.conf").write_text(f"[install]\ntarget = {elsewhere}\nuser = true\n")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        (tmp_path / "uv.toml").write_text(f'[pip]\nprefix = "{elsewhere}"\n')
        monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
        monkeypatch.delenv("UV_NO_CONFIG")
        make("shop-tea", "1.0")
        stage(driver(), tmp_path / "next", "shop-tea")
        assert (tmp_path / "next/shop_tea.py").exists()
        assert not elsewhere.exists()

    def test_a_source_is_built_where_that_is_allowed(
        self, driver, index, make_sdist, tmp_path
    ) -> None:
        """With rules that need a wheel nothing of it runs."""
        mark = tmp_path / "it-ran"
        step = f"open({str(mark)!r}, 'w').close()"
        make_sdist(index.folder, "shop-tea", "1.0", build_step=step)
        with pytest.raises(InstallError):
            stage(driver(wheels_only=True), tmp_path / "first", "shop-tea")
        assert not mark.exists()
        assert stage(driver(), tmp_path / "next", "shop-tea") == {"shop-tea": "1.0"}
        assert mark.exists()

    def test_a_build_that_fails_is_its_own_error(self, driver, index, make_sdist, tmp_path) -> None:
        """So that nobody looks for the fault elsewhere."""
        make_sdist(index.folder, "shop-tea", "1.0", build_step="raise SystemExit(3)")
        with pytest.raises(BuildFailedError):
            stage(driver(), tmp_path / "next", "shop-tea")

    def test_a_command_has_a_time(self, driver, index, make_sdist, tmp_path) -> None:
        """One that takes longer is ended, with all that it has started."""
        make_sdist(index.folder, "shop-tea", "1.0", build_step="import time; time.sleep(600)")
        with pytest.raises(InstallTimeoutError, match="more than 5 seconds"):
            stage(driver(timeout=5), tmp_path / "next", "shop-tea")


def _rewrite(wheel: Path, files: dict[str, bytes]) -> None:
    """Replace files in a wheel, or add them."""
    with zipfile.ZipFile(wheel) as archive:
        content = {name: archive.read(name) for name in archive.namelist()} | files
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


class TestUrls:
    def test_the_commit_of_a_repository_is_pinned(
        self, driver, index, make_repository, tmp_path
    ) -> None:
        """Its name is found out, and the same commit is staged later."""
        folder = index.folder / "tea.git"
        commit = make_repository(folder, "shop-tea", "1.0", modules={"shop_tea.py": "1\n"})
        url = f"git+{index.address}/files/tea.git"
        target = parse_target(url)
        [pin] = driver().resolve([target])
        assert (pin.name, pin.version, pin.direct) == ("shop-tea", "1.0", True)
        assert pin.source == f"{url}@{commit}"
        assert pin_of(target, [pin]) is pin
        make_repository(folder, "shop-tea", "2.0", modules={"shop_tea.py": "2\n"})
        (tmp_path / "next").mkdir()
        driver().stage([pin], tmp_path / "next", targets=[target])
        assert (tmp_path / "next/shop_tea.py").read_text() == "1\n"

    def test_a_file_with_a_token_leaves_none(self, driver, make, index, tmp_path, sha256) -> None:
        """Neither in the pin nor in the staged files, whose RECORD is still true."""
        wheel = make("shop-tea", "1.0")
        url = f"{index.address}/files/{wheel.name}?token=geheim-4711"
        (tmp_path / "next").mkdir()
        lines: list[str] = []
        [pin] = driver().resolve(
            [parse_target(f"shop-tea @ {url}")], folder=tmp_path / "next", progress=lines.append
        )
        assert (pin.sha256, pin.direct) == (sha256(wheel), True)
        assert "4711" not in f"{pin} {lines}"
        assert not [path for path, data in files_in(tmp_path / "next").items() if b"4711" in data]
        assert_recorded(tmp_path / "next")

    def test_a_url_of_what_the_host_has_is_a_conflict(self, driver, make, index, host) -> None:
        """It could not take the place of the host's."""
        host("ours", "1.0")
        wheel = make("ours", "1.0")
        with pytest.raises(InstallConflictError) as caught:
            resolve(driver(), f"ours @ {index.address}/files/{wheel.name}")
        assert caught.value.conflicts[-1] == "the host has ours 1.0"

    def test_a_url_is_fetched_again(self, driver, make, index, tmp_path) -> None:
        """The same version may be other code."""
        url = f"{index.address}/files/{make('shop-tea', '1.0').name}"
        stage(driver(), tmp_path / "beside", f"shop-tea @ {url}")
        options = {"beside": tmp_path / "beside"}
        assert resolve(driver(), f"shop-tea @ {url}", **options) == {"shop-tea": "1.0"}


class TestCredentials:
    def test_those_of_an_index_stay_secret(self, driver, make, index, tmp_path) -> None:
        """They are used, and are in no line, error, pin or file."""
        make("shop-tea", "1.0")
        index.login = ("robot", "geheim-4711")
        installer = driver(indexes=[index.url])
        lines: list[str] = []
        (tmp_path / "next").mkdir()
        pins = installer.resolve(
            [parse_target("shop-tea")], folder=tmp_path / "next", progress=lines.append
        )
        with pytest.raises(InstallError) as caught:
            resolve(installer, "shop-nowhere")
        assert "4711" not in f"{pins} {lines} {caught.value.reasons!r} {installer.policy!r}"
        assert not [path for path, data in files_in(tmp_path / "next").items() if b"4711" in data]


class TestLatest:
    def test_releases_are_told_with_what_was_withdrawn(self, driver, make, index) -> None:
        """Those that no index has are left out."""
        withdrawn = make("shop-tea", "1.0")
        make("shop-tea", "2.0")
        make("leaf", "1.5")
        make("late", "1.0")
        index.entries[withdrawn.name] = {"yanked": "it is bitter"}
        found = driver().latest({"shop-tea": "1.0", "leaf": "1.5", "nowhere": "1", "late": "0.5"})
        assert found == {
            "shop-tea": Release(version="2.0", yanked="it is bitter"),
            "leaf": Release(version="1.5"),
            "late": Release(version="1.0"),
        }

    def test_an_index_that_does_not_answer_is_an_error(self, driver) -> None:
        """An empty answer would mean that nothing is known."""
        with pytest.raises(InstallError):
            driver(indexes=["http://127.0.0.1:1/simple/"]).latest({"shop-tea": "1.0"})


@pytest.mark.parametrize("kind", [PipInstaller, UvInstaller])
@pytest.mark.parametrize("given", [{}, {"environment": None}, {"environment": ""}])
def test_an_environment_is_required(kind, given) -> None:
    """The error says what to write."""
    with pytest.raises(InstallError) as caught:
        kind(**given)
    assert f"{kind.__name__}(environment='plugins.d')" in str(caught.value)
