"""The codes of repairs. The page ``operator/repairs.md`` has the cause and remedy of each."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, Literal

from plugreg._support.frozen import NamedTuple
from plugreg.records import Stage

Severity = Literal["error", "warning", "info"]
"""``error``: a wanted plugin does not serve. ``warning``: it may not. ``info``: a hint."""


class RepairCode(NamedTuple):
    """A kind of repair.

    Attributes:
        code: ``P`` and three digits, which never mean anything else.
        severity: Usual severity.
        title: The problem, in a few words.
    """

    code: str
    severity: Severity
    title: str


_STAGES: Final = (
    RepairCode("P001", "error", "Plugins cannot be found"),
    RepairCode("P002", "error", "Plugin cannot be resolved"),
    RepairCode("P003", "error", "Plugin cannot be imported"),
    RepairCode("P004", "error", "Plugin cannot be constructed"),
    RepairCode("P005", "error", "Plugin cannot be activated"),
    RepairCode("P006", "warning", "Plugin fails when it is called"),
    RepairCode("P007", "warning", "Plugin failed when it was switched off"),
    RepairCode("P008", "error", "The environment of plugins is damaged"),
)
OF_STAGE: Final = MappingProxyType(dict(zip(Stage, _STAGES, strict=True)))
"""The code of a plugin that failed, by the stage at which it failed."""

NEED: Final = RepairCode("P009", "error", "A required plugin is not on")
INCOMPATIBLE: Final = RepairCode("P010", "error", "Plugin is incompatible with the host")
QUARANTINED: Final = RepairCode("P011", "error", "Plugin ended the process that loaded it")
CIRCUIT: Final = RepairCode("P012", "warning", "Plugin is not called for a while")
HANGING: Final = RepairCode("P013", "warning", "A call does not return")
REQUIRED: Final = RepairCode("P014", "warning", "A required setting has no value")
ORPHANED: Final = RepairCode("P015", "info", "Stored values have no owner")
UNREADABLE: Final = RepairCode("P016", "error", "A stored value cannot be used")
UNKNOWN_PLUGIN: Final = RepairCode(
    "P017", "warning", "The host overrides settings of an unknown plugin"
)
UNKNOWN_KEY: Final = RepairCode("P018", "warning", "The host overrides an unknown setting")
MISSING: Final = RepairCode("P019", "error", "Plugin is not installed")
INTERRUPTED: Final = RepairCode("P020", "info", "An installation was interrupted")
RELEASE: Final = RepairCode("P021", "info", "There is a new release")
SLOW: Final = RepairCode("P022", "info", "Plugin is slow to import")
PLAINTEXT: Final = RepairCode("P023", "warning", "Secrets are stored in clear")
READABLE: Final = RepairCode("P024", "warning", "Other users can read the store")
CLAIMED: Final = RepairCode("P025", "warning", "Two sources claim one slug")
SKEW: Final = RepairCode("P026", "warning", "Processes disagree")
SAFE_MODE: Final = RepairCode("P027", "info", "Safe mode is on")
NARROWED: Final = RepairCode("P028", "info", "This process leaves plugins out")

_OTHERS: Final = (
    *(NEED, INCOMPATIBLE, QUARANTINED, CIRCUIT, HANGING, REQUIRED, ORPHANED, UNREADABLE),
    *(UNKNOWN_PLUGIN, UNKNOWN_KEY, MISSING, INTERRUPTED, RELEASE, SLOW, PLAINTEXT, READABLE),
    *(CLAIMED, SKEW, SAFE_MODE, NARROWED),
)

CODES: Final = MappingProxyType({row.code: row for row in (*_STAGES, *_OTHERS)})
"""All codes, in order."""
