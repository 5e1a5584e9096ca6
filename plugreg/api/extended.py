"""Operations and fields that ``extended=True`` adds, for pages and programs of operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from plugreg._state.probe_report import ProbeReport, ProbeUnavailableError
from plugreg.api import models, packages, plugins, settings
from plugreg.api.access import READ, SUPERUSER, Grade
from plugreg.api.errors import InvalidError
from plugreg.api.operations import OperationCall, operation
from plugreg.exceptions import InstallError, PluginBlockedError, RequirementError
from plugreg.install.plan import Change
from plugreg.records import FAILED, PluginRecord, PluginState
from plugreg.settings.view import SettingsView

_FAILURE: tuple[str, ...] = (
    *("message", "exception_type", "traceback", "first_seen", "last_seen"),
    *("count", "process", "pid", "host", "is_running"),
)


# -- the same operations with more fields ----------------------------------------------------


@operation(
    "GET",
    "/api/plugins/",
    READ,
    models.PaginatedExtendedPluginConfigList,
    query=plugins.list_plugins.query,
)
def list_plugins(call: OperationCall) -> models.PaginatedExtendedPluginConfigList:
    """Return one page of the plugins that pass the filters.

    Args:
        call: The call; its query has filters, search, order and page.

    Raises:
        InvalidError: If the list cannot be ordered as requested.
    """
    rows, links = plugins.select(call)
    extend = _extension(call)
    results = [{**plugins.plugin_config(call, row), **extend(row)} for row in rows]
    return models.PaginatedExtendedPluginConfigList.model_validate({**links, "results": results})


@operation("GET", "/api/plugins/{plugin}/", READ, models.ExtendedPluginConfig)
def retrieve(call: OperationCall) -> models.ExtendedPluginConfig:
    """Return one plugin.

    Args:
        call: The call, with the plugin in its path.

    Raises:
        PluginNotFoundError: If there is no such plugin.
    """
    return _shown(call, call.plugin())


list_all = replace(settings.list_all, answer=models.PaginatedExtendedPluginSettingList)
list_settings = replace(settings.list_settings, answer=models.ExtendedPluginSetting)
retrieve_setting = replace(settings.retrieve, answer=models.ExtendedPluginSetting)
change_setting = tuple(replace(row, answer=models.ExtendedPluginSetting) for row in settings.change)
list_user_settings = replace(settings.list_user_settings, answer=models.ExtendedPluginUserSetting)
retrieve_user_setting = replace(
    settings.retrieve_user_setting, answer=models.ExtendedPluginUserSetting
)
change_user_setting = tuple(
    replace(row, answer=models.ExtendedPluginUserSetting) for row in settings.change_user_setting
)


# -- operations that only the extended API has -----------------------------------------------


@operation("GET", "/api/plugins/repairs/", SUPERUSER, models.PluginRepair, many=True)
def repairs(call: OperationCall) -> list[models.PluginRepair]:
    """Return what is wrong with plugins, and what can be done about it.

    Args:
        call: The call.
    """
    names = ("name", "label", "command", "url")
    return [
        models.PluginRepair(
            code=repair.code,
            severity=repair.severity,
            slug=repair.slug,
            title=repair.title,
            text=repair.text,
            actions=[
                models.PluginRepairAction(**{name: getattr(action, name) for name in names})
                for action in repair.actions
            ],
        )
        for repair in call.service.registry.repairs()
    ]


@operation("GET", "/api/plugins/processes/", SUPERUSER, models.PluginProcess, many=True)
def processes(call: OperationCall) -> list[models.PluginProcess]:
    """Return the processes that share the storage, this one first.

    Args:
        call: The call.
    """
    names = models.PluginProcess.model_fields
    return [
        models.PluginProcess(**{name: getattr(process, name) for name in names})
        for process in call.service.registry.shared.processes()
    ]


@operation("GET", "/api/plugins/audit/", SUPERUSER, models.PluginAuditEntry, many=True)
def audit(call: OperationCall) -> list[models.PluginAuditEntry]:
    """Return the attempts to change what is installed, oldest first; none without an installer.

    Args:
        call: The call.
    """
    found = call.service.registry.packages
    names = [name for name in models.PluginAuditEntry.model_fields if name != "changes"]
    return [
        models.PluginAuditEntry(
            **{name: getattr(entry, name) for name in names}, changes=_changes(entry.changes)
        )
        for entry in (() if found is None else found.audit())
    ]


@operation(
    "POST",
    "/api/plugins/plan/",
    SUPERUSER,
    models.PluginPlan,
    body=models.PluginPlanRequest,
    body_required=True,
)
def plan(call: OperationCall) -> models.PluginPlan:
    """Return the changes that an installation would make; nothing is installed.

    Args:
        call: The call.

    Raises:
        InvalidError: If the requirement is not acceptable, or no plan is found.
    """
    fields = {"packagename": "", "url": "", "version": "", **call.fields()}
    requirement, index_url = packages.parse_requirement(fields)
    registry = call.service.registry
    if registry.packages is None:
        raise InvalidError({"non_field_errors": ["Plugin installation is disabled"]})
    try:
        found = registry.packages.plan(requirement, index_url=index_url)
    except RequirementError as error:
        field = next(name for name in (error.field, "packagename", "url") if fields[name].strip())
        raise InvalidError({field: [error.reason]}) from None
    except InstallError as error:
        raise packages.refusal(error) from None
    return models.PluginPlan(
        requirement=found.requirement,
        allowed=found.allowed,
        changes=_changes(found.changes),
        refusals=[models.PluginRefusal(rule=r.rule, reason=r.reason) for r in found.refusals],
        plugins=None if found.plugins is None else list(found.plugins),
        scripts=list(found.scripts),
    )


@operation("POST", "/api/plugins/{plugin}/probe/", SUPERUSER, models.PluginProbe)
def probe(call: OperationCall) -> models.PluginProbe:
    """Load a plugin in a child process, and return what it brings or how it died.

    Args:
        call: The call, with the plugin in its path.

    Raises:
        PluginNotFoundError: If there is no such plugin.
        InvalidError: If the plugin is forbidden, or cannot be probed.
    """
    try:
        return _probe_of(call.service.registry.probe(call.plugin().slug))
    except PluginBlockedError as error:
        raise InvalidError({"non_field_errors": [f"Plugin {error.reason}"]}) from None
    except ProbeUnavailableError:
        # Its message names programs and folders of the server.
        sentence = "No child process can be started to probe the plugin"
        raise InvalidError({"non_field_errors": [sentence]}) from None


@operation(
    "POST", "/api/plugins/{plugin}/reset/", SUPERUSER, models.ExtendedPluginConfig, in_turn=True
)
def reset(call: OperationCall) -> models.ExtendedPluginConfig:
    """Close the circuit of a plugin, and try it again if it has failed.

    Args:
        call: The call, with the plugin in its path.

    Raises:
        PluginNotFoundError: If there is no such plugin.
        RegistryBusyError: If another change takes too long.
    """
    return _shown(call, call.service.registry.reset(call.plugin().slug))


@operation(
    "GET", "/api/plugins/{plugin}/failures/", SUPERUSER, models.PluginProcessFailure, many=True
)
def failures(call: OperationCall) -> list[models.PluginProcessFailure]:
    """Return the failures of a plugin in all processes, with their tracebacks.

    Args:
        call: The call, with the plugin in its path.

    Raises:
        PluginNotFoundError: If there is no such plugin.
    """
    slug = call.plugin().slug
    return [
        models.PluginProcessFailure(
            stage=str(failure.stage),
            name=failure.slug,
            **{name: getattr(failure, name) for name in _FAILURE},
        )
        for failure in call.service.registry.shared.failures()
        if failure.slug == slug
    ]


@operation("GET", "/api/plugins/{plugin}/settings/schema/", READ, models.PluginSchema)
def schema(call: OperationCall) -> models.PluginSchema:
    """Return the JSON Schema of the settings of an active plugin.

    Args:
        call: The call, with the plugin in its path.

    Raises:
        NotFoundError: If the plugin is not active.
    """
    view: SettingsView = settings.settings_of(call)
    return models.PluginSchema(**view.schema())


# -- the parts -------------------------------------------------------------------------------


def _shown(call: OperationCall, record: PluginRecord) -> models.ExtendedPluginConfig:
    fields = {**plugins.plugin_config(call, record), **_extension(call)(record)}
    return models.ExtendedPluginConfig.model_validate(fields)


def _extension(call: OperationCall) -> Callable[[PluginRecord], dict[str, Any]]:
    """Return what gives the further fields of plugins, all of them as of one moment."""
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


def _changes(changes: tuple[Change, ...]) -> list[models.PluginChange]:
    return [
        models.PluginChange(
            **{name: getattr(change, name) for name in models.PluginChange.model_fields}
        )
        for change in changes
    ]


def _probe_of(report: ProbeReport) -> models.PluginProbe:
    names = [name for name in models.PluginProbe.model_fields if "settings" not in name]
    return models.PluginProbe(
        **{name: getattr(report, name) for name in names},
        settings=list(report.settings),
        user_settings=list(report.user_settings),
    )
