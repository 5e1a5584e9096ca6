"""The codes of the findings of a contract check, each with its cause and remedy."""

from __future__ import annotations

from typing import Final

from plugreg._support.frozen import NamedTuple
from plugreg.contract.values import Finding, Severity


class FindingCode(NamedTuple):
    """A code: ``cause`` and ``remedy`` are sentences for the author of the plugin."""

    code: str
    severity: Severity
    title: str
    cause: str
    remedy: str

    def at(self, where: str, message: str, severity: Severity | None = None) -> Finding:
        """Return a finding of this code, with its remedy.

        Args:
            where: File and line, or the part of the project.
            message: The fault, as a clause.
            severity: Severity of this finding, if it is not that of the code.
        """
        return Finding(
            code=self.code,
            level=severity or self.severity,
            where=where,
            message=f"{message}; {self.remedy[0].lower()}{self.remedy[1:].removesuffix('.')}",
        )


UNKNOWN_HOOK: Final = FindingCode(
    "K101",
    "error",
    "Hook does not exist",
    "A function is marked as the implementation of a hook that the host does not have.",
    "Correct the name, or mark it with optionalhook=True if only some hosts have the hook.",
)
UNKNOWN_ARGUMENT: Final = FindingCode(
    "K102",
    "error",
    "Argument does not exist",
    "An implementation takes an argument that the hook does not have, and cannot be called.",
    "Take only arguments of the hook, in any order; those that are not needed can be left out.",
)
UNMARKED: Final = FindingCode(
    "K103",
    "warning",
    "Hook name without marker",
    "A method has the name of a hook but no marker, so the host never calls it.",
    "Mark it with @hookimpl, or rename it if it is not an implementation.",
)
DEPRECATED: Final = FindingCode(
    "K104",
    "warning",
    "Hook is deprecated",
    "The host has deprecated the hook, and will remove it.",
    "Implement the replacement that the host names.",
)
REMOVED: Final = FindingCode(
    "K105",
    "error",
    "Hook is removed",
    "This version of the host no longer calls the hook.",
    "Implement the replacement, and remove the old implementation.",
)
RESULT: Final = FindingCode(
    "K106",
    "error",
    "Result does not fit",
    "The annotated return type of an implementation is not accepted by the hook.",
    "Return a value of the type in the hook's specification.",
)
NO_SETTINGS_MIXIN: Final = FindingCode(
    "K107",
    "error",
    "SETTINGS without SettingsMixin",
    "A class has SETTINGS but does not derive from SettingsMixin, so they are never read.",
    "Derive the class from plugreg.mixins.SettingsMixin, before Plugin.",
)
NO_HOST_RANGE: Final = FindingCode(
    "K108",
    "warning",
    "No range of host versions",
    "The distribution does not declare the versions of the host that it supports.",
    "Require the host's distribution with a range of versions, such as 'shop>=2.1,<3'.",
)
HOST_RANGE: Final = FindingCode(
    "K109",
    "error",
    "Host version is out of range",
    "The distribution's range of host versions does not include the contract's version.",
    "Widen the range once the plugin is tested with this version of the host.",
)
NO_ENTRY_POINT: Final = FindingCode(
    "K110",
    "error",
    "No entry point",
    "The distribution has no entry point in the host's group, so the host does not find it.",
    "Add [project.entry-points.\"<group>\"] with a line such as weather = 'shop_weather:Weather'.",
)
MISSING_OBJECT: Final = FindingCode(
    "K111",
    "error",
    "Entry point leads nowhere",
    "The module or the object that an entry point names is not in the distribution.",
    "Correct the value of the entry point, or add the module to the wheel.",
)
UNREADABLE: Final = FindingCode(
    "K112",
    "error",
    "Source cannot be read",
    "A module of the plugin has a syntax error or no source, so it cannot be checked.",
    "Correct the file; python -m py_compile names the line.",
)
TOO_NEW_HOOK: Final = FindingCode(
    "K113",
    "warning",
    "Hook is newer than the oldest host",
    "The range of host versions includes versions without a hook that is implemented.",
    "Raise the lower bound of the host, or mark the implementation with optionalhook=True.",
)
ASYNC: Final = FindingCode(
    "K114",
    "error",
    "Async implementation of a synchronous hook",
    "An implementation is a coroutine function, and the host calls the hook without awaiting.",
    "Make it a plain function, unless the host calls this hook with acall.",
)

CODES: Final = tuple(row for row in [*globals().values()] if isinstance(row, FindingCode))
"""All codes, in their order."""
