"""What a plan asks, believes and runs, with pip and with uv, where others have laid traps."""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from pathlib import Path

import pytest

GROUP = "shop.plugins"
TEA = {GROUP: {"tea": "shop_tea:Tea"}}

PROGRAM = """
import json, sys
from plugreg.exceptions import InstallError
from plugreg.install import InstallPolicy, PipInstaller, UvInstaller
from plugreg.install.requirements import parse_target

given = json.loads(sys.argv[1])
policy = InstallPolicy(vcs_hosts=given["vcs_hosts"])
installer = PipInstaller(policy=policy) if given["pip"] else UvInstaller(policy=policy)
try:
    plan = installer.plan(parse_target(given["plan"], given["index"]), "shop.plugins")
    told = {"changes": {each.name: each.after for each in plan.changes}}
    told["refusals"] = [each.reason for each in plan.refusals]
except InstallError as error:
    told = {"error": type(error).__name__, "reasons": error.reasons}
print(json.dumps(told | {"imported": sorted(sys.modules)}))
"""


class Planner:
    """A PipInstaller, or a UvInstaller that finds uv itself; each plan is a process."""

    def __init__(self, venv, index, uv):
        self.venv = venv
        self.index = index
        self.uv = uv

    def __call__(self, requirement, *, index_url=None):
        given = {
            "pip": self.uv is None,
            "plan": requirement,
            "index": index_url,
            "vcs_hosts": [self.index.host],
        }
        variables = {"PIP_INDEX_URL": self.index.url, "UV_INDEX_URL": self.index.url}
        if self.uv is not None:
            variables["PATH"] = os.pathsep.join((str(Path(self.uv).parent), os.environ["PATH"]))
        return self.venv.run(PROGRAM, json.dumps(given), **variables)


def test_a_script_of_the_environment_is_not_run(plan, venv, index, make_repository, monkeypatch):
    """One that is called like a program of the installer's may be that of a plugin that is off."""
    make_repository(index.folder / "tea.git", "shop-tea", "1.0", entry_points=TEA)
    script = venv.scripts / "git"
    script.write_text(f"#!/bin/sh\necho run >> {venv.home / 'run'}\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join((str(venv.scripts), os.environ["PATH"])))
    told = plan(f"git+{index.address}/files/tea.git")

    assert told["changes"] == {"shop-tea": "1.0"}
    assert not (venv.home / "run").exists()


@pytest.fixture(params=["pip", "uv"])
def plan(request, venv, index):
    uv = request.getfixturevalue("uv_path") if request.param == "uv" else None
    return Planner(venv, index, uv)


@pytest.fixture
def elsewhere(index, tmp_path):
    """Give an index that nobody has allowed."""
    other = type(index)(tmp_path / "elsewhere")
    yield other
    other.close()


def odd(venv, text):
    """Put a distribution into an environment whose metadata nobody has looked at."""
    info = venv.purelib / "odd-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\n{textwrap.dedent(text)}")
    (info / "RECORD").write_text("")


def test_submodules_are_not_fetched(plan, index, elsewhere, make_repository, tmp_path):
    """They may be anywhere, and what the policy allows is one host."""
    make_repository(elsewhere.folder / "sub.git", "sub", "1.0")
    make_repository(index.folder / "tea.git", "shop-tea", "1.0", entry_points=TEA)
    work = index.folder / "tea.work"
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        own |= {f"GIT_{role}_NAME": "test", f"GIT_{role}_EMAIL": "test@example.org"}
    address = f"http://{elsewhere.host}/files/sub.git"
    for command in (
        f"submodule add {address} sub",
        "commit --quiet --all --message submodule",
        f"push --quiet {index.folder / 'tea.git'} HEAD:main",
        f"--git-dir {index.folder / 'tea.git'} update-server-info",
    ):
        subprocess.run(
            ["git", *command.split()],
            cwd=work,
            env={**os.environ, **own},
            check=True,
            capture_output=True,
        )
    elsewhere.requests.clear()
    told = plan(f"git+http://{index.host}/files/tea.git")

    assert told.get("changes") == {"shop-tea": "1.0"}, told
    assert told["refusals"] == []
    assert elsewhere.requests == []


@pytest.mark.parametrize("name", ["uv.toml", "pyproject.toml"])
def test_no_folder_decides_where_from(plan, index, elsewhere, make_wheel, name):
    """The folder for temporary files, and those above, are where anybody may write."""
    make_wheel(index.folder, "shop-tea", "1.0", entry_points=TEA)
    make_wheel(elsewhere.folder, "shop-tea", "66.0", entry_points=TEA)
    text = f'index = [{{ url = "{elsewhere.url}" }}]\n'
    trap = plan.venv.home / "tmp" / name
    trap.write_text(text if name == "uv.toml" else f"[tool.uv]\n{text}")
    told = plan("shop-tea")

    assert told.get("changes") == {"shop-tea": "1.0"}, told
    assert elsewhere.requests == []


def test_no_module_is_imported_to_find_uv(plan, index, make_wheel):
    """A plugin may have one of that name, which would run in the host while it is off."""
    make_wheel(index.folder, "shop-tea", "1.0", entry_points=TEA)
    (plan.venv.purelib / "uv.py").write_text("raise SystemExit('imported')\n")
    told = plan("shop-tea")

    assert told.get("changes") == {"shop-tea": "1.0"}, told
    assert "uv" not in told["imported"]


@pytest.mark.parametrize(
    "text",
    [
        "Name: odd\nVersion: 1.0\nRequires-Dist: shop-tea; os_name ~= 'posix'\n",
        "Name: odd\nVersion: 1.0\nRequires-Dist: shop-tea; 'x' in extras\n",
        "Name: my shop\nVersion: 1.0\n",
    ],
)
def test_odd_metadata_blocks_nothing(plan, index, make_wheel, text):
    """What is installed already may say what it likes of itself."""
    plan.venv.put(make_wheel(index.folder, "shop-tea", "1.0", entry_points=TEA))
    make_wheel(index.folder, "shop-tea", "2.0", entry_points=TEA)
    odd(plan.venv, text)
    told = plan("shop-tea==2.0")

    assert told.get("changes") == {"shop-tea": "2.0"}, told
    assert told["refusals"] == []


@pytest.mark.parametrize(
    "step",
    [
        "from pip.req import parse_requirements",
        "import pip.no_such_module",
        "raise SystemExit('this machine is externally managed')",
        "raise SystemExit('error: No module named pip')",
    ],
)
def test_what_a_build_says_is_no_fault_of_the_machine(plan, index, make_sdist, step):
    """Though its words are those of an installer that is missing, or may not write."""
    make_sdist(index.folder, "shop-tea", "1.0", entry_points=TEA, build_step=step)

    assert plan("shop-tea")["error"] == "BuildFailedError"
