"""The plan of a normal start, seen from safe mode; and the registry that is opened for it."""

from __future__ import annotations

import sys

import pytest

from plugreg import PluginRegistry, PluginRequiredError, PluginState, RegistryNotReady
from plugreg.storage import MemoryStorage

PLUGIN = "from plugreg import Plugin\n\nclass Tea(Plugin):\n    pass\n"


@pytest.fixture
def registry(site, monkeypatch):
    """Yield a registry with plugins that need one another, or another host."""
    monkeypatch.syspath_prepend(str(site))
    for slug, metadata in (
        ("tea", ""),
        ("cup", "Requires-Dist: shop-tea\n"),
        ("tray", "Requires-Dist: shop-cup\n"),
        ("future", "Requires-Dist: shop>=9\n"),
    ):
        module = {f"shop_{slug}.py": PLUGIN}
        points = {"shop.plugins": {slug: f"shop_{slug}:Tea"}}
        site.dist(f"shop-{slug}", "1.0", points, metadata=metadata, modules=module)
    made = PluginRegistry("shop", host_version="2.0", on_failure=lambda _: None)
    yield made
    made.close()
    for name in [name for name in sys.modules if name.startswith("shop_")]:
        del sys.modules[name]


def test_it_is_what_a_start_decides(registry):
    """The same plugins in the same order, and the same reasons for the others."""
    registry.load()
    registry.switch({"tray": True, "cup": True, "future": True})
    safe = registry.in_safe_mode()
    safe.load()

    plan = safe.outlook()

    assert [spec.slug for spec in plan.order] == [*registry.active]
    assert plan.held["future"].state is PluginState.INCOMPATIBLE
    assert plan.held["cup"].reason == registry.get("cup").reason
    assert dict(plan.needs) == {"cup": ("tea",), "tray": ("cup",)}
    assert registry.outlook().order == plan.order
    safe.close()


def test_a_plugin_that_a_start_needs_is_not_switched_off(registry):
    """Safe mode refuses as a normal process does; a plugin that would not start needs nothing."""
    registry.load()
    registry.switch({"tray": True, "cup": True, "tea": True})
    safe = registry.in_safe_mode()
    safe.load()

    with pytest.raises(PluginRequiredError, match="'tea' is needed by 'cup', 'tray'"):
        safe.deactivate("tea")
    with pytest.raises(PluginRequiredError, match="'tea' is needed by 'tray'"):
        safe.switch({"tea": False, "cup": False})
    assert safe.get("tea").wanted

    safe.deactivate("cup", cascade=True)
    assert not safe.get("tray").wanted

    safe.activate("tray")
    safe.deactivate("tea")
    assert not safe.get("tea").wanted
    safe.close()


def test_it_imports_nothing(registry):
    """Although all of it is wanted."""
    safe = registry.in_safe_mode()
    safe.load()
    safe.switch(dict.fromkeys(("tea", "cup", "tray"), True))

    assert [spec.slug for spec in safe.outlook().order] == ["tea", "cup", "tray"]
    assert not [name for name in sys.modules if name.startswith("shop_")]
    assert safe.safe_mode
    safe.close()


def test_the_first_registry_stays_as_it_is(registry):
    """Neither loaded nor closed with the other one, which may have another storage."""
    other = registry.in_safe_mode(MemoryStorage())
    other.load()
    other.activate("tea")
    other.close()

    with pytest.raises(RegistryNotReady):
        registry.outlook()
    registry.load()
    assert not registry.get("tea").wanted
