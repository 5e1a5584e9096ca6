"""Owners of slugs: no distribution inherits the state of another one's plugin."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping

from plugreg._lifecycle.resolve import settle
from plugreg._support.slugs import Slug, slugify
from plugreg.discovery import discover
from plugreg.exceptions import RegistryNotReady
from plugreg.install.changes import normal
from plugreg.install.exceptions import NotAPluginError
from plugreg.install.plan import InstallPlan, Refusal
from plugreg.records import KnownPlugin, PluginRow, PluginSpec, Source


class Slugs:
    """Compares what distributions bring to ``group`` with the plugins that there are.

    ``known`` gives the plugins of the registry, ``wishes`` what is stored of plugins. Before the
    registry was loaded, nothing is known here of the host's own plugins and of its rules.
    """

    def __init__(
        self,
        group: str,
        known: Callable[[], Iterable[KnownPlugin]],
        wishes: Callable[[], Mapping[Slug, PluginRow]],
    ) -> None:
        self._group = group
        self._known = known
        self._wishes = wishes

    def refusals(self, plan: InstallPlan) -> tuple[Refusal, ...]:
        """Return why a plan would put plugins in the place of other ones.

        A slug belongs to the plugin that there is; to the host where it is mandatory; and to the
        distribution that had it last, while a wish is stored. A wish for a plugin that was never
        seen is for whoever brings it. Raises StorageError.
        """
        known = {plugin.slug: plugin for plugin in self._all_known()}
        wishes, specs = self._wishes(), self._specs(known.values())
        owners: dict[Slug, str] = {}
        reasons = []
        for name, slug in _brought(plan):
            others = (spec for spec in specs if spec.slug == slug)
            other = next((e for e in others if _distribution(e, known) != name), None)
            plugin, wish = known.get(slug), wishes.get(slug)
            if other is not None:
                fault = f"that of {other.origin} is called so; uninstall or rename one of the two"
            elif owners.setdefault(slug, name) != name:
                fault = f"{owners[slug]!r}, which comes too, brings one that is called so"
            elif plugin is not None and plugin.is_mandatory and plugin.distribution != name:
                fault = "it is mandatory, so that its code would run at once; put it there by hand"
            elif wish is not None and wish.distribution not in (None, name):
                fault = (
                    f"what is stored of it is of {wish.distribution!r}, which had it last; forget "
                    f"that with registry.delete({slug!r}), once it is off"
                )
            else:
                continue
            reasons.append(f"{name!r} brings a plugin {slug!r}, but {fault}")
        return tuple(Refusal(rule="plugin", reason=reason) for reason in reasons)

    def found(self, versions: Mapping[str, str]) -> tuple[PluginSpec, ...]:
        """Return the plugins of distributions, as discovery settles on them, sorted by slug.

        ``versions`` has the version of each, by canonical name. Raises NotAPluginError where this
        interpreter finds another version, or another plugin of the same slug.
        """
        importlib.invalidate_caches()
        settled, _ = settle(self._specs(self._all_known()))
        for spec in discover(self._group):
            name = spec.distribution or ""
            if name not in versions:
                continue
            if normal(spec.version) != normal(versions[name]):
                raise NotAPluginError(
                    [
                        f"{name!r} was installed in version {versions[name]}, but this interpreter "
                        f"finds {spec.version} in {spec.path!r}, which is ahead on its path"
                    ]
                )
            winner = settled.get(spec.slug, spec)
            if winner.distribution != name:
                raise NotAPluginError(
                    [f"{name!r} brings a plugin {spec.slug!r}, but that of {winner.origin} counts"]
                )
        return tuple(spec for spec in settled.values() if spec.distribution in versions)

    def _all_known(self) -> tuple[KnownPlugin, ...]:
        try:
            return tuple(self._known())
        except RegistryNotReady:
            return ()

    def _specs(self, known: Iterable[KnownPlugin]) -> tuple[PluginSpec, ...]:
        """Return all plugins that there are now: the host's, and those of distributions."""
        own = (plugin.spec for plugin in known if plugin.spec is not None)
        others = (spec for spec in own if spec.source is not Source.ENTRY_POINT)
        return (*others, *discover(self._group))


def _brought(plan: InstallPlan) -> Iterator[tuple[str, Slug]]:
    """Give each slug that a plan would bring, with the name of its distribution."""
    for change in plan.changes:
        if change.after is not None:
            asked = plan.plugins if change.name == plan.distribution else None
            for slug in sorted({*map(slugify, change.plugins), *map(slugify, asked or ())}):
                yield change.name, slug


def _distribution(spec: PluginSpec, known: Mapping[Slug, KnownPlugin]) -> str | None:
    """Return the distribution of a plugin, or of the one that brings it."""
    bringer = None if spec.brought_by is None else known.get(spec.brought_by)
    return spec.distribution if bringer is None else bringer.distribution
