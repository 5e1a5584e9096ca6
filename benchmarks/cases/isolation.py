"""Isolated plugins: a call, and the start of a process, beside what each costs at least.

A call crosses to another process and back, as the same bytes do through two bare pipes. A start is
held against that of a bare Python which imports plugreg.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from model import Budget, Case, How, Place, Timed, floor, ours

REQUEST = b"\0\0\0\x1a1234 hook price 0\n" + b'["tea"]'
ANSWER = b"\0\0\0\x0f1234 value\n4.0"
"""The frames of one call."""

PLUGIN = """
from plugreg import hookimpl
@hookimpl
def price(item):
    return 4.0
"""
BARE = "from plugreg import PluginRegistry, Plugin, hookspec, hookimpl"


def pipe(_: Place) -> Timed:
    """Send a request to a process that answers at once."""
    there, send = os.pipe()
    receive, back = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(send)
        while os.read(there, 65_536):
            os.write(back, ANSWER)
        os._exit(0)
    os.close(there)

    def run() -> None:
        os.write(send, REQUEST)
        os.read(receive, 65_536)

    def close() -> None:
        os.close(send)
        os.waitpid(child, 0)

    return Timed(run=run, close=close)


def registry_of(place: Place, *, isolated: bool) -> tuple[object, object]:
    """Return a registry with one plugin in service, and the spec of its hook."""
    from plugreg import PluginRegistry, hookspec
    from plugreg.isolation import Isolated

    class Hooks:
        @hookspec
        def price(self, item: str) -> float | None: ...

    folder = place.scratch / "plugins"
    folder.mkdir()
    Path(folder, "noop.py").write_text(PLUGIN, encoding="utf-8")
    registry = PluginRegistry(
        "shop",
        hookspecs=[Hooks],
        directories=[folder],
        new_plugins="active",
        isolate=Isolated() if isolated else {},
    )
    registry.load()
    assert registry.call(Hooks.price, item="tea") == [4.0]
    return registry, Hooks


def call(*, isolated: bool) -> Callable[[Place], Timed]:
    def start(place: Place) -> Timed:
        registry, hooks = registry_of(place, isolated=isolated)
        return Timed(
            run="registry.call(Hooks.price, item='tea')",
            names={"registry": registry, "Hooks": hooks},
            close=registry.close,
        )

    return start


def python(_: Place) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, "-c", BARE], check=True)


def activate(place: Place) -> Timed:
    registry, _ = registry_of(place, isolated=True)
    registry.deactivate("noop")
    return Timed(
        run=lambda: registry.activate("noop"),
        after=lambda: registry.deactivate("noop"),
        close=registry.close,
    )


CASES = {
    case.name: case
    for case in (
        Case(
            name="a call that does nothing",
            how=How.LOOP,
            contestants=(
                floor("bare pipe, same bytes", pipe),
                ours("plugreg, isolated", call(isolated=True)),
                ours("plugreg, in the host", call(isolated=False)),
            ),
            budgets=(Budget(of="plugreg, isolated", limit=8, against="bare pipe, same bytes"),),
        ),
        Case(
            name="starting a process",
            how=How.EACH,
            rounds=10,
            contestants=(
                floor("a Python that imports plugreg", python),
                ours("plugreg, activate", activate),
            ),
            budgets=(
                Budget(of="plugreg, activate", limit=1.5, against="a Python that imports plugreg"),
            ),
        ),
    )
}
