"""The life of plugins as a state machine: whatever happens to them, the accounts are in order.

Real files in a real folder are written, broken, repaired and removed; an operator activates and
deactivates; the host reloads and restarts over a real store. A model beside it knows the wishes
and the behaviour of each file.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from plugreg import (
    Plugin,
    PluginNotFoundError,
    PluginRegistry,
    PluginRequiredError,
    PluginState,
    hookimpl,
    hookspec,
)
from plugreg.storage import TinyDBStorage

SOURCE = """
from plugreg import Plugin, hookimpl

class Found(Plugin):
    SLUG = {slug!r}
    {limits}

    def __init__(self):
        {init}

    @hookimpl
    def plugreg_activated(self):
        {activated}

    @hookimpl
    def who(self):
        return self.slug

{end}
"""

# The behaviour of a file, as the parts of its source, and the state of a wanted plugin then.
KINDS: dict[str, tuple[dict[str, str], PluginState]] = {
    "good": ({}, PluginState.ACTIVE),
    "import": ({"end": "raise ImportError('gone')"}, PluginState.FAILED),
    "exit": ({"end": "raise SystemExit(1)"}, PluginState.FAILED),
    "init": ({"init": "raise ValueError('no')"}, PluginState.FAILED),
    "activate": ({"activated": "raise OSError('busy')"}, PluginState.FAILED),
    "incompatible": ({"limits": "MIN_VERSION = '9.0'"}, PluginState.INCOMPATIBLE),
    "syntax": ({"end": "def"}, PluginState.MISSING),
}
SLUGS = ["alpha", "beta", "gamma"]
BROUGHT = "child"
MOTHER = "mother"


class Hooks:
    @hookspec
    def who(self) -> str | None:
        """Return the plugin's slug."""


class Child(Plugin):
    @hookimpl
    def who(self) -> str:
        return self.slug


class Mother(Plugin):
    @hookimpl
    def plugreg_plugins(self) -> list[tuple[str, Any]]:
        return [(BROUGHT, Child)]

    @hookimpl
    def who(self) -> str:
        return self.slug


