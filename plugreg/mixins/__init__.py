"""Capabilities of plugins, each in a file of its own, and their table.

A host adds rows of its own with ``PluginRegistry(mixins=[…])``, which behave like these. A
capability's module is imported when one of its names is used, so programs do not import
capabilities that none of their plugins has.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Final

from plugreg._support import lazy_names

if TYPE_CHECKING:
    from plugreg.mixins._spec import MixinSpec
    from plugreg.mixins.action import ActionMixin
    from plugreg.mixins.events import EventMixin
    from plugreg.mixins.mail import MailMixin
    from plugreg.mixins.navigation import (
        NavigationLink,
        NavigationMixin,
        navigation_links,
        navigation_tab_name,
    )
    from plugreg.mixins.notification import NotificationMixin
    from plugreg.mixins.schedule import ScheduledTask, ScheduleMixin, scheduled_tasks
    from plugreg.mixins.settings import SettingsMixin
    from plugreg.mixins.ui import UIRequest, UserInterfaceMixin
    from plugreg.mixins.urls import UrlsMixin, plugin_urls
    from plugreg.mixins.validation import (
        ValidationFault,
        ValidationMixin,
        ask_generators,
        ask_validators,
    )

    MIXINS: tuple[MixinSpec, ...]
    """plugreg's own capabilities, each before those of higher order."""
else:

    def __getattr__(name: str) -> object:
        # PEP 562: a capability that no plugin has is not imported.
        if name == "MIXINS":
            return _rows(map(import_module, _CAPABILITIES))
        if name in KEYS[1:]:
            return import_module(f"{__name__}.{name}")
        return lazy_names(__name__, _NAMES)(name)


__all__ = [
    "MIXINS",
    "ActionMixin",
    "EventMixin",
    "MailMixin",
    "MixinSpec",
    "NavigationLink",
    "NavigationMixin",
    "NotificationMixin",
    "ScheduleMixin",
    "ScheduledTask",
    "SettingsMixin",
    "UIRequest",
    "UrlsMixin",
    "UserInterfaceMixin",
    "ValidationFault",
    "ValidationMixin",
    "ask_generators",
    "ask_validators",
    "navigation_links",
    "navigation_tab_name",
    "plugin_urls",
    "scheduled_tasks",
]

_NAMES: Final = MappingProxyType(
    {
        "_spec": "MixinSpec",
        "settings": "SettingsMixin",
        "schedule": "ScheduledTask ScheduleMixin scheduled_tasks",
        "urls": "UrlsMixin plugin_urls",
        "ui": "UIRequest UserInterfaceMixin",
        "navigation": "NavigationLink NavigationMixin navigation_links navigation_tab_name",
        "events": "EventMixin",
        "action": "ActionMixin",
        "validation": "ValidationFault ValidationMixin ask_generators ask_validators",
        "notification": "NotificationMixin",
        "mail": "MailMixin",
    }
)
"""The names of each module; the modules of capabilities are in the order of their rows."""

BASE_KEY: Final = "base"
KEYS: Final = (BASE_KEY, *tuple(_NAMES)[1:])
"""The keys of plugreg's rows. Except for the base, each is the name of its module here."""


_CAPABILITIES: Final = tuple([f"{__name__}.{key}" for key in KEYS[1:]])


class MixinTable:
    """plugreg's rows and those of a host.

    Iterating yields the rows that a plugin of this process may have, without that of every plugin:
    no class can derive from plugreg's rows whose module was not imported.
    """

    def __init__(self, own: Iterable[MixinSpec]) -> None:
        self._own = [*own]

    def __iter__(self) -> Iterator[MixinSpec]:
        modules = filter(None, map(sys.modules.get, _CAPABILITIES))
        # A module that another thread has only begun to import has no row.
        known = [module.SPEC for module in modules if hasattr(module, "SPEC")]
        return iter(known + self._own)

    def all(self) -> tuple[MixinSpec, ...]:
        """Return all rows, plugreg's first."""
        return (*_rows(map(import_module, _CAPABILITIES)), *self._own)


def _rows(modules: Iterable[ModuleType]) -> tuple[MixinSpec, ...]:
    """Return plugreg's rows of these modules."""
    from plugreg.mixins._spec import BASE

    return (BASE, *(module.SPEC for module in modules))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
