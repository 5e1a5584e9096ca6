"""Which plugins need which, by the plan of a start."""

from __future__ import annotations

from plugreg._support.slugs import Slug
from plugreg.records import LoadPlan


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
