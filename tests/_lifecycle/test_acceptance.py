"""Objects that count as plugins, and their place in a call: the host's decisions."""

from __future__ import annotations

import sys
import textwrap
import types

import pytest

from plugreg import (
    Plugin,
    PluginBlockedError,
    PluginRegistry,
    PluginState,
    hookimpl,
    hookspec,
)
from plugreg.mixins import MixinSpec


class Hooks:
    @hookspec
    def label(self):
        """Return a label."""


class Named(Plugin):
    @hookimpl
    def label(self):
        return self.slug


class First(Named):
    @hookimpl(tryfirst=True)
    def label(self):
        return self.slug


class Renderer:
    """A host's base class of plugins, which plugreg knows nothing of."""

    def __init__(self, width=80):
        self.width = width


RENDERER = MixinSpec(key="renderer", human_name="Renderer", cls=Renderer)


@pytest.fixture
def host(site, monkeypatch):
    """Return a function that makes and loads a registry on a folder of distributions."""
    monkeypatch.syspath_prepend(str(site))
    before, opened = set(sys.modules), []

    def load(**options):
        registry = PluginRegistry("shop", hookspecs=[Hooks], new_plugins="active", **options)
        opened.append(registry)
        registry.load()
        return registry

    yield load
    for registry in opened:
        registry.close()
    for name in set(sys.modules) - before:
        if name.startswith("shop_"):
            del sys.modules[name]


def module_of(*, slug, source="", requires=(), site):
    site.dist(
        f"shop-{slug}",
        entry_points={"shop.plugins": {slug: f"shop_{slug}"}},
        metadata="".join(f"Requires-Dist: {name}\n" for name in requires),
        modules={f"shop_{slug}.py": textwrap.dedent(source)},
    )


class TestModules:
    def test_a_module_without_hooks_is_in_service(self, host, site):
        """A module that brings templates only, or hook specifications, is no failure."""
        module_of(slug="templates", site=site)
        module_of(slug="more", requires=["shop-templates"], site=site)

        registry = host()

        assert sorted(registry.active) == ["more", "templates"]
        assert registry.errors == ()
        assert isinstance(registry.get("templates").plugin, types.ModuleType)


class TestOthers:
    @pytest.fixture
    def values(self, site):
        points = {
            "check": "shop_values:check",
            "table": "shop_values:Table",
            "limit": "shop_values:limit",
            "nothing": "shop_values:nothing",
        }
        source = "def check(): return 1\nclass Table: pass\nlimit = 5\nnothing = None\n"
        site.dist(
            "shop-values", entry_points={"shop.plugins": points}, modules={"shop_values.py": source}
        )
        module_of(slug="user", requires=["shop-values"], site=site)

    def test_are_refused(self, host, values):
        """Functions, classes and values are refused; plugins that require them are not."""
        registry = host()

        assert list(registry.active) == ["user"]
        assert {failure.slug for failure in registry.errors} == {
            "check",
            "limit",
            "nothing",
            "table",
        }
        assert all("is no plugin" in failure.message for failure in registry.errors)
        assert registry.get("check").state is PluginState.FAILED
        registry.reload()
        registry.deactivate("user")
        assert registry.activate("user").active

    def test_what_is_refused_gives_no_place_to_others(self, host, site, values):
        """A plugin is called at one place, whether it was loaded with all others or alone."""
        source = "from plugreg import hookimpl\n\n\n@hookimpl\ndef label():\n    return __name__\n"
        module_of(slug="a", source=source, requires=["shop-values"], site=site)
        module_of(slug="b", source=source, site=site)
        registry = host()
        assert registry.call(Hooks.label) == ["shop_b", "shop_a"]

        registry.deactivate("a")
        registry.activate("a")

        assert registry.call(Hooks.label) == ["shop_b", "shop_a"]

    def test_a_plugin_that_failed_fails_those_that_need_it(self, host, site):
        """To be refused is not to fail: who needs a plugin that failed, fails too."""
        module_of(slug="broken", source="raise OSError('no')", site=site)
        module_of(slug="user", requires=["shop-broken"], site=site)

        registry = host()

        assert list(registry.active) == []
        assert "needs 'broken'" in registry.get("user").reason

    def test_are_taken_as_they_are(self, host, values):
        """A host that accepts any object finds it in the plugin's record."""
        registry = host(accept="any")
        module = sys.modules["shop_values"]

        assert registry.get("check").plugin is module.check
        assert registry.get("table").plugin is module.Table
        assert registry.get("limit").plugin == 5
        assert sorted(registry.active) == ["check", "limit", "table", "user"]
        (failure,) = registry.errors
        assert (failure.slug, failure.stage) == ("nothing", "init")


