"""``registry.config``: the settings of all plugins."""

from __future__ import annotations

import pytest

from plugreg import Plugin, PluginRegistry
from plugreg.mixins import SettingsMixin
from plugreg.storage import MemoryStorage

SECRET = "canary-7f3a"


class Tea(SettingsMixin, Plugin):
    SETTINGS = {"TOKEN": {"protected": True}, "COUNT": {"validator": int, "default": 3}}


class Milk(SettingsMixin, Plugin):
    SETTINGS = {"Z": {}, "A": {}, "M": {}}


@pytest.fixture
def registry():
    """Yield a registry with three plugins, of which the first is off; two have a leftover."""
    storage = MemoryStorage()
    with storage.transaction() as transaction:
        for slug in ("milk", "tea"):
            transaction.put("settings", f"{slug}:OLD", {"value": "x", "protected": False})
    with PluginRegistry(
        "shop", builtin=[Tea, Milk, Plugin()], storage=storage, new_plugins="active"
    ) as registry:
        registry.load()
        registry.settings("milk").set("Z", "1")
        registry.settings("milk").set("A", "2")
        registry.settings("tea").set("TOKEN", SECRET)
        registry.deactivate("milk")
        yield registry


class TestListed:
    def test_by_plugin_then_as_declared(self, registry):
        """Of an inactive plugin only stored rows are known, and each counts as protected."""
        found = [
            (setting.slug, setting.key, setting.view.definitions[setting.key].protected)
            for setting in registry.config.listed()
        ]
        assert found == [
            ("milk", "A", True),
            ("milk", "OLD", True),
            ("milk", "Z", True),
            ("tea", "TOKEN", True),
            ("tea", "COUNT", False),
        ]
        assert [setting.pk for setting in registry.config.listed()] == [
            registry.get(slug).pk for slug, *_ in found
        ]
        assert SECRET not in repr(registry.config.listed())

    def test_others_can_be_left_out(self, registry):
        """By desired state, and by slug; an unknown slug has no settings."""
        listed = registry.config.listed
        assert {setting.slug for setting in listed(wanted=True)} == {"tea"}
        assert {setting.slug for setting in listed(wanted=False)} == {"milk"}
        assert {setting.slug for setting in listed(slug="milk")} == {"milk"}
        assert listed(slug="milk", wanted=True) == listed(slug="nobody") == []


def test_scrubbed_takes_out_what_one_plugin_protects(registry):
    """At any depth, in a copy."""
    value = {"a": [f"x {SECRET}", 5]}
    assert registry.config.scrubbed("tea", value) == {"a": ["x ***", 5]}
    assert registry.config.scrubbed("milk", value) == value
    assert value == {"a": [f"x {SECRET}", 5]}
