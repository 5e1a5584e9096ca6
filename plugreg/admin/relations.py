"""Which plugins need which, by the plan of a start."""

from __future__ import annotations

from collections.abc import Iterable

from plugreg._support.slugs import Slug
from plugreg.exceptions import StorageError
from plugreg.records import LoadPlan
from plugreg.registry import PluginRegistry


def plan_of(registry: PluginRegistry, wanted: Iterable[str]) -> LoadPlan:
    """Return the plan of a start, or an empty plan while the storage cannot be read.

    Args:
        registry: The registry.
        wanted: Plugins that count as switched on.
    """
    try:
        return registry.outlook(wanted)
    except StorageError:
        return LoadPlan(specs={}, order=(), ranks={}, needs={}, held={}, failures=())


def needs_of(plan: LoadPlan, slug: str) -> tuple[str, ...]:
    """Return the plugins that a plugin depends on, by name.

    Args:
        plan: A plan in which the plugin is wanted.
        slug: The plugin.
    """
    return tuple(sorted(plan.needs.get(Slug(slug), ())))


def needed_by(plan: LoadPlan, slug: str) -> tuple[str, ...]:
    """Return the plugins of a plan that depend on a plugin, also indirectly, by name.

    Args:
        plan: The plan.
        slug: The plugin.
    """
    found: set[str] = set()
    waiting = [slug]
    while waiting:
        need = waiting.pop()
        direct = {str(other) for other, needs in plan.needs.items() if need in needs}
        waiting += direct - found
        found |= direct
    return tuple(sorted(found))
