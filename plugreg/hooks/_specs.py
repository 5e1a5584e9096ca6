"""plugreg's own markers, and the hooks that it calls itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pluggy import HookimplMarker, HookspecMarker

hookspec: Final = HookspecMarker("plugreg")
"""Marks a function as a hook's specification, whatever the host is called."""

hookimpl: Final = HookimplMarker("plugreg")
"""Marks a function as a hook's implementation, whatever the host is called."""


class PlugregSpecs:
    """plugreg's own hooks. Any plugin may implement them; none has to."""

    @hookspec
    def plugreg_activated(self) -> None:
        """Told to a plugin at the end of its activation, once for each object.

        Settings can be used. What it raises makes the activation fail. Other plugins of the same
        load are not in service yet; ``plugreg_plugins_loaded`` comes when they are.
        """

    @hookspec
    def plugreg_deactivating(self) -> None:
        """Told to a plugin when it is taken out of service, after the last call could begin."""

    @hookspec
    def plugreg_settings_changed(self, changed: frozenset[str]) -> None:
        """Told to a plugin when values have changed; ``changed`` has their keys.

        Its own settings, or those of a user; which of the two is not told.
        """

    @hookspec
    def plugreg_plugins_loaded(self, report: object) -> None:
        """Told to all active plugins after each load and reload, with its ``LoadReport``."""

    @hookspec
    def plugreg_health(self) -> bool | str | None:
        """Tell how the plugin is: None or True for well, a text that says what is wrong.

        For hosts to call; plugreg itself does not yet.
        """

    @hookspec
    def plugreg_plugins(self) -> Iterable[tuple[str, object]]:
        """Bring further plugins: pairs of a name and an object, class, or ``"module:attr"``.

        Asked once, when the plugin that implements it has been activated. What it brings is found
        after the entry points, is off until wanted, and depends on the plugin that brought it.
        """
        return ()
