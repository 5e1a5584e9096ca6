"""Ctrl-C at every place of a change where Python lets it come."""

from __future__ import annotations

import gc
import inspect
import logging
import sys
import weakref
from pathlib import Path

import pytest

import plugreg
from plugreg import Plugin, PluginRegistry, RegistryNotReady, hookimpl, hookspec
from plugreg._lifecycle.change_queue import ChangeQueue
from plugreg._support import frozen
from plugreg.storage import MemoryStorage

ROOT = Path(plugreg.__file__).parent
CHANGES = tuple(
    str(ROOT / name)
    for name in (
        *(f"_lifecycle/{name}.py" for name in ("lifecycle", "change_queue", "build", "snapshot")),
        *(f"_lifecycle/{name}.py" for name in ("load", "activate", "publishing", "recording")),
        "plugin.py",
        *("hooks/_exchanging.py", "_state/ledger.py", "_state/published.py"),
    )
)
"""What carries a change out. Finding plugins writes nothing, and stores have tests of their own."""

assert all(Path(name).is_file() for name in CHANGES)


@pytest.fixture(autouse=True)
def _same_places(monkeypatch):
    """Let no class of records get a constructor of its own in between: it has fewer places."""
    monkeypatch.setattr(frozen, "_MANY", sys.maxsize)


