"""Capabilities of plugins, one file each, and the table of them.

A host adds rows of its own with ``PluginRegistry(mixins=[…])``, which behave like these.
"""

from typing import Final

from plugreg.mixins import (
    action,
    events,
    mail,
    navigation,
    notification,
    schedule,
    settings,
    ui,
    urls,
    validation,
)
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

MIXINS: Final[tuple[MixinSpec, ...]] = (
    # Every plugin has the base, whatever kind of object it is.
    MixinSpec(key="base", human_name="base", cls=object, order=0),
    settings.SPEC,
    schedule.SPEC,
    urls.SPEC,
    ui.SPEC,
    navigation.SPEC,
    events.SPEC,
    action.SPEC,
    validation.SPEC,
    notification.SPEC,
    mail.SPEC,
)
"""plugreg's own capabilities, each before those of higher order."""
