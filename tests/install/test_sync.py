"""The environment is made to match the plugins file, with lines that need one another."""

from __future__ import annotations

import json

import pytest

GROUP = "shop.plugins"

PROGRAM = """
import json, sys
from plugreg import PluginRegistry
from plugreg.install import InstallPolicy, PipInstaller, UvInstaller

given = json.loads(sys.argv[1])
kind = UvInstaller if given["uv"] else PipInstaller
policy = InstallPolicy(indexes=given["indexes"])
how = {"environment": "plugins.d", "policy": policy, "plugins_file": given["file"]}
installer = kind(**how)
with PluginRegistry("shop", installer=installer) as registry:
    registry.load()
    if given["install"]:
        registry.install(given["install"])
    else:
        reports = registry.packages.sync()
        told = [[report.distribution, report.success, report.reasons] for report in reports]
    versions = {}
    for generation in registry.packages.generations():
        versions = dict(generation.distributions) if generation.serving else versions
print(json.dumps({"reports": [] if given["install"] else told, "versions": versions}))
"""


@pytest.fixture(params=["pip", "uv"])
def sync(request, venv, index):
    """Return a function that writes the plugins file and matches the environment to it."""
    uv = request.getfixturevalue("uv_path") if request.param == "uv" else None
    indexes = [index.url, index.host]

    def sync(*lines, install=None):
        file = venv.folder / "plugins.txt"
        file.write_text("".join(f"{line}\n" for line in lines))
        given = {"uv": uv, "indexes": indexes, "install": install, "file": str(file)}
        told = venv.run(PROGRAM, json.dumps(given))
        return told["reports"], told["versions"]

    return sync


@pytest.fixture
def make(index, make_wheel):
    """Return a function that puts a plugin's distribution into the index."""

    def make(name, version, *requires):
        module = f"{name.replace('-', '_')}"
        source = "from plugreg import Plugin\nclass It(Plugin): ...\n"
        make_wheel(
            index.folder,
            name,
            version,
            requires=requires,
            entry_points={GROUP: {name.removeprefix("shop-"): f"{module}:It"}},
            modules={f"{module}.py": source},
        )

    return make


@pytest.mark.parametrize("order", [("tea", "cup"), ("cup", "tea")])
def test_lines_that_need_one_another_are_installed_together(sync, make, order):
    """Two plugins that fit only in the same version go from one to the next, in any order."""
    for version in ("1.0", "2.0"):
        make("shop-tea", version, f"shop-cup=={version}")
        make("shop-cup", version)
    _, before = sync(install="shop-tea==1.0")
    assert before == {"shop-cup": "1.0", "shop-tea": "1.0"}
    reports, after = sync(*(f"shop-{name}==2.0" for name in order))

    assert [report for report in reports if not report[1]] == []
    assert after == {"shop-cup": "2.0", "shop-tea": "2.0"}


def test_what_no_line_lists_stays_as_it_is(sync, make):
    """A line that needs another version of a requested one is refused, and nothing changes."""
    for version in ("1.0", "2.0"):
        make("shop-tea", version, f"shop-cup=={version}")
        make("shop-cup", version)
    sync(install="shop-cup==1.0")
    _, before = sync(install="shop-tea==1.0")
    [[name, is_done, reasons]], after = sync("shop-tea==2.0")

    assert (name, is_done, after) == ("shop-tea", False, before)
    assert "shop-cup" in " ".join(reasons)


def test_what_another_line_lists_changes_only_as_it_says(sync, make):
    """A version that the other line rules out is not installed for this one."""
    for version in ("1.0", "2.0"):
        make("shop-tea", version, f"shop-cup=={version}")
        make("shop-cup", version)
    _, before = sync(install="shop-tea==1.0")
    [[name, is_done, _]], after = sync("shop-tea==2.0", "shop-cup<2")

    assert (name, is_done, after) == ("shop-tea", False, before)


def test_what_brings_no_plugin_is_installed_too(sync, index, make_wheel):
    """Who has written the line wants it there, in that version."""
    make_wheel(index.folder, "shop-leaf", "1.0", modules={"shop_leaf.py": ""})
    reports, there = sync("shop-leaf==1.0")

    assert reports == [["shop-leaf", True, []]]
    assert there == {"shop-leaf": "1.0"}


def test_a_line_with_an_extra_asks_for_what_that_requires(sync, make, index, make_wheel):
    """The plugin itself is there already, and satisfied only without the extra."""
    make_wheel(index.folder, "shop-leaf", "1.0", modules={"shop_leaf.py": ""})
    # One more line of metadata tells of the extra.
    make("shop-tea", "1.0", "shop-leaf>=1; extra == 'leaf'\nProvides-Extra: leaf")
    sync(install="shop-tea==1.0")
    assert sync("shop-tea==1.0") == ([], {"shop-tea": "1.0"})
    reports, there = sync("shop-tea[leaf]==1.0")

    assert reports == [["shop-tea", True, []]]
    assert there == {"shop-leaf": "1.0", "shop-tea": "1.0"}
    assert sync("shop-tea[leaf]==1.0")[0] == []


def test_a_line_with_an_extra_of_the_host_s_own(sync, index, make_wheel, venv):
    """The host's stays as it is, and the requirements of the extra come once."""
    make_wheel(index.folder, "shop-leaf", "1.0", modules={"shop_leaf.py": ""})
    info = venv.purelib / "shop_host-1.0.dist-info"
    info.mkdir()
    extra = "Provides-Extra: leaf\nRequires-Dist: shop-leaf; extra == 'leaf'\n"
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: shop-host\nVersion: 1.0\n{extra}")
    first = sync("shop-host[leaf]")

    assert first == ([["shop-host", True, []]], {"shop-leaf": "1.0"})
    assert sync("shop-host[leaf]") == ([], {"shop-leaf": "1.0"})
