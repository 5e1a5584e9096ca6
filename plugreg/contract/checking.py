"""The checks of a plugin's sources against a contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from plugreg._support.slugs import canonical, near
from plugreg.contract.codes import finding
from plugreg.contract.comparing import is_reached
from plugreg.contract.projects import PluginProject
from plugreg.contract.source import FoundFunction, PluginSource, SourceError, SourceFiles
from plugreg.contract.types import NONE, TypeTerm, accepts, parse, union
from plugreg.contract.values import ContractTerms, Finding, HookContract

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet


def check(contract: ContractTerms, project: PluginProject) -> tuple[Finding, ...]:
    """Return the findings of a project, in the order of its entry points and lines.

    Args:
        contract: The contract.
        project: The project. Nothing of it is imported.

    Raises:
        MissingExtraError: If griffe is not installed.
    """
    has_requirements = project.has_package and "dependencies" not in project.dynamic
    findings = list(_check_range(contract, project)) if has_requirements else []
    if not project.entry_points:
        where = "pyproject.toml" if project.folder else "entry_points.txt"
        message = f"there is no entry point in the group {contract.group!r}"
        if project.groups:
            message += f", but in {', '.join(map(repr, project.groups))}"
        findings.append(finding("K110", where, message))
    sources = SourceFiles(contract.host, project.search, project.shown)
    for name, value in project.entry_points.items():
        try:
            source = sources.read(value)
        except SourceError as error:
            code, where, reason = error.args
            findings.append(finding(code, where, f"entry point {name!r}: {reason}"))
            continue
        findings += _check_source(contract, source)
        if project.has_package:
            findings += _check_age(contract, project, source)
    return tuple(dict.fromkeys(findings))


def _host_ranges(contract: ContractTerms, project: PluginProject) -> list[SpecifierSet]:
    """Return the ranges of versions of the host that a project requires."""
    return [
        requirement.specifier
        for requirement, is_extra in project.requirements()
        if not is_extra and canonical(requirement.name) == canonical(contract.distribution)
    ]


def _check_range(contract: ContractTerms, project: PluginProject) -> Iterator[Finding]:
    ranges = _host_ranges(contract, project)
    if not any(ranges):
        message = f"no range of versions of {contract.distribution!r} is required"
        yield finding("K108", project.place, message)
    for found in ranges:
        if contract.version and not found.contains(contract.version, prereleases=True):
            message = f"{contract.distribution}{found} leaves out version {contract.version}"
            yield finding("K109", project.place, message)


def _check_source(contract: ContractTerms, source: PluginSource) -> Iterator[Finding]:
    names = {base.rpartition(".")[2] for base in source.bases}
    settings = source.attributes.get("SETTINGS")
    if settings and source.is_complete and source.bases and "SettingsMixin" not in names:
        yield finding("K107", settings, "SETTINGS is never read")
    for function in source.functions:
        hook = contract.hooks.get(function.hook)
        if not function.is_marked:
            # A method of a mixin may have the same name.
            if hook is not None and not _is_method_of_mixin(contract, function.name, names):
                message = f"{function.name!r} has no mark, and is no implementation of the hook"
                yield finding("K103", function.where, message)
        elif function.hook.startswith("plugreg_"):
            continue
        elif hook is None:
            if not function.is_optional:
                hint = near(function.hook, contract.hooks)
                message = f"{contract.host} has no hook {function.hook!r}{hint}"
                yield finding("K101", function.where, message)
        else:
            yield from _check_function(contract, function, hook)


def _is_method_of_mixin(contract: ContractTerms, name: str, bases: set[str]) -> bool:
    return any(
        name in mixin.methods
        for mixin in contract.mixins.values()
        if mixin.source.rpartition(":")[2] in bases
    )


def _check_function(
    contract: ContractTerms, function: FoundFunction, hook: HookContract
) -> Iterator[Finding]:
    name = function.hook
    if hook.removed is not None and (
        contract.version is None or is_reached(hook.removed, contract.version)
    ):
        yield finding("K105", function.where, f"hook {name!r} was removed in {hook.removed}")
    elif hook.deprecated is not None or hook.removed is not None:
        note = f"deprecated since {hook.deprecated}" if hook.deprecated else "announced as removed"
        until = f", and is removed in {hook.removed}" if hook.removed else ""
        yield finding("K104", function.where, f"hook {name!r} is {note}{until}")
    if function.is_async and not hook.is_async and not function.is_wrapper:
        message = f"{function.name!r} is async, and hook {name!r} is not"
        yield finding("K114", function.where, message)
    known = [argument.name for argument in hook.arguments]
    for argument in function.required:
        if argument not in known:
            message = f"hook {name!r} has no argument {argument!r}{near(argument, known)}"
            yield finding("K102", function.where, message)
    if function.result is not None and not function.is_wrapper:
        yield from _check_result(contract, function, function.result, hook)


def _check_result(
    contract: ContractTerms, function: FoundFunction, result: TypeTerm, hook: HookContract
) -> Iterator[Finding]:
    if result.name in ("collections.abc.Awaitable", "collections.abc.Coroutine"):
        result = result.args[-1] if result.args else TypeTerm("Any")
    # None says that a plugin has no answer, whatever the specification says.
    accepted = union(parse(hook.result), NONE)
    if result.name != "Any" and accepts(accepted, result, contract.classes).fits is False:
        message = f"{function.name!r} returns {result}, and hook {function.hook!r} {hook.result}"
        yield finding("K106", function.where, message)


def _check_age(
    contract: ContractTerms, project: PluginProject, source: PluginSource
) -> Iterator[Finding]:
    """Find hooks that the oldest host of the range does not have."""
    bounds = [
        specifier.version
        for found in _host_ranges(contract, project)
        for specifier in found
        if specifier.operator in (">=", "~=", "==", ">") and "*" not in specifier.version
    ]
    for function in source.functions:
        hook = contract.hooks.get(function.hook)
        if hook is None or hook.since is None or not function.is_marked or function.is_optional:
            continue
        if bounds and not any(is_reached(hook.since, bound) for bound in bounds):
            lacking = f"hosts before {hook.since}, which lack {function.hook!r}"
            yield finding("K113", function.where, f"{project.place} allows {lacking}")
