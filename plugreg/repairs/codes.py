"""The codes of repairs: causes and remedies. The documentation is generated from them."""

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
        cause: Its usual cause.
        remedy: What an operator can do.
    """

    code: str
    severity: Severity
    title: str
    cause: str
    remedy: str


_STAGES: Final = (
    RepairCode(
        "P001",
        "error",
        "Plugins cannot be found",
        "A folder, an entry point or the index of plugins cannot be read, or names no plugin.",
        "Repair or remove the source that the message names, then reload.",
    ),
    RepairCode(
        "P002",
        "error",
        "Plugin cannot be resolved",
        "Its requirements cannot be read, or plugins depend on each other in a cycle.",
        "Install a release with other requirements, or switch the plugin off.",
    ),
    RepairCode(
        "P003",
        "error",
        "Plugin cannot be imported",
        "Its module raised an exception, or lacks the object that its entry point names.",
        "Install the missing module or a fixed release and try again, or switch the plugin off.",
    ),
    RepairCode(
        "P004",
        "error",
        "Plugin cannot be constructed",
        "Its class raised an exception, is not a plugin, or has an invalid attribute.",
        "Fix its configuration or its release and try again, or switch the plugin off.",
    ),
    RepairCode(
        "P005",
        "error",
        "Plugin cannot be activated",
        "A hook, a capability or a migration of settings failed during activation.",
        "Read the failure, fix the cause and try again, or switch the plugin off.",
    ),
    RepairCode(
        "P006",
        "warning",
        "Plugin fails when it is called",
        "Its code raised an exception in a call; the other plugins were called nevertheless.",
        "Read the failure. Switch the plugin off if the host can do without it.",
    ),
    RepairCode(
        "P007",
        "warning",
        "Plugin failed when it was switched off",
        "Its code raised an exception during deactivation, and may not have released everything.",
        "Restart the processes in which it failed.",
    ),
    RepairCode(
        "P008",
        "error",
        "The environment of plugins is damaged",
        "The generation that should serve cannot be read.",
        "Roll back to an earlier generation, or synchronize with the plugins file.",
    ),
)
OF_STAGE: Final = MappingProxyType(dict(zip(Stage, _STAGES, strict=True)))
"""The code of a plugin that failed, by the stage at which it failed."""

NEED: Final = RepairCode(
    "P009",
    "error",
    "A required plugin is not on",
    "Its distribution requires the distribution of a plugin that is off, missing or failed.",
    "Switch the other plugin on, or this one off.",
)
INCOMPATIBLE: Final = RepairCode(
    "P010",
    "error",
    "Plugin is incompatible with the host",
    "The host's version is outside the range that the plugin requires.",
    "Install a release for this host, or switch the plugin off.",
)
QUARANTINED: Final = RepairCode(
    "P011",
    "error",
    "Plugin ended the process that loaded it",
    "The last process that loaded this version ended before the plugin was in service.",
    "Switch the plugin off, probe it, or try it again.",
)
CIRCUIT: Final = RepairCode(
    "P012",
    "warning",
    "Plugin is not called for a while",
    "It failed so often that its circuit opened.",
    "Fix the cause, then close the circuit; or wait for the trial call.",
)
HANGING: Final = RepairCode(
    "P013",
    "warning",
    "A call does not return",
    "The plugin's code waits or loops without end; a thread cannot be stopped.",
    "Look at the stack. Switch the plugin off, and restart the process to end the call.",
)
REQUIRED: Final = RepairCode(
    "P014",
    "warning",
    "A required setting has no value",
    "The plugin declares the setting as required, and it has neither a value nor a default.",
    "Set it.",
)
ORPHANED: Final = RepairCode(
    "P015",
    "info",
    "Stored values have no owner",
    "The plugin is gone, or its release no longer declares these settings.",
    "Delete the values, unless the plugin or the setting will come back.",
)
UNREADABLE: Final = RepairCode(
    "P016",
    "error",
    "A stored value cannot be used",
    "A row of the store is damaged, no key decrypts it, or its value no longer fits.",
    "Set the value again, add the key that encrypted it, or set the row aside.",
)
UNKNOWN_PLUGIN: Final = RepairCode(
    "P017",
    "warning",
    "The host overrides settings of an unknown plugin",
    "overrides= names a plugin that was not found.",
    "Correct the name in overrides=, or install the plugin.",
)
UNKNOWN_KEY: Final = RepairCode(
    "P018",
    "warning",
    "The host overrides an unknown setting",
    "overrides= names a setting that the plugin does not declare.",
    "Correct the key in overrides=, or remove it.",
)
MISSING: Final = RepairCode(
    "P019",
    "error",
    "Plugin is not installed",
    "It is switched on, and neither its distribution nor its file was found.",
    "Install it, or switch it off.",
)
INTERRUPTED: Final = RepairCode(
    "P020",
    "info",
    "An installation was interrupted",
    "A process ended before it swapped its generation in; the previous generation serves.",
    "Install again. The next change removes the remaining files.",
)
RELEASE: Final = RepairCode(
    "P021",
    "info",
    "There is a new release",
    "The index had a later release, or had withdrawn the installed one, when it was asked.",
    "Upgrade.",
)
SLOW: Final = RepairCode(
    "P022",
    "info",
    "Plugin is slow to import",
    "Import and construction took more than a second, which delays every start.",
    "Report it to its authors: rarely needed modules can be imported when they are used.",
)
PLAINTEXT: Final = RepairCode(
    "P023",
    "warning",
    "Secrets are stored in clear",
    "Protected settings are stored, and the registry has no keys to encrypt them.",
    "Give the registry encryption=Encryption([key]) and call config.rotate_secrets().",
)
READABLE: Final = RepairCode(
    "P024",
    "warning",
    "Other users can read the store",
    "The mode of the store's file lets every user of the machine read or write it.",
    "Remove the permissions of other users: chmod o= on the file.",
)
CLAIMED: Final = RepairCode(
    "P025",
    "warning",
    "Two sources claim one slug",
    "Two distributions or files have a plugin of the same name; the first is used.",
    "Uninstall or rename one of the two.",
)
SKEW: Final = RepairCode(
    "P026",
    "warning",
    "Processes disagree",
    "Two processes have served different plugins for more than a minute.",
    "Ask all processes to reload; restart a process that stays behind.",
)
SAFE_MODE: Final = RepairCode(
    "P027",
    "info",
    "Safe mode is on",
    "safe_mode=True or PLUGREG_SAFE_MODE=1: no plugin is loaded, and nothing was deleted.",
    "Fix the problem, then start without safe mode.",
)
NARROWED: Final = RepairCode(
    "P028",
    "info",
    "This process leaves plugins out",
    "PLUGREG_ONLY or PLUGREG_WITHOUT is set for this process; the store does not change.",
    "Start without the variable.",
)

_OTHERS: Final = (
    *(NEED, INCOMPATIBLE, QUARANTINED, CIRCUIT, HANGING, REQUIRED, ORPHANED, UNREADABLE),
    *(UNKNOWN_PLUGIN, UNKNOWN_KEY, MISSING, INTERRUPTED, RELEASE, SLOW, PLAINTEXT, READABLE),
    *(CLAIMED, SKEW, SAFE_MODE, NARROWED),
)

CODES: Final = MappingProxyType({row.code: row for row in (*_STAGES, *_OTHERS)})
"""All codes, in order."""
