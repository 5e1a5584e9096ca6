"""The plugin manager: pluggy's, with lists of implementations that are replaced as a whole."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from pluggy import HookCaller, HookImpl
from pluggy._compat import DistFacade
from pluggy._hooks import _SubsetHookCaller
from pluggy._manager import _static_hook_attr

from plugreg._support.guard import Guard, safe_repr, safe_str
from plugreg._support.names import near
from plugreg.exceptions import UnknownHookError
from plugreg.hooks._exchanging import (
    base_of,
    caller_of,
    exchange,
    find_caller,
    has_spec,
    remember_history,
    replay,
    settle,
    store,
)
from plugreg.hooks._finding import OBJECT_NAMES, Found, Marks, as_plain, find_at_once
from plugreg.hooks._identity import Identities
from plugreg.hooks._order import Position, explain_order
from plugreg.hooks._rows import Row
from plugreg.hooks._state import State, Stateful
from plugreg.hooks._tables import HookTable, Implementations, Rank, make_table

if TYPE_CHECKING:
    import importlib.metadata


class PluginManager(Stateful):
    """pluggy's manager, with implementations that are exchanged instead of edited in place.

    It can be used wherever a ``pluggy.PluginManager`` is: same methods, same semantics, same
    errors. Beyond that, implementations and specs with plugreg's own markers count, and with
    ``implicit_prefix`` unmarked functions whose name begins with it. Lists of implementations are
    replaced, never changed, by registrations too. Plugins that were exchanged in are told apart
    by identity and never compared, since a plugin's ``__eq__`` or ``__hash__`` may fail.

    ``around`` makes of each implementation the one that isolated calls are to call in its place;
    pluggy's own calls know nothing of it.

    It lives as long as its owner wants; it has nothing to close. Calls may come from any thread.
    """

    def __init__(
        self,
        project_name: str,
        *,
        implicit_prefix: str | None = None,
        around: Callable[[Row], Row] | None = None,
    ) -> None:
        super().__init__(project_name)
        self.implicit_prefix: Final = implicit_prefix
        self._plugreg = State(around)

    # -- what counts as a hook ---------------------------------------------------------------

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        """Return the options of an implementation: the host's marker, plugreg's, or the prefix."""
        opts = super().parse_hookimpl_opts(plugin, name)
        return _own_opts(self, plugin, name, "plugreg_impl", {}) if opts is None else opts

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        """Return the options of a spec: the host's marker, plugreg's, or the prefix."""
        opts = super().parse_hookspec_opts(module_or_class, name)
        if opts is not None:
            return opts
        implicit = {"firstresult": False, "historic": False}
        return _own_opts(self, module_or_class, name, "plugreg_spec", implicit)

    def add_hookspecs(self, module_or_class: Any) -> None:
        """Add the specs of a module or class, as ``pluggy.PluginManager.add_hookspecs`` does."""
        for name in dir(module_or_class):
            if self.parse_hookspec_opts(module_or_class, name) is not None:
                caller_of(self, name)
        super().add_hookspecs(module_or_class)

    def implementations(
        self, plugin: Any, name: str, rank: Rank = (), dist_info: str | None = None
    ) -> Implementations:
        """Parse the hook implementations of ``plugin`` and check them against the specs there are.

        No attribute is evaluated and nothing is registered. Raises PluginValidationError, as
        ``pluggy.PluginManager.register`` does, and ValueError for a name that the host itself has
        registered or blocked.
        """
        if self.is_reserved(name):
            raise ValueError(f"plugin name {name!r} is taken or blocked on the plugin manager")
        pairs = tuple(_parsed(self, plugin, name))
        return Implementations(
            name=name, plugin=plugin, pairs=pairs, rank=rank, dist_info=dist_info
        )

    def _verify_hook(self, hook: HookCaller, hookimpl: HookImpl) -> None:
        """Check an implementation as pluggy does, but for wrappers that are async generators."""
        if hookimpl.wrapper and inspect.isasyncgenfunction(hookimpl.function):
            # pluggy wants a generator function, and is shown one that asks for the same.
            hookimpl = copy.copy(hookimpl)
            hookimpl.function = _any_wrapper  # type: ignore[misc]
        super()._verify_hook(hook, hookimpl)

    def has_implementations(self, plugin: Any) -> bool:
        """Tell whether an object has any hook implementation. Nothing is evaluated or checked."""
        return any(True for _ in _found(self, plugin))

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
                f"Plugin name already registered: {plugin_name}={safe_str(plugin)}\n"
                f"{safe_repr(self._name2plugin)}"
            )
        if _name_of(plugin, self) is not None:
            raise ValueError(
                f"Plugin already registered under a different name: "
                f"{plugin_name}={safe_str(plugin)}\n{safe_repr(self._name2plugin)}"
            )
        pairs = _parsed(self, plugin, plugin_name)
        self._name2plugin[plugin_name] = plugin
        unchecked = {name for name, _ in pairs if not has_spec(self, name)}
        for hook_name, impl in pairs:
            hook = caller_of(self, hook_name)
            if hook_name in unchecked and hook.has_spec():
                # A replay of history, below, has added the spec in the meantime.
                self._verify_hook(hook, impl)
            hook._maybe_apply_history(impl)
            with self._plugreg.writing.get():
                self.settle()
                if self._name2plugin.get(plugin_name) is not plugin:
                    # A replay of history has unregistered it in the meantime.
                    break
                # pluggy itself finds the place, in a list that nobody reads yet.
                scratch = HookCaller(hook_name, self._hookexec)
                scratch._hookimpls.extend(base_of(self, hook))
                scratch._add_hookimpl(impl)
                store(self, hook, scratch._hookimpls, coming=[impl])
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
        with self._plugreg.writing.get():
            self.settle()
            for hook in self.get_hookcallers(plugin) or ():
                store(self, hook, [e for e in base_of(self, hook) if e.plugin is not plugin])
            if self._name2plugin.get(name) is not None:
                del self._name2plugin[name]
                if self._plugreg.before is not None:
                    # One that comes back is a later one.
                    self._plugreg.before -= {name}
                if name in self._plugreg.taken:
                    remember_history(self, self._plugreg.drop(name))
        return plugin

    def get_name(self, plugin: Any) -> str | None:
        """Return the name the plugin is registered under, or None."""
        return _name_of(plugin, self)

    def is_registered(self, plugin: Any) -> bool:
        """Return whether the plugin is registered."""
        return self.get_name(plugin) is not None

    def get_plugins(self) -> set[Any]:
        """Return the registered plugin objects, without those that cannot be hashed."""
        plugins = set()
        for name, each in list(self._name2plugin.items()):
            if each is None:
                continue
            if name not in self._plugreg.taken:
                plugins.add(each)
                continue
            with Guard():
                plugins.add(each)
        return plugins

    def subset_hook_caller(self, name: str, remove_plugins: Iterable[Any]) -> HookCaller:
        """Return a caller of the named hook that leaves out the given plugins."""
        caller: HookCaller = getattr(self.hook, name)
        if not any(each.plugin_name in self._plugreg.taken for each in caller._hookimpls):
            return super().subset_hook_caller(name, remove_plugins)
        removed = Identities(remove_plugins)
        if not any(each.plugin in removed for each in caller._hookimpls):
            return caller
        return _SubsetHookCaller(caller, cast("Any", removed))

    def list_plugin_distributions(self) -> list[tuple[Any, importlib.metadata.Distribution]]:
        """Return (plugin, distribution) pairs of what came from entry points, here or exchanged in.

        The distributions of exchanged plugins are looked up when this is called.
        """
        taken = list(self._plugreg.taken.values())
        return [
            *super().list_plugin_distributions(),
            *((each.plugin, found) for each in taken if (found := each.distribution()) is not None),
        ]

    def list_plugin_distinfo(self) -> list[tuple[Any, DistFacade]]:
        """Return (plugin, distinfo) pairs, as :meth:`list_plugin_distributions`."""
        return [(plugin, DistFacade(found)) for plugin, found in self.list_plugin_distributions()]

    # -- exchange ----------------------------------------------------------------------------

    def exchange(
        self,
        remove: Collection[str],
        add: Sequence[Implementations],
        publish: Callable[[], object] = lambda: None,
    ) -> None:
        """Take the plugins named in ``remove`` out of service and those of ``add`` into it.

        Each hook concerned gets its new list with one assignment, so that a call sees all of the
        change to that hook or nothing of it. A name may be in both. Nothing of a plugin's code
        runs, and what the host registered itself is not touched. Among plugins that were
        exchanged in, the order follows their ``rank``, whenever they came.

        ``publish`` is called with it, and may be called again. Ctrl-C at any place leaves all as
        it was, or the exchange done; one that comes while the other is dealt with, too, leaves it
        decided, and to be done by :meth:`settle`.

        Raises ValueError, before anything is changed, when a name of ``add`` is taken.
        """
        exchange(self, remove, add, publish)

    def settle(self) -> None:
        """Carry out an exchange that was decided on, where Ctrl-C has kept that from its end."""
        settle(self)

    def replay(self) -> Iterator[tuple[str, str, BaseException]]:
        """Give historic calls to plugins that were exchanged in and have not had them.

        Each plugin object gets each call once, however often it leaves and comes back: those that
        were made before it was exchanged in, since it has later ones directly. Gives
        ``(name, hook, exception)`` for each implementation that fails; the others go on.
        """
        return replay(self)

    def is_taken_in(self, name: str) -> bool:
        """Tell whether a plugin was exchanged in under this name, and has not left."""
        return name in self._plugreg.taken

    def is_reserved(self, name: str) -> bool:
        """Tell whether the host has registered or blocked this name itself."""
        return name in self._name2plugin and name not in self._plugreg.taken

    def unknown_hooks(self, name: str) -> tuple[str, ...]:
        """Return a sentence for each implementation of this plugin that no spec asks for.

        Implementations marked ``optionalhook`` are none of them.
        """
        found = self._plugreg.taken.get(name)
        if found is None:
            return ()
        known = [each for each in list(vars(self.hook)) if has_spec(self, each)]
        return tuple(
            f"unknown hook {hook_name!r}, which no specification asks for{near(hook_name, known)}"
            for hook_name, impl in found.pairs
            if not impl.optionalhook and not has_spec(self, hook_name)
        )

    def ignored_wishes(self) -> Mapping[str, tuple[str, ...]]:
        """Return, by plugin, a sentence for each circle of wishes for an order that it is part of.

        Those that are part of none are left out.
        """
        found: dict[str, tuple[str, ...]] = {}
        for hook_name, arranged in sorted([*self._plugreg.arranged.items()]):
            for each in arranged.circles:
                text = f"hook {hook_name!r}: wishes that form a circle are ignored: {each.text}"
                for name in sorted(each.names):
                    found[name] = (*found.get(name, ()), text)
        return found

    def explain(self, hook: Any) -> tuple[Position, ...]:
        """Return all implementations of a hook in call order, wrappers first, each with a reason.

        Raises UnknownHookError, and TypeError for what is no hook, as :meth:`table`.
        """
        return explain_order(self.table(hook).impls)

    def table(self, hook: Any) -> HookTable:
        """Return a hook as the isolated call needs it, by its name or its spec function.

        It is made anew only when the hook's list or spec is another one. Raises UnknownHookError,
        and TypeError for what is neither.
        """
        try:
            table = self._plugreg.tables[hook]
        except (KeyError, TypeError):
            return _new_table(self, hook)
        if table.impls is table.hook._hookimpls and table.spec is table.hook.spec:
            return table
        return _new_table(self, hook)


# The parts are functions, so that no method of a host's subclass can take their place.


def _found(manager: PluginManager, plugin: Any) -> Iterable[Found]:
    """Find the implementations of a plugin, by name; a host's own way of parsing is kept to."""
    if getattr(manager.parse_hookimpl_opts, "__func__", None) is PluginManager.parse_hookimpl_opts:
        markers = (f"{manager.project_name}_impl", "plugreg_impl")
        found = find_at_once(plugin, Marks(markers, manager.implicit_prefix))
        if found is not None:
            return found
    return _found_one_by_one(manager, plugin)


