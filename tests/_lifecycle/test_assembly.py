"""Options of a host: contradictions, and strings in the place of collections, are refused."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from plugreg import hookspec
from plugreg._lifecycle.assembly import Options, as_tuple, host_rules, mixin_table, switched_off
from plugreg.mixins import MIXINS, MixinSpec
from plugreg.registry import PluginRegistry


class Hooks:
    @hookspec
    def price(self, item):
        """Return a price."""


def rules(**options):
    parameters = inspect.signature(PluginRegistry).parameters.values()
    defaults = {parameter.name: parameter.default for parameter in parameters}
    return host_rules(Options(**{**defaults, "host": "shop", **options}))


def test_options_are_not_shown():
    """Overrides may be secret, and a traceback with variables shows the repr of each."""
    assert "canary" not in repr(Options(host="shop", overrides={"tea": {"PIN": "canary"}}))


@pytest.fixture(autouse=True)
def _no_safe_mode(monkeypatch):
    monkeypatch.delenv("PLUGREG_SAFE_MODE", raising=False)


class TestCollections:
    @pytest.mark.parametrize(
        ("argument", "given"),
        [
            ("directories", "plugins"),
            ("samples", "plugins"),
            ("builtin", "shop.plugins:Tea"),
            ("hookspecs", Hooks),
            ("mixins", MIXINS[0]),
            ("mandatory", "tea"),
            ("blocked", "tea"),
            ("allowed", "tea"),
            ("ignore_compatibility", "tea"),
            ("mandatory", b"tea"),
            ("builtin", None),
        ],
    )
    def test_one_thing_is_none(self, argument, given):
        """A text would be taken for its letters; the error names the argument and the remedy."""
        with pytest.raises(
            TypeError, match=rf"{argument} must be a collection, not .*write \[it\]"
        ):
            PluginRegistry("shop", **{argument: given})

    def test_any_iterable_is_one(self):
        """It is looked at once, so that a generator does too."""
        assert as_tuple("builtin", (name for name in "ab")) == ("a", "b")


class TestSlugs:
    @pytest.mark.parametrize("argument", ["mandatory", "blocked", "allowed"])
    @pytest.mark.parametrize("name", ["日", "", "ui", "x" * 300])
    def test_names_that_no_plugin_can_have(self, argument, name):
        """They are refused, as they would never match."""
        with pytest.raises(ValueError, match=f"{argument}: "):
            PluginRegistry("shop", **{argument: {name}})

    def test_names_are_slugified(self):
        """A host may write the name as people read it."""
        assert rules(mandatory=["Green Tea"]).mandatory == {"green-tea"}

    @pytest.mark.parametrize(
        "other", [{"blocked": ["tea"]}, {"allowed": ["milk"]}, {"allowed": []}]
    )
    def test_mandatory_and_forbidden_contradict_each_other(self, other):
        """The error names the plugin."""
        with pytest.raises(ValueError, match="'tea' is in mandatory="):
            rules(mandatory=["tea"], **other)

    def test_an_empty_allowance_allows_nothing(self):
        """It is another thing than none."""
        assert rules(allowed=[]).blocks("tea") is not None
        assert rules(allowed=None).blocks("tea") is None


class TestRules:
    @pytest.mark.parametrize("value", ["on", "", None, True])
    def test_new_plugins_is_one_of_two_words(self, value):
        """Anything else is refused."""
        with pytest.raises(ValueError, match="new_plugins must be 'inactive' or 'active'"):
            rules(new_plugins=value)

    @pytest.mark.parametrize("value", ["banana", "", "2.x"])
    def test_the_version_is_one_by_pep_440(self, value):
        """Anything else is refused, and reported with an example."""
        with pytest.raises(ValueError, match=r"host_version .* write one such as '2\.4'"):
            rules(host_version=value)

    @pytest.mark.parametrize(
        ("variable", "argument", "expected"),
        [
            (None, False, False),
            (None, True, True),
            ("", False, False),
            ("0", False, False),
            ("1", False, True),
            ("0", True, True),
        ],
    )
    def test_safe_mode_is_the_hosts_or_the_operators(
        self, monkeypatch, variable, argument, expected
    ):
        """PLUGREG_SAFE_MODE turns it on, and never off."""
        if variable is not None:
            monkeypatch.setenv("PLUGREG_SAFE_MODE", variable)
        assert rules(safe_mode=argument).safe_mode is expected

    def test_the_distribution_is_compared_by_its_canonical_name(self):
        """PEP 503."""
        assert rules(host_distribution="My_Shop.Core").distribution == "my-shop-core"


class Payments:
    """A capability of the host's own."""


class TestMixins:
    def test_the_hosts_come_beside_plugregs(self):
        """Nothing of plugreg's is lost."""
        own = MixinSpec(key="payments", human_name="Payments", cls=Payments)
        table = mixin_table([own])
        assert table.all() == (*MIXINS, own)
        # Each module is imported by now, and every plugin has the base.
        assert set(table) == {*MIXINS[1:], own}

    def test_a_key_is_taken_once(self):
        """The error says which, for plugreg's keys and the host's."""
        for key in (MIXINS[0].key, "payments"):
            own = MixinSpec(key=key, human_name="Payments", cls=Payments)
            with pytest.raises(ValueError, match=f"mixin key '{key}' is taken"):
                mixin_table([own, own])

    def test_only_what_is_switched_off_is_off(self):
        """A switch that is not mentioned is on."""
        rows = [
            MixinSpec(key=key, human_name=key, cls=Payments, switch=switch)
            for key, switch in (
                ("a", "ENABLE_A"),
                ("b", "ENABLE_B"),
                ("c", "ENABLE_C"),
                ("d", None),
            )
        ]
        assert switched_off(mixin_table(rows), {"ENABLE_A": False, "ENABLE_B": True}) == {"a"}

    def test_an_unknown_switch_is_refused_with_a_near_name(self):
        """A slip would otherwise leave a plugin on that should be off."""
        rows = [MixinSpec(key="a", human_name="a", cls=Payments, switch="ENABLE_A")]
        with pytest.raises(ValueError, match="'ENABEL_A' is not known; did you mean 'ENABLE_A'"):
            switched_off(mixin_table(rows), {"ENABEL_A": False})


def test_mixins_are_rows():
    """An object that is no MixinSpec is refused when the registry is made."""
    with pytest.raises(TypeError, match="MixinSpec rows, not 1"):
        PluginRegistry("shop", mixins=[1])


def test_folders_are_paths_of_any_kind_and_absolute(tmp_path, monkeypatch):
    """Text, bytes or path, a relative one is held against the current folder of that moment."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "tea.py").write_text(
        "from plugreg import Plugin\nclass Tea(Plugin): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    for folder in ("here", b"here", Path("here")):
        registry = PluginRegistry("shop", directories=[folder])
        monkeypatch.chdir("/")
        with registry:
            registry.load()
            assert list(registry.plugins) == ["tea"]
        monkeypatch.chdir(tmp_path)


def test_without_a_current_folder(tmp_path, monkeypatch):
    """A relative folder is then not found, which is a failure and no exception."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with PluginRegistry("shop", directories=["here"]) as registry:
        monkeypatch.chdir(tmp_path)
        registry.load()
        assert [failure.stage for failure in registry.errors] == ["discovery"]
