"""Data from which repairs are derived, gathered from the parts of a registry.

It reads the storage, memory and a few files. It imports no plugin, runs no plugin code, asks no
network and writes nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plugreg._support.frozen import replace
from plugreg._support.guard import Guard
from plugreg.exceptions import InstallError
from plugreg.records import (
    LOAD_STAGES,
    HostRules,
    LoadPlan,
    NotLoaded,
    PluginFailure,
    PluginState,
    ProcessRecord,
    Snapshot,
)
from plugreg.repairs._values import Situation
from plugreg.storage import MemoryStorage, Storage
from plugreg.storage.clock import now

if TYPE_CHECKING:
    from plugreg._lifecycle.assembly import Assembly
    from plugreg.install import Packages

HANGS_AFTER: Final = 30.0
"""Seconds after which a running call counts as a hanging call."""

_NOT_STARTED: Final = NotLoaded(state=PluginState.INACTIVE, reason="is not started in safe mode")


def gather(registry: Any, parts: Assembly) -> Situation:
    """Return everything that repairs are derived from.

    Args:
        registry: The registry, loaded.
        parts: Its parts.

    Raises:
        StorageError: If the storage cannot be read.
    """
    snapshot, rules = parts.published.current(), parts.rules
    processes = registry.shared.processes()
    if rules.safe_mode:
        # This process serves nothing, and is meant to.
        processes = processes[1:]
        snapshot = _as_if_started(snapshot, registry.outlook())
    settings, quarantine = parts.stored.settings, parts.quarantine
    specs = [known.spec for known in snapshot.plugins.values() if known.spec is not None]
    states = {slug: parts.calling.circuit_state(slug) for slug in snapshot.active}
    storage = registry.storage
    return Situation(
        snapshot=snapshot,
        failures=_failures(parts, snapshot, processes),
        is_safe=rules.safe_mode,
        narrowed=_narrowed(rules, snapshot),
        circuits={slug: state for slug, state in states.items() if state != "closed"},
        hanging=registry.dispatch.running(HANGS_AFTER),
        declared=dict(_declared(parts, snapshot)),
        setting_faults=parts.health.faults(),
        stored=settings.all_stored(),
        overrides={slug: frozenset(own) for slug, own in settings.overrides.items()},
        damaged=registry.damaged,
        quarantined={} if quarantine is None else quarantine.reasons(specs),
        **_packaged(registry.packages),
        slow={slug: time for process in processes for slug, time in process.slow.items()},
        processes=processes,
        now=datetime.fromtimestamp(now(storage), UTC),
        has_keys=parts.options.encryption is not None or isinstance(storage, MemoryStorage),
        open_file=_open_file(storage),
    )


def _packaged(packages: Packages | None) -> dict[str, Any]:
    """Return the known installed distributions, or nothing if they cannot be read."""
    if packages is None:
        return {}
    found: dict[str, Any] = {"can_install": True}
    # An environment that cannot be read is a failure record already.
    with suppress(InstallError):
        found["interrupted"] = packages.interrupted()
        found["releases"] = packages.outdated(ask=False)
    return found


def _failures(
    parts: Assembly, snapshot: Snapshot, processes: Iterable[ProcessRecord]
) -> tuple[PluginFailure, ...]:
    """Return the failures of this process, and those of others that still mean something.

    A failure of a process that has ended does unless the plugin serves somewhere, or only a
    call has failed.
    """
    found = {failure.identity: failure for failure in parts.ledger.all()}
    serving = {*snapshot.active, *(slug for process in processes for slug in process.active)}
    for failure in parts.heartbeat.failures_of_others():
        is_over = failure.slug in serving or failure.stage not in LOAD_STAGES
        if failure.is_running or not is_over:
            found.setdefault(failure.identity, failure)
    return tuple(found.values())


def _as_if_started(snapshot: Snapshot, plan: LoadPlan) -> Snapshot:
    """Return the plugins as a start without safe mode would decide, without importing any."""
    plugins = {}
    for slug, known in snapshot.plugins.items():
        held = plan.held.get(known.slug, _NOT_STARTED)
        plugins[slug] = replace(known, state=held.state, reason=held.reason)
    return replace(snapshot, plugins=plugins, needs=plan.needs)


def _declared(parts: Assembly, snapshot: Snapshot) -> Iterable[tuple[str, dict[str, bool]]]:
    """Yield the settings of plugins in service, and of those that were probed.

    A default's own methods are the plugin's code, and a callable may return anything. Defaults of
    protected settings are never in the report of a probe.
    """
    for slug, known in snapshot.plugins.items():
        active = snapshot.active.get(slug)
        if active is not None:
            own = active.settings.values()
            # Only None and an empty string are no default.
            yield slug, {s.key: s.required and _is_empty(s.default) for s in own}
        elif known.spec is not None:
            report = parts.stored.probe_rows.of(known.spec)
            # Of a plugin that could not be constructed nothing is known.
            if report is not None and report.outcome == "ok":
                probed = report.settings.values()
                yield slug, {s.key: s.required and not (s.default or s.protected) for s in probed}


def _is_empty(default: object) -> bool:
    return default is None or (type(default) is str and not default)


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


def _open_file(storage: Storage) -> str:
    """Return the store's file with its mode, if users other than owner and group may use it."""
    path: Path | None = getattr(storage, "path", None)
    if path is None or os.name != "posix":
        return ""
    with Guard():
        mode = stat.S_IMODE(path.stat().st_mode)
        return f"{str(path)!r} (mode {mode:04o})" if mode & 0o007 else ""
    return ""
