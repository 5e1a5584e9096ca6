"""Lists of plugins: filters, search and order, against a plain reading of the rules."""

from __future__ import annotations

import re
from itertools import pairwise
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugreg import Plugin
from plugreg._support.slugs import slugify
from plugreg.mixins import SettingsMixin
from plugreg.records import KnownPlugin, PluginSpec, PluginState, Snapshot, Source
from plugreg.selection import Filters, PluginIndex


def known(slug, name=None, *, wanted=False, source=Source.BUILTIN, is_mandatory=False):
    spec = source and PluginSpec(slug=slug, name=slug, value="x:Y", source=source)
    return KnownPlugin(
        slug=slug,
        pk=1,
        wanted=wanted,
        state=PluginState.INACTIVE,
        reason="",
        name=name or slug,
        distribution=None,
        spec=spec,
        is_mandatory=is_mandatory,
    )


def index(*plugins):
    by_slug = {plugin.slug: plugin for plugin in sorted(plugins, key=lambda plugin: plugin.slug)}
    return PluginIndex(Snapshot(plugins=MappingProxyType(by_slug)))


def keys(found):
    return [plugin.slug for plugin in found]


class TestFilters:
    plugins = (
        known("built", wanted=True),
        known("sample", source=Source.SAMPLE),
        known("entry", source=Source.ENTRY_POINT, wanted=True, is_mandatory=True),
        known("gone", source=None),
    )

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({}, {"built", "sample", "entry", "gone"}),
            ({"active": True}, {"built", "entry"}),
            ({"active": False}, {"sample", "gone"}),
            ({"builtin": True}, {"built"}),
            ({"builtin": False}, {"sample", "entry", "gone"}),
            ({"sample": True}, {"sample"}),
            ({"sample": False}, {"built", "entry", "gone"}),
            ({"installed": True}, {"built", "sample", "entry"}),
            ({"installed": False}, {"gone"}),
            ({"mandatory": True}, {"entry"}),
            ({"mandatory": False}, {"built", "sample", "gone"}),
            ({"active": True, "builtin": False}, {"entry"}),
            ({"active": False, "mandatory": True}, set()),
            ({"mixins": frozenset({"settings"})}, set()),
        ],
    )
    def test_all_filters_must_hold(self, filters, expected):
        """Each filter selects by its own field, and several are combined with AND."""
        found = index(*self.plugins).select(Filters(**filters))

        assert set(keys(found)) == expected

    def test_mixins_are_those_of_active_plugins(self, make):
        """A plugin must have every mixin asked for; one that is off shows none."""

        class Both(SettingsMixin, Plugin): ...

        class Plain(Plugin): ...

        registry = make(Both, Plain)

        def having(*mixins):
            found = registry.catalogue.select(Filters(mixins=frozenset(mixins)))
            return [plugin.slug for plugin in found]

        assert having("base") == ["both", "plain"]
        assert having("base", "settings") == ["both"]
        assert having("settings", "urls") == []
        registry.deactivate("both")
        assert having("settings") == []


class TestSearch:
    plugins = (known("tea-timer", "Brew Watch"), known("coffee", "Straße"), known("plain"))

    @pytest.mark.parametrize(
        ("search", "expected"),
        [
            ("", ["tea-timer", "plain", "coffee"]),
            ("tea", ["tea-timer"]),
            ("TEA", ["tea-timer"]),
            ("brew timer", ["tea-timer"]),
            ("brew,timer", ["tea-timer"]),
            ("watch brew tea timer", ["tea-timer"]),
            ("watch brew tea coffee", []),
            ("brew coffee", []),
            ('"brew watch"', ["tea-timer"]),
            ("'watch brew'", []),
            ("STRASSE", ["coffee"]),
            ('"', ["tea-timer", "plain", "coffee"]),
            (" , ,", ["tea-timer", "plain", "coffee"]),
            ('"brew', ["tea-timer"]),
        ],
    )
    def test_every_word_is_in_key_or_name(self, search, expected):
        """Words are parted by blanks and commas, quotes group them, and case does not count."""
        assert keys(index(*self.plugins).select(Filters(), search)) == expected

    def test_a_search_goes_on_from_the_one_before(self):
        """With one more word, or another last word, the result is that of a new search."""
        found = index(known("tea-timer"), known("tea-cup"), known("egg-timer"))

        assert keys(found.select(Filters(), "tea cup")) == ["tea-cup"]
        assert keys(found.select(Filters(), "tea timer")) == ["tea-timer"]
        assert keys(found.select(Filters(), "tea egg cup")) == []
        assert keys(found.select(Filters(), "timer")) == ["egg-timer", "tea-timer"]

    def test_a_search_may_have_any_number_of_words(self):
        """Clients may send any string, and get an answer."""
        search = " ".join(map(str, range(10_000)))

        assert keys(index(*self.plugins).select(Filters(), search)) == []

    def test_no_word_reaches_from_key_into_name(self):
        """The end of the key and the beginning of the name are no word."""
        assert keys(index(known("ab", "cd")).select(Filters(), "bc")) == []


