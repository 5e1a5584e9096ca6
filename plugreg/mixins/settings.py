"""The capability to be configured (behaviour.md, sections 4 and 5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plugreg.declarations import parse_definitions
from plugreg.definitions import SettingDefinition
from plugreg.mixins._spec import MixinSpec
from plugreg.records import EMPTY


class SettingsMixin:
    """For plugins that declare settings.

    Both attributes map keys to definitions. ``USER_SETTINGS`` have one value for each user. They
    are read when the plugin is activated and never changed.
    """

    SETTINGS: Mapping[str, Mapping[str, Any] | SettingDefinition] = EMPTY
    USER_SETTINGS: Mapping[str, Mapping[str, Any] | SettingDefinition] = EMPTY


def _has_settings(plugin: SettingsMixin) -> bool:
    return bool(plugin.SETTINGS or plugin.USER_SETTINGS)


def _check(plugin: SettingsMixin) -> Iterator[str]:
    for attribute in ("SETTINGS", "USER_SETTINGS"):
        _, faults = parse_definitions(getattr(plugin, attribute), attribute)
        yield from faults


SPEC = MixinSpec(
    key="settings",
    human_name="Settings",
    cls=SettingsMixin,
    enabled=_has_settings,
    order=10,
    check=_check,
)
