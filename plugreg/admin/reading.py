"""Plugins on the screens: the API's answers, and reduced answers without a store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plugreg._support.frozen import Frozen
from plugreg.admin.visits import Visit
from plugreg.api.errors import UnavailableError
from plugreg.exceptions import StorageError
from plugreg.records import LoadPlan, PluginRecord, PluginState
from plugreg.registry import PluginRegistry


class PluginSummary(Frozen):
    """A plugin, as the actor of a visit may see it.

    Attributes:
        slug: The plugin.
        title: Its title, or its name.
        version: Its version, "" if it is unknown.
        state: Its state.
        reason: Why it is not in service.
        wanted: Whether it is wanted active.
        serving: How many processes have it in service.
        live: How many processes there are, None while the store cannot be read.
        failures: Number of failures in all processes.
        circuit: State of its circuit.
        isolated: Whether it runs in a process of its own.
        distribution: Name of its distribution.
        module: Its module or file, as far as the actor may know it.
        mixins: Names of its capabilities.
        is_mandatory: Whether the host requires it.
        is_installed: Whether it is there.
    """

    slug: str
    title: str
    version: str
    state: str
    reason: str
    wanted: bool
    serving: int
    live: int | None
    failures: int
    circuit: str
    isolated: bool
    distribution: str | None
    module: str | None
    mixins: tuple[str, ...]
    is_mandatory: bool
    is_installed: bool

    @property
    def why(self) -> str:
        """The reason as it is shown; a plugin that nobody wants needs none."""
        return self.reason if self.wanted or self.state != PluginState.INACTIVE else ""


def read_lines(
    visit: Visit, search: str, *, ordering: str = "key", first: int = 0, most: int | None = None
) -> list[PluginSummary]:
    """Return the plugins that a search finds.

    Args:
        visit: The visit.
        search: Words that must be in key or name.
        ordering: ``key`` or ``-key``.
        first: How many of them are left out before.
        most: The most that are returned.
    """
    page = {"search": search, "ordering": ordering, "offset": first, "limit": most}
    try:
        return [_line(config) for config in visit.call("plugins_list", **page).results]
    except UnavailableError:
        found = visit.api.registry.catalogue.select(search=search, ordering=[ordering])[first:]
        return [*map(_line_without_store, found[:most])]


def read_line(visit: Visit, plugin: str) -> PluginSummary:
    """Return a plugin.

    Args:
        visit: The visit.
        plugin: The plugin.

    Raises:
        NotFoundError: If there is no such plugin.
    """
    try:
        return _line(visit.call("plugins_retrieve", plugin=plugin))
    except UnavailableError:
        return _line_without_store(visit.api.registry.get(plugin))


def plan_of(registry: PluginRegistry, wanted: Iterable[str]) -> LoadPlan:
    """Return the plan of a start, one without plugins while the storage cannot be read.

    Args:
        registry: The registry.
        wanted: Plugins that are looked at as if they were switched on.
    """
    try:
        return registry.outlook(wanted)
    except StorageError:
        return LoadPlan(specs={}, order=(), ranks={}, needs={}, held={}, failures=())


def _line(config: Any) -> PluginSummary:
    return PluginSummary(
        slug=config.key,
        title=config.meta.get("human_name") or config.name or config.key,
        version=config.version or "",
        state=config.state,
        reason=config.reason,
        wanted=config.active,
        serving=config.processes.serving,
        live=config.processes.live,
        failures=config.failures,
        circuit=config.circuit,
        isolated=config.isolated,
        distribution=config.package_name,
        module=config.meta.get("package_path"),
        mixins=tuple(mixin["human_name"] for mixin in config.mixins.values()),
        is_mandatory=config.is_mandatory,
        is_installed=config.is_installed,
    )


def _line_without_store(record: PluginRecord) -> PluginSummary:
    """Return the data of a plugin in this process, without the reason of its state."""
    shared = ("slug", "wanted", "circuit", "isolated", "distribution")
    return PluginSummary(
        **{name: getattr(record, name) for name in shared},
        title=record.name or record.slug,
        version=record.version or "",
        state=str(record.state),
        reason="",
        serving=0,
        live=None,
        failures=len(record.errors),
        module=None,
        mixins=tuple(record.mixins.values()),
        is_mandatory=record.is_mandatory,
        is_installed=record.is_installed,
    )
