"""Data from which repairs are derived, gathered from the parts of a registry.

It reads the storage, memory and a few files. It imports no plugin, runs no plugin code, asks no
network and writes nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plugreg._lifecycle.outlook import outlook
from plugreg._lifecycle.resolve import Describe
from plugreg._support.frozen import Frozen, replace
from plugreg._support.guard import Guard
from plugreg.exceptions import InstallError
from plugreg.records import (
    LOAD_STAGES,
    HostRules,
    KnownPlugin,
    NotLoaded,
    PluginFailure,
    PluginState,
    ProcessRecord,
    Snapshot,
)
from plugreg.repairs._values import (
    Operations,
    Repair,
    SettingState,
    Situation,
    StoredPlugin,
)
from plugreg.repairs.finding import find_repairs
from plugreg.storage import MemoryStorage, Storage
from plugreg.storage.clock import now

if TYPE_CHECKING:
    from plugreg._calls.calling import Calling
    from plugreg._lifecycle.lifecycle import LifeCycle
    from plugreg._lifecycle.recording import SettingsHealth
    from plugreg._state.heartbeat import Heartbeat
    from plugreg._state.ledger import FailureLedger
    from plugreg._state.probe_report import ProbedSetting
    from plugreg._state.published import StoredRows
    from plugreg._state.quarantine import Quarantine
    from plugreg.install import Packages
    from plugreg.settings.definition import SettingDefinition
    from plugreg.settings.values import StoredSettings

HANGS_AFTER: Final = 30.0
"""Seconds after which a running call counts as a hanging call."""

_NOT_STARTED: Final = NotLoaded(state=PluginState.INACTIVE, reason="is not started in safe mode")


class RepairFinder(Frozen):
    """Finds problems of the plugins of a registry; see `plugreg.PluginRegistry.repairs`."""

    current: Callable[[], Snapshot]
    ledger: FailureLedger
    stored: StoredRows
    health: SettingsHealth
    calling: Calling
    life: LifeCycle
    heartbeat: Heartbeat
    quarantine: Quarantine | None
    storage: Storage
    describe: Describe
    packages: Packages | None
    operations: Operations
    has_keys: bool

    def find(self) -> tuple[Repair, ...]:
        """Return the current problems. Raises RegistryNotReady, StorageError."""
        return find_repairs(self.situation(), self.operations)

    def situation(self) -> Situation:
        """Gather everything that repairs are derived from."""
        snapshot, rules = self.current(), self.stored.rules
        processes = self.heartbeat.processes(self.life.status())
        if rules.safe_mode:
            # This process serves nothing, and is meant to.
            processes = processes[1:]
            snapshot = self._as_if_started(snapshot)
        return Situation(
            snapshot=snapshot,
            failures=self._failures(snapshot, processes),
            is_safe=rules.safe_mode,
            narrowed=_narrowed(rules, snapshot),
            circuits={
                slug: state
                for slug in snapshot.active
                if (state := self.calling.circuit_state(slug)) != "closed"
            },
            hanging=self.calling.dispatch.running(HANGS_AFTER),
            declared=dict(self._declared(snapshot)),
            setting_faults=self.health.faults(),
            stored={slug: _described(s) for slug, s in self.stored.settings.all_stored().items()},
            overrides={s: frozenset(own) for s, own in self.stored.settings.overrides.items()},
            damaged=self.stored.damaged(),
            quarantined=self._quarantined(snapshot),
            **self._packaged(),
            slow={slug: time for process in processes for slug, time in process.slow.items()},
            processes=processes,
            now=datetime.fromtimestamp(now(self.storage), UTC),
            has_keys=self.has_keys or isinstance(self.storage, MemoryStorage),
            open_file=_open_file(self.storage),
        )

    def _packaged(self) -> dict[str, Any]:
        """Return the known installed distributions, or nothing if they cannot be read."""
        if self.packages is None:
            return {}
        found: dict[str, Any] = {"can_install": True}
        # An environment that cannot be read is a failure record already.
        with suppress(InstallError):
            found["interrupted"] = self.packages.interrupted()
            found["releases"] = self.packages.outdated(ask=False)
        return found

    def _failures(
        self, snapshot: Snapshot, processes: Iterable[ProcessRecord]
    ) -> tuple[PluginFailure, ...]:
        """Return the failures of this process, and those of others that still mean something.

        A failure of a process that has ended does unless the plugin serves somewhere, or only a
        call has failed.
        """
        own = self.ledger.all()
        known = {failure.identity for failure in own}
        serving = {*snapshot.active, *(slug for process in processes for slug in process.active)}
        found: list[PluginFailure] = [*own]
        for failure in self.heartbeat.failures_of_others():
            is_over = failure.slug in serving or failure.stage not in LOAD_STAGES
            if failure.identity not in known and (failure.is_running or not is_over):
                known.add(failure.identity)
                found.append(failure)
        return tuple(found)

    def _quarantined(self, snapshot: Snapshot) -> dict[str, str]:
        if self.quarantine is None:
            return {}
        specs = [known.spec for known in snapshot.plugins.values() if known.spec is not None]
        return self.quarantine.reasons(specs)

    def _as_if_started(self, snapshot: Snapshot) -> Snapshot:
        """Return the plugins as a start without safe mode would decide, without importing any."""
        plan = outlook(snapshot, self.stored, self.describe, quarantine=self.quarantine)

        def decided(known: KnownPlugin) -> KnownPlugin:
            held = plan.held.get(known.slug, _NOT_STARTED)
            return replace(known, state=held.state, reason=held.reason)

        plugins = {slug: decided(known) for slug, known in snapshot.plugins.items()}
        return replace(snapshot, plugins=plugins, needs=plan.needs)

    def _declared(self, snapshot: Snapshot) -> Iterable[tuple[str, tuple[SettingState, ...]]]:
        """Yield the settings of plugins in service, and of those that were probed."""
        for slug, known in snapshot.plugins.items():
            active = snapshot.active.get(slug)
            if active is not None:
                own = active.settings.values()
                yield slug, tuple(_of_definition(d) for d in own)
            elif known.spec is not None:
                report = self.stored.probe_rows.of(known.spec)
                # Of a plugin that could not be constructed nothing is known.
                if report is not None and report.outcome == "ok":
                    yield slug, tuple(_of_probe(s) for s in report.settings.values())


def _narrowed(rules: HostRules, snapshot: Snapshot) -> str:
    """Return which plugins the environment leaves out of this process, as a sentence, or ""."""
    if not rules.is_narrowed:
        return ""
    plugins = snapshot.plugins.values()
    left_out = [known.slug for known in plugins if known.wanted and rules.leaves_out(known.slug)]
    named = (rules.only or frozenset()) | rules.without
    unknown = sorted(named - snapshot.plugins.keys())
    text = "PLUGREG_ONLY or PLUGREG_WITHOUT narrows which plugins this process loads"
    if left_out:
        text = f"{text}; it leaves out {', '.join(left_out)}"
    return f"{text}; no plugin is named {', '.join(unknown)}" if unknown else text


def _of_definition(definition: SettingDefinition) -> SettingState:
    default = definition.default
    # A callable may return anything, and is the plugin's code. So may be a default's own methods.
    has_default = default is not None and not (type(default) is str and not default)
    return SettingState(
        key=definition.key, is_required=definition.required, has_default=has_default
    )


def _of_probe(setting: ProbedSetting) -> SettingState:
    # Defaults of protected settings are never in a report.
    has_default = bool(setting.default) or setting.protected
    return SettingState(key=setting.key, is_required=setting.required, has_default=has_default)


def _described(stored: StoredSettings) -> StoredPlugin:
    own = stored.of(None)
    users = {key for user, values in stored.values.items() if user is not None for key in values}
    every = [value for values in stored.values.values() for value in values.values()]
    return StoredPlugin(
        keys=frozenset(own),
        user_keys=frozenset(users),
        protected=sum(value.is_protected and not value.fault for value in every),
        faults={key: value.fault for key, value in own.items() if value.fault},
    )


def _open_file(storage: Storage) -> str:
    """Return the store's file with its mode, if users other than owner and group may use it."""
    path: Path | None = getattr(storage, "path", None)
    if path is None or os.name != "posix":
        return ""
    with Guard():
        mode = stat.S_IMODE(path.stat().st_mode)
        return f"{str(path)!r} (mode {mode:04o})" if mode & 0o007 else ""
    return ""