class TestClasses:
    def test_of_a_capability_are_plugins(self, host):
        """A class below the class of a host's capability needs no base class of plugreg's."""
        kind = type("Html", (Renderer,), {})

        registry = host(builtin=[kind], mixins=[RENDERER])

        assert registry.errors == ()
        (plugin,) = registry.with_mixin("renderer")
        assert type(plugin) is kind
        assert registry.get("html").mixins == {"base": "base", "renderer": "Renderer"}

    def test_are_constructed_by_the_host(self, host):
        """The host passes its own arguments, and is given the plugin's spec."""
        registry = host(
            builtin=[("html", Renderer)],
            mixins=[RENDERER],
            construct=lambda cls, spec: cls(width=len(spec.slug)),
        )

        assert registry.get("html").plugin.width == 4

    def test_a_probe_constructs_none_of_them(self, host, site):
        """A child process does not have the host's function, and looks at the class alone."""
        source = """
            from plugreg import Plugin, hookimpl
            from plugreg.mixins import SettingsMixin

            class Tea(SettingsMixin, Plugin):
                SETTINGS = {"COLOUR": {}}

                def __init__(self, shop):
                    self.shop = shop

                @hookimpl
                def label(self):
                    return self.shop
        """
        site.dist(
            "shop-tea",
            entry_points={"shop.plugins": {"tea": "shop_tea:Tea"}},
            modules={"shop_tea.py": textwrap.dedent(source)},
        )
        registry = host(construct=lambda cls, _: cls("the shop"))

        report = registry.probe("tea")

        assert registry.call(Hooks.label) == ["the shop"]
        assert (report.outcome, list(report.hooks)) == ("ok", ["label"])
        assert set(report.mixins) == {"base", "settings"}
        assert list(report.settings) == ["COLOUR"]


