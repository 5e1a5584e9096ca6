"""Packages of its own: they may contradict the host's, and each other plugin's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugreg import PluginRegistry
from plugreg.isolation import Isolated

PLUGIN = """
import {library}
from plugreg import hookimpl
@hookimpl
def act(what):
    return f"{{what}} {{{library}.VERSION}}"
"""


@pytest.fixture
def shop(host: Any, site: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield a host whose packages have a library of version 1."""
    site.dist("isolated-lib", "1.0", modules={"isolated_lib.py": "VERSION = 1"})
    monkeypatch.syspath_prepend(str(site))
    yield host
    for name in ("isolated_lib", "shop_courier"):
        sys.modules.pop(name, None)


def fill(site: Any, version: int, slug: str = "courier") -> None:
    """Put the plugin and the library of this version into a folder."""
    module = f"shop_{slug}"
    site.dist(
        f"shop-{slug}",
        f"{version}.0",
        {"shop.plugins": {slug: module}},
        metadata=f"Requires-Dist: isolated-lib=={version}\n",
        modules={f"{module}.py": PLUGIN.format(library="isolated_lib")},
    )
    site.dist("isolated-lib", f"{version}.0", modules={"isolated_lib.py": f"VERSION = {version}"})


def serve(environment: Path, number: int) -> Path:
    """Have a generation of an environment serve; return its folder."""
    environment.mkdir(parents=True, exist_ok=True)
    (environment / "current").write_text(f"{number}\n", encoding="utf-8")
    return environment / "generations" / str(number)


def test_contradicting_dependencies(shop: Any, site: Any, tmp_path: Path) -> None:
    """Two plugins and the host each have their own version of one library."""
    fill(type(site)(serve(tmp_path / "courier.d", 1)), 2)
    fill(type(site)(serve(tmp_path / "parcel.d", 1)), 3, "parcel")
    registry = shop.open(
        {
            "courier": Isolated(environment=tmp_path / "courier.d"),
            "parcel": Isolated(environment=tmp_path / "parcel.d"),
        }
    )
    import isolated_lib

    assert sorted(registry.call(shop.hooks.act, what="x")) == ["x 2", "x 3"]
    assert isolated_lib.VERSION == 1
    assert registry.get("courier").version == "2.0"
    assert "shop_courier" not in sys.modules


def test_its_folder_comes_before_the_host(shop: Any, site: Any, tmp_path: Path) -> None:
    """A plugin that the host has, too, is the one of its own environment."""
    site.dist(
        "shop-courier",
        "5.0",
        {"shop.plugins": {"courier": "shop_courier"}},
        modules={"shop_courier.py": "raise ImportError"},
    )
    fill(type(site)(tmp_path / "plain"), 2)
    registry = shop.open({"courier": Isolated(environment=tmp_path / "plain")})

    assert registry.call(shop.hooks.act, what="x") == ["x 2"]


