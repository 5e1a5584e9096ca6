"""All plugins in one row each: what is wanted, and what the live processes have.

It is made of a registry in safe mode, which has imported nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from plugreg._support.named import NamedTuple
from plugreg.records import (
    LOAD_STAGES,
    LoadPlan,
    PluginFailure,
    PluginRecord,
    PluginState,
    ProcessRecord,
)
from plugreg.registry import PluginRegistry

UNKNOWN: Final = "unknown"
"""The state of a plugin where no live process is heard."""


class Overview(NamedTuple):
    """What is known of all plugins at one moment.

    Args:
        records: The plugins, of a registry in safe mode.
        plan: What a normal start would load.
        processes: The live processes.
        failures: The failures of all processes, by plugin.
    """

    records: Mapping[str, PluginRecord]
    plan: LoadPlan
    processes: tuple[ProcessRecord, ...]
    failures: Mapping[str, tuple[Any, ...]]

    def serving(self, slug: str) -> tuple[ProcessRecord, ...]:
        """Return the live processes in which a plugin is active."""
        return tuple(process for process in self.processes if slug in process.active)

    def state(self, slug: str) -> str:
        """Return the state of a plugin in the live processes, ``unknown`` where there is none.

        Args:
            slug: The plugin.
        """
        record = self.records[slug]
        if record.state in (PluginState.MISSING, PluginState.BLOCKED):
            return record.state
        if not self.processes:
            return UNKNOWN
        if self.serving(slug):
            return PluginState.ACTIVE
        if not record.wanted:
            return PluginState.INACTIVE
        held = self.plan.held.get(record.slug)  # type: ignore[call-overload]
        if held is not None:
            return str(held.state)
        return PluginState.FAILED if self._load_failures(slug) else PluginState.INACTIVE

    def why(self, slug: str) -> str:
        """Return why a plugin is not in the state that is wanted, an empty string if it is.

        Args:
            slug: The plugin.
        """
        record, serving = self.records[slug], self.serving(slug)
        if record.state in (PluginState.MISSING, PluginState.BLOCKED):
            return record.reason
        if not record.wanted:
            return f"is switched off, and still serves in {_names(serving)}" if serving else ""
        held = self.plan.held.get(record.slug)  # type: ignore[call-overload]
        failed = self._load_failures(slug)
        faults = [failure for failure in self.plan.failures if failure.slug == slug]
        if len(serving) == len(self.processes) and serving:
            return ""
        if failed:
            return f"{failed[-1].stage}: {failed[-1].message}"
        if faults:
            return faults[-1].message
        if held is not None:
            return str(held.reason)
        if not self.processes:
            return ""
        absent = [process for process in self.processes if process not in serving]
        return f"not taken in yet by {_names(absent)}"

    def row(self, slug: str) -> dict[str, Any]:
        """Return a plugin as JSON values.

        Args:
            slug: The plugin.
        """
        record = self.records[slug]
        return {
            "slug": slug,
            "version": record.version,
            "wanted": record.wanted,
            "state": str(self.state(slug)),
            "serves": f"{len(self.serving(slug))}/{len(self.processes)}",
            "why": self.why(slug),
            "title": record.title,
            "distribution": record.distribution,
            "mixins": sorted(record.mixins),
            "failures": sum(failure.count for failure in self.failures.get(slug, ())),
        }

    def _load_failures(self, slug: str) -> list[Any]:
        return [f for f in self.failures.get(slug, ()) if f.stage in LOAD_STAGES]


def look(registry: PluginRegistry) -> Overview:
    """Return what is known of all plugins of a registry in safe mode. Writes nothing.

    Args:
        registry: The registry, loaded.

    Raises:
        StorageError: If the store cannot be read.
    """
    # The first one is this process.
    processes = registry.shared.processes()[1:]
    failures: dict[str, tuple[PluginFailure, ...]] = {}
    for failure in shared_failures(registry):
        failures[failure.slug] = (*failures.get(failure.slug, ()), failure)
    return Overview(registry.plugins, registry.outlook(), processes, failures)


def shared_failures(registry: PluginRegistry) -> tuple[Any, ...]:
    """Return the failures of all processes, each with the process that recorded it."""
    read = getattr(registry.shared, "failures", None)
    return tuple(read()) if read is not None else ()


def _names(processes: Iterable[ProcessRecord]) -> str:
    return ", ".join(f"{process.name} (pid {process.pid})" for process in processes)
