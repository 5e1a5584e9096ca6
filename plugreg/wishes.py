"""``registry.activate``, ``deactivate`` and ``delete``: what an operator wishes of a plugin."""

from __future__ import annotations

from plugreg._names import Slug, near, slug_fault, slugify
from plugreg.catalogue import Catalogue
from plugreg.configs import Configs
from plugreg.exceptions import (
    PluginActiveError,
    PluginBlockedError,
    PluginMandatoryError,
    PluginNotFoundError,
    PluginRequiredError,
    PluginSlugError,
)
from plugreg.lifecycle import LifeCycle
from plugreg.records import KnownPlugin, PluginRecord
from plugreg.resolve import HostRules
from plugreg.values import SettingsStore


class Wishes:
    """Stores what an operator wishes, and has it carried out.

    Nothing is stored that the host's rules forbid. Every method raises RegistryNotReady before
    load and after close.
    """

    def __init__(
        self,
        *,
        rules: HostRules,
        life: LifeCycle,
        catalogue: Catalogue,
        configs: Configs,
        settings: SettingsStore,
    ) -> None:
        self._rules = rules
        self._life = life
        self._catalogue = catalogue
        self._configs = configs
        self._settings = settings

    def activate(self, slug: str, *, allow_missing: bool = False) -> PluginRecord:
        """Store the wish that a plugin is on, carry it out, and return its record.

        It and the plugins that need it are touched, no others. A plugin that then fails, or does
        not suit the host's version, stays wished and is tried again at each reload; that is no
        error here. Asked for by plugin code that is itself being loaded, it is carried out right
        after. Raises PluginNotFoundError for an unknown or missing one (unless ``allow_missing``:
        the wish waits for it), PluginBlockedError, StorageError, RegistryBusyError (then the wish
        is stored, and the next reload carries it out).
        """
        plugins = self._life.current().plugins
        if self._life.is_manual(slug):
            return self._catalogue.record(slug)
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
        self._configs.wish(True, [Slug(slug)])
        self._life.carry_out({Slug(slug)})
        return self._catalogue.record(slug)

    def deactivate(self, slug: str, *, cascade: bool = False) -> PluginRecord:
        """Store the wish that a plugin is off, carry it out, and return its record.

        Once this returns no call reaches the plugin any more; one under way keeps the plugins it
        began with. With ``cascade`` the plugins that need it are switched off too. Raises
        PluginNotFoundError, PluginMandatoryError (one of them is), PluginRequiredError (an active
        plugin needs it), PluginSlugError (registered by hand), StorageError; then nothing has
        changed. RegistryBusyError as :meth:`activate`.
        """
        known = self._known(slug)
        if self._life.is_manual(slug):
            raise PluginSlugError(slug, "it was registered by hand; use unregister()")
        snapshot = self._life.current()
        dependants = [each for each in snapshot.dependants(slug) if each in snapshot.active]
        leaving = (known.slug, *dependants)
        for each in leaving:
            if each in self._rules.mandatory:
                raise PluginMandatoryError(each)
        if dependants and not cascade:
            raise PluginRequiredError(slug, dependants)
        self._configs.wish(False, leaving)
        self._life.carry_out(leaving)
        return self._catalogue.record(slug)

    def delete(self, slug: str) -> None:
        """Forget wish, settings, user settings and metadata of a plugin that is off.

        One that is still installed is then as if never seen. Its ``pk`` is not used again. Raises
        PluginNotFoundError, PluginMandatoryError, PluginActiveError, StorageError.
        """
        known = self._known(slug)
        if self._life.is_manual(slug):
            raise PluginSlugError(slug, "it was registered by hand; use unregister()")
        if slug in self._rules.mandatory:
            raise PluginMandatoryError(slug)
        if known.wanted:
            raise PluginActiveError(slug)
        self._configs.forget(known.slug)
        self._settings.forget(slug)
        self._life.carry_out({known.slug})

    def _known(self, slug: str) -> KnownPlugin:
        plugins = self._life.current().plugins
        known = plugins.get(slug)
        if known is None:
            raise PluginNotFoundError(slug, near(slug, plugins))
        return known
