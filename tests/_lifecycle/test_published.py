"""Publications stay true over interruptions, taken names, upgrades and half-made changes."""

from __future__ import annotations

import shutil
import sys
from typing import Any

import pytest

from plugreg import Plugin, PluginRegistry, PluginState, Stage, hookimpl, hookspec


class Hooks:
    @hookspec
    def hi(self) -> str | None:
        """Say hello."""

    @hookspec(historic=True)
    def opened(self) -> None:
        """Hear that it is open."""


class Polite(Plugin):
    @hookimpl
    def hi(self) -> str:
        return self.slug


def make(*builtin: Any, **options: Any) -> PluginRegistry:
    options.setdefault("group", "no.such")
    return PluginRegistry(
        "shop", hookspecs=[Hooks], builtin=builtin, new_plugins="active", **options
    )


def test_a_load_that_was_interrupted_after_publishing_loses_no_plugin():
    """Ctrl-C in a replay comes after the swap; the next reload knows all that was found."""

    class Interrupting(Polite):
        @hookimpl
        def opened(self) -> None:
            raise KeyboardInterrupt

    with make(("a", Polite), ("k", Interrupting)) as registry:
        registry.hook.opened.call_historic()
        with pytest.raises(KeyboardInterrupt):
            registry.load()
        assert registry.reload().active == ("a", "k")


def test_an_instance_whose_name_is_blocked_on_the_manager_fails_alone():
    """It cannot come back under that name, which is its failure and nobody else's."""
    with make(("x", Polite()), ("y", Polite)) as registry:
        registry.load()
        registry.manager.set_blocked("x")
        registry.reload()
        assert registry.get("x").state is PluginState.FAILED
        assert registry.call(Hooks.hi) == ["y"]
        registry.manager.unblock("x")
        registry.reload()
        assert registry.call(Hooks.hi) == ["y", "x"]


def test_a_plugin_that_takes_name_after_name_stops_no_load():
    """Whoever's name is taken fails; the rest is in service."""
    names = iter("bcd")

    class Greedy(Plugin):
        @hookimpl
        def plugreg_activated(self) -> None:
            name = next(names, None)
            if name is not None:
                registry.manager.register(object(), name)

    with make(*((name, Polite) for name in "bcde"), ("z", Greedy)) as registry:
        assert registry.load().active == ("e", "z")
        assert {failure.slug for failure in registry.errors} == {"b", "c", "d"}


def test_a_change_of_another_plugin_leaves_one_without_hooks_as_it_is():
    """A plugin that the host took off the manager is made again by a reload only."""
    with make(("x", Polite), ("y", Polite)) as registry:
        registry.load()
        plugin = registry.get("x").plugin
        registry.manager.unregister(name="x")
        registry.deactivate("y")
        assert registry.get("x").plugin is plugin
        assert list(registry.active) == ["x"]
        registry.reload()
        assert registry.call(Hooks.hi) == ["x"]


PLUGIN = (
    "from plugreg import Plugin, hookimpl\n"
    "class P(Plugin):\n"
    "    @hookimpl\n"
    "    def hi(self): return self.slug + {version!r}\n"
)


def test_a_sibling_of_a_broken_upgrade_runs_the_new_code(site, monkeypatch):
    """Old modules are put back when all plugins of a distribution have had their turn."""

    def install(version: str, a: str) -> None:
        for old in site.folder.glob("pub_duo*"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        site.dist(
            "pub-duo",
            version,
            {"pub.plugins": {"a": "pub_duo_a:P", "b": "pub_duo_b:P"}},
            modules={"pub_duo_a.py": a, "pub_duo_b.py": PLUGIN.format(version=version)},
        )

    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    install("1.0", PLUGIN.format(version="1.0"))
    with make(group="pub.plugins") as registry:
        registry.load()
        assert registry.call(Hooks.hi) == ["b1.0", "a1.0"]
        install("2.0", "raise RuntimeError('broken')\n")
        registry.reload(collect=True)
        assert registry.call(Hooks.hi) == ["b2.0"]
        install("2.0.1", PLUGIN.format(version="2.0.1"))
        registry.reload(collect=True)
        assert registry.call(Hooks.hi) == ["b2.0.1", "a2.0.1"]
        found = registry.manager.list_plugin_distributions()
        assert [distribution.version for _, distribution in found] == ["2.0.1", "2.0.1"]


def test_what_an_instance_states_is_looked_at_again():
    """A forced reload cannot make it again, but reports its current fault."""

    class Dated(Polite):
        PUBLISH_DATE = "bad"

        @hookimpl
        def hi(self) -> str:
            raise ValueError("no")

    plugin = Dated()
    with make(("x", plugin)) as registry:
        registry.load()
        registry.call(Hooks.hi)
        assert [failure.stage for failure in registry.errors] == [Stage.INIT, Stage.CALL]
        plugin.PUBLISH_DATE = "2026-01-31"
        registry.reload(force=True)
        assert [failure.stage for failure in registry.errors] == [Stage.CALL]
        assert registry.get("x").plugin is plugin
        assert registry.get("x").published is not None


def test_a_host_plugin_that_comes_back_is_a_later_one():
    """Its place does not depend on whether others were reloaded since."""
    with make(("x", Polite)) as registry:
        for name in ("h1", "h2"):
            registry.manager.register(
                type(name, (), {"hi": hookimpl(lambda self, n=name: n)})(), name
            )
        registry.load()
        first = registry.manager.unregister(name="h1")
        registry.manager.register(first, "h1")
        before = registry.hook.hi()
        registry.reload(force=True)
        assert registry.hook.hi() == before == ["h1", "x", "h2"]


def test_a_duplicate_that_is_brought_is_reported_at_once():
    """A plugin that loses its slug does not vanish silently, however it came."""

    class Bringer(Polite):
        @hookimpl
        def plugreg_plugins(self) -> list[tuple[str, object]]:
            return [("x", type("Other", (Polite,), {}))]

    builtin = [("x", Polite), ("br", Bringer)]
    with PluginRegistry("shop", group="no.such", hookspecs=[Hooks], builtin=builtin) as registry:
        registry.load()
        registry.activate("br")
        assert [(failure.stage, failure.slug) for failure in registry.errors] == [
            (Stage.DISCOVERY, "x")
        ]
