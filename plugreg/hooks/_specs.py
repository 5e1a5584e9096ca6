"""plugreg's own markers, the hooks that it calls itself, and how marked functions are found."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Collection, Iterable, Mapping
from operator import itemgetter
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType, MethodType, ModuleType
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    Protocol,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from pluggy import HookImpl, HookimplMarker, HookimplOpts, HookspecMarker
from pluggy._manager import _static_hook_attr

from plugreg._support.guard import safe_repr

F = TypeVar("F", bound=Callable[..., object])

Names = str | Collection[str]
"""The name of a plugin, or several."""

Relation = Literal["before", "after"]
RELATIONS: Final[tuple[Relation, Relation]] = ("before", "after")
"""The options with which an implementation asks for its place."""

SLUG: Final = "plugreg_slug"
"""The option of an implementation that has its plugin's slug, where that is not its name."""

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


if TYPE_CHECKING:

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
        before: Plugins that are called after this plugin. They are named by slug, or by the name
            under which a host registered them itself.
        after: Plugins that are called before this plugin, named likewise.
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


if TYPE_CHECKING:

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
        removed: Version from which on it is not called.

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

    @_hookspec
    def plugreg_activated(self) -> None:
        """Prepare for service, at the end of the activation; once for each object.

        Settings can be used. An exception makes the activation fail. Other plugins of the same
        load are not in service yet; ``plugreg_plugins_loaded`` follows when they are.
        """

    @_hookspec
    def plugreg_deactivating(self) -> None:
        """Clean up after the plugin was taken out of service; no call can begin any more."""

    @_hookspec
    def plugreg_settings_changed(self, changed: frozenset[str]) -> None:
        """React to changed values of the plugin's settings, or of a user's.

        Args:
            changed: Keys of the settings.
        """

    @_hookspec
    def plugreg_plugins_loaded(self, report: object) -> None:
        """React to a load or reload; called on all active plugins.

        Args:
            report: The ``LoadReport``.
        """

    @_hookspec
    def plugreg_health(self) -> bool | str | None:
        """Report the plugin's health to ``registry.health()``.

        Returns:
            None or True if it is well, else a string that describes the fault.
        """

    @_hookspec
    def plugreg_plugins(self) -> Iterable[tuple[str, object]]:
        """Bring further plugins; called once, when the plugin was activated.

        Returns:
            Pairs of a name and an object, class, or ``"module:attr"``. These plugins are found
            after the entry points, are off until wanted, and depend on the plugin that brings
            them.
        """
        return ()


# -- finding implementations; no attribute of a plugin is evaluated ---------------------------

OBJECT_NAMES: Final = frozenset([*dir(object), "__module__", "__dict__", "__weakref__"])
"""The names of every object are no hooks or specs, and are a third of those that ``dir`` lists."""

# The types of implementations besides functions. A slot may hold either.
_HOOKABLE: Final = (staticmethod, classmethod, MethodType, MemberDescriptorType)

# Other metaclasses may define the attributes of their classes and objects themselves.
_PLAIN_METACLASSES: Final = (type, ABCMeta, type(Protocol))

# type's own descriptors are asked, since a metaclass may define properties of these names.
_mro_of: Final = type.__dict__["__mro__"].__get__
_dict_of: Final = type.__dict__["__dict__"].__get__


if TYPE_CHECKING:
    MarkedFunction = tuple[str, HookimplOpts, Callable[..., Any]]
    """A hook implementation: its name, its options, and the function."""


class Marks:
    """The marks of implementations: attributes of markers, or a prefix."""

    def __init__(self, attributes: tuple[str, str], prefix: str | None) -> None:
        self.attributes = attributes
        self.prefix = prefix

    def options(self, name: str, holder: object) -> dict[str, Any] | None:
        """Return the options of an implementation, None for other attributes."""
        for attribute in self.attributes:
            for function in (holder, getattr(holder, "__func__", None)):
                found = getattr(function, attribute, None)
                if isinstance(found, dict):
                    return found
        return {} if self.prefix is not None and name.startswith(self.prefix) else None


def find_at_once(plugin: object, marks: Marks) -> list[MarkedFunction] | None:
    """Find all implementations in the dicts of the plugin and its classes.

    This finds the same as pluggy, which looks up each name of ``dir``, in a twentieth of the time.
    Returns None where these dicts may not have all attributes: for a class with ``__dir__`` or the
    like, or with an unknown metaclass.
    """
    attributes = _attributes(plugin)
    if attributes is None:
        return None
    own, inherited = attributes
    first, second = marks.attributes
    prefix = marks.prefix
    found: list[MarkedFunction] = []
    static: tuple[object, Callable[..., object]] | None
    for name, value in {**inherited, **own}.items():
        if name in OBJECT_NAMES:
            continue
        kind = type(value)
        if kind is FunctionType:
            if (
                getattr(value, second, None) is None
                and getattr(value, first, None) is None
                and (prefix is None or not name.startswith(prefix))
            ):
                continue
            # A function in the plugin's own dict is not bound to it.
            static = (value, value if name in own else value.__get__(plugin))
        elif not issubclass(kind, _HOOKABLE) or not (static := _static_hook_attr(plugin, name)):
            continue
        options = marks.options(name, static[0])
        if options is not None:
            found.append((name, cast("HookimplOpts", options), static[1]))
    return sorted(found, key=itemgetter(0))


def _attributes(plugin: object) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Return an object's own attributes, and those from its classes.

    Attributes of a class and of its bases are all its own.
    """
    kind = type(plugin)
    if kind is ModuleType:
        own = vars(plugin)
        return None if "__dir__" in own else (own, {})
    is_class = issubclass(kind, type)
    inherited: dict[str, Any] = {}
    for base in reversed(_mro_of(plugin if is_class else kind)[:-1]):
        if type(base) not in _PLAIN_METACLASSES:
            return None
        # Copied in a single step, since a thread of the plugin's may change its attributes.
        inherited = inherited | _dict_of(base)
    if is_class:
        return inherited, {}
    if "__dir__" in inherited or "__class__" in inherited or "__getattribute__" in inherited:
        # Such a class defines the attributes of its objects itself.
        return None
    if "__dict__" not in inherited:
        return {}, inherited
    if type(inherited["__dict__"]) is not GetSetDescriptorType:
        return None
    own = object.__getattribute__(plugin, "__dict__")
    # A subclass of dict may show other items than it has.
    return (own, inherited) if type(own) is dict else None


def slug_of(impl: HookImpl) -> str:
    """Return the slug of an exchanged plugin, or the name of an object of the host."""
    slug: str = impl.opts.get(SLUG) or impl.plugin_name  # type: ignore[assignment]
    return slug


def as_plain(opts: HookimplOpts) -> HookimplOpts:
    """Return options with plain values, which run no code of the plugin.

    Options that are not given are False, or None, as in pluggy. Raises TypeError for a ``specname``
    that is no string, and for constraints that are no names.
    """
    specname = opts.get("specname")
    if specname is not None and not issubclass(type(specname), str):
        raise TypeError(f"specname must be the name of a hook, not {safe_repr(specname)}")
    plain: HookimplOpts = {
        "wrapper": bool(opts.get("wrapper")),
        "hookwrapper": bool(opts.get("hookwrapper")),
        "optionalhook": bool(opts.get("optionalhook")),
        "tryfirst": bool(opts.get("tryfirst")),
        "trylast": bool(opts.get("trylast")),
        "specname": None if specname is None else str.__str__(specname),
    }
    return cast("HookimplOpts", plain | parse_constraints(opts))
