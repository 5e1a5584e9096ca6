"""Calls while another thread imports an event loop's library.

A library that is not imported to its end is in ``sys.modules`` already, without all of its names.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HOST = """
import functools, logging, sys, threading
from importlib.machinery import PathFinder, SourceFileLoader
from plugreg import PluginRegistry, hookimpl, hookspec


class Hooks:
    @hookspec
    def price(self, item): ...

    @hookspec
    def wait(self, begun): ...


class Plain:
    @hookimpl
    def price(self, item):
        return item


class Fails:
    @hookimpl
    def price(self, item):
        raise BaseException("no price")


class Stepper:
    '''Finds the modules of a library, and executes a module when it may go on.'''

    def __init__(self, library):
        self.library = library
        self.asked, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        self.is_over = False

    def find_spec(self, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path)
        package = self.library.partition(".")[0]
        if name.startswith(package + ".") and type(spec.loader) is SourceFileLoader:
            spec.loader.exec_module = functools.partial(self.execute, spec.loader.exec_module)
            return spec
        return None

    def execute(self, execute, module):
        if threading.current_thread() is importer:
            self.asked.release()
            self.go_on.acquire()
        execute(module)

    def work(self):
        try:
            __import__(self.library)
        finally:
            self.is_over = True
            self.asked.release()

    def steps(self):
        importer.start()
        while self.asked.acquire() and not self.is_over:
            yield
            self.go_on.release()


logging.disable()
registry = PluginRegistry("shop", hookspecs=[Hooks], observe=True)
registry.load()
registry.register(Plain(), "plain")
registry.register(Fails(), "fails")
stepper = Stepper(sys.argv[1])
importer = threading.Thread(target=stepper.work, daemon=True)
sys.meta_path.insert(0, stepper)
"""

ASYNC = """
import asyncio


class Waits:
    @hookimpl
    async def wait(self, begun):
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)


registry.register(Waits(), "waits")


async def main():
    steps = wrong = 0
    for _ in stepper.steps():
        steps += 1
        task = asyncio.create_task(registry.acall("price", item=1))
        wrong += await task != [1]
        begun = asyncio.Event()
        cancelled = asyncio.create_task(registry.acall("wait", begun=begun))
        await begun.wait()
        cancelled.cancel()
        await asyncio.wait([cancelled])
        wrong += not cancelled.cancelled()
    calls = {each.slug: each.calls for each in registry.dispatch.stats()}
    return steps > 0, wrong, calls["plain"] >= steps


print(*asyncio.run(main()), [each.exception_type for each in registry.errors])
"""

SYNC = """
steps = wrong = 0
for _ in stepper.steps():
    steps += 1
    wrong += registry.call("price", item=1) != [1]
calls = {each.slug: each.calls for each in registry.dispatch.stats()}
print(steps > 0, wrong, calls["plain"] == steps, [each.exception_type for each in registry.errors])
"""


SETTINGS = """
from plugreg import Plugin
from plugreg.mixins import SettingsMixin


class Typed(SettingsMixin, Plugin):
    SETTINGS = {"RATE": {"name": "Rate", "type": int, "default": 1}}


registry.call("price", item=1)
steps = wrong = 0
for _ in stepper.steps():
    steps += 1
    registry.register(Typed(), "typed")
    registry.settings("typed").set("RATE", steps)
    wrong += registry.settings("typed")["RATE"] != steps
    registry.unregister("typed")
print(steps > 0, wrong, True, [each.exception_type for each in registry.errors])
"""


@pytest.mark.parametrize(
    ("library", "host"),
    [("trio", ASYNC), ("anyio", ASYNC), ("asyncio", SYNC), ("pydantic.types", SETTINGS)],
)
def test_all_works_at_each_step_of_an_import(library, host):
    """A half-imported library runs no loop and has no secrets: calls and settings go on."""
    done = subprocess.run(
        [sys.executable, "-c", HOST + host, library],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert (done.stderr, done.stdout.strip()) == ("", "True 0 True ['BaseException']")
