"""A single activation has the result of a load of everything: same snapshot, same records.

Real distributions that depend on one another, plugins that fail at each stage, and plugins that
bring others are switched on and off in any order. After each step a second registry loads all of
it anew from the same storage.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugreg import Plugin, PluginRegistry, PlugregError, hookimpl, hookspec
from plugreg.mixins import NavigationMixin, SettingsMixin
from plugreg.records import LOAD_STAGES, Snapshot, Stage
from plugreg.storage import MemoryStorage

GROUP = "narrow.plugins"
FOUND, MOTHERS, BROUGHT, HAND = "abcdef", "mn", "xyz", "h"

SOURCE = """
from plugreg import Plugin, hookimpl, mixins
{head}

class Found({bases}Plugin):
    {stated}

    def __init__(self):
        {init}

    @hookimpl
    def plugreg_activated(self):
        {activated}

    @hookimpl
    def who(self):
        return self.slug
"""
PARTS = {"head": "", "bases": "", "stated": "", "init": "pass", "activated": "pass"}
KINDS: dict[str, dict[str, str]] = {
    "good": {},
    "settings": {"bases": "mixins.SettingsMixin, "},
    "navigation": {"bases": "mixins.NavigationMixin, "},
    "named": {"stated": "NAME = 'Fine words'"},
    "undated": {"stated": "PUBLISH_DATE = 'never'"},
    "import": {"head": "raise ImportError('gone')"},
    "init": {"init": "raise ValueError('no')"},
    "activate": {"activated": "raise OSError('busy')"},
    "contract": {"bases": "mixins.SettingsMixin, ", "stated": "SETTINGS = 3"},
    "version": {"stated": "MIN_VERSION = '9.0'"},
    # The fault of these is in their METADATA.
    "range": {},
    "line": {},
}
GOOD = ["good", "settings", "navigation"]
LINES = {"range": "Requires-Dist: shop >= 9\n", "line": "Requires-Dist: shop (>=>9)\n"}


class Hooks:
    @hookspec
    def who(self) -> str | None:
        """Return the plugin's slug."""


class Child(Plugin):
    @hookimpl
    def who(self) -> str:
        return self.slug


class Settings(SettingsMixin, Child):
    pass


class Navigation(NavigationMixin, Child):
    pass


class Broken(Child):
    def __init__(self) -> None:
        raise ValueError("no")


CHILDREN = st.sampled_from([Child, Settings, Navigation, Broken])


def mother(brings: list[tuple[str, type[Plugin]]] | None) -> type[Plugin]:
    """Make a class that brings these, or that fails when it is asked for them."""

    class Mother(SettingsMixin, Child):
        @hookimpl
        def plugreg_plugins(self) -> list[tuple[str, type[Plugin]]]:
            if brings is None:
                raise ValueError("none today")
            return brings

    return Mother


def brings(
    names: str, children: st.SearchStrategy[type[Plugin]]
) -> st.SearchStrategy[type[Plugin]]:
    pairs = st.lists(st.tuples(st.sampled_from(names), children), min_size=1, max_size=2)
    return st.one_of(pairs, pairs, pairs, st.none()).map(mother)


MOTHER = brings("xy", st.one_of(CHILDREN, brings("z", CHILDREN)))

distributions = st.integers(0, 4)
# Mostly of those before it, so that there is more than cycles; sometimes of any.
requires = {
    home: st.one_of(
        *[st.sets(st.integers(0, max(home - 1, 0)), max_size=2)] * 8,
        st.sets(distributions, max_size=2),
    )
    for home in range(5)
}
worlds = st.fixed_dictionaries(
    {
        "kinds": st.fixed_dictionaries(
            dict.fromkeys(
                FOUND, st.one_of(*[st.sampled_from(GOOD)] * 4, st.sampled_from(sorted(KINDS)))
            )
        ),
        "homes": st.permutations([0, 1, 2, 3, 4, 4]).map(
            lambda each: dict(zip(FOUND, each, strict=True))
        ),
        "requires": st.fixed_dictionaries(requires),
        # A slug of an entry point, too: the one of the host comes first.
        "builtin": st.lists(
            st.tuples(st.sampled_from(MOTHERS + "a"), MOTHER),
            min_size=1,
            max_size=2,
        ),
        "options": st.fixed_dictionaries(
            {
                "new_plugins": st.sampled_from(["active", "inactive"]),
                "blocked": st.sets(st.sampled_from("ab" + BROUGHT), max_size=1),
                "mandatory": st.sets(st.sampled_from("cd" + MOTHERS), max_size=1),
            }
        ),
    }
)
verbs = st.sampled_from(
    [*["activate"] * 5, *["deactivate"] * 2, *["cascade"] * 3, "delete", "register", "forget"]
)
slugs = st.sampled_from(FOUND * 2 + MOTHERS * 2 + BROUGHT)
steps = st.lists(st.tuples(verbs, slugs), min_size=8, max_size=20)
numbers = itertools.count()