@pytest.fixture(autouse=True)
def _no_log():
    """Log nothing: a handler of Python's that is interrupted keeps its lock for ever."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


class Hooks:
    @hookspec
    def price(self, item):
        """Price of an item."""

    @hookspec(historic=True)
    def opened(self, shop):
        """Receive each opened shop."""


class Noting(Plugin):
    """Keeps its notifications."""

    made: list[Noting] = []

    def __init__(self):
        self.calls = []
        self.made.append(self)

    @hookimpl
    def plugreg_activated(self):
        self.calls.append("activated")

    @hookimpl
    def plugreg_deactivating(self):
        self.calls.append("deactivating")

    @hookimpl
    def price(self, item):
        return self.slug

    @hookimpl
    def opened(self, shop):
        self.calls.append(shop)


class Tea(Noting):
    NAME = "tea"


class Milk(Noting):
    NAME = "milk"

    @hookimpl(specname="price", tryfirst=True)
    def cheaper(self, item):
        return self.slug


class CtrlC:
    """Raises KeyboardInterrupt where Python would: as functions begin, or one in C has ended.

    Not as a generator goes on: what is raised there in this way passes by its finally blocks,
    which Ctrl-C does not. Nor where a weak reference ends: there Python itself drops it.
    ``places`` are the lines of CHANGES where it may come, with the number of the last time; what
    a plugin does with it is the plugin's own matter.
    """

    def __init__(self, at=0):
        self.at = at
        self.count = 0
        self.places = {}

    def __call__(self, frame, event, argument):
        code = frame.f_code
        resumed = event == "call" and code.co_flags & inspect.CO_GENERATOR
        if event not in ("call", "c_return") or resumed or code.co_filename == weakref.__file__:
            return
        self.count += 1
        if self.count == self.at:
            sys.setprofile(None)
            raise KeyboardInterrupt
        while not frame.f_code.co_filename.startswith((str(ROOT), __file__)):
            frame = frame.f_back
        if frame.f_code.co_filename in CHANGES:
            self.places[frame.f_code, frame.f_lineno, event] = self.count

    def during(self, work):
        gc.disable()  # It would come at another place each time.
        sys.setprofile(self)
        try:
            return work()
        finally:
            sys.setprofile(None)
            gc.enable()


def every_place(prepare, work):
    """Prepare and work again for each place; yield what was prepared, and was interrupted there."""
    work(prepare())  # Things that are imported or kept at the first time are so by now.
    all_places = CtrlC()
    thing = prepare()
    all_places.during(lambda: work(thing))
    assert len(all_places.places) > 10
    for number in all_places.places.values():
        thing = prepare()
        with pytest.raises(KeyboardInterrupt):
            CtrlC(number).during(lambda thing=thing: work(thing))
        yield thing


def test_turns_go_on():
    """Whenever it comes, the next job is run, and by whoever brings it."""

    def prepare():
        queue = ChangeQueue(0.0)
        queue.run(lambda: None)
        return queue

    def job(queue):
        queue.run(int)

    for queue in every_place(prepare, lambda queue: queue.run(lambda: job(queue))):
        assert not queue.is_inside()
        assert queue.run(queue.is_inside) is True


def loaded():
    Noting.made.clear()
    registry = PluginRegistry(
        "shop", group="no.such", hookspecs=[Hooks], builtin=[Tea, Milk], new_plugins="active"
    )
    registry.load()
    registry.hook.opened.call_historic(kwargs={"shop": "open"})
    return registry


def without_tea():
    registry = loaded()
    registry.deactivate("tea")
    return registry


def with_one_by_hand():
    registry = loaded()
    registry.register(Noting(), "mine")
    return registry


def check_whole(registry):
    """Snapshot and manager say the same, and no hook has a plugin twice."""
    active = {slug: plugin.plugin for slug, plugin in registry.active.items()}
    assert dict(registry.manager.list_name_plugin()) == active
    for hook in ("price", "opened", "plugreg_deactivating"):
        impls = registry.manager.table(hook).impls
        names = [impl.plugin_name for impl in impls if impl.function.__name__ == hook]
        assert sorted(names) == sorted(active)
        assert all(active[impl.plugin_name] is impl.plugin for impl in impls)


def check_objects(registry):
    """Whoever serves was activated and received history once, and nobody else is active."""
    serving = [active.plugin for active in registry.active.values()]
    for active in Noting.made:
        if any(active is plugin for plugin in serving):
            assert active.calls == ["activated", "open"]
        else:
            assert active.calls.count("deactivating") in (active.calls.count("activated"), 1)
            assert "_plugreg_context" not in vars(active)


@pytest.mark.parametrize(
    ("prepare", "change"),
    [
        (loaded, lambda registry: registry.reload(force=True)),
        (loaded, lambda registry: registry.deactivate("tea")),
        (without_tea, lambda registry: registry.activate("tea")),
        (loaded, lambda registry: registry.register(Noting(), "mine")),
        (with_one_by_hand, lambda registry: registry.unregister("mine")),
    ],
    ids=["reload", "deactivate", "activate", "register", "unregister"],
)
def test_a_change_is_done_or_was_never_begun(prepare, change):
    """Whenever it comes, hooks and snapshot agree at once, and later changes are really done."""
    for registry in every_place(prepare, change):
        check_whole(registry)
        before = {slug: active.plugin for slug, active in registry.active.items()}
        registry.reload(force=True)
        check_objects(registry)
        assert all(
            registry.get(slug).plugin is not plugin
            for slug, plugin in before.items()
            if slug in registry.active and slug != "mine"
        )
        assert registry.activate("tea").active
        assert not registry.deactivate("milk").active
        if "mine" in registry.plugins:
            registry.unregister("mine")
        assert registry.register(Noting(), "mine").active
        assert sorted(registry.call(Hooks.price, item="cup")) == ["mine", "tea"]
        check_whole(registry)
        check_objects(registry)
        assert registry.errors == ()


def test_a_first_load_can_be_made_again():
    """Whenever it comes, loading afterwards loads all."""

    def prepare():
        Noting.made.clear()
        return PluginRegistry(
            "shop", group="no.such", hookspecs=[Hooks], builtin=[Tea, Milk], new_plugins="active"
        )

    for registry in every_place(prepare, PluginRegistry.load):
        registry.hook.opened.call_historic(kwargs={"shop": "open"})
        registry.load()
        check_whole(registry)
        check_objects(registry)
        assert list(registry.active) == ["tea", "milk"]


def test_closing_can_be_made_again():
    """Whenever it comes, closing afterwards lets go of all."""
    for registry in every_place(loaded, PluginRegistry.close):
        registry.close()
        check_objects_are_gone()
        with pytest.raises(RegistryNotReady):
            registry.reload()


def check_objects_are_gone():
    for plugin in Noting.made:
        assert plugin.calls == ["activated", "open", "deactivating"]
        assert "_plugreg_context" not in vars(plugin)


@pytest.mark.parametrize("active", [True, False])
def test_what_is_stored_is_carried_out_by_the_next_change(active):
    """Whenever it comes, the store and the plugins in service agree after any other change."""

    def change(registry):
        (registry.activate if active else registry.deactivate)("tea")

    storages = []

    def prepare():
        storages.append(MemoryStorage())
        registry = PluginRegistry(
            "shop", group="no.such", builtin=[Tea, Milk], storage=storages[-1]
        )
        registry.load()
        if not active:
            registry.activate("tea")
        return registry

    outcomes = set()
    for registry in every_place(prepare, change):
        registry.activate("milk")
        stored = storages[-1].read("plugins")["tea"]["active"]
        assert registry.get("tea").active is stored
        outcomes.add(stored)
    assert outcomes == {True, False}


def test_a_change_of_plugin_code_does_not_hide_the_change_around_it():
    """A stored change is carried out, also where the interrupted plugin requests more."""
    interrupts = [KeyboardInterrupt]

    class Asking(Plugin):
        NAME = "asking"

        @hookimpl
        def plugreg_activated(self):
            registry.activate("milk")
            if interrupts:
                raise interrupts.pop()

    with PluginRegistry("shop", group="no.such", builtin=[Asking, Milk]) as registry:
        registry.load()
        with pytest.raises(KeyboardInterrupt):
            registry.activate("asking")
        assert sorted(registry.active) == ["asking", "milk"]
