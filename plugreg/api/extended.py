"""Operations and fields that ``extended=True`` adds, for pages and programs of operators."""

from __future__ import annotations

from plugreg._state.probe_report import ProbeUnavailableError
from plugreg.api import models, packages, plugins, settings
from plugreg.api.access import READ, SUPERUSER
from plugreg.api.errors import InvalidError
from plugreg.api.operations import OperationCall, operation
from plugreg.exceptions import PluginBlockedError

# -- operations that only the extended API has -----------------------------------------------

plan = packages.plan


@operation("GET", "/api/plugins/repairs/", SUPERUSER, models.PluginRepair, many=True)
def repairs(call: OperationCall) -> list[models.PluginRepair]:
    """Return the current problems of plugins, and actions that solve them.

    Args:
        call: The call.
    """
    return [models.PluginRepair.of(repair) for repair in call.service.registry.repairs()]


@operation("GET", "/api/plugins/processes/", SUPERUSER, models.PluginProcess, many=True)
def processes(call: OperationCall) -> list[models.PluginProcess]:
    """Return the processes that share the storage, this process first.

    Args:
        call: The call.
    """
    found = call.service.registry.shared.processes()
    return [models.PluginProcess.of(process) for process in found]


@operation("GET", "/api/plugins/audit/", SUPERUSER, models.PluginAuditEntry, many=True)
def audit(call: OperationCall) -> list[models.PluginAuditEntry]:
    """Return the attempts to change distributions, oldest first; none without an installer.

    Args:
        call: The call.
    """
    found = call.service.registry.packages
    entries = () if found is None else found.audit()
    return [models.PluginAuditEntry.of(entry) for entry in entries]


@operation("POST", "/api/plugins/{plugin}/probe/", SUPERUSER, models.PluginProbe)
def probe(call: OperationCall) -> models.PluginProbe:
    """Load a plugin in a child process, and return its contents or how it ended the process.

    Args:
        call: The call, with the plugin in its path.

    Raises:
        PluginNotFoundError: If there is no such plugin.
        InvalidError: If the plugin is forbidden, or cannot be probed.
    """
    try:
        return models.PluginProbe.of(call.service.registry.probe(call.plugin().slug))
    except PluginBlockedError as error:
        raise InvalidError({"non_field_errors": [f"Plugin {error.reason}"]}) from None
    except ProbeUnavailableError:
        # Its message names programs and folders of the server.
        sentence = "No child process can be started to probe the plugin"
        raise InvalidError({"non_field_errors": [sentence]}) from None


@operation(
    "POST", "/api/plugins/{plugin}/reset/", SUPERUSER, models.ExtendedPluginConfig, in_turn=True
)
def reset(call: OperationCall) -> models.PluginConfig:
    """Close the circuit of a plugin, and try it again if it has failed.

    Args:
        call: The call, with the plugin in its path.

    Raises:
        PluginNotFoundError: If there is no such plugin.
        RegistryBusyError: If another change takes too long.
    """
    return plugins.shown(call, call.service.registry.reset(call.plugin().slug))


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
        models.PluginProcessFailure.of(failure)
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
    return models.PluginSchema(**settings.view_of(call).schema())
