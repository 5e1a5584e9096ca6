"""Owners of slugs: no distribution inherits the state of another one's plugin."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from plugreg._support.slugs import Slug
from plugreg.exceptions import RegistryNotReady
from plugreg.install.plan import Refusal
from plugreg.records import KnownPlugin, PluginRow, PluginSpec, Source


class SlugOwners:
    """Compares staged plugins with those that exist.

    Before the registry is loaded, nothing is known of the host's own plugins and of its rules.

    Args:
        find: Returns the plugins of distributions that this interpreter finds.
        known: Returns the plugins of the registry.
        rows: Returns what is stored of plugins.
    """

    def __init__(
        self,
        find: Callable[[], Iterable[PluginSpec]],
        known: Callable[[], Iterable[KnownPlugin]],
        rows: Callable[[], Mapping[Slug, PluginRow]],
    ) -> None:
        self._find = find
        self._known = known
        self._rows = rows

    def refusals(
        self, specs: Iterable[PluginSpec], replaced: Collection[str]
    ) -> tuple[Refusal, ...]:
        """Return the reasons why plugins would take the slugs of others.

        A slug belongs to the plugin that exists; to the host where it is mandatory; and to the
        distribution that had it last, while a row of it is stored. A row of a plugin that was never
        seen is for any distribution.

        Args:
            specs: The staged plugins.
            replaced: Distributions whose present versions go.

        Raises:
            StorageError: If the rows cannot be read.
        """
        try:
            known = {plugin.slug: plugin for plugin in self._known()}
        except RegistryNotReady:
            known = {}
        own = (plugin.spec for plugin in known.values() if plugin.spec is not None)
        others = [spec for spec in own if spec.source is not Source.ENTRY_POINT]
        others += [spec for spec in self._find() if spec.distribution not in replaced]
        rows = self._rows()
        owners: dict[Slug, str] = {}
        reasons = []
        for spec in specs:
            slug, name = spec.slug, spec.distribution or ""
            plugin, row = known.get(slug), rows.get(slug)
            other = next((e for e in others if e.slug == slug and _owner(e, known) != name), None)
            if other is not None:
                fault = f"that of {other.origin} has this slug; uninstall or rename one of the two"
            elif owners.setdefault(slug, name) != name:
                fault = f"{owners[slug]!r}, which comes too, brings another with this slug"
            elif plugin is not None and plugin.is_mandatory and plugin.distribution != name:
                fault = "it is mandatory, so its code would run at once; install it with the host"
            elif row is not None and row.distribution not in (None, name):
                fault = (
                    f"what is stored of it belongs to {row.distribution!r}, which had it last; "
                    f"delete that with registry.delete({slug!r}), once it is off"
                )
            else:
                continue
            reasons.append(f"{name!r} brings a plugin {slug!r}, but {fault}")
        return tuple(Refusal(rule="plugin", reason=reason) for reason in reasons)


def _owner(spec: PluginSpec, known: Mapping[Slug, KnownPlugin]) -> str | None:
    """Return the distribution of a plugin, or of the one that brings it."""
    bringer = None if spec.brought_by is None else known.get(spec.brought_by)
    return spec.distribution if bringer is None else bringer.distribution
