"""Arguments of pip, variables that it may not see, and the errors that its words mean."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from plugreg.exceptions import InstallError
from plugreg.install import PipInstaller
from plugreg.install.exceptions import InstallerMissingError
from plugreg.install.requirements import parse_target


@pytest.fixture
def pip(make_driver, tmp_path) -> Any:
    """Return a function that resolves and stages with pip, and returns versions or the error."""

    def resolve(*requirements: str, **options: Any) -> dict[str, str]:
        folder = options.pop("folder", None) or Path(tempfile.mkdtemp(dir=tmp_path))
        installer = make_driver("pip", **options)
        targets = [parse_target(requirement) for requirement in requirements]
        return {pin.name: pin.version for pin in installer.resolve(targets, folder=folder)}

    return resolve


def test_each_cause_has_its_error(pip, index, make_wheel, make_sdist) -> None:
    """The reasons are pip's own last words."""
    make_wheel(index.folder, "shop-bun", "1.0")
    make_wheel(index.folder, "shop-tea", "1.0")
    make_wheel(index.folder, "shop-tea", "2.0", requires_python=">=3.99")
    make_wheel(index.folder, "shop-new", "1.0", requires_python="<3")
    full = "with open('/dev/full', 'w') as file: file.write('x')"
    make_sdist(index.folder, "shop-large", "1.0", build_step=full)
    expected = {
        "nothing": ("InstallError", "No matching distribution found for nothing"),
        "shop-bun==9": ("InstallError", "(from versions: 1.0)"),
        "shop-tea>=2": ("PythonMismatchError", "2.0 Requires-Python >=3.99"),
        "shop-new": ("PythonMismatchError", "1.0 Requires-Python <3"),
        "shop-large": ("InstallSpaceError", "No space left on device"),
    }
    for requirement, (kind, words) in expected.items():
        with pytest.raises(InstallError) as caught:
            pip(requirement)
        assert type(caught.value).__name__ == kind
        assert words in " ".join(caught.value.reasons)
        assert all(reason.strip() for reason in caught.value.reasons)


def test_pip_is_missing(tmp_path, monkeypatch) -> None:
    """The error says so with a remedy."""
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(InstallerMissingError, match="run: python -m ensurepip"):
        PipInstaller(environment=tmp_path).resolve([parse_target("shop-tea")])