class Life(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        (self.folder / "plugins").mkdir()
        self.clock = itertools.count(1)
        self.files: dict[str, str] = {}
        self.wishes: dict[str, bool] = {}
        self.pks: dict[str, int] = {}
        for slug in SLUGS:
            self._write(slug, "good")
        self._start()

    def teardown(self) -> None:
        if hasattr(self, "registry"):
            self.registry.close()
            shutil.rmtree(self.folder)

    def _write(self, slug: str, kind: str) -> None:
        parts = {"limits": "", "init": "pass", "activated": "pass", "end": "", **KINDS[kind][0]}
        file = self.folder / "plugins" / f"{slug}.py"
        file.write_text(SOURCE.format(slug=slug, **parts))
        # Two writes within one tick of the clock would have the same time otherwise.
        moment = 10**18 + next(self.clock)
        os.utime(file, ns=(moment, moment))
        self.files[slug] = kind

    def _start(self) -> None:
        self.registry = PluginRegistry(
            "shop",
            host_version="2.4",
            hookspecs=[Hooks],
            builtin=[Mother],
            directories=[self.folder / "plugins"],
            storage=TinyDBStorage(self.folder / "store.json"),
        )
        self.registry.load()
        self.fresh = True
        self._meet()

    def _meet(self) -> None:
        """Let the model know of plugins that the registry has seen for the first time."""
        for slug in self.registry.plugins:
            self.wishes.setdefault(slug, False)

    def _expected(self, slug: str) -> PluginState:
        """The state of a plugin after everything was looked at anew."""
        wished = self.wishes[slug]
        if slug == MOTHER:
            return PluginState.ACTIVE if wished else PluginState.INACTIVE
        if slug == BROUGHT:
            if not self.wishes[MOTHER]:
                return PluginState.MISSING
            return PluginState.ACTIVE if wished else PluginState.INACTIVE
        kind = self.files.get(slug)
        if kind is None or kind == "syntax":
            return PluginState.MISSING
        return KINDS[kind][1] if wished else PluginState.INACTIVE

    @rule(slug=st.sampled_from(SLUGS), kind=st.sampled_from(sorted(KINDS)))
    def write(self, slug: str, kind: str) -> None:
        """An author breaks or repairs a plugin; running code is not touched by that."""
        self._write(slug, kind)
        self.fresh = False

    @rule(slug=st.sampled_from(SLUGS))
    def remove(self, slug: str) -> None:
        (self.folder / "plugins" / f"{slug}.py").unlink(missing_ok=True)
        self.files.pop(slug, None)
        self.fresh = False

    @rule(slug=st.sampled_from([*SLUGS, MOTHER, BROUGHT]))
    def activate(self, slug: str) -> None:
        known = self.registry.plugins.get(slug)
        if known is None or not known.is_installed:
            try:
                self.registry.activate(slug)
            except PluginNotFoundError:
                return
            raise AssertionError("a plugin that is not there was activated")
        record = self.registry.activate(slug)
        self.wishes[slug] = True
        self._meet()
        assert record.wanted
        if self.fresh:
            assert record.state is self._expected(slug)

    @rule(slug=st.sampled_from([*SLUGS, MOTHER, BROUGHT]), cascade=st.booleans())
    def deactivate(self, slug: str, cascade: bool) -> None:
        if slug not in self.registry.plugins:
            return
        try:
            record = self.registry.deactivate(slug, cascade=cascade)
        except PluginRequiredError as error:
            assert (slug, error.needed_by, cascade) == (MOTHER, (BROUGHT,), False)
            assert self.registry.get(BROUGHT).active
            return
        if slug == MOTHER and cascade and self.wishes.get(BROUGHT):
            # A child that needs its mother, and is only wished, goes with her if it was there.
            self.wishes[BROUGHT] = self.registry.get(BROUGHT).wanted
        self.wishes[slug] = False
        assert not record.wanted
        assert not record.active
        assert slug not in self.registry.call(Hooks.who)

    @rule(flags=st.tuples(st.booleans(), st.booleans()), collect=st.booleans())
    def reload(self, flags: tuple[bool, bool], collect: bool) -> None:
        full, force = flags
        before = {slug: record.plugin for slug, record in self.registry.active.items()}
        self.registry.reload(full=full, force=force, collect=collect)
        self._meet()
        if collect:
            self.fresh = True
        if (force or full) and collect:
            for slug, record in self.registry.active.items():
                assert record.plugin is not before.get(slug)

    @rule()
    def restart(self) -> None:
        """The process ends and another one starts over the same store."""
        self.registry.close()
        self._start()

    @invariant()
    def accounts_are_in_order(self) -> None:
        """Discovered = active + deliberately off + those with a failure record."""
        explained = {failure.slug for failure in self.registry.errors}
        for slug, record in self.registry.plugins.items():
            if record.is_installed and not record.active and record.wanted:
                assert slug in explained, f"{slug} is {record.state} and nothing says why"

    @invariant()
    def wishes_are_kept(self) -> None:
        """No result has overwritten a wish, and no number has changed."""
        for slug, record in self.registry.plugins.items():
            assert record.wanted == self.wishes[slug]
            assert self.pks.setdefault(slug, record.pk) == record.pk
        assert len(set(self.pks.values())) == len(self.pks)

    @invariant()
    def calls_reach_the_active_ones(self) -> None:
        """The listed active plugins are called, and nothing else is."""
        assert sorted(self.registry.call(Hooks.who)) == sorted(self.registry.active)
        assert not any(failure.stage == "call" for failure in self.registry.errors)

    @precondition(lambda self: self.fresh)
    @invariant()
    def states_are_those_of_the_model(self) -> None:
        """Where the registry has discovered everything, it knows all plugins."""
        found = {slug: record.state for slug, record in self.registry.plugins.items()}
        assert found == {slug: self._expected(slug) for slug in found}


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