@contextlib.contextmanager
def installed(world: dict[str, Any]) -> Iterator[None]:
    """Put the distributions of a world on the path, their modules under names not used before."""
    number = next(numbers)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for home in sorted({*world["homes"].values()}):
            info = folder / f"home{home}-1.0.dist-info"
            info.mkdir()
            lines = [f"Requires-Dist: home{each}\n" for each in sorted(world["requires"][home])]
            points = [f"[{GROUP}]\n"]
            for slug in FOUND:
                if world["homes"][slug] == home:
                    kind = world["kinds"][slug]
                    module = f"narrow_{number}_{slug}"
                    source = SOURCE.format(**{**PARTS, **KINDS[kind]})
                    (folder / f"{module}.py").write_text(source)
                    lines.append(LINES.get(kind, ""))
                    points.append(f"{slug} = {module}:Found\n")
            start = f"Metadata-Version: 2.4\nName: home{home}\nVersion: 1.0\n"
            (info / "METADATA").write_text(start + "".join(lines))
            (info / "entry_points.txt").write_text("".join(points))
        sys.path.insert(0, name)
        try:
            yield
        finally:
            sys.path.remove(name)
            for module in [each for each in sys.modules if each.startswith(f"narrow_{number}_")]:
                del sys.modules[module]


def started(world: dict[str, Any], storage: MemoryStorage) -> PluginRegistry:
    registry = PluginRegistry(
        "shop",
        host_version="2.4",
        group=GROUP,
        hookspecs=[Hooks],
        builtin=world["builtin"],
        storage=storage,
        **world["options"],
    )
    registry.load()
    return registry


def copied(storage: MemoryStorage) -> MemoryStorage:
    copy = MemoryStorage()
    with copy.transaction() as transaction:
        for table in ("plugins", "counters"):
            for key, row in storage.read(table).items():
                # A start discovers plugins, and deleted plugins count as never seen.
                row.pop("forgotten", None)
                transaction.put(table, key, row)
    return copy


def take(registry: PluginRegistry, verb: str, slug: str) -> None:
    """Do one step; a refused step changes nothing."""
    with contextlib.suppress(PlugregError):
        if verb == "activate":
            registry.activate(slug)
        elif verb == "register":
            registry.register(Settings, slug=HAND)
        elif verb == "forget":
            registry.unregister(HAND)
        elif verb == "delete":
            registry.delete(slug)
        else:
            registry.deactivate(slug, cascade=verb == "cascade")


def shortened(reason: str, snapshot: Snapshot) -> str:
    """Check that a need that is named as unmet is off; which of several is named may differ."""
    match = re.match(r"needs '(\w+)', which ", reason)
    if match is None:
        return reason
    assert match[1] not in snapshot.active
    return "needs another"


def account(registry: PluginRegistry) -> dict[str, Any]:
    """Return all that there is to see of the plugins, but for the objects themselves."""
    snapshot: Snapshot = registry._published.snapshot
    slugs = {id(each.plugin): slug for slug, each in snapshot.active.items()}
    return {
        "plugins": [
            (
                *(slug, each.pk, each.wanted, each.state, shortened(each.reason, snapshot)),
                *(each.name, each.distribution),
            )
            for slug, each in snapshot.plugins.items()
        ],
        "specs": {slug: each.spec for slug, each in snapshot.plugins.items()},
        "loaded": {
            slug: each.loaded is not None and each.loaded is snapshot.active[slug].loaded
            for slug, each in snapshot.plugins.items()
        },
        "active": [
            (slug, each.implementations.rank, each.mixins, each.enabled, each.brings)
            for slug, each in snapshot.active.items()
        ],
        "by_mixin": {
            key: [slugs[id(plugin)] for plugin in plugins]
            for key, plugins in snapshot.by_mixin.items()
        },
        "needs": dict(snapshot.needs),
        "wished": snapshot.wished,
        "called": registry.call(Hooks.who),
        "failures": sorted(
            (
                *(each.slug, each.stage, each.subject, shortened(each.message, snapshot)),
                each.exception_type or "",
            )
            for each in registry.errors
            # Not the faults of a released plugin, nor which of those brought came first,
            # which a load of everything alone tells anew.
            if each.stage in LOAD_STAGES
            or (each.stage is Stage.DISCOVERY and each.slug not in BROUGHT)
        ),
    }


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(worlds, steps)
def test_a_step_comes_to_what_a_load_comes_to(
    world: dict[str, Any], steps: list[tuple[str, str]]
) -> None:
    """Plugins, orders, mixins, needs, wishes and failures are those of a load of everything."""
    with installed(world):
        storage = MemoryStorage()
        with started(world, storage) as registry:
            for verb, slug in steps:
                take(registry, verb, slug)
                with started(world, copied(storage)) as other:
                    if HAND in registry.plugins:
                        take(other, "register", HAND)
                    assert account(registry) == account(other)
