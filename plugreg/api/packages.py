"""Operations that install and uninstall distributions (behaviour.md, sections 2.2, 2.19, 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugreg.api.access import Actor
from plugreg.api.errors import ConflictError, InvalidError, named
from plugreg.api.models import PluginConfigInstall, PluginUninstall
from plugreg.api.operations import Call
from plugreg.exceptions import InstallError, RequirementError
from plugreg.install.exceptions import InstallBusyError
from plugreg.install.requirements import masked


class InstallResult(PluginConfigInstall):
    """What was asked for, as clients know it, and what came of it (section 2.2).

    ``result`` and ``success`` are sentences, ``output`` is what the installer told, ``input``
    the four fields again. Credentials in them are masked.
    """

    result: str
    success: str
    output: str
    installed_version: str
    input: dict[str, Any]


def install(call: Call) -> PluginConfigInstall:
    """Install a distribution (section 2.2)."""
    fields = {"packagename": "", "url": "", "version": "", **call.fields()}
    if not fields["confirm"]:
        raise InvalidError({"confirm": ["Installation not confirmed"]})
    requirement, index_url = _wanted(fields)
    packages = call.service.registry.packages
    if packages is None:
        raise InvalidError({"non_field_errors": ["Plugin installation is disabled"]})
    try:
        report = packages.install(requirement, index_url=index_url, actor=_named(call.actor))
    except RequirementError as error:
        # A name that stands in the URL's field is wrong there, and a URL in the name's.
        field = next(name for name in (error.field, "packagename", "url") if fields[name].strip())
        raise InvalidError({field: [error.reason]}) from None
    except InstallError as error:
        raise _refusal(error) from None
    fields |= {name: masked(fields[name]) for name in ("packagename", "url")}
    return InstallResult(
        **fields,
        result=f"Installed plugin into {report.location}",
        success=f"Found plugins: {', '.join(repr(each) for each in report.plugins)}",
        output=report.output,
        installed_version=report.version,
        input=dict(fields),
    )


def uninstall(call: Call) -> PluginUninstall:
    """Uninstall the distribution of a plugin (sections 2.19, 8.2)."""
    record = call.plugin()
    delete_config: bool = call.fields()["delete_config"]
    packages = call.service.registry.packages
    if packages is None:
        raise InvalidError({"non_field_errors": ["Plugin uninstalling is disabled"]})
    try:
        packages.uninstall(record.slug, delete_config=delete_config, actor=_named(call.actor))
    except InstallError as error:
        raise _refusal(error) from None
    return PluginUninstall(delete_config=delete_config)


def _refusal(error: InstallError) -> ConflictError | InvalidError:
    if isinstance(error, InstallBusyError):
        return ConflictError("Another installation is running")
    return InvalidError({"non_field_errors": error.reasons})


def _named(actor: Actor) -> str:
    """Return who asks, as the audit has it."""
    return "a service" if actor.id is None else f"user {actor.id}"


def _wanted(fields: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the requirement and the index that the fields of a body mean (section 8.1)."""
    name, url, version = (fields[each].strip() for each in ("packagename", "url", "version"))
    if not name and not url:
        sentence = "Either packagename or URL must be provided"
        raise InvalidError({"packagename": [sentence], "url": [sentence]})
    if "+" in url.partition("://")[0]:
        # A repository says itself which version it is.
        return (f"{name} @ {url}" if name else url), None
    if not name:
        raise InvalidError({"packagename": ["An index needs the name of a package in it"]})
    if version and "@" in name:
        sentence = "What is at a URL says itself which version it is; leave the version out"
        raise InvalidError({"version": [sentence]})
    return name + _specifier(version), url or None


def _specifier(version: str) -> str:
    """Return what asks for a version, or for one of a range; what is neither is refused."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    is_exact = bool(version) and not version.startswith(("=", "<", ">", "!", "~"))
    specifier = f"=={version}" if is_exact else version
    try:
        SpecifierSet(specifier)
    except InvalidSpecifier:
        sentence = f"'{named(version)}' is no version by PEP 440; write one such as '2.4'"
        raise InvalidError({"version": [sentence]}) from None
    return specifier
