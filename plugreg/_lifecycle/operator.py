"""Changes by operators: plugins on, off or deleted; and plugins registered by hand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from plugreg._lifecycle.catalogue import Catalogue
from plugreg._lifecycle.lifecycle import LifeCycle
from plugreg._state.published import Published, StoredRows
from plugreg._support.frozen import Frozen
from plugreg._support.slugs import Slug, near, slug_fault, slugify
from plugreg.discovery import objects
from plugreg.exceptions import (
    PluginBlockedError,
    PluginMandatoryError,
    PluginNotFoundError,
    PluginRequiredError,
    PluginSlugError,
)
from plugreg.records import KnownPlugin, LoadPlan, PluginRecord, Snapshot, Source

if TYPE_CHECKING:
    from plugreg._state.probe_report import ProbeReport


class Operator(Frozen):
    """Stores the desired state of plugins, and has the life cycle carry it out.

    Objects that the host registers by hand are not stored. A change that the host's rules forbid
    is not stored either.

    Every method raises RegistryNotReady before load and after close. Those that store raise
    RegistryBusyError if their turn did not come in time; nothing has changed then. They raise
    StorageError too: the desired state may be stored then, and the next refresh carries it out.
    Called by plugin code that is being loaded, they check at once and are carried out later.
    """

    published: Published
    life: LifeCycle
    catalogue: Catalogue
    stored: StoredRows
    outlook: Callable[[], LoadPlan]

    def activate(
        self,
        slug: str,
        *,
        allow_missing: bool = False,
        probe: Callable[[str], ProbeReport] | None = None,
    ) -> PluginRecord:
        """Store that a plugin is wanted, activate it, and return its record.

        Only this plugin and those that need it are touched. If it fails, or does not suit the
        host's version, it stays wanted and is tried again at each reload. If it is wanted already,
        nothing is stored.

        Args:
            slug: The plugin.
            allow_missing: Whether the plugin need not be known yet.
            probe: Loads a plugin in a child process. It is called for each of the plugins that is
                not in service. A failure there is no reason not to activate the plugin, unless it
                would end the host. Plugins that it would bring are not probed.

        Returns:
            The plugin's record, whatever its state.

        Raises:
            PluginNotFoundError: If the plugin is unknown or missing, unless *allow_missing*.
            PluginBlockedError: If the host forbids it.
            PluginSlugError: If *slug* is unknown and is no slug.
            ProbeFailedError: If the plugin ended its process or took too long when probed.
        """
        if probe is not None:
            # Outside the queue, since it takes long.
            snapshot = self.published.current()
            for target in self._check_permitted(slug, allow_missing=allow_missing):
                for name in (target, *snapshot.dependants(target)):
                    self._check_probe(snapshot.plugins.get(name), probe)

        self._switch({slug: True}, allow_missing=allow_missing)
        return self.catalogue.record(slug)

    def deactivate(self, slug: str, *, cascade: bool = False) -> PluginRecord:
        """Store that a plugin is not wanted, deactivate it, and return its record.

        No call that begins after this returns reaches the plugin; a call under way keeps the
        plugins that it began with.

        Args:
            slug: The plugin.
            cascade: Whether active plugins that need it are switched off too.

        Returns:
            The plugin's record.

        Raises:
            PluginNotFoundError: If the plugin is unknown.
            PluginMandatoryError: If a plugin is mandatory.
            PluginRequiredError: If an active plugin needs it, unless *cascade*. In safe mode
                those count as active that a normal start would load.
            PluginSlugError: If it was registered by hand.
        """
        self._switch({slug: False}, cascade=cascade)
        return self.catalogue.record(slug)

    def switch(self, wanted: Mapping[str, bool]) -> Mapping[str, PluginRecord]:
        """Switch several plugins on and off at once; see `plugreg.PluginRegistry.switch`."""
        if not isinstance(wanted, Mapping):
            raise TypeError(
                f"switch takes a mapping of slugs to True or False, not {type(wanted).__name__!r}; "
                "write {'discount': True}"
            )
        for slug, active in wanted.items():
            if not isinstance(active, bool):
                raise TypeError(f"plugin {slug!r} is switched by True or False, not {active!r}")
        self._switch(wanted)
        return {slug: self.catalogue.record(slug) for slug in wanted}

    def delete(self, slug: str) -> None:
        """Delete everything that is stored of a plugin that is off.

        A plugin that is still installed stays off until plugins are looked for again; then it
        counts as never seen. Its ``pk`` is not used again.

        Args:
            slug: The plugin.

        Raises:
            PluginNotFoundError: If the plugin is unknown.
            PluginMandatoryError: If it is mandatory.
            PluginActiveError: If it is stored as wanted, by whichever process.
            PluginSlugError: If it was registered by hand.
        """

        def store() -> tuple[Mapping[Slug, None], int]:
            known = self._find_stored(slug)
            if slug in self.stored.rules.mandatory:
                raise PluginMandatoryError(slug)
            raised = self.stored.plugin_rows.forget(known.slug, known.spec)
            self.stored.settings.forget(slug)
            self.stored.probe_rows.forget(slug)
            return {known.slug: None}, raised

        self.life.carry_out(store)

    def register(self, obj: Any, slug: str | None) -> PluginRecord:
        """Take an object into service; see `plugreg.PluginRegistry.register`."""
        self.published.current()
        if slug is not None and (reason := slug_fault(slugify(slug), slug)):
            raise PluginSlugError(slug, reason)
        found = objects.find([obj if slug is None else (slug, obj)], source=Source.MANUAL)
        if not found.specs:
            raise PluginSlugError(str(slug), found.failures[0].message)
        (spec,) = found.specs
        forbidden = self.stored.rules.blocks(spec.slug, spec)
        if forbidden is not None:
            raise PluginBlockedError(spec.slug, forbidden)
        self.life.register(spec)
        return self.catalogue.record(spec.slug)

    def unregister(self, slug: str) -> None:
        """Take an object out of service that was registered by hand.

        Raises:
            PluginNotFoundError: If there is none of this slug.
        """
        known = self.published.current().plugins.get(slug)
        if known is None or not _is_manual(known):
            hint = "; only what was registered by hand can be unregistered"
            raise PluginNotFoundError(slug, hint)
        self.life.unregister(known.slug)

    def _switch(
        self, wanted: Mapping[str, bool], *, allow_missing: bool = False, cascade: bool = False
    ) -> None:
        """Store whether plugins are wanted, and carry that out; see `activate`, `deactivate`."""

        def store() -> tuple[Mapping[Slug, bool | None], int]:
            leaving = [
                self._find_stored(slug).slug for slug, active in wanted.items() if not active
            ]
            coming = [
                name
                for slug, active in wanted.items()
                if active
                for name in self._check_permitted(slug, allow_missing=allow_missing)
            ]
            if leaving:
                dependants_of = self._active_dependants()
                if cascade:
                    leaving += [name for slug in leaving for name in dependants_of(slug)]
                self._check_leaving(leaving, dependants_of)
            for slug in coming:
                self.life.release(slug)
            changes = dict.fromkeys(coming, True) | dict.fromkeys(leaving, False)
            return self.stored.plugin_rows.set_active(changes)

        self.life.carry_out(store)

    def _check_probe(self, known: KnownPlugin | None, probe: Callable[[str], ProbeReport]) -> None:
        """Probe a plugin that could end this process, and is not in service.

        Raises ProbeFailedError.
        """
        if known is None or known.spec is None or known.loaded is not None:
            return
        # An isolated plugin can end only its own process.
        if self.catalogue.record(known.slug).isolated:
            return
        report = probe(known.slug)
        if report.ends_host:
            from plugreg._state.probe_report import ProbeFailedError

            raise ProbeFailedError(report)

    def _check_permitted(self, slug: str, *, allow_missing: bool) -> tuple[Slug, ...]:
        """Return the plugin that is to be wanted; none if it was registered by hand.

        Raises the exceptions of `activate`.
        """
        plugins = self.published.current().plugins
        known = plugins.get(slug)
        if known is not None and _is_manual(known):
            return ()
        forbidden = self.stored.rules.blocks(slug, None if known is None else known.spec)
        if forbidden is not None:
            raise PluginBlockedError(slug, forbidden)
        if known is None or known.spec is None:
            if not allow_missing:
                hint = near(slug, plugins) if known is None else "; it is not installed"
                raise PluginNotFoundError(slug, hint)
            if slugify(slug) != slug or slug_fault(Slug(slug), slug):
                raise PluginSlugError(slug, "it is no slug; use lower case letters and digits")
        return (Slug(slug),)

    def _active_dependants(self) -> Callable[[str], list[Slug]]:
        """Return the function that gives the active plugins that need one, also indirectly."""
        of: Snapshot | LoadPlan = self.published.current()
        active: Collection[str] = self.published.current().active
        if self.stored.rules.safe_mode:
            # No plugin is active here. Those count that a normal start would load.
            of = self.outlook()
            active = {spec.slug for spec in of.order}
        return lambda slug: [name for name in of.dependants(slug) if name in active]

    def _check_leaving(
        self, slugs: Collection[Slug], dependants_of: Callable[[str], list[Slug]]
    ) -> None:
        """Check that plugins may be switched off together.

        Raises PluginMandatoryError, and PluginRequiredError where an active plugin that needs it
        of them would stay.
        """
        for slug in slugs:
            dependants = dependants_of(slug)
            for name in (slug, *dependants):
                if name in self.stored.rules.mandatory:
                    raise PluginMandatoryError(name)
            staying = [name for name in dependants if name not in slugs]
            if staying:
                raise PluginRequiredError(slug, tuple(staying))

    def _find_stored(self, slug: str) -> KnownPlugin:
        """Return a plugin that has rows. Raises PluginNotFoundError, PluginSlugError."""
        known = self.published.current().get_known(slug)
        if _is_manual(known):
            raise PluginSlugError(slug, "it was registered by hand; use unregister()")
        return known


def _is_manual(known: KnownPlugin) -> bool:
    return known.spec is not None and known.spec.source is Source.MANUAL
