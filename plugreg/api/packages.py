"""Operations that install and uninstall distributions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from plugreg._support.url_secrets import masked
from plugreg.api.access import SUPERUSER, Actor
from plugreg.api.errors import InvalidError, shorten_name
from plugreg.api.models import (
    PluginConfigInstall,
    PluginPlan,
    PluginPlanRequest,
    PluginUninstall,
)
from plugreg.api.operations import OperationCall, operation, update_operation
from plugreg.exceptions import RequirementError

if TYPE_CHECKING:
    from plugreg.install import Packages

_NOTHING: Final = MappingProxyType({"packagename": "", "url": "", "version": ""})


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
    fields = {**_NOTHING, **call.fields()}
    if not fields["confirm"]:
        raise InvalidError({"confirm": ["Installation not confirmed"]})
    with _asked(call, fields) as (packages, requirement, index_url):
        report = packages.install(requirement, index_url=index_url, actor=_audit_name(call.actor))
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
    packages = _installer(call, "uninstalling")
    packages.uninstall(record.slug, delete_config=delete_config, actor=_audit_name(call.actor))
    return PluginUninstall(delete_config=delete_config)


@operation(
    "POST",
    "/api/plugins/plan/",
    SUPERUSER,
    PluginPlan,
    body=PluginPlanRequest,
    body_required=True,
)
def plan(call: OperationCall) -> PluginPlan:
    """Return the changes that an installation would make; nothing is installed."""
    with _asked(call, {**_NOTHING, **call.fields()}) as (packages, requirement, index_url):
        return PluginPlan.of(packages.plan(requirement, index_url=index_url))


def _installer(call: OperationCall, action: str) -> Packages:
    """Return the installer. Raises InvalidError where there is none."""
    packages = call.service.registry.packages
    if packages is None:
        raise InvalidError({"non_field_errors": [f"Plugin {action} is disabled"]})
    return packages


@contextmanager
def _asked(
    call: OperationCall, fields: Mapping[str, Any]
) -> Iterator[tuple[Packages, str, str | None]]:
    """Provide the installer, and the requirement and index that the fields of a body name."""
    requirement, index_url = _parse_requirement(fields)
    packages = _installer(call, "installation")
    try:
        yield packages, requirement, index_url
    except RequirementError as error:
        # The fault belongs to the field that holds the requirement.
        names = (error.field, "packagename", "url")
        field = next(name for name in names if fields[name].strip())
        raise InvalidError({field: [error.reason]}) from None


def _audit_name(actor: Actor) -> str:
    """Return the name of a caller in the audit."""
    return "a service" if actor.id is None else f"user {actor.id}"


def _parse_requirement(fields: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return requirement and index of the fields of a body. Raises InvalidError."""
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
