"""Arguments of uv, variables that it may not see, and the errors that its words mean."""

from __future__ import annotations

import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from plugreg.exceptions import InstallError
from plugreg.install import InstallPolicy, UvInstaller
from plugreg.install.distributions import Distribution
from plugreg.install.exceptions import (
    BuildFailedError,
    InstallerMissingError,
    PythonMismatchError,
)
from plugreg.install.requirements import parse_target

LOGIN = ("clerk-of-the-shop", "pa55-of-the-shop")


@pytest.fixture
def resolve(make_driver) -> Any:
    """Return a function that resolves one requirement with uv, and returns the pins by name."""

    def with_uv(requirement: str, *, folder: Path | None = None, **options: Any) -> Any:
        installer = make_driver("uv", **options)
        pins = installer.resolve([parse_target(requirement)], folder=folder)
        return {pin.name: pin for pin in pins}

    return with_uv


@pytest.fixture
def tea(index, make_wheel) -> Any:
    """Return a function that puts a version of ``shop-tea`` into the index."""

    def make(version: str = "1.0", folder: Path | None = None, **more: Any) -> Path:
        given = {"modules": {"shop_tea.py": f"VERSION = {version!r}\n"}, **more}
        return make_wheel(folder or index.folder, "shop-tea", version, **given)

    return make


@pytest.fixture
def wrap(tmp_path: Path, uv_path, monkeypatch) -> Any:
    """Return a function that puts a program of the shell in the place of uv.

    It has uv's path in ``$UV``.
    """

    def make(script: str) -> None:
        wrapper = tmp_path / "uv-wrapper"
        wrapper.write_text(f"#!/bin/sh\nUV={shlex.quote(uv_path)}\n{script}\n")
        wrapper.chmod(0o700)
        monkeypatch.setattr(UvInstaller, "_path", lambda self, host: str(wrapper))

    return make


class TestFiles:
    def test_the_file_that_is_taken_is_the_one_shown(self, resolve, tea, index, tmp_path) -> None:
        """Of several wheels the pin has the one that uv installs: the best for this machine."""
        python = f"cp3{sys.version_info.minor}-none-any"
        tags = ["py3-none-any", "3-py3-none-any", python, f"1-{python}", f"2-{python}"]
        tags += [f"4-{python.replace('any', 'win_amd64')}", "5-py2-none-any"]
        for tag in tags:
            built = tea(folder=tmp_path / "built", modules={"shop_tea.py": f"TAG = {tag!r}\n"})
            shutil.move(built, index.folder / f"shop_tea-1.0-{tag}.whl")
        (tmp_path / "next").mkdir()
        pin = resolve("shop-tea", folder=tmp_path / "next")["shop-tea"]

        assert (tmp_path / "next/shop_tea.py").read_text() == f"TAG = {f'2-{python}'!r}\n"
        assert pin.source.endswith(f"/shop_tea-1.0-2-{python}.whl")

    def test_files_of_a_folder(self, resolve, tea, tmp_path, sha256) -> None:
        """A folder of ``find_links`` is looked at, whatever its name is, and sizes are its."""
        folder = tmp_path / "our own, wheels%41"
        file = tea(folder=folder)
        pin = resolve("shop-tea", find_links=[folder])["shop-tea"]

        assert unquote(pin.source) == f"file://{file}"
        assert (pin.sha256, pin.size) == (sha256(file), file.stat().st_size)

    def test_none_is_a_link_to_the_cache(self, resolve, tea, tmp_path, monkeypatch) -> None:
        """Though the host wants links: a change would be one for all environments."""
        monkeypatch.setenv("UV_LINK_MODE", "hardlink")
        tea()
        (tmp_path / "next").mkdir()
        resolve("shop-tea", folder=tmp_path / "next")

        assert (tmp_path / "next/shop_tea.py").stat().st_nlink == 1

    def test_another_file_at_the_same_url(self, resolve, index, tea, tmp_path, sha256) -> None:
        """It is fetched again, with its current contents, though uv knows the URL already."""
        file = tea("1.0", folder=tmp_path)
        (index.folder / "files").mkdir()
        url = f"http://{index.host}/files/files/{file.name}"
        shutil.copy(file, index.folder / "files" / file.name)
        resolve(f"shop-tea @ {url}")
        newer = tea("1.0", folder=tmp_path, modules={"shop_tea.py": "NEWER = True\n"})
        shutil.copy(newer, index.folder / "files" / file.name)
        (tmp_path / "next").mkdir()
        pin = resolve(f"shop-tea @ {url}", folder=tmp_path / "next")["shop-tea"]

        assert pin.sha256 == sha256(newer)
        assert (tmp_path / "next/shop_tea.py").read_text() == "NEWER = True\n"


