"""The capability to be configured (behaviour.md, sections 4 and 5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plugreg._support.guard import safe_repr
from plugreg.mixins._spec import MixinSpec
from plugreg.records import EMPTY
from plugreg.settings.declaration import parse_definitions
from plugreg.settings.definition import SettingDefinition
from plugreg.settings.rows import FIRST_VERSION


class SettingsMixin:
    """For plugins that declare settings.

    ``SETTINGS`` and ``USER_SETTINGS`` map keys to definitions; the latter have one value for each
    user. ``SETTINGS_VERSION`` is the version of both, a whole number from 1 on: raise it where
    values stored by an older version would no longer fit. They are read when the plugin is
    activated and never changed.
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
        """Return the values of SETTINGS_VERSION for ``values``, stored by an older ``version``.

        ``values`` are the stored texts by upper-case key, references as dicts; those of the plugin
        itself, or of one ``user``. Only keys declared now may be given, with any value that suits
        them; keys left out are removed. It is called before activation, for each owner of values
        once, and may be called again where others write at that moment; so it is to do nothing but
        give values. All is stored together or, where anything raises or does not fit, nothing: then
        the plugin fails, and it is tried again at the next reload.
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
    """Return why a plugin's SETTINGS_VERSION cannot be one, or None."""
    # A bool is an int, and True is meant for something else.
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
