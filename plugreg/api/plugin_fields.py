"""The fields of a plugin in answers of the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from plugreg.api.access import Grade
from plugreg.api.operations import OperationCall
from plugreg.records import FAILED, KnownPlugin, PluginRecord, PluginState

Extension: TypeAlias = Callable[[PluginRecord], dict[str, Any]]
"""Returns the further fields of a plugin."""

_META: Final = (
    *("slug", "human_name", "description", "author", "pub_date"),
    *("version", "website", "license", "package_path", "settings_url"),
)


def plugin_config(
    call: OperationCall, plugin: KnownPlugin | PluginRecord, extend: Extension | None
) -> dict[str, Any]:
    """Return the fields of a plugin; a record has more to show than a known plugin.

    Args:
        call: The call.
        plugin: The plugin.
        extend: What returns the further fields of a record, if there are any.
    """
    meta: dict[str, Any] = dict.fromkeys(_META)
    mixins: dict[str, Any] = {}
    further: dict[str, Any] = {}
    if isinstance(plugin, PluginRecord):
        mixins = {key: {"key": key, "human_name": name} for key, name in plugin.mixins.items()}
        if plugin.active:
            meta = _meta(call, plugin)
        further = {} if extend is None else extend(plugin)
    return {
        "pk": plugin.pk,
        "key": plugin.slug,
        "name": plugin.name,
        "package_name": plugin.distribution,
        "active": plugin.wanted,
        "meta": meta,
        "mixins": mixins,
        "is_builtin": plugin.is_builtin,
        "is_sample": plugin.is_sample,
        "is_installed": plugin.is_installed,
        "is_package": plugin.is_package,
        "is_mandatory": plugin.is_mandatory,
        **further,
    }


def extension_of(call: OperationCall) -> Extension | None:
    """Return a source of the further fields of the extended API, all as of the same moment.

    Args:
        call: The call.

    Returns:
        A function of a record, None where the API is not extended.
    """
    if not call.service.extended:
        return None
    registry = call.service.registry
    running = [frozenset(process.active) for process in registry.shared.processes()]
    needs_of = registry.catalogue.requirements()
    requires: dict[str, tuple[str, ...]] = {str(slug): needs for slug, needs in needs_of.items()}
    required_by: dict[str, list[str]] = {}
    for slug, needs in requires.items():
        for need in needs:
            required_by.setdefault(need, []).append(slug)
    counts: dict[str, int] = {}
    for failure in registry.shared.failures():
        counts[failure.slug] = counts.get(failure.slug, 0) + failure.count

    def fields(record: PluginRecord) -> dict[str, Any]:
        slug = record.slug
        serving = sum(slug in active for active in running)
        return {
            "state": str(record.state),
            "reason": _reason(call, record),
            "wanted": record.wanted,
            "version": record.version,
            "requires": list(requires.get(slug, ())),
            "required_by": sorted(required_by.get(slug, ())),
            "failures": counts.get(slug, 0),
            "circuit": record.circuit,
            "isolated": record.isolated,
            "processes": {"serving": serving, "live": len(running)},
        }

    return fields


def _reason(call: OperationCall, record: PluginRecord) -> str:
    """Return why a plugin is not active; the message of a fault is for superusers alone."""
    is_fault = record.state is PluginState.FAILED and bool(record.errors)
    return record.reason if call.actor.grade is Grade.SUPERUSER or not is_fault else FAILED.reason


def _meta(call: OperationCall, record: PluginRecord) -> Any:
    published = record.published
    meta = {
        "slug": record.slug,
        "human_name": record.title,
        "description": record.description or record.name,
        "author": record.author or "No author found",
        "pub_date": None if published is None else str(published),
        "version": record.version,
        "website": record.website,
        "license": record.license,
        "package_path": _package_path(call, record),
        "settings_url": call.service.url_of(call.service.settings_url, record),
    }
    return call.service.registry.config.scrubbed(record.slug, meta)


def _package_path(call: OperationCall, record: PluginRecord) -> str | None:
    """Return the module of a plugin, or its file: from its source's folder on, but for superusers.

    The folders of a server are not for every reader.
    """
    if record.path is None:
        return record.module
    if call.actor.grade is Grade.SUPERUSER:
        return str(record.path)
    is_package = record.path.name == "__init__.py"
    return "/".join(record.path.parts[-3 if is_package else -2 :])
