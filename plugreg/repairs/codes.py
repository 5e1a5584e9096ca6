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


OF_STAGE: Final = MappingProxyType(
    {stage: f"P{number:03}" for number, stage in enumerate(Stage, start=1)}
)
"""The code of a plugin that failed, by the stage at which it failed."""

NEED: Final = "P009"
INCOMPATIBLE: Final = "P010"
QUARANTINED: Final = "P011"
CIRCUIT: Final = "P012"
HANGING: Final = "P013"
REQUIRED: Final = "P014"
ORPHANED: Final = "P015"
UNREADABLE: Final = "P016"
UNKNOWN_PLUGIN: Final = "P017"
UNKNOWN_KEY: Final = "P018"
MISSING: Final = "P019"
INTERRUPTED: Final = "P020"
RELEASE: Final = "P021"
SLOW: Final = "P022"
PLAINTEXT: Final = "P023"
READABLE: Final = "P024"
CLAIMED: Final = "P025"
SKEW: Final = "P026"
SAFE_MODE: Final = "P027"
NARROWED: Final = "P028"

_ROWS: Final = (
    RepairCode(
        OF_STAGE[Stage.DISCOVERY],
        "error",
        "Plugins cannot be found",
        "A folder, an entry point or the index of plugins cannot be read, or names no plugin.",
        "Repair or remove the source that the message names, then reload.",
    ),
    RepairCode(
        OF_STAGE[Stage.RESOLVE],
        "error",
        "Plugin cannot be resolved",
        "Its requirements cannot be read, or plugins depend on each other in a cycle.",
        "Install a release with other requirements, or switch the plugin off.",
    ),
    RepairCode(
        OF_STAGE[Stage.IMPORT],
        "error",
        "Plugin cannot be imported",
        "Its module raised an exception, or lacks the object that its entry point names.",
        "Install the missing module or a fixed release and try again, or switch the plugin off.",
    ),
    RepairCode(
        OF_STAGE[Stage.INIT],
        "error",
        "Plugin cannot be constructed",
        "Its class raised an exception, is not a plugin, or has an invalid attribute.",
        "Fix its configuration or its release and try again, or switch the plugin off.",
    ),
    RepairCode(
        OF_STAGE[Stage.ACTIVATE],
        "error",
        "Plugin cannot be activated",
        "A hook, a capability or a migration of settings failed during activation.",
        "Read the failure, fix the cause and try again, or switch the plugin off.",
    ),
    RepairCode(
        OF_STAGE[Stage.CALL],
        "warning",
        "Plugin fails when it is called",
        "Its code raised an exception in a call; the other plugins were called nevertheless.",
        "Read the failure. Switch the plugin off if the host can do without it.",
    ),
    RepairCode(
        OF_STAGE[Stage.DEACTIVATE],
        "warning",
        "Plugin failed when it was switched off",
        "Its code raised an exception during deactivation, and may not have released everything.",
        "Restart the processes in which it failed.",
    ),
    RepairCode(
        OF_STAGE[Stage.INSTALL],
        "error",
        "The environment of plugins is damaged",
        "The generation that should serve cannot be read.",
        "Roll back to an earlier generation, or synchronize with the plugins file.",
    ),
    RepairCode(
        NEED,
        "error",
        "A required plugin is not on",
        "Its distribution requires the distribution of a plugin that is off, missing or failed.",
        "Switch the other plugin on, or this one off.",
    ),
    RepairCode(
        INCOMPATIBLE,
        "error",
        "Plugin is incompatible with the host",
        "The host's version is outside the range that the plugin requires.",
        "Install a release for this host, or switch the plugin off.",
    ),
    RepairCode(
        QUARANTINED,
        "error",
        "Plugin ended the process that loaded it",
        "The last process that loaded this version ended before the plugin was in service.",
        "Switch the plugin off, probe it, or try it again.",
    ),
    RepairCode(
        CIRCUIT,
        "warning",
        "Plugin is not called for a while",
        "It failed so often that its circuit opened.",
        "Fix the cause, then close the circuit; or wait for the trial call.",
    ),
    RepairCode(
        HANGING,
        "warning",
        "A call does not return",
        "The plugin's code waits or loops without end; a thread cannot be stopped.",
        "Look at the stack. Switch the plugin off, and restart the process to end the call.",
    ),
    RepairCode(
        REQUIRED,
        "warning",
        "A required setting has no value",
        "The plugin declares the setting as required, and it has neither a value nor a default.",
        "Set it.",
    ),
    RepairCode(
        ORPHANED,
        "info",
        "Stored values have no owner",
        "The plugin is gone, or its release no longer declares these settings.",
        "Delete the values, unless the plugin or the setting will come back.",
    ),
    RepairCode(
        UNREADABLE,
        "error",
        "A stored value cannot be used",
        "A row of the store is damaged, no key decrypts it, or its value no longer fits.",
        "Set the value again, add the key that encrypted it, or set the row aside.",
    ),
    RepairCode(
        UNKNOWN_PLUGIN,
        "warning",
        "The host overrides settings of an unknown plugin",
        "overrides= names a plugin that was not found.",
        "Correct the name in overrides=, or install the plugin.",
    ),
    RepairCode(
        UNKNOWN_KEY,
        "warning",
        "The host overrides an unknown setting",
        "overrides= names a setting that the plugin does not declare.",
        "Correct the key in overrides=, or remove it.",
    ),
    RepairCode(
        MISSING,
        "error",
        "Plugin is not installed",
        "It is switched on, and neither its distribution nor its file was found.",
        "Install it, or switch it off.",
    ),
    RepairCode(
        INTERRUPTED,
        "info",
        "An installation was interrupted",
        "A process ended before it swapped its generation in; the previous generation serves.",
        "Install again. The next change removes the remaining files.",
    ),
    RepairCode(
        RELEASE,
        "info",
        "There is a new release",
        "The index had a later release, or had withdrawn the installed one, when it was asked.",
        "Upgrade.",
    ),
    RepairCode(
        SLOW,
        "info",
        "Plugin is slow to import",
        "Import and construction took more than a second, which delays every start.",
        "Report it to its authors: rarely needed modules can be imported when they are used.",
    ),
    RepairCode(
        PLAINTEXT,
        "warning",
        "Secrets are stored in clear",
        "Protected settings are stored, and the registry has no keys to encrypt them.",
        "Give the registry encryption=Encryption([key]) and call config.rotate_secrets().",
    ),
    RepairCode(
        READABLE,
        "warning",
        "Other users can read the store",
        "The mode of the store's file lets every user of the machine read or write it.",
        "Remove the permissions of other users: chmod o= on the file.",
    ),
    RepairCode(
        CLAIMED,
        "warning",
        "Two sources claim one slug",
        "Two distributions or files have a plugin of the same name; the first is used.",
        "Uninstall or rename one of the two.",
    ),
    RepairCode(
        SKEW,
        "warning",
        "Processes disagree",
        "Two processes have served different plugins for more than a minute.",
        "Ask all processes to reload; restart a process that stays behind.",
    ),
    RepairCode(
        SAFE_MODE,
        "info",
        "Safe mode is on",
        "safe_mode=True or PLUGREG_SAFE_MODE=1: no plugin is loaded, and nothing was deleted.",
        "Fix the problem, then start without safe mode.",
    ),
    RepairCode(
        NARROWED,
        "info",
        "This process leaves plugins out",
        "PLUGREG_ONLY or PLUGREG_WITHOUT is set for this process; the store does not change.",
        "Start without the variable.",
    ),
)

CODES: Final = MappingProxyType({row.code: row for row in _ROWS})
"""All codes, in order."""
