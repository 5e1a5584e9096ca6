"""The values of contracts: hooks and mixins as data, changes between two, findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from plugreg._support.frozen import Frozen

Level = Literal["major", "minor", "patch"]
"""The effect of a change on implementations: they break, they may use more, none."""

Severity = Literal["error", "warning", "info"]


class ArgumentContract(Frozen):
    """An argument of a hook or of a mixin's method.

    Attributes:
        name: The argument.
        type: Its type as a Python expression with full names; ``Any`` where none is known.
        optional: Whether it has a default, so that a call may leave it out.
    """

    name: str
    type: str = "Any"
    optional: bool = False


class HookContract(Frozen):
    """A hook of the host, or a method of a mixin.

    Attributes:
        arguments: Its arguments in their order.
        result: Type of a result.
        firstresult: Whether the first result other than None ends the call.
        historic: Whether plugins that come later are called, too.
        is_async: Whether it is awaited.
        since: Version of the host that brought it.
        deprecated: Version that deprecated it, with the replacement.
        removed: Version from which on it is not called.
        text: Its docstring.
        source: ``module:Class`` or module of the specification.
    """

    arguments: tuple[ArgumentContract, ...] = ()
    result: str = "Any"
    firstresult: bool = False
    historic: bool = False
    is_async: bool = False
    since: str | None = None
    deprecated: str | None = None
    removed: str | None = None
    text: str = ""
    source: str | None = None

    def argument(self, name: str) -> ArgumentContract | None:
        """Return an argument by its name, or None.

        Args:
            name: The name.
        """
        return next((argument for argument in self.arguments if argument.name == name), None)


class MixinContract(Frozen):
    """A capability that plugins of the host may have.

    Attributes:
        name: Its name for people.
        source: ``module:Class`` of the class that plugins inherit from.
        methods: Its public methods.
        text: Docstring of the class.
    """

    name: str
    source: str
    methods: Mapping[str, HookContract] = field(default_factory=dict)
    text: str = ""


class ContractTerms(Frozen):
    """The contents of a contract.

    Attributes:
        host: Name of the host.
        version: Version of the host, None if it has none.
        group: Entry-point group of its plugins.
        distribution: Distribution that plugins require.
        hooks: The hooks by name.
        mixins: The capabilities by key.
        events: Names of the events, sorted.
        classes: Classes that types name, by full name. A contract that was read from a file knows
            none of them.
    """

    host: str
    version: str | None = None
    group: str
    distribution: str
    hooks: Mapping[str, HookContract] = field(default_factory=dict, hash=False)
    mixins: Mapping[str, MixinContract] = field(default_factory=dict, hash=False)
    events: tuple[str, ...] = ()
    classes: Mapping[str, type] = field(default_factory=dict, compare=False, repr=False)


class Change(Frozen):
    """A difference between two contracts.

    Attributes:
        level: ``"major"`` if implementations may break, ``"minor"`` if they may use more,
            ``"patch"`` for descriptions.
        hook: The hook; ``mixin.method`` for a mixin; empty for the host as a whole.
        what: The part that differs, such as ``"argument removed"``.
        detail: The difference in words.
    """

    level: Level
    hook: str
    what: str
    detail: str

    def __str__(self) -> str:
        return f"{self.level}: {self.hook or 'host'}, {self.what}: {self.detail}"


class Finding(Frozen):
    """A finding of a check.

    Attributes:
        code: Code of the check, such as ``K101``; see ``docs/reference/checks.md``.
        level: ``"error"``, ``"warning"`` or ``"info"``.
        where: File and line, or the part of the project.
        message: The fault and its remedy.
    """

    code: str
    level: Severity
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.code} {self.level}: {self.message}"


class CheckReport(Frozen):
    """The findings about a plugin.

    Attributes:
        target: The target of the check.
        findings: The findings, in the order of files and lines.
    """

    target: str
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no finding is an error."""
        return all(finding.level != "error" for finding in self.findings)


class InstalledReport(Frozen):
    """The findings about all installed plugins of a host.

    Attributes:
        host: Name and version of the host in the contract.
        reports: The report of each plugin by slug.
    """

    host: str
    reports: Mapping[str, CheckReport]

    @property
    def breaking(self) -> tuple[str, ...]:
        """Slugs of the plugins with an error, in alphabetical order."""
        return tuple(sorted(slug for slug, report in self.reports.items() if not report.ok))

    @property
    def ok(self) -> bool:
        """Whether no plugin has an error."""
        return not self.breaking

    def __str__(self) -> str:
        verb = "breaks" if len(self.breaking) == 1 else "break"
        return f"{len(self.breaking)} of {len(self.reports)} plugins {verb} with {self.host}"
