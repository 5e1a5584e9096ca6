"""Fixtures shared by all tests: real distributions in a folder of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from plugreg import InstallError
from plugreg.install import Change, Installed, InstallPlan, InstallPolicy
from plugreg.install.environment import Environment

# How long an example takes says something of the machine, and nothing of the promise.
settings.register_profile("plugreg", deadline=None)
settings.load_profile("plugreg")


class Site:
    """A ``site-packages`` folder, filled with distributions as an installer would leave them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def dist(
        self,
        name: str,
        version: str = "1.0",
        entry_points: Mapping[str, Mapping[str, str]] | str | bytes | None = None,
        *,
        metadata: str | bytes | None = "",
        modules: Mapping[str, str] | None = None,
        info: str | None = None,
    ) -> Path:
        """Write a distribution and return its ``dist-info`` folder.

        ``entry_points`` maps groups to names to values, or is the text of the file. ``metadata``
        are the lines beside Name and Version; bytes are the whole file, None is no file.
        ``modules`` maps paths of modules to their source, ``info`` is another folder's name.
        """
        path = self.folder / (info or f"{name.replace('-', '_')}-{version}.dist-info")
        path.mkdir()
        recorded = []
        for module, source in (modules or {}).items():
            file = self.folder / module
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source, encoding="utf-8")
            recorded.append(module)
        if isinstance(metadata, str):
            text = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{metadata}"
            metadata = text.encode()
        if metadata is not None:
            (path / "METADATA").write_bytes(metadata)
            recorded.append(f"{path.name}/METADATA")
        if isinstance(entry_points, Mapping):
            entry_points = "\n".join(
                f"[{group}]\n" + "".join(f"{each} = {value}\n" for each, value in entries.items())
                for group, entries in entry_points.items()
            )
        if isinstance(entry_points, str):
            entry_points = entry_points.encode()
        if entry_points is not None:
            (path / "entry_points.txt").write_bytes(entry_points)
            recorded.append(f"{path.name}/entry_points.txt")
        record = "".join(f"{each},,\n" for each in [*recorded, f"{path.name}/RECORD"])
        (path / "RECORD").write_text(record, encoding="utf-8")
        return path


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Give an empty ``site-packages`` folder; ``type(site)(path)`` makes another one."""
    return Site(tmp_path / "site-packages")


class FolderInstaller:
    """An Installer that runs no program: it puts distributions that are ready into a folder.

    ``ready`` maps canonical names to versions, entry points of ``shop.plugins``, and modules. What
    is asked for without a name is the first one. ``asked`` are the requirements that came, each
    with its index, and the names to be removed.
    """

    def __init__(self, site: Site) -> None:
        self.policy = InstallPolicy()
        self.plugins_file: Path | None = None
        self.environment = Environment([site.folder] * 3)
        self.ready: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {}
        self.asked: list[object] = []
        self._site = site

    def plan(self, target, group, others=()):
        self.asked.append((target.text, target.index_url))
        name = target.name or next(iter(self.ready))
        if name not in self.ready:
            raise InstallError(["ERROR: first line", f"ERROR: there is no {name}"])
        there = self.show(name)
        version, plugins, _ = self.ready[name]
        change = Change(
            name=name, before=there and there.version, after=version, plugins=tuple(plugins)
        )
        return InstallPlan(target=target, distribution=name, changes=(change,))

    def install(self, plan, progress=None):
        for each in plan.changes:
            if each.before is not None:
                self.uninstall([each.name])
            version, plugins, modules = self.ready[each.name]
            points = {"shop.plugins": plugins} if plugins else None
            self._site.dist(each.name, version, points, modules=modules)
        if progress is not None:
            progress("Installing")
        return "Installing\nDone"

    def uninstall(self, names, progress=None):
        self.asked.append(tuple(names))
        for file in self.environment.files(names):
            file.unlink(missing_ok=True)
        return f"removed {', '.join(names)}"

    def show(self, name):
        found = self.environment.distributions().get(name)
        if found is None:
            return None
        return Installed(name=name, version=found.version, location=str(self._site))


@pytest.fixture
def folder_installer(site: Site, monkeypatch: pytest.MonkeyPatch) -> FolderInstaller:
    """Give an installer into the folder ``site``, which is on the path for the test."""
    monkeypatch.syspath_prepend(str(site))
    return FolderInstaller(site)
