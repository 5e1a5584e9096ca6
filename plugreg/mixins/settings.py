"""The capability to declare settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plugreg._support.guard import safe_repr
from plugreg.mixins._spec import MixinSpec
from plugreg.records import EMPTY
from plugreg.settings.declaration import parse_definitions
from plugreg.settings.definition import SettingDefinition
from plugreg.settings.values import FIRST_VERSION


class SettingsMixin:
    """For plugins that declare settings.

    ``SETTINGS`` and ``USER_SETTINGS`` map keys to definitions. User settings have a value for
    each user. ``SETTINGS_VERSION`` is the version of both, a whole number from 1 on. Raise it when
    values that an older version stored would no longer fit. All three are read when the plugin is
    activated, and never changed.
    """

    SETTINGS: Mapping[str, Mapping[str, Any] | SettingDefinition] = EMPTY
    USER_SETTINGS: Mapping[str, Mapping[str, Any] | SettingDefinition] = EMPTY
    SETTINGS_VERSION: int = FIRST_VERSION

    def migrate_settings(
        self,
        values: dict[str, Any],
        version: int,  # noqa: ARG002 - for those who override this
        user: int | None = None,  # noqa: ARG002
    ) -> Mapping[str, Any]:
        """Convert values that an older version of the plugin has stored.

        It is called before activation, once for each owner of values, and again if others write
        at that moment. So it must have no effect but its result. The results are stored together.
        If anything raises or does not fit, nothing is stored: the plugin fails, and the next
        reload tries again.

        Args:
            values: The stored strings by upper-case key, references as dicts.
            version: The version that stored them.
            user: The user whose values they are, None for the plugin's own.

        Returns:
            Values for the current ``SETTINGS_VERSION``, by declared keys. Keys that are left out
            are removed.
        """
        return values


def _has_settings(plugin: SettingsMixin) -> bool:
    return bool(plugin.SETTINGS or plugin.USER_SETTINGS)


def _check(plugin: SettingsMixin) -> Iterator[str]:
    for attribute in ("SETTINGS", "USER_SETTINGS"):
        _, faults = parse_definitions(getattr(plugin, attribute), attribute)
        yield from faults
    fault = version_fault(plugin.SETTINGS_VERSION)
    if fault is not None:
        yield fault


def version_fault(version: object) -> str | None:
    """Return why a plugin's SETTINGS_VERSION is not valid, or None.

    Args:
        version: The plugin's SETTINGS_VERSION.
    """
    # A bool is an int, but True as a version is a mistake.
    if type(version) is int and version >= FIRST_VERSION:
        return None
    return f"SETTINGS_VERSION must be a whole number from 1 on, not {safe_repr(version)}"


SPEC = MixinSpec(
    key="settings",
    human_name="Settings",
    cls=SettingsMixin,
    enabled=_has_settings,
    order=10,
    check=_check,
)
