"""Operations that install and uninstall distributions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugreg._support.url_secrets import masked
from plugreg.api.access import SUPERUSER, Actor
from plugreg.api.errors import ConflictError, InvalidError, shorten_name
from plugreg.api.models import PluginConfigInstall, PluginUninstall
from plugreg.api.operations import OperationCall, operation, update_operation
from plugreg.exceptions import InstallError, RequirementError
from plugreg.install.exceptions import InstallBusyError


class InstallResult(PluginConfigInstall):
    """Request and outcome of an installation.

    ``result`` and ``success`` are sentences, ``output`` is the installer's output, ``input``
    repeats the four fields. Credentials in them are masked.
    """

    result: str
    success: str
    output: str
    installed_version: str
    input: dict[str, Any]


@operation(
    "POST",
    "/api/plugins/install/",
    SUPERUSER,
    PluginConfigInstall,
    body=PluginConfigInstall,
    body_required=True,
    status=201,
    in_turn=True,
)
def install(call: OperationCall) -> PluginConfigInstall:
    """Install a distribution."""
    fields = {"packagename": "", "url": "", "version": "", **call.fields()}
    if not fields["confirm"]:
        raise InvalidError({"confirm": ["Installation not confirmed"]})
    requirement, index_url = parse_requirement(fields)
    packages = call.service.registry.packages
    if packages is None:
        raise InvalidError({"non_field_errors": ["Plugin installation is disabled"]})
    try:
        report = packages.install(requirement, index_url=index_url, actor=_audit_name(call.actor))
    except RequirementError as error:
        # The fault belongs to the field that holds the requirement.
        field = next(name for name in (error.field, "packagename", "url") if fields[name].strip())
        raise InvalidError({field: [error.reason]}) from None
    except InstallError as error:
        raise refusal(error) from None
    fields |= {name: masked(fields[name]) for name in ("packagename", "url")}
    return InstallResult(
        **fields,
        result=f"Installed plugin into {report.location}",
        success=f"Found plugins: {', '.join(repr(slug) for slug in report.plugins)}",
        output=report.output,
        installed_version=report.version,
        input=dict(fields),
    )


@update_operation("/api/plugins/{plugin}/uninstall/", SUPERUSER, PluginUninstall, in_turn=True)
def uninstall(call: OperationCall) -> PluginUninstall:
    """Uninstall the distribution of a plugin."""
    record = call.plugin()
    delete_config: bool = call.fields()["delete_config"]
    packages = call.service.registry.packages
    if packages is None:
        raise InvalidError({"non_field_errors": ["Plugin uninstalling is disabled"]})
    try:
        packages.uninstall(record.slug, delete_config=delete_config, actor=_audit_name(call.actor))
    except InstallError as error:
        raise refusal(error) from None
    return PluginUninstall(delete_config=delete_config)


def refusal(error: InstallError) -> ConflictError | InvalidError:
    """Return the refusal for an error of the installer.

    Args:
        error: The error.
    """
    if isinstance(error, InstallBusyError):
        return ConflictError("Another installation is running")
    return InvalidError({"non_field_errors": error.reasons})


def _audit_name(actor: Actor) -> str:
    """Return the name of a caller in the audit."""
    return "a service" if actor.id is None else f"user {actor.id}"


def parse_requirement(fields: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return requirement and index of the fields of a body.

    Args:
        fields: The fields ``packagename``, ``url`` and ``version``.

    Raises:
        InvalidError: If they name nothing that can be installed.
    """
    name, url, version = (fields[field].strip() for field in ("packagename", "url", "version"))
    if not name and not url:
        sentence = "Either packagename or URL must be provided"
        raise InvalidError({"packagename": [sentence], "url": [sentence]})
    if "+" in url.partition("://")[0]:
        # A repository determines the version itself.
        return (f"{name} @ {url}" if name else url), None
    if not name:
        raise InvalidError({"packagename": ["An index needs the name of a package in it"]})
    if version and "@" in name:
        sentence = "What is at a URL says itself which version it is; leave the version out"
        raise InvalidError({"version": [sentence]})
    return name + _specifier(version), url or None


def _specifier(version: str) -> str:
    """Return the specifier for a version or a range. Raises InvalidError for anything else."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    is_exact = bool(version) and not version.startswith(("=", "<", ">", "!", "~"))
    specifier = f"=={version}" if is_exact else version
    try:
        SpecifierSet(specifier)
    except InvalidSpecifier:
        sentence = f"'{shorten_name(version)}' is no version by PEP 440; write one such as '2.4'"
        raise InvalidError({"version": [sentence]}) from None
    return specifier
