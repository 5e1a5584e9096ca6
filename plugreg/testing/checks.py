"""The checks of plugins: one table for the class, the command and the documentation.

Codes K0 are about the distribution, K1 about the contract of the host, K2 about settings, K3 about
the import, K4 about the life of the plugin, K5 about calls, K6 about faults from outside, and K7
about isolation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from plugreg._support.frozen import NamedTuple
from plugreg.contract.codes import CODES, FindingCode
from plugreg.contract.values import CheckReport, Finding, Severity
from plugreg.testing.subject import Subject


class Check(NamedTuple):
    """A check: ``cause`` and ``remedy`` are sentences for the author of the plugin."""

    code: str
    severity: Severity
    title: str
    cause: str
    remedy: str
    function: Callable[[Subject], Iterable[Finding]]


class KitReport(CheckReport):
    """The findings about a plugin, and those that the author has exempted.

    Attributes:
        target: The target of the check.
        findings: The findings, in the order of the table.
        exempted: Findings of codes that the author exempts, with the reason of each.
    """

    exempted: tuple[tuple[Finding, str], ...] = ()


def _seen(part: str) -> Callable[..., Check]:
    """Return a factory of checks whose findings are observations of a part of the subject."""

    def row(code: str, severity: Severity, title: str, cause: str, remedy: str) -> Check:
        finding_of = FindingCode(code, severity, title, cause, remedy)

        def find(subject: Subject) -> Iterable[Finding]:
            for seen in getattr(subject, part):
                if seen.code == code:
                    yield finding_of.at(seen.where, seen.message)

        return Check(code, severity, title, cause, remedy, find)

    return row


def _of_contract(row: FindingCode) -> Check:
    return Check(*row, partial(_find_in_contract, row.code))


def _find_in_contract(code: str, subject: Subject) -> Iterable[Finding]:
    return (finding for finding in subject.contract_findings if finding.code == code)


_package: Final = _seen("packaged")
_import: Final = _seen("imported")
_life: Final = _seen("lived")

EXEMPTION: Final = FindingCode(
    "K000",
    "error",
    "Exemption without reason",
    "An exemption in [tool.plugreg.check] has no reason, or an unknown code.",
    'Write it as exempt = { K204 = "the reason" }, or remove it.',
)

CHECKS: Final = (
    Check(*EXEMPTION, lambda _: ()),
    _package(
        "K001",
        "info",
        "Metadata are missing",
        "The distribution lacks a description, a licence or the supported Python versions.",
        "Add the field to [project] in pyproject.toml.",
    ),
    _package(
        "K002",
        "warning",
        "Entry point name is not a slug",
        "The name of an entry point is the plugin's identity, and has to be converted to a slug.",
        "Use only a-z, 0-9, - and _ in the name of the entry point.",
    ),
    _package(
        "K003",
        "warning",
        "Import is not required",
        "A module imports a package that the distribution does not require.",
        "Add the package to dependencies in pyproject.toml.",
    ),
    _package(
        "K004",
        "error",
        "Metadata are not valid",
        "A name, version or requirement is none that installers accept, so that nothing is built.",
        "Correct the field, as in name = 'shop-tea', version = '1.0rc1', 'shop>=2,<3'.",
    ),
    _package(
        "K005",
        "info",
        "Import is not known here",
        "A module imports a package that is not here, and a requirement is not installed either.",
        "Install the plugin with its requirements, and check it again.",
    ),
    _life(
        "K006",
        "error",
        "Asset is missing",
        "The plugin names a file for browsers that is not in its static folder.",
        "Put the file into the folder static beside the plugin's module, or correct its name.",
    ),
    *map(_of_contract, CODES),
    _life(
        "K201",
        "error",
        "Definition of a setting is invalid",
        "A definition in SETTINGS or USER_SETTINGS is invalid, or its default is.",
        "Correct the definition as the message says.",
    ),
    _life(
        "K202",
        "warning",
        "Typed setting without default",
        "A setting with a type has no default, so it reads as None until it is set.",
        "Give it a default, or required=True so that operators are asked for it.",
    ),
    _life(
        "K204",
        "warning",
        "Secret is not protected",
        "The key of a setting looks like that of a secret, and its value is shown to everybody.",
        "Add protected=True to its definition, or give it another key.",
    ),
    _life(
        "K205",
        "warning",
        "Version without migration",
        "SETTINGS_VERSION was increased, and stored values of older versions are not converted.",
        "Write migrate_settings(values, version, user=None), and test it with stored(…).",
    ),
    _life(
        "K206",
        "error",
        "Invalid settings keep the plugin off",
        "Invalid stored values make the plugin fail, so nobody can correct them.",
        "Read settings where they are used, and handle their defaults.",
    ),
    _life(
        "K207",
        "info",
        "Setting has no name",
        "A setting is shown to people under its key.",
        "Add a name to its definition.",
    ),
    _import(
        "K301",
        "error",
        "Import fails",
        "The plugin's module cannot be imported, or its class is missing.",
        "Correct the code that the message names; python -c 'import …' shows the traceback.",
    ),
    _import(
        "K302",
        "error",
        "Import ends the process",
        "Importing the plugin's module ends the process, or never ends.",
        'Put script code below if __name__ == "__main__".',
    ),
    _import(
        "K303",
        "warning",
        "Import prints",
        "Importing the plugin's module writes to standard output or error.",
        "Use self.logger in a method.",
    ),
    _import(
        "K304",
        "warning",
        "Import starts threads",
        "Importing the plugin's module starts a thread or a task, even if it is never used.",
        "Start it in plugreg_activated, and end it in plugreg_deactivating.",
    ),
    _import(
        "K305",
        "error",
        "Import changes signals",
        "Importing the plugin's module changes how the host reacts to a signal.",
        "Leave signals to the host.",
    ),
    _import(
        "K306",
        "warning",
        "Import changes the process",
        "Importing the plugin's module changes the environment, sys.path or the working directory.",
        "If necessary, do that in plugreg_activated, and undo it in plugreg_deactivating.",
    ),
    _import(
        "K307",
        "warning",
        "Import configures logging",
        "Importing the plugin's module changes loggers of the host.",
        "Log to self.logger, and leave handlers and levels to the host.",
    ),
    _import(
        "K308",
        "warning",
        "Import is slow",
        "Importing the plugin's module takes longer than a second, which delays every start.",
        "Import slow modules in the functions that use them.",
    ),
    _import(
        "K309",
        "info",
        "Import is heavy",
        "Importing the plugin's module imports large packages.",
        "Import them in the function that uses them.",
    ),
    _package(
        "K310",
        "error",
        "Late import of a missing package",
        "A function imports a package that is neither installed nor required; its call fails.",
        "Add the package to dependencies in pyproject.toml.",
    ),
    _life(
        "K400",
        "error",
        "Plugin does not come into service",
        "The registry cannot load the plugin.",
        "Correct the code that the message names.",
    ),
    _life(
        "K401",
        "error",
        "Constructor fails",
        "The plugin cannot be constructed; settings cannot be read there yet.",
        "Move the work into plugreg_activated, where settings can be read.",
    ),
    _life(
        "K402",
        "error",
        "Activation fails",
        "The plugin violates the contract of a capability, or plugreg_activated raises.",
        "Correct the code that the message names.",
    ),
    _life(
        "K403",
        "error",
        "Something is left behind",
        "A thread, handler or change of the process remains after the plugin was switched off.",
        "Undo it in plugreg_deactivating.",
    ),
    _life(
        "K404",
        "error",
        "Deactivation fails",
        "The plugin fails while it is switched off.",
        "Correct plugreg_deactivating; it runs after the last call.",
    ),
    _life(
        "K405",
        "error",
        "Plugin cannot be switched on again",
        "The plugin works only once in a process, because state of the first activation remains.",
        "Keep state on the object, not in the module or the class.",
    ),
    _life(
        "K406",
        "error",
        "Plugin ends the process",
        "The plugin ends the process, or never returns, while it is active.",
        "Raise an exception, and use timeouts for waiting calls.",
    ),
    _life(
        "K501",
        "error",
        "Hook raises",
        "An implementation raises an exception that the hook does not declare.",
        "Return None where there is no answer, or have the host declare it under Raises.",
    ),
    _life(
        "K502",
        "error",
        "Hook returns something else",
        "The result of an implementation does not have the type that the hook declares.",
        "Return a value of the type in the hook's specification.",
    ),
    _life(
        "K503",
        "error",
        "Task fails",
        "A scheduled task raises.",
        "Correct it; host.run_task runs it in a test.",
    ),
    _life(
        "K504",
        "warning",
        "Event handler fails",
        "process_event raises for an unknown event; later hosts may have more events.",
        "Accept only known events in wants_process_event, and take **kwargs.",
    ),
    _life(
        "K505",
        "error",
        "Feature of the interface fails",
        "A getter of user interface features raises, or returns something else.",
        "Correct it; values of the context may be missing.",
    ),
    _life(
        "K601",
        "error",
        "Plugin does not handle a store that refuses writes",
        "While the store refuses writes, a hook raises another exception than the store's.",
        "Let StorageError propagate, or catch it.",
    ),
    _life(
        "K602",
        "error",
        "Secret is disclosed",
        "The value of a protected setting is in a result, in a log or in the output.",
        "Do not log, print or return it.",
    ),
    _life(
        "K701",
        "warning",
        "Plugin does not work isolated",
        "The plugin cannot run in a process of its own.",
        "See the capabilities that can be isolated in the documentation of isolation.",
    ),
)
"""All checks, in the order of their codes."""


def run_checks(
    subject: Subject, exempt: Mapping[str, str] | None = None, *, target: str = ""
) -> KitReport:
    """Run all checks on a plugin.

    Args:
        subject: The plugin.
        exempt: Reasons by code, for findings that the author accepts.
        target: The target of the check; defaults to the plugin's value.

    Returns:
        The findings.

    Raises:
        MissingExtraError: If griffe or hypothesis is not installed.
    """
    exempt = exempt or {}
    findings = [finding for check in CHECKS for finding in check.function(subject)]
    kept = tuple(finding for finding in findings if finding.code not in exempt)
    return KitReport(
        target=target or subject.value,
        findings=(*_wrong_exemptions(exempt), *kept),
        exempted=tuple((each, exempt[each.code]) for each in findings if each.code in exempt),
    )


def _wrong_exemptions(exempt: Mapping[str, str]) -> Iterable[Finding]:
    known = {check.code for check in CHECKS}
    for code, reason in exempt.items():
        if code not in known:
            yield EXEMPTION.at("pyproject.toml", f"there is no check {code!r}")
        elif not str(reason).strip():
            yield EXEMPTION.at("pyproject.toml", f"the exemption of {code} has no reason")
