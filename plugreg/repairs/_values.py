"""Repairs as values: problems, and actions that solve them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING

from plugreg._support.frozen import Frozen
from plugreg.records import CircuitState, PluginFailure, ProcessRecord, Snapshot
from plugreg.repairs.codes import Severity

if TYPE_CHECKING:
    from plugreg.exceptions import RecordCorruptError
    from plugreg.install.plan import Outdated
    from plugreg.observation import RunningCall
    from plugreg.settings.values import StoredSettings


class RepairAction(Frozen):
    """An action of an operator for a repair. At least one of the last three is set.

    Attributes:
        name: Word for programs, such as ``activate``.
        label: Words for people, such as ``Activate discount``.
        run: Does it in this process; a function without parameters.
        command: The command line that does the same, beginning with ``plugreg``.
        url: Place where it is described, relative to the documentation's root unless it has a
            scheme.
    """

    name: str
    label: str
    run: Callable[[], object] | None = field(default=None, repr=False, compare=False)
    command: str | None = None
    url: str | None = None


class Repair(Frozen):
    """A problem of plugins, and actions that solve it.

    Attributes:
        code: Its code, which the documentation explains; see `plugreg.repairs.CODES`.
        severity: ``error``, ``warning`` or ``info``.
        slug: The plugin; None where it concerns none.
        title: The problem, in a few words.
        text: The same with its cause, in readable sentences.
        actions: The actions, the best first. There is at least one.
    """

    code: str
    severity: Severity
    slug: str | None
    title: str
    text: str
    actions: tuple[RepairAction, ...]


class Situation(Frozen):
    """All data from which repairs are derived, as of a moment. Nothing in it runs plugin code.

    Attributes:
        snapshot: The plugins.
        failures: Failures of this process and, where stored, of others.
        is_safe: Whether safe mode is on.
        narrowed: Sentence on the variables that leave plugins out of this process, or "".
        circuits: State of each circuit that is not closed.
        hanging: Calls that do not return.
        declared: Keys of settings that a plugin is known to declare, by slug, and whether each
            needs a stored value.
        setting_faults: Faults of settings of plugins in service, by slug and key.
        stored: The stored settings, by slug.
        overrides: Keys that the host overrides, by slug.
        damaged: An error for each damaged row.
        quarantined: Why a plugin is in quarantine, by slug.
        releases: Later releases.
        interrupted: Folders that an installation left.
        slow: Seconds of slow imports, by slug.
        processes: All processes that serve.
        now: Time of the store.
        has_keys: Whether protected values are encrypted.
        can_install: Whether the host has an installer.
        open_file: The store's file with its mode, if other users may use it, else "".
    """

    snapshot: Snapshot
    failures: tuple[PluginFailure, ...] = ()
    is_safe: bool = False
    narrowed: str = ""
    circuits: Mapping[str, CircuitState] = field(default_factory=dict)
    hanging: tuple[RunningCall, ...] = ()
    declared: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    setting_faults: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    stored: Mapping[str, StoredSettings] = field(default_factory=dict)
    overrides: Mapping[str, frozenset[str]] = field(default_factory=dict)
    damaged: tuple[RecordCorruptError, ...] = ()
    quarantined: Mapping[str, str] = field(default_factory=dict)
    releases: tuple[Outdated, ...] = ()
    interrupted: tuple[str, ...] = ()
    slow: Mapping[str, float] = field(default_factory=dict)
    processes: tuple[ProcessRecord, ...] = ()
    now: datetime | None = None
    has_keys: bool = False
    can_install: bool = False
    open_file: str = ""
