"""A protected value is in no byte of the page, whoever quotes it and wherever it comes from."""

from __future__ import annotations

import re

import pytest

from plugreg import Plugin, PluginRegistry, hookimpl, hookspec
from plugreg.admin.routes import ROUTES
from plugreg.mixins import SettingsMixin, UserInterfaceMixin
from plugreg.storage import MemoryStorage

STORED, FIXED, OF_USER = "canary-stored-1", "canary-fixed-2", "canary-of-user-3"
DEFAULT, OF_ENV = "canary-default-4", "canary-of-env-5"
ALL = (STORED, FIXED, OF_USER, DEFAULT, OF_ENV)


class Hooks:
    @hookspec
    def price(self): ...


class Tell(SettingsMixin, UserInterfaceMixin, Plugin):
    """Quotes its secrets wherever it can."""

    ADMIN_SOURCE = "panel.js"
    DESCRIPTION = f"uses {STORED}"
    SETTINGS = {
        "KEY": {"name": f"not {STORED}", "protected": True},
        "FIXED": {"name": "Fixed", "protected": True},
        "ENV": {"name": "From the environment", "protected": True},
        "OTHER": {"name": "Other", "description": f"as {STORED}", "default": STORED},
        "DEFAULTED": {"name": "Defaulted", "protected": True, "default": DEFAULT},
        "CHOSEN": {"name": "Chosen", "choices": [(STORED, STORED), ("a", "A")]},
    }
    USER_SETTINGS = {"MINE": {"name": "Mine", "protected": True}}

    def get_admin_context(self):
        return {"key": self.get_setting("KEY")}

    @hookimpl
    def price(self):
        raise RuntimeError(f"no price with {self.get_setting('KEY')}")


@pytest.fixture
def telling(monkeypatch):
    """Yield a loaded registry whose plugin has told its secrets in every way."""
    monkeypatch.setenv("CANARY", OF_ENV)
    overrides = {"tell": {"FIXED": FIXED, "ENV": {"$env": "CANARY"}}}
    with PluginRegistry(
        "shop",
        hookspecs=[Hooks],
        builtin=[("tell", Tell)],
        overrides=overrides,
        storage=MemoryStorage(),
        observe=True,
    ) as registry:
        registry.load()
        registry.activate("tell")
        registry.settings("tell").set("KEY", STORED)
        registry.user_settings("tell", 1).set("MINE", OF_USER)
        registry.call(Hooks.price)
        yield registry


def test_no_screen_has_a_protected_value(telling, visitor_of):
    """Not as a value, nor in a name, a default, a choice, a failure or the context of a panel."""
    visitor = visitor_of(telling)
    names = {"plugin": "tell", "job": "ab"}
    for method, pattern, *_ in ROUTES:
        if method == "GET":
            path = re.sub(r"\(\?P<(\w+)>[^)]*\)", lambda match: names[match[1]], pattern)
            page = visitor(path)

            assert page.status in (200, 404), path
            assert [secret for secret in ALL if secret in page.text] == [], path


def test_a_form_that_is_refused_has_none_either(telling, visitor_of):
    """The answer to a change quotes neither the stored secret nor the sent secret."""
    page = visitor_of(telling)("plugins/tell/settings/").press(
        "Save", KEY="canary-new-6", CHOSEN="none-such"
    )

    assert "canary" not in page.text
    assert telling.settings("tell")["KEY"] == "canary-new-6"
