"""The list of plugins beside a plain reading of the records, while the plugins change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plugreg import Plugin, PluginRegistry
from plugreg.api import Actor, PluginAPI
from plugreg.mixins import SettingsMixin

STAFF = Actor(7, is_staff=True)
SLUGS = ["alpha", "beta", "gamma", "delta", "epsilon"]
NAMES = ["tea", "Tea", "TEA time", "Straße", "Coffee"]


class House:
    """A registry of plugins whose names and health change from one construction to the next."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.names: dict[str, str] = {}
        self.registry = PluginRegistry(
            "shop",
            builtin=[(slug, self.kind(slug, Plugin)) for slug in SLUGS[:2]],
            samples=[(slug, self.kind(slug, SettingsMixin, Plugin)) for slug in SLUGS[2:]],
            mandatory=["delta"],
        )
        self.registry.load()
        self.api = PluginAPI(self.registry)

    def kind(self, slug: str, *bases: type) -> type:
        def init(plugin: Plugin) -> None:
            if slug in self.broken:
                raise ValueError("broken")
            if slug in self.names:
                plugin.NAME = self.names[slug]

        stated = {"SLUG": slug, "NAME": NAMES[SLUGS.index(slug)], "__init__": init}
        return type(slug.title(), bases, stated)

    def carry_out(self, step: tuple[str, str, str]) -> None:
        """Let one thing happen to the plugins."""
        what, slug, name = step
        if what == "break":
            self.broken ^= {slug}
        elif what == "name":
            self.names[slug] = name
        elif what == "reload":
            self.registry.reload(force=True)
        elif what == "activate" or slug != "delta":
            getattr(self.registry, what)(slug)

    def plain(
        self, flags: dict[str, bool | None], mixin: str, words: list[str], ordering: list[str]
    ) -> list[str]:
        """Return the slugs that a list must have: each record is asked, and nothing prepared."""
        found = []
        for plugin in self.registry.plugins.values():
            says = {
                "active": plugin.wanted,
                "builtin": plugin.is_builtin,
                "sample": plugin.is_sample,
                "mandatory": plugin.is_mandatory,
            }
            if (
                all(wanted in (None, says[flag]) for flag, wanted in flags.items())
                and (not mixin or mixin in plugin.mixins)
                and all(
                    word.casefold() in plugin.slug or word.casefold() in plugin.name.casefold()
                    for word in words
                )
            ):
                found.append(plugin)
        found.sort(key=lambda plugin: plugin.slug)
        for name in reversed(ordering or ["-active", "name"]):
            keys = {
                "key": lambda plugin: plugin.slug,
                "name": lambda plugin: plugin.name.casefold(),
                "active": lambda plugin: plugin.wanted,
            }
            found.sort(key=keys[name.lstrip("-")], reverse=name.startswith("-"))
        return [plugin.slug for plugin in found]


flag = st.sampled_from([None, True, False])
queries = st.tuples(
    st.fixed_dictionaries({"active": flag, "builtin": flag, "sample": flag, "mandatory": flag}),
    st.sampled_from(["", "settings", "base"]),
    st.lists(st.sampled_from(["t", "TEA", "l", "straSSe", "a"]), max_size=2),
    st.lists(st.sampled_from(["key", "-key", "name", "-name", "active", "-active"]), max_size=2),
)
steps = st.tuples(
    st.sampled_from(["activate", "deactivate", "break", "name", "reload"]),
    st.sampled_from(SLUGS),
    st.sampled_from(NAMES),
)


@given(
    steps=st.lists(steps, max_size=8),
    queries=st.lists(queries, min_size=1, max_size=3),
    limit=st.integers(1, 6),
    offset=st.integers(0, 6),
)
def test_lists_follow_whatever_happens(steps, queries, limit, offset):
    """After each change lists hold, in order, the records of that moment.

    That is so for lists that were asked for before the change, and for the fields of their rows.
    """
    house = House()
    with house.registry as registry:
        for step in [None, *steps]:
            if step is not None:
                house.carry_out(step)
            for flags, mixin, words, ordering in queries:
                expected = house.plain(flags, mixin, words, ordering)

                page = house.api.plugins_list(
                    STAFF,
                    **flags,
                    mixin=mixin,
                    search=" ".join(words),
                    ordering=",".join(ordering),
                    limit=limit,
                    offset=offset,
                )

                assert page.count == len(expected)
                assert [plugin.key for plugin in page.results] == expected[offset : offset + limit]
                for row in page.results:
                    record = registry.get(row.key)
                    assert (row.pk, row.name) == (record.pk, record.name)
                    assert (row.active, set(row.mixins)) == (record.wanted, set(record.mixins))
                    assert (row.meta["slug"] is not None) == record.active
                    assert row == house.api.plugins_retrieve(STAFF, plugin=row.key)