class TestErrors:
    @pytest.mark.parametrize("asked", ["nowhere", "shop-tea==3.0", "shop-tea>2"])
    def test_what_is_nowhere_is_no_conflict(self, resolve, tea, asked) -> None:
        """A name or a version that no index has is an InstallError that names it."""
        tea("1.0")
        tea("2.0")
        with pytest.raises(InstallError) as caught:
            resolve(asked)

        assert type(caught.value) is InstallError
        assert any(asked in reason for reason in caught.value.reasons)

    @pytest.mark.parametrize("wanted", [">=3.99", "<3.9"])
    def test_another_python(self, resolve, tea, tmp_path, wanted) -> None:
        """Newer ones, and older ones, which uv itself lets pass until it is staged."""
        tea("1.0", requires_python=wanted)
        (tmp_path / "next").mkdir()
        with pytest.raises(PythonMismatchError) as caught:
            resolve("shop-tea", folder=tmp_path / "next")

        assert any(wanted in reason for reason in caught.value.reasons)

    @pytest.mark.parametrize("tag", ["cp39-cp39-win_amd64", "py3-none-beos"])
    def test_no_wheel_for_this_interpreter(self, resolve, tea, tag) -> None:
        """A wheel for another system, and nothing to build, is a BuildFailedError."""
        file = tea()
        file.rename(file.with_name(f"shop_tea-1.0-{tag}.whl"))
        with pytest.raises(BuildFailedError):
            resolve("shop-tea")

    def test_a_dependency_that_is_no_wheel(self, resolve, index, tea, make_sdist, tmp_path) -> None:
        """One that is named by URL is not built where a rule forbids it."""
        ran = tmp_path / "ran"
        step = f"open({str(ran)!r}, 'w')"
        milk = make_sdist(index.folder / "else", "milk", "1.0", build_step=step)
        tea(requires=[f"milk @ {index.address}/files/else/{milk.name}"])
        with pytest.raises(InstallError, match="milk"):
            resolve("shop-tea", wheels_only=True)

        assert not ran.exists()

    def test_no_uv(self, tmp_path, monkeypatch) -> None:
        """The error says how to get it, before anything else."""
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(InstallerMissingError, match="pip install uv"):
            UvInstaller(environment=tmp_path)._path({})

    @pytest.mark.parametrize("how", ["package", "path"])
    def test_uv_is_found(self, tmp_path, uv_path, how, monkeypatch) -> None:
        """That of the package ``uv`` in the host's environment, else the one on the path.

        No module is imported for that, which may be anybody's.
        """
        programs = tmp_path / "bin"
        programs.mkdir()
        (programs / "uv").symlink_to(uv_path)
        monkeypatch.setenv("PATH", str(tmp_path if how == "package" else programs))
        if how == "package":
            monkeypatch.setattr(sysconfig, "get_path", lambda name: str(programs))
        host = {"uv": Distribution(name="uv", version="9", path=tmp_path)}
        installer = UvInstaller(environment=tmp_path)

        assert installer._path(host if how == "package" else {}) == str(programs / "uv")


class TestConfiguration:
    def test_constraints_of_the_host_hold(self, resolve, tea, tmp_path, monkeypatch) -> None:
        """``UV_CONSTRAINT`` counts beside the constraints of the environment, unless isolated."""
        tea("1.0")
        tea("2.0")
        (tmp_path / "host.txt").write_text("shop-tea<2\n")
        monkeypatch.setenv("UV_CONSTRAINT", str(tmp_path / "host.txt"))

        assert resolve("shop-tea")["shop-tea"].version == "1.0"
        assert resolve("shop-tea", isolated=True)["shop-tea"].version == "2.0"

    def test_no_variable_leads_elsewhere(self, resolve, tea, tmp_path, monkeypatch) -> None:
        """Variables that select uv's places, packages or folder do not hold."""
        tea("1.0")
        tea("2.0")
        (tmp_path / "override.txt").write_text("shop-tea==1.0\n")
        for name in ("WORKING_DIR", "PROJECT", "PYTHON", "PROJECT_ENVIRONMENT", "ENV_FILE"):
            monkeypatch.setenv(f"UV_{name}", str(tmp_path / "elsewhere"))
        for name in ("UV_SYSTEM_PYTHON", "UV_REQUIRE_HASHES"):
            monkeypatch.setenv(name, "1")
        monkeypatch.setenv("UV_OVERRIDE", str(tmp_path / "override.txt"))

        assert resolve("shop-tea")["shop-tea"].version == "2.0"

    def test_files_hold_unless_isolated(self, resolve, tea, tmp_path, monkeypatch) -> None:
        """``uv.toml`` of the user, and none of a folder above the temporary ones."""
        tea("1.0")
        tea("2.0a1")
        monkeypatch.delenv("UV_NO_CONFIG")
        file = tmp_path / "home" / ".config" / "uv" / "uv.toml"
        file.parent.mkdir(parents=True)
        file.write_text('prerelease = "allow"\n')

        assert resolve("shop-tea")["shop-tea"].version == "2.0a1"
        assert resolve("shop-tea", isolated=True)["shop-tea"].version == "1.0"

    def test_no_file_above_decides(self, resolve, tea, index, tmp_path, monkeypatch) -> None:
        """Neither that of a project of the host, nor one beside temporary files."""
        tea("1.0")
        tea("2.0a1")
        monkeypatch.delenv("UV_NO_CONFIG")
        (tmp_path / "uv.toml").write_text('prerelease = "allow"\n')
        (tmp_path / "next").mkdir()
        monkeypatch.chdir(tmp_path)

        assert resolve("shop-tea", folder=tmp_path / "next")["shop-tea"].version == "1.0"

    def test_no_other_index_is_asked(self, make_driver, index, tea, monkeypatch) -> None:
        """With an index in the requirement, those of the host's configuration are not used."""
        tea()
        for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL"):
            monkeypatch.setenv(name, "http://127.0.0.1:1/simple/")
        [pin] = make_driver("uv", indexes=None).resolve([parse_target("shop-tea", index.url)])

        assert pin.version == "1.0"


