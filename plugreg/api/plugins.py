"""Operations on plugins: lists, states, metadata and UI features, and on the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from plugreg import exceptions
from plugreg._state.probe_report import ProbeFailedError, ProbeUnavailableError
from plugreg._support.guard import safe_str
from plugreg.api import models
from plugreg.api.access import READ, STAFF, SUPERUSER
from plugreg.api.bodies import read_json
from plugreg.api.errors import ConflictError, InvalidError
from plugreg.api.operations import (
    PAGING,
    OperationCall,
    Parameter,
    operation,
    update_operation,
)
from plugreg.api.plugin_fields import extension_of, plugin_config
from plugreg.records import PluginRecord, PluginState
from plugreg.selection import Filters, Selection


@operation(
    "GET",
    "/api/plugins/",
    READ,
    models.PaginatedPluginConfigList,
    query=(
        Parameter("active", bool, "Whether the plugin is wanted active"),
        Parameter("builtin", bool, "Whether the host brings it"),
        Parameter("installed", bool, "Whether it is there"),
        Parameter("mandatory", bool, "Whether it must be active"),
        Parameter("mixin", str, "Mixin keys, separated by commas; the plugin must have all"),
        Parameter("ordering", str, "key, name or active, with - in front for descending"),
        Parameter("sample", bool, "Whether it is a sample"),
        Parameter("search", str, "Words that must all be in key or name"),
        *PAGING,
    ),
)
def list_plugins(call: OperationCall) -> models.PaginatedPluginConfigList:
    """Return a page of the plugins that pass the filters.

    Args:
        call: The call; its query has filters, search, order and page.

    Raises:
        InvalidError: If the list cannot be ordered as requested.
    """
    rows, links = _select(call)
    extend = extension_of(call)
    # A record costs more than a line of the snapshot, which says all of most inactive plugins.
    report_of = call.service.registry.catalogue.report_of
    results = [
        plugin_config(
            call,
            rows[index]
            if extend or known.state is PluginState.ACTIVE or report_of(known) is not None
            else known,
            extend,
        )
        for index, known in enumerate(rows.plugins)
    ]
    # A single validation of all rows; validating each row would take longer than the search.
    return call.answer(models.PaginatedPluginConfigList, {**links, "results": results})


@operation("GET", "/api/plugins/{plugin}/", READ, models.PluginConfig)
def retrieve(call: OperationCall) -> models.PluginConfig:
    """Return a plugin.

    Args:
        call: The call, with the plugin in its path.

    Raises:
        PluginNotFoundError: If there is no such plugin.
    """
    return shown(call, call.plugin())


@update_operation("/api/plugins/{plugin}/activate/", SUPERUSER, models.PluginActivate, in_turn=True)
def activate(call: OperationCall) -> models.PluginActivate:
    """Store whether a plugin is wanted active, and switch it.

    A plugin that would end the host's process, as a probe shows, is not switched on.

    Args:
        call: The call, with the plugin in its path.

    Returns:
        The desired state afterwards. A plugin that fails is wanted active nevertheless.

    Raises:
        PluginNotFoundError: If there is no such plugin.
        InvalidError: If the plugin may not be switched; the sentence says why.
        RegistryBusyError: If another change takes too long.
    """
    record = call.plugin()
    wanted: bool = call.fields()["active"]
    registry = call.service.registry
    try:
        record = _activate(call, record) if wanted else registry.deactivate(record.slug)
    except ProbeFailedError as error:
        report = error.report
        raise _invalid(
            f"Plugin was not activated: the probe of '{report.slug}' ended with "
            f"'{report.outcome}' ({report.detail})"
        ) from None
    except exceptions.PluginNotFoundError:
        raise _invalid("Plugin is not installed") from None
    except (exceptions.PluginMandatoryError, exceptions.PluginRequiredError) as error:
        raise _invalid(why_it_stays(record.slug, error)) from None
    except exceptions.PluginBlockedError as error:
        raise _invalid(f"Plugin {error.reason}") from None
    except exceptions.PluginSlugError as error:
        raise _invalid(f"Plugin cannot be deactivated: {error.reason}") from None
    if wanted and not record.wanted and not record.pk:
        raise _invalid("Plugin was registered by hand, and only its host can switch it on")
    # A later change may have been stored meanwhile.
    return models.PluginActivate(active=record.wanted)


def why_it_stays(
    slug: str, error: exceptions.PluginMandatoryError | exceptions.PluginRequiredError
) -> str:
    """Return why a plugin cannot be switched off, as a sentence.

    Args:
        slug: The plugin.
        error: The refusal.
    """
    if isinstance(error, exceptions.PluginRequiredError):
        names = ", ".join(f"'{name}'" for name in error.needed_by)
        return f"Plugin is needed by {names}; deactivate them first"
    if error.slug != slug:
        return f"Plugin is needed by '{error.slug}', which is mandatory"
    return "INVE-E10: Mandatory plugin cannot be deactivated"


def _activate(call: OperationCall, record: PluginRecord) -> PluginRecord:
    """Activate a plugin, after a probe if the host wants it and it is possible."""
    registry = call.service.registry
    try:
        return registry.activate(record.slug, probe=call.service.probe)
    except ProbeUnavailableError:
        # Where no child can be started nothing speaks against the plugin. If it ends this
        # process, the next process keeps it off.
        return registry.activate(record.slug)


@operation("DELETE", "/api/plugins/{plugin}/", SUPERUSER, None, status=204, in_turn=True)
def delete(call: OperationCall) -> None:
    """Forget everything that is stored of a plugin that is off.

    Args:
        call: The call, with the plugin in its path.

    Raises:
        PluginNotFoundError: If there is no such plugin.
        InvalidError: If the plugin is mandatory, active, or registered by hand.
        RegistryBusyError: If another change takes too long.
    """
    record = call.plugin()
    try:
        return call.service.registry.delete(record.slug)
    except exceptions.PluginMandatoryError:
        reason = "mandatory"
    except exceptions.PluginActiveError:
        reason = "currently active"
    except exceptions.PluginSlugError:
        reason = "currently active" if record.active else "registered by hand"
    raise InvalidError(f"Plugin cannot be deleted as it is {reason}")


@operation("GET", "/api/plugins/{plugin}/admin/", STAFF, models.PluginAdminDetail)
def admin(call: OperationCall) -> models.PluginAdminDetail:
    """Return script and context of a plugin's admin panel, null unless active.

    Args:
        call: The call, with the plugin in its path.

    Raises:
        PluginNotFoundError: If there is no such plugin.
    """
    return models.PluginAdminDetail.of(call.service.registry.admin(call.plugin().slug))


@operation("GET", "/api/plugins/{plugin}/metadata/", STAFF, models.Metadata)
def metadata(call: OperationCall) -> models.Metadata:
    """Return the metadata of a plugin, as it was written.

    Args:
        call: The call, with the plugin in its path.

    Raises:
        PluginNotFoundError: If there is no such plugin.
        ConflictError: If the metadata hold a protected value.
    """
    return _metadata_of(call, call.plugin().slug)


@update_operation("/api/plugins/{plugin}/metadata/", STAFF, models.Metadata)
def change_metadata(call: OperationCall) -> models.Metadata:
    """Replace the metadata of a plugin, or with PATCH its keys at the first level.

    Args:
        call: The call, with the plugin in its path.

    Raises:
        PluginNotFoundError: If there is no such plugin.
        InvalidError: If the metadata are no object that may be stored.
        ConflictError: If the stored metadata hold a protected value and are not replaced.
    """
    slug = call.plugin().slug
    fields = call.fields()
    if "metadata" not in fields:
        return _metadata_of(call, slug)
    data = fields["metadata"]
    if call.form and isinstance(data, str):
        # A form has strings only, so an object is sent as its JSON.
        try:
            data = read_json(data)
        except ValueError:
            raise InvalidError({"metadata": ["Value must be valid JSON."]}) from None
    if data is None:
        raise InvalidError({"metadata": ["This field may not be null."]})
    merge = call.operation.method == "PATCH"
    try:
        stored = call.service.registry.config.set_metadata(slug, data, merge)
    except exceptions.SettingError as error:
        raise InvalidError({"metadata": [error.reason]}) from None
    return models.Metadata(metadata=stored)


@operation(
    "POST",
    "/api/plugins/reload/",
    SUPERUSER,
    models.PluginReload,
    body=models.PluginReload,
    status=201,
    in_turn=True,
)
def reload(call: OperationCall) -> models.PluginReload:
    """Reload the registries of all processes, and echo the body.

    Args:
        call: The call.

    Raises:
        RegistryBusyError: If another change takes too long.
    """
    fields = call.fields()
    call.service.registry.shared.reload_everywhere(
        full=fields["full_reload"],
        force=fields["force_reload"],
        collect=fields["collect_plugins"],
    )
    return models.PluginReload(**fields)


@operation("GET", "/api/plugins/status/", SUPERUSER, models.PluginRegistryStatus)
def status(call: OperationCall) -> models.PluginRegistryStatus:
    """Return the status of the registry of this process.

    Args:
        call: The call.
    """
    return models.PluginRegistryStatus.model_validate(call.service.registry.status())


@operation(
    "GET",
    "/api/plugins/ui/features/{feature}/",
    READ,
    models.PluginUIFeature,
    many=True,
    any_query=True,
)
def ui_features(call: OperationCall) -> list[models.PluginUIFeature]:
    """Return the UI features of a type that active plugins offer to this actor.

    Args:
        call: The call, with the type in its path. All parameters of its query are for the plugins.
    """
    context = {name: value for name, value in call.parameters.items() if name != "feature"}
    if isinstance(given := context.get("context"), Mapping):
        # In Python the parameters of the page may come as a mapping.
        del context["context"]
        context = {**given, **context}
    features = call.service.registry.ui_features(
        safe_str(call.parameters["feature"]), context=context, actor=call.actor
    )
    # Absent strings are left out.
    return [
        models.PluginUIFeature(
            **{name: value for name, value in asdict(feature).items() if value is not None}
        )
        for feature in features
    ]


def _select(call: OperationCall) -> tuple[Selection, dict[str, Any]]:
    """Return a page of the plugins that pass the filters of a call, and the fields of the page.

    Raises InvalidError if the list cannot be ordered as requested.
    """
    conditions = ("active", "builtin", "installed", "mandatory", "sample")
    filters = Filters(
        mixins=frozenset(_split_names(call.query["mixin"])),
        **{name: call.query[name] for name in conditions},
    )
    ordering = _split_names(call.query["ordering"])
    try:
        found = call.service.registry.catalogue.select(
            filters, search=call.query["search"] or "", ordering=ordering
        )
    except ValueError as error:
        raise InvalidError({"ordering": [str(error)]}) from None
    return call.page(found)


def shown(call: OperationCall, record: PluginRecord) -> models.PluginConfig:
    """Return a plugin as the answer of a call.

    Args:
        call: The call.
        record: The plugin.
    """
    return call.answer(models.PluginConfig, plugin_config(call, record, extension_of(call)))


def _split_names(value: str | None) -> list[str]:
    """Return the names in a string that separates them by commas, in lower case."""
    names = (name.strip().lower() for name in (value or "").split(","))
    return [name for name in names if name]


def _metadata_of(call: OperationCall, slug: str) -> models.Metadata:
    config = call.service.registry.config
    # A client that writes back a copy with a masked value would store the mask.
    fault = config.metadata_fault(slug)
    if fault is not None:
        raise ConflictError(fault)
    return models.Metadata(metadata=config.metadata(slug))


def _invalid(sentence: str) -> InvalidError:
    return InvalidError({"non_field_errors": [sentence]})
