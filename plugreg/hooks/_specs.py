"""plugreg's own markers, and the hooks that it calls itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, TypeVar, Unpack, cast, overload

from pluggy import HookimplMarker, HookspecMarker

from plugreg._support.guard import safe_repr

F = TypeVar("F", bound=Callable[..., object])

Names = str | Collection[str]
"""The name of a plugin, or several."""

Relation = Literal["before", "after"]
RELATIONS: Final[tuple[Relation, Relation]] = ("before", "after")
"""The options with which an implementation asks for its place."""

_hookimpl: Final = HookimplMarker("plugreg")

_hookspec: Final = HookspecMarker("plugreg")


if TYPE_CHECKING:

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

    Constraints are stronger than ``tryfirst`` and ``trylast``. A plugin that is not in service is
    no constraint. Constraints that form a cycle are ignored, and are a failure of each plugin in
    it. Wrappers, which run outside of all others, are ordered among themselves.

    Args:
        function: The function; without it a decorator is returned.
        before: Plugins that are called after this one. They are named by slug, or by the name
            under which a host registered them itself.
        after: Plugins that are called before this one, named likewise.
        **options: The options of ``pluggy.HookimplMarker``.

    Returns:
        The function as it is, or a decorator.

    Raises:
        TypeError: If *before* or *after* are no names.
    """
    mark = _hookimpl(**options)
    constraints = parse_constraints({"before": before, "after": after})

    def decorate(implementation: Any) -> Any:
        mark(implementation).plugreg_impl.update(constraints)
        return implementation

    return decorate if function is None else decorate(function)


@overload
def hookspec(
    function: F,
    firstresult: bool = ...,
    historic: bool = ...,
    warn_on_impl: Warning | None = ...,
    warn_on_impl_args: Mapping[str, Warning] | None = ...,
    *,
    since: str | None = ...,
    deprecated: str | None = ...,
    removed: str | None = ...,
) -> F: ...
@overload
def hookspec(
    function: None = ...,
    firstresult: bool = ...,
    historic: bool = ...,
    warn_on_impl: Warning | None = ...,
    warn_on_impl_args: Mapping[str, Warning] | None = ...,
    *,
    since: str | None = ...,
    deprecated: str | None = ...,
    removed: str | None = ...,
) -> Callable[[F], F]: ...


def hookspec(
    function: Any = None,
    firstresult: bool = False,
    historic: bool = False,
    warn_on_impl: Warning | None = None,
    warn_on_impl_args: Mapping[str, Warning] | None = None,
    *,
    since: str | None = None,
    deprecated: str | None = None,
    removed: str | None = None,
) -> Any:
    """Mark a function as a hook's specification, whatever the host is called.

    The last three are notes for `plugreg.contract`; they change no call.

    Args:
        function: The function; without it a decorator is returned.
        firstresult: Whether the first result other than None ends the call.
        historic: Whether plugins that come later are called, too.
        warn_on_impl: Warning to issue when the hook is implemented.
        warn_on_impl_args: Warnings to issue when these arguments are used.
        since: Version of the host that brought the hook, such as ``"2.1"``.
        deprecated: Version that deprecated it, and the replacement: ``"2.4: use cost"``.
        removed: Version in which it is called no more.

    Returns:
        The function as it is, or a decorator.

    Raises:
        ValueError: If the hook is historic and stops at the first result.
        TypeError: If *since*, *deprecated* or *removed* is not a string.
    """
    notes = {"since": since, "deprecated": deprecated, "removed": removed}
    for name, note in notes.items():
        if note is not None and not isinstance(note, str):
            raise TypeError(f"{name} must be a version such as '2.1', not {safe_repr(note)}")
    mark = _hookspec(
        firstresult=firstresult,
        historic=historic,
        warn_on_impl=warn_on_impl,
        warn_on_impl_args=warn_on_impl_args,
    )

    def decorate(specification: Any) -> Any:
        options = mark(specification).plugreg_spec
        options.update({name: note for name, note in notes.items() if note is not None})
        return specification

    return decorate if function is None else decorate(function)


def parse_constraints(options: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """Return ``before`` and ``after`` of these options, where they name any plugin.

    Raises TypeError for a value that is neither a string nor a collection of strings.
    """
    return {
        relation: names
        for relation in RELATIONS
        if relation in options and (names := _parse_names(relation, options[relation]))
    }


def _parse_names(option: str, given: object) -> tuple[str, ...]:
    kind = type(given)
    if issubclass(kind, str):
        given = (given,)
    if issubclass(kind, (str, Collection)):
        names = [*cast("Iterable[Any]", given)]
        if all(issubclass(type(name), str) for name in names):
            # Plain strings, which are compared and hashed without any code of a plugin's.
            return tuple(sorted({str.__str__(name) for name in names}))
    raise TypeError(
        f"{option} must be the name of a plugin, or a collection of names, not {safe_repr(given)}"
    )


class PlugregSpecs:
    """plugreg's own hooks. Any plugin may implement them; none has to."""

    @hookspec
    def plugreg_activated(self) -> None:
        """Prepare for service, at the end of the activation; once for each object.

        Settings can be used. An exception makes the activation fail. Other plugins of the same
        load are not in service yet; ``plugreg_plugins_loaded`` follows when they are.
        """

    @hookspec
    def plugreg_deactivating(self) -> None:
        """Clean up after the plugin was taken out of service; no call can begin any more."""

    @hookspec
    def plugreg_settings_changed(self, changed: frozenset[str]) -> None:
        """React to changed values of the plugin's settings, or of a user's.

        Args:
            changed: Keys of the settings.
        """

    @hookspec
    def plugreg_plugins_loaded(self, report: object) -> None:
        """React to a load or reload; called on all active plugins.

        Args:
            report: The ``LoadReport``.
        """

    @hookspec
    def plugreg_health(self) -> bool | str | None:
        """Report the plugin's health to ``registry.health()``.

        Returns:
            None or True if it is well, else a string that describes the fault.
        """

    @hookspec
    def plugreg_plugins(self) -> Iterable[tuple[str, object]]:
        """Bring further plugins; called once, when the plugin was activated.

        Returns:
            Pairs of a name and an object, class, or ``"module:attr"``. These plugins are found
            after the entry points, are off until wanted, and depend on the plugin that brings
            them.
        """
        return ()