class TestNames:
    @pytest.fixture
    def two(self, site):
        """Two distributions that have an entry point of one name."""
        for name in ("one", "two"):
            site.dist(
                f"shop-{name}",
                entry_points={"shop.plugins": {"price": f"shop_{name}:price"}},
                modules={f"shop_{name}.py": f"def price(): return {name!r}\n"},
            )

    @staticmethod
    def distribution_of(spec):
        return spec.distribution.removeprefix("shop-")

    def test_the_host_chooses_slugs(self, host, two):
        """Where several distributions bring one name, the host's slugs say them apart."""
        registry = host(accept="any", slug_of=self.distribution_of)

        assert registry.errors == ()
        assert [*registry.active] == ["one", "two"]
        assert [record.plugin() for record in registry.active.values()] == ["one", "two"]
        registry.reload(full=True, collect=True)
        assert [*registry.active] == ["one", "two"]

    def test_the_host_chooses_slugs_with_an_index(self, host, two, tmp_path):
        """They are requested again at each start, and the index does not keep them."""
        for _ in range(2):
            registry = host(accept="any", slug_of=self.distribution_of, index=tmp_path / "index")
            assert [*registry.active] == ["one", "two"]
        assert "price" in host(accept="any", index=tmp_path / "index").plugins

    @pytest.mark.parametrize(
        ("answer", "fault"),
        [
            ("", "slug_of gave no slug for distribution 'shop-"),
            (None, "TypeError: it must return a string, not None"),
        ],
    )
    def test_a_bad_slug_costs_its_plugin(self, host, two, answer, fault):
        """An invalid slug, or an exception of the function, is one failure for each plugin."""
        registry = host(accept="any", slug_of=lambda spec: answer)

        assert not registry.plugins
        assert {failure.stage for failure in registry.errors} == {"discovery"}
        assert len({failure.message for failure in registry.errors}) == 2
        assert all(fault in failure.message for failure in registry.errors)

    def test_a_mandatory_plugin_is_allowed_by_the_name_of_its_entry_point(self, host, two):
        """Slugs that the host chooses are known once plugins were found, and no fault before."""
        options = {"mandatory": ["two"], "allowed": ["shop-two:price"]}
        registry = host(accept="any", slug_of=self.distribution_of, **options)
        assert [*registry.active] == ["two"]

    def test_distribution_and_name_block_and_allow(self, host, two):
        """A plugin can be named by its distribution and its entry point."""
        options = {"accept": "any", "slug_of": self.distribution_of}

        blocked = host(blocked={"Shop_One:price"}, **options)
        allowed = host(allowed={"shop-one:price"}, mandatory={"price"}, **options)

        assert [*blocked.active] == ["two"]
        assert blocked.get("one").state is PluginState.BLOCKED
        with pytest.raises(PluginBlockedError):
            blocked.activate("one")
        assert [*allowed.active] == ["one"]

    @pytest.mark.parametrize("name", [":price", "shop-one:"])
    def test_half_a_name_is_refused(self, name):
        """Both parts are needed."""
        with pytest.raises(ValueError, match=f"blocked: '{name}' lacks a part"):
            PluginRegistry("shop", blocked=[name])


class TestOrder:
    BUILTIN = (("b", Named), ("c", Named), ("a", Named))

    @pytest.fixture
    def installed(self, site):
        source = """
            from plugreg import hookimpl

            @hookimpl
            def label():
                return __name__
        """
        module_of(slug="x", source=source, site=site)
        module_of(slug="y", source=source, requires=["shop-x"], site=site)
        module_of(
            slug="eager", source=source.replace("@hookimpl", "@hookimpl(tryfirst=True)"), site=site
        )

    def test_builtins_are_called_last(self, host, installed):
        """The builtin given last is called first among builtins, which come after the others."""
        registry = host(builtin=self.BUILTIN)

        assert registry.call(Hooks.label) == ["shop_eager", "shop_y", "shop_x", "a", "c", "b"]
        assert registry.hook.label() == registry.call(Hooks.label)
        assert [place.slug for place in registry.explain(Hooks.label)] == [
            "eager",
            *("y", "x", "a", "c", "b"),
        ]

    def test_builtins_are_called_first(self, host, installed):
        """They come before the others, save those that ask to be first, whatever is switched."""
        expected = ["shop_eager", "a", "c", "b", "shop_y", "shop_x"]

        registry = host(builtin=self.BUILTIN, builtins_called="first")

        assert registry.call(Hooks.label) == expected
        for slug in ("c", "y", "x", "a"):
            registry.deactivate(slug, cascade=True)
        registry.activate("x")
        registry.activate("a")
        assert registry.call(Hooks.label) == ["shop_eager", "a", "b", "shop_x"]
        registry.activate("y")
        registry.activate("c")
        assert registry.call(Hooks.label) == expected

    def test_wrong_words_are_refused(self):
        """The words of an option are in the error."""
        for option, words in (
            ("accept", "'plugins' or 'any'"),
            ("builtins_called", "'last' or 'first'"),
        ):
            with pytest.raises(ValueError, match=f"{option} must be {words}, not 'odd'"):
                PluginRegistry("shop", **{option: "odd"})
