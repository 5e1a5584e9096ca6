"""A host with isolated plugins, of which nothing may be left."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugreg import PluginRegistry, hookspec
from plugreg.isolation import Isolated

ROUNDS = int(os.environ.get("PLUGREG_ROUNDS", "2"))
"""How often each fault is repeated, and one that takes long only once; a long run takes 200."""

WAIT = 20.0
"""Seconds that a test waits for what must happen: a busy machine may pause for some."""


class Hooks:
    """The hooks of the tests' host."""

    @hookspec
    def act(self, what: str) -> str | None:
        """Run the function of a test's plugin under this name."""

    @hookspec
    async def aact(self, what: str) -> str | None:
        """Do the same as a coroutine."""


NEIGHBOUR = """
from plugreg import hookimpl
@hookimpl
def act(what):
    return "healthy"
"""


def processes() -> set[int]:
    """Return the numbers of all descendants of this process, zombies included."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    found, waiting = set(), {os.getpid()}
    while waiting:
        waiting = {pid for pid, parent in parents.items() if parent in waiting} - found
        found |= waiting
    return found


def threads() -> set[str]:
    """Return the names of the threads that belong to isolated plugins."""
    names = {thread.name for thread in threading.enumerate()}
    return {name for name in names if name.startswith("plugreg") and name != "plugreg idle"}


def files() -> set[str]:
    """Return the open descriptors of this process."""
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


def is_there(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def eventually(condition: Callable[[], object]) -> bool:
    """Wait until a condition holds."""
    deadline = time.monotonic() + WAIT
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def leaves_nothing() -> Iterator[None]:
    """Fail if a process, a thread or a file is left that was not there before."""
    before = processes(), threads(), files()
    yield
    assert eventually(lambda: processes() <= before[0]), processes() - before[0]
    assert eventually(lambda: threads() <= before[1]), threads() - before[1]
    assert eventually(lambda: len(files()) <= len(before[2])), files() - before[2]


class Host:
    """Makes registries whose plugins are files in a folder."""

    rounds = ROUNDS
    few = ROUNDS if ROUNDS > 10 else 1
    wait = WAIT
    hooks = Hooks
    neighbour = NEIGHBOUR
    processes = staticmethod(processes)
    threads = staticmethod(threads)
    files = staticmethod(files)
    is_there = staticmethod(is_there)
    eventually = staticmethod(eventually)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registries: list[PluginRegistry] = []

    def write(self, slug: str, source: str) -> None:
        """Write a plugin."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / f"{slug}.py").write_text(source, encoding="utf-8")

    def open(self, isolate: Any = None, **options: Any) -> PluginRegistry:
        """Return a registry that has loaded the plugins; ``victim`` is isolated by default."""
        registry = PluginRegistry(
            "shop",
            **{
                "hookspecs": [Hooks],
                "directories": [self.folder],
                "new_plugins": "active",
                "on_failure": lambda failure: None,
                "isolate": {"victim": Isolated(timeout=WAIT)} if isolate is None else isolate,
            }
            | options,
        )
        self.registries.append(registry)
        registry.load()
        return registry


@pytest.fixture
def host(tmp_path: Path, leaves_nothing: None) -> Iterator[Host]:
    """Yield a host; its registries are closed at the end."""
    logger = logging.getLogger("plugreg")
    level = logger.level
    logger.setLevel(logging.WARNING)
    host = Host(tmp_path / "plugins")
    yield host
    for registry in host.registries:
        registry.close()
    logger.setLevel(level)