class TestOrdering:
    def test_by_default_the_wanted_come_first(self):
        """Then by name without case, then by key."""
        found = index(known("c", "Z"), known("b", "z"), known("a", "y"), known("d", "Z", wanted=1))

        assert keys(found.select(Filters())) == ["d", "a", "b", "c"]

    @pytest.mark.parametrize(
        ("ordering", "expected"),
        [
            (["key"], ["a", "b", "c"]),
            (["-key"], ["c", "b", "a"]),
            (["name"], ["c", "a", "b"]),
            (["-name"], ["a", "b", "c"]),
            (["active", "-key"], ["c", "b", "a"]),
            (["-active", "name"], ["a", "c", "b"]),
        ],
    )
    def test_names_may_be_combined(self, ordering, expected):
        """A dash means descending, and equal ones stand by key."""
        found = index(known("a", "x", wanted=True), known("b", "X"), known("c", "W"))

        assert keys(found.select(Filters(), "", ordering)) == expected

    def test_another_name_is_refused(self):
        """An unknown ordering is refused, with the names that are known."""
        with pytest.raises(ValueError, match=r"Cannot order by '-nme'; allowed are key, -key, "):
            index().select(Filters(), "", ["-nme"])


names = st.text(st.sampled_from("abAB -\u00df"), min_size=1, max_size=6)


@given(
    plugins=st.lists(
        st.builds(
            known,
            names.map(slugify).filter(bool),
            names,
            wanted=st.booleans(),
            source=st.sampled_from([Source.BUILTIN, Source.SAMPLE, Source.ENTRY_POINT, None]),
        ),
        unique_by=lambda plugin: plugin.slug,
    ),
    filters=st.builds(
        Filters,
        active=st.sampled_from([None, True, False]),
        builtin=st.sampled_from([None, True, False]),
        installed=st.sampled_from([None, True, False]),
    ),
    words=st.lists(st.text(st.sampled_from("abAB"), min_size=1, max_size=2), max_size=2),
    ordering=st.lists(
        st.sampled_from(["key", "-key", "name", "-name", "active", "-active"]), max_size=3
    ),
)
def test_it_agrees_with_a_plain_reading(plugins, filters, words, ordering):
    """Contents and order of a list agree with plain comparisons."""
    found = index(*plugins).select(filters, " ".join(words), ordering)

    def holds(plugin):
        return (
            filters.active in (None, plugin.wanted)
            and filters.builtin
            in (None, plugin.spec is not None and plugin.spec.source == "builtin")
            and filters.installed in (None, plugin.spec is not None)
            and all(
                re.search(re.escape(word.casefold()), part)
                for word in words
                for part in [f"{plugin.slug}|{plugin.name.casefold()}"]
            )
        )

    def comes_before(one, other):
        for name in ordering or ["-active", "name"]:
            field = name.lstrip("-")
            left, right = (
                {"key": e.slug, "name": e.name.casefold(), "active": e.wanted}[field]
                for e in (one, other)
            )
            if left != right:
                return (left < right) != name.startswith("-")
        return one.slug < other.slug

    assert {plugin.slug for plugin in found} == {plugin.slug for plugin in plugins if holds(plugin)}
    assert all(comes_before(a, b) for a, b in pairwise(found))


class TestSnapshots:
    def test_a_list_is_of_one_moment(self, make):
        """A result stays as it was, whichever plugins are activated meanwhile."""

        class One(Plugin): ...

        registry = make(One, new_plugins="inactive")
        before = registry.catalogue.select()
        registry.activate("one")
        after = registry.catalogue.select(Filters(active=True))

        assert [record.state for record in before] == [PluginState.INACTIVE]
        assert [record.state for record in after] == [PluginState.ACTIVE]
        assert [record.slug for record in before[0:1]] == ["one"]
        assert repr(after) == "<selection of 1 plugins>"