class TestCredentials:
    def test_of_an_index(self, tmp_path, index, tea, wrap) -> None:
        """They reach the index, and are in no command line and no error."""
        log = tmp_path / "commands"
        index.login = LOGIN
        tea()
        installer = UvInstaller(
            environment=tmp_path / "plugins.d",
            policy=InstallPolicy(indexes=[index.url]),
        )
        wrap(f'echo "$@" >> {shlex.quote(str(log))}\nexec "$UV" "$@"')
        pins = installer.resolve([parse_target("shop-tea")])
        with pytest.raises(InstallError) as caught:
            installer.resolve([parse_target("nowhere")])

        assert len(pins) == 1
        seen = f"{log.read_text()} {caught.value} {pins}"
        assert not any(secret in seen for secret in LOGIN)

    @pytest.mark.parametrize("name", ["HTTP_PROXY", "UV_INDEX_SHOP_PASSWORD"])
    def test_in_the_words_of_an_error(self, tmp_path, wrap, name, monkeypatch) -> None:
        """Output of uv, or of a program that it starts, does not show them."""
        url = f"{LOGIN[0]}:{LOGIN[1]}@127.0.0.1:1"
        monkeypatch.setenv(name, url if name == "HTTP_PROXY" else LOGIN[1])
        wrap(f'echo "${name} is not known"; exit 2')
        installer = UvInstaller(environment=tmp_path / "plugins.d")
        with pytest.raises(InstallError, match="is not known") as caught:
            installer.resolve([parse_target("shop-tea")])

        assert not any(secret in str(caught.value) for secret in LOGIN)

    def test_a_user_called_like_a_distribution(self, resolve, index, tea) -> None:
        """A string that is masked in the output is not missing in the pin."""
        index.login = ("shop-tea", "files")
        tea()
        pin = resolve("shop-tea", indexes=[index.url])["shop-tea"]

        assert pin.source.startswith(f"http://{index.host}/files/")

    def test_none_of_publishing_reach_a_build(
        self, resolve, index, make_sdist, tmp_path, monkeypatch
    ) -> None:
        """The host's credentials for publishing are nothing that a build could read."""
        seen = tmp_path / "seen"
        step = f"open({str(seen)!r}, 'w').write(repr(dict(os.environ)))"
        make_sdist(index.folder, "shop-tea", "1.0", build_step=step)
        monkeypatch.setenv("UV_PUBLISH_TOKEN", "t0ken-of-the-shop")
        monkeypatch.setenv("SHOP_SECRET", "t0ken-of-ours")
        resolve("shop-tea")

        assert "UV_DEFAULT_INDEX" in seen.read_text()
        assert "t0ken" not in seen.read_text()

    def test_a_dependency_that_names_a_variable_gets_no_login(self, resolve, index, tea) -> None:
        """Uv puts its value into the URL, so that credentials of indexes are in none."""
        milk = f"milk @ {index.address}/files/${{UV_DEFAULT_INDEX}}/milk-1.0-py3-none-any.whl"
        tea(requires=[milk])
        index.login = LOGIN
        url = f"shop-tea @ {index.address}/files/shop_tea-1.0-py3-none-any.whl"
        for asked in ("shop-tea", url):
            with pytest.raises(InstallError):
                resolve(asked, indexes=[index.url])

        assert any("milk" in path for path in index.requests)
        assert not [path for path in index.requests if LOGIN[1] in path]
