"""What an operator wishes of a plugin: on, off, gone; and what a host registers by hand."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from plugreg._lifecycle.catalogue import Catalogue
from plugreg._lifecycle.lifecycle import LifeCycle
from plugreg._state.plugin_rows import PluginRows
from plugreg._state.probe_rows import ProbeRows
from plugreg._state.published import Published
from plugreg._support.names import Slug, near, slug_fault, slugify
from plugreg.discovery import objects
from plugreg.exceptions import (
    PluginBlockedError,
    PluginMandatoryError,
    PluginNotFoundError,
    PluginRequiredError,
    PluginSlugError,
)
from plugreg.records import HostRules, KnownPlugin, PluginRecord, Source
from plugreg.settings.store import SettingsStore

if TYPE_CHECKING:
    from plugreg._state.probe_report import ProbeReport


class Operator:
    """Stores what an operator wishes, and has it carried out. What a host registers is not stored.

    Nothing is stored that the host's rules forbid. Every method raises RegistryNotReady before
    load and after close.
    """

    def __init__(
        self,
        *,
        published: Published,
        rules: HostRules,
        life: LifeCycle,
        catalogue: Catalogue,
        plugin_rows: PluginRows,
        settings: SettingsStore,
        probe_rows: ProbeRows,
    ) -> None:
        self._published = published
        self._rules = rules
        self._life = life
        self._catalogue = catalogue
        self._plugin_rows = plugin_rows
        self._settings = settings
        self._probe_rows = probe_rows

    def activate(
        self,
        slug: str,
        *,
        allow_missing: bool = False,
        probe: Callable[[str], ProbeReport] | None = None,
    ) -> PluginRecord:
        """Store the wish that a plugin is on, carry it out, and return its record.

        It and the plugins that need it are touched, no others. A plugin that then fails, or does
        not suit the host's version, stays wished and is tried again at each reload; that is no
        error here. Asked for by plugin code that is itself being loaded, it is carried out right
        after. Where the store says so already, nothing is stored.

        Raises PluginNotFoundError for an unknown or missing one (unless ``allow_missing``: the
        wish waits for it), PluginBlockedError, and RegistryBusyError where its turn does not come
        in time; then nothing has changed. After a StorageError the wish may be stored, and the
        next refresh carries it out.

        With ``probe`` those of them that are not in service are first looked at, each in a child
        process of its own, as by ``registry.probe``. One that would take the host down (it ended
        the process, a signal did, or it took too long) raises ProbeFailedError, and no wish is
        stored. One that raised an exception does a host no harm, and becomes a failed plugin as it
        would without. What a plugin brings by ``plugreg_plugins`` is not known before it is
        activated, and is not looked at.
        """
        if probe is not None:
            # It takes long, so that other changes need not wait for it.
            snapshot = self._published.current()
            for permitted in self._permitted(slug, allow_missing=allow_missing):
                for name in (permitted, *snapshot.dependants(permitted)):
                    _look_at(snapshot.plugins.get(name), probe)

        def store() -> tuple[Collection[Slug], int]:
            slugs = self._permitted(slug, allow_missing=allow_missing)
            return slugs, self._plugin_rows.set_active(True, slugs)

        self._life.carry_out(store, wished=True)
        return self._catalogue.record(slug)

    def deactivate(self, slug: str, *, cascade: bool = False) -> PluginRecord:
        """Store the wish that a plugin is off, carry it out, and return its record.

        Once this returns no call reaches the plugin any more; one under way keeps the plugins it
        began with. With ``cascade`` the plugins that need it are switched off too. Raises
        PluginNotFoundError, PluginMandatoryError (one of them is), PluginRequiredError (an active
        plugin needs it), PluginSlugError (registered by hand); then nothing has changed.
        RegistryBusyError and StorageError as :meth:`activate`.
        """

        def store() -> tuple[Collection[Slug], int]:
            known = self._stored(slug)
            snapshot = self._published.current()
            dependants = [name for name in snapshot.dependants(slug) if name in snapshot.active]
            leaving = (known.slug, *dependants)
            for name in leaving:
                if name in self._rules.mandatory:
                    raise PluginMandatoryError(name)
            if dependants and not cascade:
                raise PluginRequiredError(slug, dependants)
            return leaving, self._plugin_rows.set_active(False, leaving)

        self._life.carry_out(store, wished=False)
        return self._catalogue.record(slug)

    def delete(self, slug: str) -> None:
        """Forget wish, settings, metadata and what was learnt of a plugin that is off.

        A plugin that is still installed stays off, and is as if never seen when plugins are looked
        for again (``reload(collect=True)``, or the next start). Its ``pk`` is not used again.
        Raises PluginNotFoundError, PluginMandatoryError, PluginSlugError (registered by hand),
        PluginActiveError (the store says on, whatever this process has taken in); then nothing has
        changed. RegistryBusyError and StorageError as :meth:`activate`.
        """

        def store() -> tuple[Collection[Slug], int]:
            known = self._stored(slug)
            if slug in self._rules.mandatory:
                raise PluginMandatoryError(slug)
            raised = self._plugin_rows.forget(known.slug, known.spec)
            self._settings.forget(slug)
            self._probe_rows.forget(slug)
            return (known.slug,), raised

        self._life.carry_out(store)

    def register(self, obj: Any, slug: str | None) -> PluginRecord:
        """Take in an object by hand; see :meth:`plugreg.PluginRegistry.register`."""
        self._published.current()
        if slug is not None and (reason := slug_fault(slugify(slug), slug)):
            raise PluginSlugError(slug, reason)
        found = objects.find([obj if slug is None else (slug, obj)], source=Source.MANUAL)
        if not found.specs:
            raise PluginSlugError(str(slug), found.failures[0].message)
        (spec,) = found.specs
        forbidden = self._rules.blocks(spec.slug)
        if forbidden is not None:
            raise PluginBlockedError(spec.slug, forbidden)
        self._life.register(spec)
        return self._catalogue.record(spec.slug)

    def unregister(self, slug: str) -> None:
        """Let go of an object that was registered by hand. Raises PluginNotFoundError."""
        if not self._life.is_manual(slug):
            hint = "; only what was registered by hand can be unregistered"
            raise PluginNotFoundError(slug, hint)
        self._life.unregister(slug)

    def _permitted(self, slug: str, *, allow_missing: bool) -> tuple[Slug, ...]:
        """Return the plugin that is to be wished on; none where the host has registered it by hand.

        Raises what :meth:`activate` raises for a wish that is refused.
        """
        plugins = self._published.current().plugins
        if self._life.is_manual(slug):
            return ()
        forbidden = self._rules.blocks(slug)
        if forbidden is not None:
            raise PluginBlockedError(slug, forbidden)
        known = plugins.get(slug)
        if known is None or known.spec is None:
            if not allow_missing:
                hint = near(slug, plugins) if known is None else "; it is not installed"
                raise PluginNotFoundError(slug, hint)
            if slugify(slug) != slug or slug_fault(Slug(slug), slug):
                raise PluginSlugError(slug, "it is no slug; use lower case letters and digits")
        return (Slug(slug),)

    def _stored(self, slug: str) -> KnownPlugin:
        """Return a plugin whose wish is stored. Raises PluginNotFoundError, PluginSlugError."""
        known = self._published.current().get_known(slug)
        if self._life.is_manual(slug):
            raise PluginSlugError(slug, "it was registered by hand; use unregister()")
        return known


def _look_at(known: KnownPlugin | None, probe: Callable[[str], ProbeReport]) -> None:
    """Probe a plugin that is installed and not in service. Raises ProbeFailedError."""
    if known is None or known.spec is None or known.loaded is not None:
        return
    report = probe(known.slug)
    if report.ends_host:
        from plugreg._state.probe_report import ProbeFailedError

        raise ProbeFailedError(report)
