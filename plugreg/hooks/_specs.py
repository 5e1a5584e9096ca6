"""plugreg's own markers, and the hooks that it calls itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, TypedDict, TypeVar, Unpack, overload

from pluggy import HookimplMarker, HookspecMarker

from plugreg.hooks._wishes import wishes_in

F = TypeVar("F", bound=Callable[..., object])

Names = str | Collection[str]
"""The name of a plugin, or several."""

_hookimpl: Final = HookimplMarker("plugreg")

hookspec: Final = HookspecMarker("plugreg")
"""Marks a function as a hook's specification, whatever the host is called."""


class ImplOptions(TypedDict, total=False):
    """The options of an implementation that are pluggy's own."""

    wrapper: bool
    hookwrapper: bool
    optionalhook: bool
    tryfirst: bool
    trylast: bool
    specname: str | None


@overload
def hookimpl(
    function: F,
    /,
    *,
    before: Names = ...,
    after: Names = ...,
    **options: Unpack[ImplOptions],
) -> F: ...
@overload
def hookimpl(
    function: None = ...,
    /,
    *,
    before: Names = ...,
    after: Names = ...,
    **options: Unpack[ImplOptions],
) -> Callable[[F], F]: ...


def hookimpl(
    function: Any = None,
    /,
    *,
    before: Names = (),
    after: Names = (),
    **options: Unpack[ImplOptions],
) -> Any:
    """Mark a function as a hook's implementation, whatever the host is called.

    ``before`` and ``after`` name plugins, by slug, or by the name under which a host registered
    them itself: the implementation is called before, or after, all those of the same hook that
    these have. Both are stronger than ``tryfirst`` and ``trylast``. A plugin that is not in
    service is no constraint. Wishes that form a circle are ignored, and are a failure of each
    plugin in it. Wrappers, which run outside of all others, are ordered among themselves. The
    other options are those of ``pluggy.HookimplMarker``.

    The function is returned as it is. Raises TypeError for names that are no texts.
    """
    mark = _hookimpl(**options)
    wishes = wishes_in({"before": before, "after": after})

    def marked(implementation: Any) -> Any:
        mark(implementation).plugreg_impl.update(wishes)
        return implementation

    return marked if function is None else marked(function)


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

        Asked by ``registry.health()``.
        """

    @hookspec
    def plugreg_plugins(self) -> Iterable[tuple[str, object]]:
        """Bring further plugins: pairs of a name and an object, class, or ``"module:attr"``.

        Asked once, when the plugin that implements it has been activated. What it brings is found
        after the entry points, is off until wanted, and depends on the plugin that brought it.
        """
        return ()
