"""Hooks on pluggy: the markers, plugreg's own specs, and the manager. No other module knows pluggy.

:class:`PluginManager` is a drop-in for ``pluggy.PluginManager``. What it adds is
:meth:`~PluginManager.exchange`: many plugins' implementations leave and arrive with one
assignment for each hook, so that a caller in another thread sees the old set or the new one.

pluggy keeps what is needed for this private: ``HookCaller._hookimpls``, ``_hookexec``,
``_call_history`` and ``_maybe_apply_history``, ``PluginManager._name2plugin`` and
``_verify_hook``, and three helpers. ``tests/test_pluggy_pin.py`` holds their meaning.
"""

from __future__ import annotations

import inspect
import itertools
import threading
import weakref
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast

import pluggy
from pluggy import HookCaller, HookCallError, HookImpl, HookimplMarker, HookspecMarker, Result
from pluggy._hooks import HookSpec, _SubsetHookCaller, normalize_hookimpl_opts
from pluggy._manager import PluginValidationError, _static_hook_attr

from plugreg._guard import Guard, safe_repr
from plugreg._names import near
from plugreg.exceptions import UnknownHookError

__all__ = [
    "HookCallError",
    "HookTable",
    "Implementations",
    "PluginManager",
    "PluginValidationError",
    "PlugregSpecs",
    "hookimpl",
    "hookspec",
]

hookspec: Final = HookspecMarker("plugreg")
"""Marks a function as a hook's specification, whatever the host is called."""

hookimpl: Final = HookimplMarker("plugreg")
"""Marks a function as a hook's implementation, whatever the host is called."""

# What every object has is no hook, and is a third of what ``dir`` lists.
_OBJECT_NAMES: Final = frozenset(dir(object))

Rank = tuple[Any, ...]
"""The place of a plugin among the others: those registered later have a greater one."""


class PlugregSpecs:
    """The hooks that plugreg itself calls. Any plugin may implement them; none has to."""

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
        """Told to a plugin when values of its settings have changed; ``changed`` has their keys."""

    @hookspec
    def plugreg_plugins_loaded(self, report: object) -> None:
        """Told to all active plugins after each load and reload, with its ``LoadReport``."""

    @hookspec
    def plugreg_health(self) -> object:
        """Tell how the plugin is: None or True for well, a text that says what is wrong."""

    @hookspec
    def plugreg_plugins(self) -> Iterable[tuple[str, object]]:
        """Bring further plugins: pairs of a name and an object, class, or ``"module:attr"``.

        Asked once, when the plugin that implements it has been activated. What it brings is found
        after the entry points, is off until wanted, and depends on the plugin that brought it.
        """
        return ()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Implementations:
    """The hook implementations of one plugin, parsed and checked, but not in service.

    ``pairs`` has ``(hook name, implementation)`` in the order in which the plugin lists them.
    """

    name: str
    plugin: Any = field(repr=False)
    pairs: tuple[tuple[str, HookImpl], ...]
    rank: Rank = ()

    def invoke(self, hook: str, **kwargs: object) -> Iterator[object]:
        """Run this plugin's own implementations of ``hook``, without wrappers, one by one.

        Nothing is guarded here.
        """
        for name, impl in self.pairs:
            if name == hook and not (impl.wrapper or impl.hookwrapper):
                yield _row(impl).run(kwargs)


