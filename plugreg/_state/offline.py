"""Settings of a plugin that is not loaded: by the report of its last probe, and by its rows.

So an operator can look at them and set them while nothing of the plugin is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from plugreg._state.probe_report import ProbedSetting, ProbeOutcome, ProbeReport
from plugreg.settings.definition import SettingDefinition, native_of
from plugreg.settings.store import SettingsStore
from plugreg.settings.values import FIRST_VERSION, Declared
from plugreg.settings.view import SettingsView, user_view

_CONVERTERS: Final = MappingProxyType({"boolean": bool, "integer": int})


def offline_view(
    store: SettingsStore,
    slug: str,
    report: ProbeReport | None,
    user: int | None = None,
    keys: Iterable[str] = (),
) -> SettingsView:
    """Return settings of a plugin that is not loaded, of which nothing is written by this.

    A value is checked as far as a report says how: by its kind and its choices. Validators of the
    plugin, and what it does before and after a write, are not called.

    Args:
        store: The settings of all plugins.
        slug: The plugin.
        report: The last report on this version. Without a report, or if the probe failed, each
            stored value is a string.
        user: Number of a user, None for the plugin's own settings.
        keys: Upper-case keys that count as strings where there is no report.

    Raises:
        SettingError: If *user* is no whole number.
    """
    values = store.of(slug)
    if report is not None and report.outcome is ProbeOutcome.OK:
        declared = Declared(
            settings=_definitions(report.settings),
            user_settings=_definitions(report.user_settings),
            version=report.settings_version,
        )
    else:
        stored = values.stored
        texts = {
            key: SettingDefinition(key=key, name=key) for key in sorted({*stored.of(user), *keys})
        }
        declared = Declared(
            settings={} if user is not None else texts,
            user_settings=texts if user is not None else {},
            version=stored.version or FIRST_VERSION,
        )
    values.declare(declared)
    definitions = declared.of(user)
    if user is None:
        return SettingsView(store, slug, definitions, version=declared.version)
    return user_view(store, slug, definitions, user, declared.version)


def _definitions(settings: Mapping[str, ProbedSetting]) -> dict[str, SettingDefinition]:
    return {key: _definition(setting) for key, setting in settings.items()}


def _definition(setting: ProbedSetting) -> SettingDefinition:
    kind = _CONVERTERS.get(setting.type)
    plain = SettingDefinition(key=setting.key, validator=kind)
    choices = [(native_of(plain, value), label) for value, label in setting.choices]
    default = setting.default
    return SettingDefinition(
        key=setting.key,
        name=setting.name,
        description=setting.description,
        units=setting.units,
        default=None if default is None else native_of(plain, default),
        validator=kind,
        choices=choices or None,
        protected=setting.protected,
        required=setting.required,
        hidden=setting.hidden,
    )
