"""Settings of a plugin that is not loaded: its last probe decides which values fit."""

from __future__ import annotations

import sys

import pytest

from plugreg import PluginNotFoundError, PluginRegistry, SettingError

PLUGIN = """
from plugreg import Plugin
from plugreg.mixins import SettingsMixin

class Tea(SettingsMixin, Plugin):
    SETTINGS_VERSION = 3
    SETTINGS = {
        "CUPS": {"name": "Cups", "default": 2, "validator": int},
        "HOT": {"name": "Hot", "default": True, "validator": bool},
        "KIND": {"name": "Kind", "choices": [("green", "Green"), ("black", "Black")]},
        "KEY": {"name": "Key", "protected": True, "required": True},
    }
    USER_SETTINGS = {"SUGAR": {"name": "Sugar", "default": 0, "validator": int}}
"""


@pytest.fixture
def registry(site, monkeypatch):
    """Yield a registry with one plugin, which is off."""
    monkeypatch.syspath_prepend(str(site))
    points = {"shop.plugins": {"tea": "shop_tea:Tea"}}
    site.dist("shop-tea", "1.0", points, modules={"shop_tea.py": PLUGIN})
    made = PluginRegistry("shop")
    made.load()
    yield made
    made.close()
    sys.modules.pop("shop_tea", None)


def test_a_probe_says_what_fits(registry):
    """Kinds and choices; nothing is imported, and the plugin finds the stored values."""
    registry.probe("tea")
    view = registry.config.offline_settings("tea")

    assert (view["CUPS"], view["HOT"], view.layer("CUPS")) == (2, True, "default")
    view.set("CUPS", "5")
    view.set("HOT", "no")
    view.set("KIND", "green")
    for key, value in (("CUPS", "many"), ("HOT", "perhaps"), ("KIND", "red")):
        with pytest.raises(SettingError):
            view.set(key, value)
    with pytest.raises(KeyError, match="CUPS"):
        view.set("CUP", "1")
    assert "shop_tea" not in sys.modules

    registry.activate("tea")
    settings = registry.settings("tea")
    assert (settings["CUPS"], settings["HOT"], settings["KIND"]) == (5, False, "green")
    # The version that was probed is stored with it, so that nothing is migrated.
    assert [failure.subject for failure in registry.errors] == ["settings values"]


def test_of_a_user(registry):
    """Settings of users have definitions of their own."""
    registry.probe("tea")

    registry.config.offline_settings("tea", 7).set("SUGAR", "3")

    assert registry.config.users("tea") == (7,)
    registry.activate("tea")
    assert registry.user_settings("tea", 7)["SUGAR"] == 3


def test_a_protected_value_is_not_shown(registry):
    """Stored values are masked, also in exports; a reference is not."""
    registry.probe("tea")
    view = registry.config.offline_settings("tea")
    view.set("KEY", "hunter2-hunter2")

    assert (view.shown("KEY"), view.stored("KEY")) == ("***", "***")
    view.set("KEY", {"$env": "TEA_KEY"})
    assert view.stored("KEY") == {"$env": "TEA_KEY"}
    assert view.stored("CUPS") is None


def test_without_a_probe_values_are_strings(registry):
    """Those that are stored, and the keys that are asked for."""
    registry.config.offline_settings("tea", keys=["cups"]).set("CUPS", "5")

    view = registry.config.offline_settings("tea")
    assert [*view] == ["CUPS"]
    assert view["CUPS"] == "5"


def test_an_active_plugin_has_its_own_view(registry):
    """The definitions are those of the plugin itself then."""
    registry.activate("tea")

    assert "KIND" in registry.config.offline_settings("tea")
    with pytest.raises(PluginNotFoundError):
        registry.config.offline_settings("coffee")