def _found_one_by_one(manager: PluginManager, plugin: Any) -> Iterator[Found]:
    for attribute in dir(plugin):
        if attribute in OBJECT_NAMES:
            continue
        opts = manager.parse_hookimpl_opts(plugin, attribute)
        if opts is None:
            continue
        found = _static_hook_attr(plugin, attribute)
        assert found is not None, f"{plugin!r}.{attribute} is not a hookable attribute"
        yield Found(attribute, opts, found[1])


def _any_wrapper() -> Iterator[None]:
    yield


def _parsed(manager: PluginManager, plugin: Any, name: str) -> list[tuple[str, HookImpl]]:
    pairs = []
    for attribute, opts, function in _found(manager, plugin):
        impl = HookImpl(plugin, name, function, as_plain(opts))
        # Refused if it is no text: a class's dict, or a __dir__, may have anything for a name.
        hook_name = impl.opts["specname"] or str.__str__(attribute)
        hook = find_caller(manager, hook_name)
        if hook is not None and hook.has_spec():
            manager._verify_hook(hook, impl)
        pairs.append((hook_name, impl))
    return pairs


def _name_of(plugin: Any, manager: PluginManager) -> str | None:
    """Return the name of a registered plugin; one that was exchanged in is never compared."""
    known = list(manager._name2plugin.items())
    for name, each in known:
        if each is plugin:
            return name
    for name, each in known:
        if name not in manager._plugreg.taken and each is not None and plugin == each:
            return name
    return None


def _new_table(manager: PluginManager, hook: Any) -> HookTable:
    tables = manager._plugreg.tables
    if isinstance(hook, str):
        caller = find_caller(manager, hook)
        if caller is None:
            raise UnknownHookError(hook, near(hook, vars(manager.hook)))
        table = tables[hook] = make_table(caller, manager._plugreg.around)
        return table
    name = getattr(hook, "__name__", None)
    if not isinstance(name, str):
        raise TypeError(f"a hook is its spec function or its name, not {safe_repr(hook)}")
    table = manager.table(name)
    if table.spec is not None and table.spec.function is hook:
        # Found at once from now on. The spec keeps this function anyway; no other is kept.
        tables[hook] = table
    return table


def _own_opts(
    manager: PluginManager, holder: Any, name: str, marker: str, implicit: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the options that plugreg's own marker left, or those that the prefix implies."""
    found = _static_hook_attr(holder, name)
    if found is None:
        return None
    opts = Marks((marker,), manager.implicit_prefix).options(name, found[0])
    return implicit if opts == {} else opts
