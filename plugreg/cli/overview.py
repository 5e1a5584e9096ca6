"""A row for each plugin: its desired state, and its states in the live processes.

It is made of a registry in safe mode, which has imported nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from plugreg._calls import OPEN_CIRCUIT
from plugreg._support.frozen import NamedTuple
from plugreg._support.slugs import Slug
from plugreg.records import (
    LOAD_STAGES,
    LoadPlan,
    PluginRecord,
    PluginState,
    ProcessFailure,
    ProcessRecord,
)
from plugreg.registry import PluginRegistry

if TYPE_CHECKING:
    from plugreg.settings.view import SettingsView

UNKNOWN: Final = "unknown"
"""The state of a plugin where no live process is heard."""


class Overview(NamedTuple):
    """The known data of all plugins at one moment.

    Args:
        records: The plugins, of a registry in safe mode.
        plan: The plugins that a normal start would load.
        processes: The live processes.
        failures: The failures of all processes, by plugin.
    """

    records: Mapping[str, PluginRecord]
    plan: LoadPlan
    processes: tuple[ProcessRecord, ...]
    failures: Mapping[str, tuple[ProcessFailure, ...]]

    def serving(self, slug: str) -> tuple[ProcessRecord, ...]:
        """Return the live processes in which a plugin is active.

        Args:
            slug: The plugin.
        """
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
        held = self.plan.held.get(Slug(slug))
        if held is not None:
            return str(held.state)
        return PluginState.FAILED if self.load_failures(slug) else PluginState.INACTIVE

    def why(self, slug: str) -> str:
        """Return why a plugin is not in the state that is wanted, an empty string if it is.

        Args:
            slug: The plugin.
        """
        record, serving = self.records[slug], self.serving(slug)
        if record.state in (PluginState.MISSING, PluginState.BLOCKED):
            return record.reason
        if not record.wanted:
            return f"is switched off, and still serves in {self.names(serving)}" if serving else ""
        absent = [process for process in self.processes if process not in serving]
        if serving and not absent:
            opened = self.open_circuits(slug)[:1]
            return "".join(f"in {f.process} (pid {f.pid}) {f.message}" for f in opened)
        if failed := self.load_failures(slug):
            return f"{failed[-1].stage}: {failed[-1].message}"
        held = self.held(slug)
        return held or (f"not taken in yet by {self.names(absent)}" if absent else "")

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
            "isolated": record.isolated,
            "failures": sum(failure.count for failure in self.failures.get(slug, ())),
        }

    def open_circuits(self, slug: str) -> list[ProcessFailure]:
        """Return the records of live processes in which a plugin's circuit is open.

        Args:
            slug: The plugin.
        """
        own = self.failures.get(slug, ())
        return [fault for fault in own if fault.subject == OPEN_CIRCUIT and fault.is_running]

    def load_failures(self, slug: str) -> list[ProcessFailure]:
        """Return the failures by which a plugin did not come into service.

        A process in which it serves may have others, for example of a hook that is never called.

        Args:
            slug: The plugin.
        """
        fine = {process.pid for process in self.serving(slug)}
        return [
            failure
            for failure in self.failures.get(slug, ())
            if failure.stage in LOAD_STAGES and failure.pid not in fine
        ]

    def held(self, slug: str) -> str | None:
        """Return why a normal start would not load a plugin, None if it would.

        Args:
            slug: The plugin.
        """
        faults = [failure.message for failure in self.plan.failures if failure.slug == slug]
        held = self.plan.held.get(Slug(slug))
        return faults[-1] if faults else None if held is None else held.reason

    def needs(self, slug: str) -> list[str]:
        """Return the plugins that a wanted plugin depends on.

        Args:
            slug: The plugin.
        """
        return [str(need) for need in self.plan.needs.get(Slug(slug), ())]

    def needed_by(self, slugs: Iterable[str]) -> list[str]:
        """Return the other wanted plugins that depend on any of these, also indirectly.

        Args:
            slugs: The plugins.
        """
        given = {*slugs}
        found = {other for slug in given for other in self.plan.dependants(slug)} - given
        return sorted(slug for slug in found if self.records[slug].wanted)

    @staticmethod
    def names(processes: Iterable[ProcessRecord]) -> str:
        """Return the names of processes, with their numbers.

        Args:
            processes: The processes.
        """
        return ", ".join(f"{process.name} (pid {process.pid})" for process in processes)


def reach(slugs: Iterable[str], following: Callable[[str], Iterable[str]]) -> list[str]:
    """Return plugins, then all that follow them, each once.

    Args:
        slugs: The plugins to begin with.
        following: Returns the plugins that follow one directly.
    """
    found = [*dict.fromkeys(slugs)]
    for slug in found:
        found += [other for other in dict.fromkeys(following(slug)) if other not in found]
    return [*map(str, found)]


def look(registry: PluginRegistry) -> Overview:
    """Return the overview of a registry in safe mode. Nothing is written.

    Args:
        registry: The registry, loaded.

    Raises:
        StorageError: If the store cannot be read.
    """
    # The first is this process.
    processes = registry.shared.processes()[1:]
    failures: dict[str, tuple[ProcessFailure, ...]] = {}
    for failure in shared_failures(registry):
        failures[failure.slug] = (*failures.get(failure.slug, ()), failure)
    # Each record is composed once.
    records = dict(registry.plugins.items())
    return Overview(records, registry.outlook(), processes, failures)


def shared_failures(registry: PluginRegistry) -> tuple[ProcessFailure, ...]:
    """Return the failures of all other processes. In this process only safe mode is recorded.

    Args:
        registry: The registry, loaded.
    """
    return registry.shared.failures()[len(registry.errors) :]


def setting_row(view: SettingsView, key: str) -> dict[str, Any]:
    """Return a setting as JSON values; a protected value is masked.

    Args:
        view: The settings of the plugin.
        key: Upper-case key of the setting.
    """
    definition = view.definitions[key]
    is_protected = view.is_protected(key)
    default = definition.default
    return {
        "key": key,
        "value": view.shown(key),
        "layer": view.layer(key),
        "locked": view.is_locked(key),
        "type": definition.wire_type,
        "name": str(definition.name),
        "description": str(definition.description),
        "units": str(definition.units),
        "default": None if is_protected or default is None else str(default),
        "required": definition.required,
        "protected": is_protected,
        "hidden": definition.hidden,
        "fault": view.fault(key),
    }
