"""A distribution has its own files: it may neither write those of others nor take them along."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from plugreg import InstallError, PluginRegistry
from plugreg.install.environment import Environment
from plugreg.install.exceptions import InstallRefusedError
from plugreg.install.ownership import of_other_programs, of_python
from plugreg.storage import MemoryStorage

TEA = {"ownership_tea.py": "from plugreg import Plugin\nclass Tea(Plugin): ...\n"}
POINTS = {"tea": "ownership_tea:Tea"}


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def registry(folder_installer, site, storage):
    """Give a registry whose environment has the host, and a script that is nobody's."""
    site.dist("shop-host", "1.0", modules={"shop_host.py": "", "shop_data/colours.txt": "red"})
    (site.folder / "python").write_text("the interpreter")
    with PluginRegistry(
        "shop", host_distribution="shop-host", installer=folder_installer, storage=storage
    ) as registry:
        registry.load()
        yield registry
    sys.modules.pop("ownership_tea", None)


def content(site):
    return {
        str(each.relative_to(site.folder)): each.read_bytes()
        for each in site.folder.rglob("*")
        if each.is_file() and ".plugreg" not in str(each) and "__pycache__" not in each.parts
    }


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("shop_host.py", "belongs to another distribution"),
        ("shop_data/colours.txt", "belongs to another distribution"),
        ("python", "was there before"),
        ("start.pth", "at every start"),
        ("sitecustomize.py", "at every start"),
        ("usercustomize.py", "at every start"),
        ("sitecustomize/__init__.py", "at every start"),
        ("sitecustomize.pyc", "at every start"),
        ("_manylinux.py", "an installer would import unasked"),
        ("msvcrt.py", "an installer would import unasked"),
        ("pyvenv.cfg", "only plugreg and Python write"),
    ],
)
def test_what_it_may_not_write_is_put_back(registry, folder_installer, site, file, reason):
    """It is told which file and why, and all is as it was."""
    before = content(site)
    folder_installer.ready["shop-tea"] = ("1.0", POINTS, {**TEA, file: "mine now"})
    with pytest.raises(InstallError, match=reason) as caught:
        registry.install("shop-tea")

    assert file in str(caught.value)
    assert content(site) == before
    assert caught.value.report.restored


def test_its_own_files_it_may(registry, folder_installer):
    """An upgrade writes the files that it had before."""
    folder_installer.ready["shop-tea"] = ("1.0", POINTS, {**TEA, "tea_data/leaf.txt": "1"})
    registry.install("shop-tea")
    folder_installer.ready["shop-tea"] = ("2.0", POINTS, {**TEA, "tea_data/leaf.txt": "2"})

    assert registry.install("shop-tea").version == "2.0"


def test_what_shares_files_stays(registry, folder_installer, site):
    """Removing it would take along what another distribution has listed as its own."""
    folder_installer.ready["shop-tea"] = ("1.0", POINTS, TEA)
    registry.install("shop-tea")
    site.dist("shop-pot", "1.0", modules={"ownership_tea.py": TEA["ownership_tea.py"]})
    before = content(site)
    with pytest.raises(InstallError, match=r"ownership_tea\.py.*in common with another one"):
        registry.uninstall("tea")

    assert content(site) == before


@pytest.mark.parametrize("name", ["shop-host", "plugreg", "Pluggy", "pip"])
def test_what_the_host_runs_on_is_not_replaced(registry, folder_installer, site, name):
    """Asking for it by name makes a plan that is refused, whatever plugins it would bring."""
    if name != "shop-host":
        site.dist(name.lower(), "0.1")
    folder_installer.ready[name.lower()] = ("9.0", POINTS, TEA)
    plan = registry.plan(name)

    assert [each.rule for each in plan.refusals] == ["environment"]
    assert name.lower() in plan.refusals[0].reason
    with pytest.raises(InstallRefusedError):
        registry.install(name)


def test_what_another_manager_has_put_there_is_not_replaced(registry, folder_installer, site):
    """It would not know of it (INSTALLER)."""
    info = site.dist("shop-tea", "0.9", {"shop.plugins": POINTS}, modules=TEA)
    (info / "INSTALLER").write_text("conda\n")
    folder_installer.ready["shop-tea"] = ("1.0", POINTS, TEA)

    assert "'conda'" in registry.plan("shop-tea").refusals[0].reason


def test_a_wish_of_another_process_counts(registry, folder_installer, storage):
    """What was switched on elsewhere, and not taken in here yet, is active all the same."""
    folder_installer.ready["shop-tea"] = ("1.0", POINTS, TEA)
    registry.install("shop-tea")
    with PluginRegistry("shop", host_distribution="shop-host", storage=storage) as other:
        other.load()
        other.activate("tea")
        with pytest.raises(InstallError, match="currently active"):
            registry.uninstall("tea")


def test_in_safe_mode_it_can_be_removed(folder_installer, site):
    """Nothing is stored of it, and that is no failure of what was done."""
    folder_installer.ready["shop-tea"] = ("1.0", POINTS, TEA)
    with PluginRegistry("shop", installer=folder_installer, safe_mode=True) as registry:
        registry.load()
        registry.install("shop-tea")
        assert registry.uninstall("tea").plugins == ("tea",)
        assert "shop_tea" not in " ".join(content(site))


@pytest.mark.parametrize(
    ("place", "is_found"),
    [
        ("etc/conda/activate.d/tea.sh", True),
        ("conda-meta/pinned", True),
        ("games/git", True),
        ("local/games/git", True),
        ("etc/profile.d/tea.sh", True),
        ("share/fish/vendor_conf.d/tea.fish", True),
        ("share/fish/vendor_completions.d/tea.fish", False),
        ("etc/conda.d/tea.sh", False),
        ("share/games/tea.txt", False),
    ],
)
def test_what_programs_find_by_its_place(site, place, is_found):
    """Conda and shells run files of some folders, whoever has put them there."""
    file = Path(sys.prefix).resolve() / place
    found = of_other_programs(Environment((site.folder,) * 3), [file])

    assert found == ({file} if is_found else set())


@pytest.mark.parametrize(
    ("header", "is_found"),
    [("Python.h", True), ("cpython/object.h", True), ("tea.h", False), ("site/tea/tea.h", False)],
)
def test_headers_of_python(site, header, is_found):
    """Every later build would be compiled with one that a distribution has put there."""
    file = Path(sys.prefix).resolve() / "include" / header
    found = of_python(Environment((site.folder,) * 3), [file])

    assert found == ({file} if is_found else set())