class TestCredentials:
    def test_no_command_line_has_a_login(
        self, pip, index, tmp_path, make_sdist, monkeypatch
    ) -> None:
        """Pip passes its indexes as arguments to the pip that fetches a build's requirements."""
        seen = tmp_path / "seen"
        step = (
            "import pathlib\n"
            "for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
            "    try:\n"
            f"        open({str(seen)!r}, 'ab').write(path.read_bytes() + b'\\n')\n"
            "    except OSError:\n"
            "        pass\n"
        )
        make_sdist(index.folder, "kettle", "1.0", build_step=step)
        project = make_sdist.__globals__["PYPROJECT"].replace("= []", "= ['kettle']")
        monkeypatch.setitem(make_sdist.__globals__, "PYPROJECT", project)
        make_sdist(index.folder, "shop-tea", "1.0")
        index.login = ("cl%40erk", "s3cret-canary%2F")
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", index.url.replace("simple", "files"))
        index.login = ("cl@erk", "s3cret-canary/")

        assert pip("shop-tea", indexes=None) == {"shop-tea": "1.0"}
        assert b"--extra-index-url" in seen.read_bytes()
        assert b"s3cret-canary" not in seen.read_bytes()
        assert b"erk" not in seen.read_bytes()

    def test_a_wrong_password_is_not_shown(self, pip, index) -> None:
        """An error has the address without it."""
        index.login = ("clerk", "right")
        url = index.url.replace("right", "s3cret-canary")
        with pytest.raises(InstallError) as caught:
            pip("shop-tea", indexes=[url])

        assert "s3cret-canary" not in str(caught.value)
        assert index.host in str(caught.value)

    @pytest.mark.parametrize("name", ["PIP_PROXY", "http_proxy"])
    def test_a_login_of_a_proxy_is_not_shown(self, pip, index, make_sdist, name, monkeypatch):
        """Neither if it does not answer, nor by a build that prints all it knows."""
        monkeypatch.setenv(name, "clerk-canary:s3cret-canary@127.0.0.1:1")
        step = "import os; raise OSError(str(dict(os.environ)))"
        make_sdist(index.folder, "shop-tea", "1.0", build_step=step)
        local = {"indexes": (), "find_links": [index.folder]}
        for options in ({"indexes": ["https://a.example/"]}, local):
            with pytest.raises(InstallError) as caught:
                pip("shop-tea", **options)
            assert "canary" not in str(caught.value)

    def test_a_build_sees_no_secret_of_the_host(
        self, pip, index, tmp_path, make_sdist, monkeypatch
    ) -> None:
        """It has few variables, and none of the host's."""
        seen = tmp_path / "seen"
        step = f"import os; open({str(seen)!r}, 'w').write(str(dict(os.environ)))"
        make_sdist(index.folder, "shop-tea", "1.0", build_step=step)
        monkeypatch.setenv("DATABASE_URL", "s3cret-canary")
        monkeypatch.setenv("UV_TOKEN", "s3cret-canary")
        pip("shop-tea")

        assert "PATH" in seen.read_text()
        assert "s3cret-canary" not in seen.read_text()

    def test_a_dependency_names_no_variable(self, pip, index, make_wheel, monkeypatch) -> None:
        """Pip would send its value to whoever made the wheel, for an explanation too."""
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        monkeypatch.setenv("PIP_TRUSTED_HOST", "s3cret-canary")
        milk = f"milk @ {index.address}/files/${{PIP_TRUSTED_HOST}}/milk-1.0-py3-none-any.whl"
        hostile = f"--extra-index-url={index.address}/${{PIP_TRUSTED_HOST}}/"
        options = f'lib>=9; os_name != "x {hostile} y"'
        make_wheel(index.folder, "lib", "1.0")
        make_wheel(index.folder, "shop-tea", "1.0", requires=[milk, options])
        with pytest.raises(InstallError):
            pip("shop-tea", indexes=None)

        assert not [path for path in index.requests if "s3cret-canary" in path]