def test_a_virtual_environment(
    shop: Any, site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter of a virtual environment runs the plugin, with plugreg of the host.

    Its packages come before those that the host's variables name.
    """
    folder, other = tmp_path / "venv", tmp_path / "other"
    other.mkdir()
    fill(type(site)(other), 5)
    monkeypatch.setenv("PYTHONPATH", str(other))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    fill(type(site)(packages), 4)
    registry = shop.open({"courier": Isolated(environment=folder)})

    assert registry.call(shop.hooks.act, what="x") == ["x 4"]
    exe = Path(f"/proc/{registry.get('courier').process.pid}/cmdline").read_bytes()
    assert exe.startswith(str(folder).encode())


def test_what_an_installation_has_isolated(
    shop: Any, site: Any, tmp_path: Path, folder_installer: Any
) -> None:
    """A host that isolates nothing runs such a plugin in a process, also in a new one."""
    environment = folder_installer.environment
    fill(type(site)(serve(environment / "isolated" / "courier", 1)), 2)
    registry = shop.open({}, installer=folder_installer)
    record = registry.get("courier")

    assert (record.isolated, record.state) == (True, "active")
    assert registry.call(shop.hooks.act, what="x") == ["x 2"]
    before = record.process.pid
    fill(type(site)(serve(environment / "isolated" / "courier", 2)), 3)
    registry.reload(collect=True)
    assert registry.call(shop.hooks.act, what="x") == ["x 3"]
    assert registry.get("courier").process.pid != before


def test_the_options_of_the_host_win(shop: Any, site: Any, folder_installer: Any) -> None:
    """They hold for a plugin that an installation has isolated, in its folder."""
    fill(type(site)(serve(folder_installer.environment / "isolated" / "courier", 1)), 2)
    registry = shop.open({"courier": Isolated(workers=2)}, installer=folder_installer)

    assert registry.call(shop.hooks.act, what="x") == ["x 2"]


def test_installed_later(shop: Any, site: Any, folder_installer: Any) -> None:
    """A registry that was opened before the first isolated plugin was installed has it, too."""
    registry = shop.open({}, installer=folder_installer)
    assert registry.call(shop.hooks.act, what="x") == []
    fill(type(site)(serve(folder_installer.environment / "isolated" / "courier", 1)), 2)
    registry.reload(collect=True)

    assert registry.call(shop.hooks.act, what="x") == ["x 2"]
    assert registry.get("courier").process.pid


def test_a_host_that_isolates_nothing_imports_nothing() -> None:
    """Without ``isolate=`` nothing of this package is imported, not even by a load."""
    code = (
        "import sys\nfrom plugreg import PluginRegistry\n"
        "with PluginRegistry('shop') as registry:\n    registry.load()\n"
        "print([name for name in sys.modules if name.startswith('plugreg.isolation')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_an_environment_that_is_not_there(shop: Any, tmp_path: Path) -> None:
    """It is a failure of the plugin, with the folder's name."""
    shop.write("victim", shop.neighbour)
    registry = shop.open({"victim": Isolated(environment=tmp_path / "nowhere")})
    record = registry.get("victim")

    assert record.state == "failed"
    assert "nowhere" in record.errors[0].message


@pytest.mark.parametrize(
    "isolate", ["courier", {"courier": 5}, {5: Isolated()}, ["courier"]], ids=repr
)
def test_wrong_options(isolate: Any) -> None:
    """They are refused when the registry is made."""
    with pytest.raises(TypeError, match="isolate"):
        PluginRegistry("shop", isolate=isolate)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("timeout", 0, ValueError),
        ("timeout", "1", TypeError),
        ("timeout", float("inf"), ValueError),
        ("timeout", None, TypeError),
        ("memory", 0, ValueError),
        ("memory", 1.5, TypeError),
        ("workers", 0, ValueError),
        ("workers", None, TypeError),
        ("codec", "xml", ValueError),
        ("may_call", "price", TypeError),
        ("may_call", [5], TypeError),
        ("cpu_seconds", -1, ValueError),
        ("idle", 0, ValueError),
    ],
)
def test_wrong_numbers(name: str, value: Any, error: type[Exception]) -> None:
    """Each option names itself in its refusal."""
    with pytest.raises(error, match=name if name != "may_call" else "hook"):
        Isolated(**{name: value})


def test_probing(shop: Any, site: Any, tmp_path: Path) -> None:
    """A probe looks at the plugin with the packages that it will have."""
    fill(type(site)(tmp_path / "plain"), 2)
    registry = shop.open({"courier": Isolated(environment=tmp_path / "plain")})
    report = registry.probe("courier")

    assert (report.outcome, report.hooks) == ("ok", ("act",))


def test_installing_it_so(shop: Any, folder_installer: Any) -> None:
    """From the installation to a call: in a process, with the library of its own folder."""
    point = {"courier": "shop_courier"}
    module = {"shop_courier.py": PLUGIN.format(library="courier_lib")}
    folder_installer.ready["shop-courier"] = ("1.0", point, module)
    library = {"courier_lib.py": "VERSION = 7"}
    folder_installer.ready["courier-lib"] = ("7.0", {}, library)
    folder_installer.requires["shop-courier"] = ["courier-lib"]
    resolve = folder_installer.resolve
    folder_installer.resolve = lambda targets, *, isolate=False, **how: resolve(targets, **how)
    registry = shop.open({}, installer=folder_installer)
    report = registry.install("shop-courier", isolate=True)
    record = registry.activate("courier")

    assert report.plugins == ("courier",)
    assert (record.isolated, record.state) == (True, "active")
    assert registry.call(shop.hooks.act, what="x") == ["x 7"]
    assert "shop_courier" not in sys.modules
    folder_installer.ready["shop-courier"] = ("2.0", point, module)
    folder_installer.ready["courier-lib"] = ("8.0", {}, {"courier_lib.py": "VERSION = 8"})
    registry.install("shop-courier>=2")
    assert registry.call(shop.hooks.act, what="x") == ["x 8"]
    registry.deactivate("courier")
    registry.uninstall("courier")
    assert registry.call(shop.hooks.act, what="x") == []