class Row(NamedTuple):
    """One implementation as the isolated call needs it."""

    slug: str
    function: Callable[..., Any]
    argnames: tuple[str, ...]
    kwargnames: tuple[str, ...]

    def run(self, kwargs: Mapping[str, Any]) -> Any:
        """Call the function with those of ``kwargs`` that it asks for."""
        arguments = [kwargs[each] for each in self.argnames]
        if self.kwargnames:
            return self.function(
                *arguments, **{each: kwargs[each] for each in self.kwargnames if each in kwargs}
            )
        return self.function(*arguments)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HookTable:
    """A hook as the isolated call needs it, made from one list of implementations.

    ``impls`` and ``spec`` are what it was made from; as long as the manager holds the same two
    objects the table is current. ``rows`` and ``wrappers`` are in call order, wrappers outermost
    first and all in new style. ``required`` are the arguments each call must give.
    """

    name: str
    impls: list[HookImpl]
    spec: HookSpec | None
    rows: tuple[Row, ...]
    wrappers: tuple[Row, ...]
    required: frozenset[str]
    defaults: Mapping[str, Any]
    firstresult: bool
    historic: bool

    def arguments(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call with the spec's defaults filled in.

        Raises HookCallError when one that the spec declares is missing or one is unknown to it.
        """
        if not self.required <= kwargs.keys():
            missing = ", ".join(repr(each) for each in sorted(self.required - kwargs.keys()))
            raise HookCallError(f"call of hook {self.name!r} must provide argument {missing}")
        if self.spec is not None and len(kwargs) > len(self.required):
            unknown = kwargs.keys() - self.required - set(self.spec.kwargnames)
            if unknown:
                names = ", ".join(repr(each) for each in sorted(unknown))
                raise HookCallError(f"hook {self.name!r} has no argument {names}")
        return {**self.defaults, **kwargs} if self.defaults else kwargs


class PluginManager(pluggy.PluginManager):
    """pluggy's manager, with implementations that are exchanged instead of edited in place.

    It can be used wherever a ``pluggy.PluginManager`` is: same methods, same semantics, same
    errors. Beyond that, implementations and specs with plugreg's own markers count, and with
    ``implicit_prefix`` unmarked functions whose name begins with it. Lists of implementations are
    replaced, never changed, by registrations too. Plugins that were exchanged in are told apart
    by identity and never compared, since a plugin's ``__eq__`` or ``__hash__`` may fail.

    It lives as long as its owner wants; it has nothing to close. Calls may come from any thread.
    """

    def __init__(self, project_name: str, *, implicit_prefix: str | None = None) -> None:
        super().__init__(project_name)
        self.implicit_prefix: Final = implicit_prefix
        self._writing = threading.RLock()
        self._counter = itertools.count()
        self._block: int | None = None
        self._ranks: dict[str, Rank] = {}
        self._taken: dict[str, Implementations] = {}
        self._tables: dict[str, HookTable] = {}
        self._delivered: dict[str, _Delivered] = {}

    # -- what counts as a hook ---------------------------------------------------------------

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        """Return the options of an implementation: the host's marker, plugreg's, or the prefix."""
        opts = super().parse_hookimpl_opts(plugin, name)
        if opts is None:
            found = _static_hook_attr(plugin, name)
            if found is not None:
                opts = cast("Any", _marked(found[0], "plugreg_impl"))
                if opts is None and self._is_implicit(name):
                    opts = cast("Any", {})
        return opts

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        """Return the options of a spec: the host's marker, plugreg's, or the prefix."""
        opts = super().parse_hookspec_opts(module_or_class, name)
        if opts is None:
            found = _static_hook_attr(module_or_class, name)
            if found is not None:
                opts = cast("Any", _marked(found[0], "plugreg_spec"))
                if opts is None and self._is_implicit(name):
                    opts = cast("Any", {"firstresult": False, "historic": False})
        return opts

    def _is_implicit(self, name: str) -> bool:
        return self.implicit_prefix is not None and name.startswith(self.implicit_prefix)

    def implementations(self, plugin: Any, name: str, rank: Rank = ()) -> Implementations:
        """Parse the hook implementations of ``plugin`` and check them against the specs there are.

        No attribute is evaluated and nothing is registered. Raises PluginValidationError, as
        ``pluggy.PluginManager.register`` does, and ValueError for a name that the host itself has
        registered or blocked.
        """
        if name in self._name2plugin and name not in self._taken:
            raise ValueError(f"plugin name {name!r} is taken or blocked on the plugin manager")
        pairs = []
        for attribute in dir(plugin):
            if attribute in _OBJECT_NAMES:
                continue
            opts = self.parse_hookimpl_opts(plugin, attribute)
            if opts is None:
                continue
            normalize_hookimpl_opts(opts)
            found = _static_hook_attr(plugin, attribute)
            assert found is not None, f"{plugin!r}.{attribute} is not a hookable attribute"
            impl = HookImpl(plugin, name, found[1], opts)
            hook_name = opts.get("specname") or attribute
            if self._has_spec(hook_name):
                self._verify_hook(self._caller(hook_name), impl)
            pairs.append((hook_name, impl))
        return Implementations(name=name, plugin=plugin, pairs=tuple(pairs), rank=rank)

    def has_implementations(self, plugin: Any) -> bool:
        """Tell whether an object has any hook implementation. Nothing is evaluated or checked."""
        return any(
            self.parse_hookimpl_opts(plugin, attribute) is not None
            for attribute in dir(plugin)
            if attribute not in _OBJECT_NAMES
        )

    # -- pluggy's own way in and out ---------------------------------------------------------

    def register(self, plugin: Any, name: str | None = None) -> str | None:
        """Register a plugin and return its name, as ``pluggy.PluginManager.register`` does."""
        if plugin is None:
            return None
        plugin_name = name or self.get_canonical_name(plugin)
        if plugin_name in self._name2plugin:
            if self._name2plugin[plugin_name] is None:
                return None
            raise ValueError(
                f"Plugin name already registered: {plugin_name}={safe_repr(plugin)}\n"
                f"{safe_repr(self._name2plugin)}"
            )
        if self.is_registered(plugin):
            raise ValueError(
                f"Plugin already registered under a different name: "
                f"{plugin_name}={safe_repr(plugin)}\n{safe_repr(self._name2plugin)}"
            )
        found = self.implementations(plugin, plugin_name)
        self._name2plugin[plugin_name] = plugin
        self._ranks[plugin_name] = (next(self._counter),)
        unchecked = {name for name, _ in found.pairs if not self._has_spec(name)}
        for hook_name, impl in found.pairs:
            hook = self._caller(hook_name)
            if hook_name in unchecked and hook.has_spec():
                # A replay of history, below, has added the spec in the meantime.
                self._verify_hook(hook, impl)
            hook._maybe_apply_history(impl)
            with self._writing:
                if self._name2plugin.get(plugin_name) is not plugin:
                    # A replay of history has unregistered it in the meantime.
                    break
                self._store(hook, self._placed(hook._hookimpls, (impl,)))
        return plugin_name

    def unregister(self, plugin: Any = None, name: str | None = None) -> Any:
        """Unregister a plugin and return it, or None, as ``pluggy.PluginManager`` does."""
        if name is None:
            assert plugin is not None, "one of name or plugin needs to be specified"
            name = self.get_name(plugin)
            assert name is not None, "plugin is not registered"
        if plugin is None:
            plugin = self.get_plugin(name)
            if plugin is None:
                return None
        else:
            registered = self._name2plugin.get(name)
            registered_name = self.get_name(plugin)
            if (registered is not None and registered is not plugin) or (
                registered_name is not None and registered_name != name
            ):
                raise ValueError(
                    f"Plugin name {name!r} and plugin {safe_repr(plugin)} do not agree"
                    f" (name is registered to {safe_repr(registered)},"
                    f" plugin is registered as {registered_name!r})"
                )
        with self._writing:
            for hook in self.get_hookcallers(plugin) or ():
                self._store(hook, [each for each in hook._hookimpls if each.plugin is not plugin])
            if self._name2plugin.get(name) is not None:
                del self._name2plugin[name]
                self._ranks.pop(name, None)
                if name in self._taken:
                    self._remember_history(self._taken.pop(name))
        return plugin

    def get_name(self, plugin: Any) -> str | None:
        """Return the name the plugin is registered under, or None."""
        known = list(self._name2plugin.items())
        for name, each in known:
            if each is plugin:
                return name
        for name, each in known:
            if name not in self._taken and each is not None and plugin == each:
                return name
        return None

    def is_registered(self, plugin: Any) -> bool:
        """Return whether the plugin is registered."""
        return self.get_name(plugin) is not None

    def get_plugins(self) -> set[Any]:
        """Return the registered plugin objects, without those that cannot be hashed."""
        plugins = set()
        for name, each in list(self._name2plugin.items()):
            if each is None:
                continue
            if name not in self._taken:
                plugins.add(each)
                continue
            with Guard():
                plugins.add(each)
        return plugins

    def subset_hook_caller(self, name: str, remove_plugins: Iterable[Any]) -> HookCaller:
        """Return a caller of the named hook that leaves out the given plugins."""
        caller: HookCaller = getattr(self.hook, name)
        removed = _Identities(remove_plugins)
        if not any(each.plugin in removed for each in caller._hookimpls):
            return caller
        return _SubsetHookCaller(caller, cast("Any", removed))

    # -- exchange ----------------------------------------------------------------------------

    def exchange(self, remove: Collection[str], add: Sequence[Implementations]) -> None:
        """Take the plugins named in ``remove`` out of service and those of ``add`` into it.

        Each hook concerned gets its new list with one assignment, so that a call sees all of the
        change to that hook or nothing of it. A name may be in both. Nothing of a plugin's code
        runs, and what the host registered itself is not touched. Among plugins that were
        exchanged in, the order follows their ``rank``, whenever they came.

        Raises ValueError, before anything is changed, when a name of ``add`` is taken.
        """
        with self._writing:
            leaving = {name: self._taken[name] for name in remove if name in self._taken}
            coming: set[str] = set()
            for each in add:
                taken = each.name in self._name2plugin and each.name not in leaving
                if taken or each.name in coming:
                    raise ValueError(f"plugin name {each.name!r} is taken on the plugin manager")
                coming.add(each.name)
            if self._block is None:
                self._block = next(self._counter)
            arriving: dict[str, list[HookImpl]] = {}
            for each in leaving.values():
                for hook_name, _ in each.pairs:
                    arriving.setdefault(hook_name, [])
                self._remember_history(each)
                del self._taken[each.name], self._name2plugin[each.name], self._ranks[each.name]
            for each in add:
                self._taken[each.name] = each
                self._name2plugin[each.name] = each.plugin
                self._ranks[each.name] = (self._block, *each.rank)
                for hook_name, impl in each.pairs:
                    arriving.setdefault(hook_name, []).append(impl)
            for hook_name, impls in arriving.items():
                hook = self._caller(hook_name)
                staying = [each for each in hook._hookimpls if each.plugin_name not in leaving]
                self._store(hook, self._placed(staying, impls))

    def replay(self, added: Iterable[Implementations]) -> Iterator[tuple[str, str, BaseException]]:
        """Give historic calls to plugins that were just exchanged in and have not had them.

        Each plugin object gets each call once, however often it leaves and comes back. Gives
        ``(name, hook, exception)`` for each implementation that fails; the others go on.
        """
        # Listed first: what is called from now on reaches these plugins directly.
        for name, hook_name, impl, kwargs, callback in list(self._due(added)):
            with Guard() as guard:
                results = self._hookexec(hook_name, [impl], kwargs, False)
                if callback is not None and isinstance(results, list):
                    for result in results:
                        callback(result)
            if guard.error is not None:
                yield name, hook_name, guard.error

    def taken(self, name: str) -> bool:
        """Return whether a plugin was exchanged in under this name."""
        return name in self._taken

    def unknown_hooks(self, name: str) -> tuple[str, ...]:
        """Return a sentence for each implementation of this plugin that no spec asks for.

        Implementations marked ``optionalhook`` are none of them.
        """
        found = self._taken.get(name)
        if found is None:
            return ()
        known = [each for each in list(vars(self.hook)) if self._has_spec(each)]
        return tuple(
            f"unknown hook {hook_name!r}, which no specification asks for{near(hook_name, known)}"
            for hook_name, impl in found.pairs
            if not impl.optionalhook and not self._has_spec(hook_name)
        )

    def table(self, name: str) -> HookTable:
        """Return the named hook as the isolated call needs it.

        It is made anew only when the hook's list or spec is another one. Raises UnknownHookError.
        """
        hook = self._find_caller(name)
        if hook is None:
            raise UnknownHookError(name, near(name, vars(self.hook)))
        table = self._tables.get(name)
        if table is None or table.impls is not hook._hookimpls or table.spec is not hook.spec:
            table = self._tables[name] = _make_table(hook)
        return table

    # -- the parts ---------------------------------------------------------------------------

    def _find_caller(self, name: str) -> HookCaller | None:
        return cast("HookCaller | None", vars(self.hook).get(name))

    def _has_spec(self, name: str) -> bool:
        hook = self._find_caller(name)
        return hook is not None and hook.has_spec()

    def _caller(self, name: str) -> HookCaller:
        hook = self._find_caller(name)
        if hook is None:
            # Another thread may be first; then its caller is the one.
            hook = vars(self.hook).setdefault(name, HookCaller(name, self._hookexec))
        return hook

    def _store(self, hook: HookCaller, impls: list[HookImpl]) -> None:
        hook._hookimpls = impls  # type: ignore[misc]  # The one assignment that readers see.
        # The table made from the old list would keep plugins alive that have left.
        self._tables.pop(hook.name, None)

    def _placed(self, impls: Sequence[HookImpl], new: Iterable[HookImpl]) -> list[HookImpl]:
        """Return a list with the ``new`` implementations where pluggy would have put them.

        pluggy calls a list from its end. In each of six sections (wrappers behind the rest, and
        in both trylast, plain, tryfirst) the later one of two plugins stands behind the earlier,
        but before it among trylast.
        """
        placed = list(impls)
        for impl in new:
            section = _section(impl)
            start = bisect_left(placed, section, key=_section)
            end = bisect_right(placed, section, lo=start, key=_section)
            rank = self._ranks[impl.plugin_name]
            if impl.trylast:
                while start < end and self._rank(placed[start]) > rank:
                    start += 1
                placed.insert(start, impl)
            else:
                placed.insert(bisect_right(placed, rank, start, end, key=self._rank), impl)
        return placed

    def _rank(self, impl: HookImpl) -> Rank:
        return self._ranks[impl.plugin_name]

    def _history_of(self, hook_name: str) -> _Delivered:
        return self._delivered.setdefault(hook_name, _Delivered())

    def _remember_history(self, leaving: Implementations) -> None:
        for hook_name, _ in leaving.pairs:
            hook = self._caller(hook_name)
            if hook.is_historic():
                count = len(hook._call_history or ())
                self._history_of(hook_name).put(leaving.name, leaving.plugin, count)

    def _due(
        self, added: Iterable[Implementations]
    ) -> Iterator[tuple[str, str, HookImpl, Mapping[str, object], Callable[[Any], None] | None]]:
        for each in added:
            for hook_name, impl in each.pairs:
                hook = self._caller(hook_name)
                if hook.is_historic():
                    had = self._history_of(hook_name).get(each.plugin)
                    for kwargs, callback in (hook._call_history or [])[had:]:
                        yield each.name, hook_name, impl, kwargs, callback


def _marked(holder: object, attribute: str) -> dict[str, Any] | None:
    """Return the options that a marker left on a function, or on what it was made from."""
    for each in (holder, getattr(holder, "__func__", None)):
        opts = getattr(each, attribute, None)
        if isinstance(opts, dict):
            return opts
    return None


def _section(impl: HookImpl) -> int:
    position = 0 if impl.trylast else 2 if impl.tryfirst else 1
    return position + 3 if impl.wrapper or impl.hookwrapper else position


def _make_table(hook: HookCaller) -> HookTable:
    impls, spec = hook._hookimpls, hook.spec
    in_call_order = impls[::-1]
    return HookTable(
        name=hook.name,
        impls=impls,
        spec=spec,
        rows=tuple(_row(each) for each in in_call_order if _section(each) < 3),
        wrappers=tuple(_row(each) for each in in_call_order if _section(each) >= 3),
        required=frozenset(spec.argnames) if spec is not None else frozenset(),
        defaults=dict(spec.kwargdefaults) if spec is not None else {},
        firstresult=bool(spec is not None and spec.opts.get("firstresult")),
        historic=bool(spec is not None and spec.opts.get("historic")),
    )


def _row(impl: HookImpl) -> Row:
    function: Callable[..., Any] = impl.function
    if inspect.iscoroutinefunction(function):
        function = _refusal_of(function)
    elif impl.hookwrapper:
        function = _in_new_style(function)
    return Row(impl.plugin_name, function, impl.argnames, impl.kwargnames)


def _in_new_style(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make an old-style wrapper, which is sent a ``Result``, work like a new-style one."""

    def wrapper(*args: Any, **kwargs: Any) -> Generator[None, Any, Any]:
        inner = function(*args, **kwargs)
        try:
            next(inner)
        except StopIteration:
            raise RuntimeError("hook wrapper did not yield") from None
        try:
            result = Result((yield), None)
            inner.send(result)
        except StopIteration:
            return result.get_result()
        finally:
            inner.close()
        raise RuntimeError("hook wrapper has a second yield")

    return wrapper


def _refusal_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Stand in for an async implementation, which a synchronous call cannot wait for."""

    def refuse(*_args: Any, **_kwargs: Any) -> Any:
        name = getattr(function, "__qualname__", "")
        raise TypeError(f"{name!r} is async, but this call is not; make it a plain function")

    return refuse


class _Identities:
    """A set of objects told apart by identity alone."""

    def __init__(self, objects: Iterable[Any]) -> None:
        self._objects = {id(each): each for each in objects}

    def __contains__(self, item: object) -> bool:
        return id(item) in self._objects


class _Delivered:
    """How many historic calls of one hook each plugin object has had.

    It keeps no object alive, but for the last one under each name of those that have no weak
    references: while such an object is known, no other can have its id.
    """

    def __init__(self) -> None:
        self._counts: dict[int, tuple[object, int]] = {}
        self._held: dict[str, object] = {}

    def get(self, plugin: object) -> int:
        _, count = self._counts.get(id(plugin), (None, 0))
        return count

    def put(self, name: str, plugin: object, count: int) -> None:
        key = id(plugin)
        holder: object = None
        try:
            # The entry goes with the object, before another one can get the same id.
            holder = weakref.ref(plugin, lambda _: self._counts.pop(key, None))
        except TypeError:
            before = self._held.get(name)
            self._held[name] = plugin
            if before is not None and before is not plugin:
                self._counts.pop(id(before), None)
        self._counts[key] = (holder, count)