class TestConfiguration:
    def test_no_variable_leads_elsewhere(
        self, pip, index, tmp_path, make_wheel, monkeypatch
    ) -> None:
        """Variables that select pip's packages or places, or forbid it, do not hold."""
        make_wheel(index.folder, "shop-tea", "1.0", modules={"shop_tea.py": ""})
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (tmp_path / "more.txt").write_text("nowhere\n")
        for name in ("TARGET", "PREFIX", "ROOT", "REPORT", "LOG", "PYTHON", "SRC", "BUILD"):
            monkeypatch.setenv(f"PIP_{name}", str(elsewhere / name))
        for name in ("PIP_USER", "PIP_DRY_RUN", "PIP_REQUIRE_VIRTUALENV", "PIP_NO_DEPS"):
            monkeypatch.setenv(name, "1")
        monkeypatch.setenv("PIP_REQUIREMENT", str(tmp_path / "more.txt"))
        monkeypatch.setenv("PIP_EDITABLE", str(elsewhere))
        (tmp_path / "next").mkdir()

        assert pip("shop-tea", folder=tmp_path / "next") == {"shop-tea": "1.0"}
        assert (tmp_path / "next/shop_tea.py").exists()
        assert list(elsewhere.iterdir()) == []

    def test_a_file_that_leads_elsewhere_is_an_error(
        self, pip, index, tmp_path, make_wheel, monkeypatch
    ) -> None:
        """An option of pip.conf that no command line can undo."""
        make_wheel(index.folder, "shop-tea", "1.0", modules={"shop_tea.py": ""})
        (tmp_path / "pip.conf").write_text(f"[install]\nroot = {tmp_path / 'root'}\n")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        (tmp_path / "next").mkdir()
        with pytest.raises(InstallError, match="has not installed 'shop-tea' into"):
            pip("shop-tea", folder=tmp_path / "next")

    def test_a_file_does_not_select_packages(
        self, pip, index, tmp_path, make_wheel, monkeypatch
    ) -> None:
        """Options of pip.conf that a variable undoes."""
        make_wheel(index.folder, "shop-tea", "1.0", requires=["leaf"])
        make_wheel(index.folder, "leaf", "1.0")
        (tmp_path / "more.txt").write_text("nowhere\n")
        lists = f"requirement = {tmp_path / 'more.txt'}\neditable = {tmp_path}"
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        for options in ("no-deps = true\ndry-run = true", lists):
            (tmp_path / "pip.conf").write_text(f"[install]\n{options}\n")
            assert pip("shop-tea") == {"leaf": "1.0", "shop-tea": "1.0"}

    def test_it_holds_unless_isolated(self, pip, index, tmp_path, monkeypatch) -> None:
        """Variables and the file pip.conf both."""
        (tmp_path / "pip.conf").write_text(
            f"[global]\nextra-index-url = {index.address}/of-file/\n"
        )
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        monkeypatch.setenv("PIP_INDEX_URL", f"{index.address}/of-variable/")
        asked = []
        for isolated in (False, True):
            links = [f"{index.address}/links/"]
            with pytest.raises(InstallError):
                pip("shop-tea", indexes=None, isolated=isolated, find_links=links)
            asked.append({path.split("/")[1] for path in index.requests})
            index.requests.clear()

        assert asked == [{"links", "of-file", "of-variable"}, {"links"}]

    def test_an_index_that_is_asked_for_is_the_only_one(
        self, make_driver, index, make_wheel, tmp_path, monkeypatch
    ) -> None:
        """Those of variables and pip.conf are not asked."""
        make_wheel(index.folder, "shop-tea", "1.0")
        (tmp_path / "pip.conf").write_text(
            f"[global]\nextra-index-url = {index.address}/of-file/\n"
        )
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{index.address}/of-variable/")
        installer = make_driver("pip", indexes=[index.host])
        [pin] = installer.resolve([parse_target("shop-tea", index.url)])

        assert pin.version == "1.0"
        assert {path.split("/")[1] for path in index.requests} == {"simple", "files"}

    def test_pip_is_the_hosts_own(self, pip, index, tmp_path, make_sdist, monkeypatch) -> None:
        """Neither PYTHONPATH nor files of a build where pip works put another in its place."""
        other = "raise SystemExit('not this one')"
        (tmp_path / "modules").mkdir()
        (tmp_path / "modules" / "pip.py").write_text(other)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
        step = (
            "import pathlib, tempfile\n"
            f"pathlib.Path(tempfile.gettempdir(), 'pip.py').write_text({other!r})"
        )
        make_sdist(index.folder, "shop-tea", "1.0", build_step=step)

        assert pip("shop-tea") == {"shop-tea": "1.0"}


@pytest.mark.parametrize("rule", ["wheels_only", "denied"])
def test_a_dependency_that_must_be_built_is_refused_by_the_policy(
    make_driver, index, make_wheel, make_sdist, rule
) -> None:
    """Pip builds a requirement with a URL all the same, so the pin records it."""
    milk = make_sdist(index.folder, "milk", "1.0")
    requires = [f"milk @ {index.address}/files/{milk.name}"]
    make_wheel(index.folder, "shop-tea", "1.0", requires=requires)
    rules = {"wheels_only": True} if rule == "wheels_only" else {"denied": ["milk"]}
    installer = make_driver("pip", indexes=[index.url, index.host], **rules)
    pins = installer.resolve([parse_target("shop-tea")])
    from plugreg.install import Change

    changes = [
        Change(name=pin.name, before=None, after=pin.version, source=pin.source, direct=pin.direct)
        for pin in pins
    ]
    refused = {refusal.rule for refusal in installer.policy.of_changes(changes, "shop-tea")}
    assert rule in refused


def test_the_host_environment_is_not_on_the_path_of_pip(pip, index, make_sdist, tmp_path) -> None:
    """A build cannot import the host's distributions."""
    seen = tmp_path / "seen"
    step = f"import sys; open({str(seen)!r}, 'w').write('\\n'.join(sys.path))"
    make_sdist(index.folder, "shop-tea", "1.0", build_step=step)
    pip("shop-tea")

    site = {os.path.realpath(path) for path in sys.path if path.endswith("site-packages")}
    assert not site & {os.path.realpath(path) for path in seen.read_text().splitlines()}
