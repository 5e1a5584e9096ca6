"""Fixtures shared by all tests: real distributions in a folder of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from plugreg import InstallError
from plugreg._support.url_secrets import without_credentials
from plugreg.install import InstallPolicy
from plugreg.install.distributions import distributions, host_distributions
from plugreg.install.installer import Release
from plugreg.install.plan import Pin

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
    """Return an empty ``site-packages`` folder; ``type(site)(path)`` makes another one."""
    return Site(tmp_path / "site-packages")


@pytest.fixture
def make(plugin_host):
    """Return a function that makes a shop whose plugins are on, each by its slug.

    It takes the arguments of `plugin_host`, and returns the registry. A test of failures says
    so with ``fails``; in any other a failure fails the test.
    """

    def make(*parts, fails=False, **options):
        plugins = [
            (name, options.pop(name)) for name in [*options] if isinstance(options[name], type)
        ]
        host = plugin_host(*parts, *plugins, host="shop", **options)
        if fails:
            host.expect_failure()
        return host.registry

    return make


class FolderInstaller:
    """An Installer that runs no program: it stages distributions that are ready.

    ``ready`` maps canonical names to versions, entry points of ``shop.plugins``, and modules;
    ``requires`` maps names to names that come along. A request without a name is the first
    one. ``asked`` are the requirements that came, each with its index. ``lines`` is its output, and
    ``after`` is called once it has staged.
    """

    def __init__(self, environment: Path) -> None:
        self.environment = environment
        self.policy = InstallPolicy()
        self.plugins_file: Path | None = None
        self.keep = 3
        self.lock_timeout = 0.2
        self.ready: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {}
        self.requires: dict[str, list[str]] = {}
        self.asked: list[object] = []
        self.lines = ["Installing", "Done"]
        self.after = lambda: None

    def resolve(self, targets, *, beside=None, constraints=(), folder=None, progress=None):
        self.asked += [(target.text, target.index_url) for target in targets]
        there = {**host_distributions(self.environment), **distributions(beside or Path("-"))}
        pins = []
        waiting = [target.name or next(iter(self.ready)) for target in targets]
        direct = {name: t.url for name, t in zip(waiting, targets, strict=True) if t.url}
        for name in waiting:
            if name not in self.ready:
                raise InstallError(["ERROR: first line", f"ERROR: there is no {name}"])
            version = self.ready[name][0]
            if name in there and there[name].version == version and name not in direct:
                continue
            pins.append(self._pin(name, version, direct.get(name)))
            waiting += [needed for needed in self.requires.get(name, ()) if needed not in there]
        if folder is not None:
            self.stage(pins, folder, progress=progress)
        return tuple(pins)

    def _pin(self, name, version, url):
        file = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        source = f"https://files.example/{file}" if url is None else without_credentials(url)
        if source.startswith("git+"):
            source += f"@{'a1' * 20}"
        return Pin(
            name=name,
            version=version,
            source=source,
            sha256="ab" * 32,
            size=7,
            direct=url is not None,
        )

    def stage(self, pins, folder, *, targets=(), progress=None):
        site = Site(folder)
        for pin in pins:
            version, plugins, modules = self.ready[pin.name]
            points = {"shop.plugins": plugins} if plugins else None
            needs = "".join(f"Requires-Dist: {name}\n" for name in self.requires.get(pin.name, ()))
            site.dist(pin.name, version, points, modules=modules, metadata=needs)
        for line in self.lines if progress is not None else ():
            progress(line)
        self.after()

    def latest(self, installed):
        return {name: Release(version=self.ready[name][0]) for name in installed}


@pytest.fixture
def folder_installer(tmp_path: Path) -> Iterator[FolderInstaller]:
    """Yield an installer with an environment of its own, off the path again after the test."""
    environment = tmp_path / "plugins.d"
    path = list(sys.path)
    yield FolderInstaller(environment)
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(f"{environment}{os.sep}"):
            del sys.modules[name]
