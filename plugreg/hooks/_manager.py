"""The plugin manager: a drop-in for pluggy's, with exchanges."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

from pluggy import HookCaller, HookImpl
from pluggy._compat import DistFacade
from pluggy._manager import _static_hook_attr

from plugreg._support import exceptions
from plugreg._support.guard import Guard, safe_repr, safe_str
from plugreg._support.slugs import near
from plugreg.hooks._exchanging import (
    Caller,
    ExchangingManager,
    ManagerState,
    Offer,
    base_of,
    caller_of,
    find_caller,
    has_spec,
    remember_history,
    store,
)
from plugreg.hooks._specs import (
    OBJECT_NAMES,
    SLUG,
    Marks,
    PlugregSpecs,
    as_plain,
    find_at_once,
)
from plugreg.hooks._tables import HookTable

if TYPE_CHECKING:
    import importlib.metadata

    from plugreg.hooks._order import Position
    from plugreg.hooks._rows import Implementations, Rank, Row
    from plugreg.hooks._specs import MarkedFunction
    from plugreg.hooks._subset import HookSubset


class PluginManager(ExchangingManager):
    """pluggy's manager, with implementations that are exchanged as a whole.

    It can be used wherever a ``pluggy.PluginManager`` is: same methods, same semantics, same
    errors. Implementations and specs with plugreg's own markers count, too. Lists of
    implementations are replaced, never changed, by registrations too. Exchanged plugins are
    identified without comparing them, since a plugin's ``__eq__`` or ``__hash__`` may fail.

    It lives as long as its owner wants; it has nothing to close. Calls may come from any thread.

    Args:
        project_name: The host's name, by which its own markers are known.
        implicit_prefix: Unmarked functions whose name begins with it count as hooks.
    """

    def __init__(self, project_name: str, *, implicit_prefix: str | None = None) -> None:
        super().__init__(project_name)
        self.implicit_prefix: Final = implicit_prefix
        self._plugreg = ManagerState()

    def supervise(self, around: Callable[[Row], Row] | None) -> None:
        """Set the replacement of implementations in isolated calls, before the first call.

        Args:
            around: Returns the implementation to call instead of a given one, None for itself.
        """
        self._plugreg.around = around
        self._plugreg.tables.clear()

    # -- functions that count as hooks -------------------------------------------------------

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        """Return the options of an implementation, by any marker or the prefix.

        Args:
            plugin: The plugin object.
            name: Name of an attribute.
        """
        return _options(self, plugin, name, "impl", {})

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        """Return the options of a spec, by any marker or the prefix.

        Args:
            module_or_class: The module or class of the spec.
            name: Name of an attribute.
        """
        if name in OBJECT_NAMES:
            return None
        return _options(self, module_or_class, name, "spec", {**_IMPLICIT})

    def add_hookspecs(self, module_or_class: Any) -> None:
        """Add the specs of a module or class, as pluggy's method does.

        Args:
            module_or_class: The module or class.

        Raises:
            ValueError: If it has no spec, or a hook has one already.
            PluginValidationError: If a registered implementation does not match its spec.
        """
        found = _find_specs(self, module_or_class)
        if not found:
            raise ValueError(f"did not find any {self.project_name!r} hooks in {module_or_class!r}")
        for name, opts in found:
            _specify(self, caller_of(self, name), module_or_class, opts)

    @property
    def has_registry(self) -> bool:
        """Whether a registry has added plugreg's own hooks."""
        return bool(self._plugreg.own)

    def add_own_hookspecs(self) -> None:
        """Add the specs of plugreg's own hooks, which no attribute of :attr:`hook` is for."""
        for name, function in vars(PlugregSpecs).items():
            opts = getattr(function, "plugreg_spec", None)
            if opts is not None and name not in self._plugreg.own:
                # The host may have registered plugins that implement it.
                caller = vars(self.hook).pop(name, None) or Caller(name, self._hookexec)
                self._plugreg.own[name] = caller
                _specify(self, caller, PlugregSpecs, opts)

    def implementations(
        self,
        plugin: Any,
        slug: str,
        rank: Rank = (),
        dist_info: str | None = None,
        *,
        name: str | None = None,
    ) -> Implementations:
        """Parse the hook implementations of a plugin and check them.

        They are checked against the present specs. No attribute is evaluated and nothing is
        registered. A host's subclass that overrides :meth:`register` is asked: what it refuses,
        and what it raises, keeps the plugin out of service. :meth:`let_go` follows in any case.

        Args:
            plugin: The plugin object.
            slug: Its identity.
            rank: Its place among the other exchanged plugins.
            dist_info: Metadata folder of its distribution, or None.
            name: Its name on the manager, None for the slug.

        Raises:
            PluginValidationError: If an implementation does not match its spec.
            ValueError: If the host itself has registered or blocked the name, or the slug.
        """
        name = name or slug
        for taken in filter(self.is_reserved, (name, slug)):
            raise ValueError(f"plugin name {taken!r} is taken or blocked on the plugin manager")
        if type(self).register is PluginManager.register:
            pairs = _parse(self, plugin, name)
        else:
            self._plugreg.offer = offer = Offer(plugin, name)
            try:
                self.register(plugin, name)
            finally:
                self._plugreg.offer = None
            if offer.pairs is None:
                raise ValueError(f"{type(self).__qualname__}.register() refuses plugin {name!r}")
            pairs = offer.pairs
        for _, impl in pairs if name != slug else ():
            impl.opts[SLUG] = slug  # type: ignore[typeddict-unknown-key]
        # Imported with the first plugin, as many hosts have none.
        from plugreg.hooks._rows import Implementations

        return Implementations(
            slug=slug, name=name, plugin=plugin, pairs=(*pairs,), rank=rank, dist_info=dist_info
        )

    def let_go(self, left: Implementations) -> None:
        """Notify a host's subclass that overrides :meth:`unregister` that a plugin has left.

        Args:
            left: Result of :meth:`implementations` for the plugin, which is not in service.
        """
        if type(self).unregister is not PluginManager.unregister:
            self._plugreg.offer = Offer(left.plugin, left.name)
            try:
                self.unregister(left.plugin, left.name)
            finally:
                self._plugreg.offer = None

    def _verify_hook(self, hook: HookCaller, hookimpl: HookImpl) -> None:
        """Check an implementation; a wrapper may be an async generator, too."""
        if hookimpl.wrapper and inspect.isasyncgenfunction(hookimpl.function):
            # pluggy requires a generator function, and gets one for the same arguments.
            hookimpl = copy.copy(hookimpl)
            hookimpl.function = _any_wrapper  # type: ignore[misc]
        super()._verify_hook(hook, hookimpl)

    def has_implementations(self, plugin: Any) -> bool:
        """Return whether an object has any hook implementation.

        Nothing is evaluated or checked.

        Args:
            plugin: The object.
        """
        return next(iter(_find_functions(self, plugin)), None) is not None

    # -- pluggy's own way in and out ---------------------------------------------------------

    def register(self, plugin: Any, name: str | None = None) -> str | None:
        """Register a plugin and return its name, as pluggy's method does.

        Args:
            plugin: The plugin object.
            name: Its name; None means the canonical name.

        Raises:
            ValueError: If the plugin or the name is registered.
            PluginValidationError: If an implementation does not match its spec.
        """
        if plugin is None:
            return None
        plugin_name = name or self.get_canonical_name(plugin)
        offer = self._plugreg.offer
        if offer is not None and offer.is_of(plugin, plugin_name):
            # The plugin is exchanged in later; a host's subclass does its part of it now.
            offer.pairs = _parse(self, plugin, plugin_name)
            return plugin_name
        if _is_blocked(self, plugin, plugin_name):
            return None
        if _name_of(plugin, self) is not None:
            raise ValueError(
                f"Plugin already registered under a different name: "
                f"{plugin_name}={safe_str(plugin)}\n{safe_repr(self._name2plugin)}"
            )
        pairs = _parse(self, plugin, plugin_name)
        with self._plugreg.writing.get():
            self.settle()
            # An exchange may have taken the name in the meantime.
            if _is_blocked(self, plugin, plugin_name):
                return None
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
        """Unregister a plugin and return it, or None, as ``pluggy.PluginManager`` does.

        Args:
            plugin: The plugin object; None means the plugin of that name.
            name: Its name; None means the name of that plugin.

        Raises:
            ValueError: If plugin and name do not agree.
        """
        offer = self._plugreg.offer
        if offer is not None and offer.is_of(plugin, name):
            return plugin
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
            for hook in [*vars(self.hook).values(), *self._plugreg.own.values()]:
                if any(impl.plugin is plugin for impl in hook._hookimpls):
                    impls = [impl for impl in base_of(self, hook) if impl.plugin is not plugin]
                    store(self, hook, impls)
            if self._name2plugin.get(name) is not None:
                del self._name2plugin[name]
                if self._plugreg.before is not None:
                    # A plugin that comes back counts as a later plugin.
                    self._plugreg.before -= {name}
                if (slug := self._plugreg.slugs.get(name)) is not None:
                    remember_history(self, self._plugreg.drop(slug))
        return plugin

    def get_name(self, plugin: Any) -> str | None:
        """Return the name the plugin is registered under, or None.

        Args:
            plugin: The plugin object.
        """
        return _name_of(plugin, self)

    def is_registered(self, plugin: Any) -> bool:
        """Return whether the plugin is registered.

        Args:
            plugin: The plugin object.
        """
        return self.get_name(plugin) is not None

    def get_plugins(self) -> set[Any]:
        """Return the registered plugin objects, without those that cannot be hashed."""
        plugins = set()
        for name, plugin in list(self._name2plugin.items()):
            if plugin is None:
                continue
            if name not in self._plugreg.slugs:
                plugins.add(plugin)
                continue
            with Guard():
                plugins.add(plugin)
        return plugins

    def subset_hook_caller(self, name: str, remove_plugins: Iterable[Any]) -> HookCaller:
        """Return a caller of the named hook that leaves out the given plugins.

        Args:
            name: The hook's name.
            remove_plugins: The plugin objects to leave out.
        """
        caller: HookCaller = getattr(self.hook, name)
        if not any(impl.plugin_name in self._plugreg.slugs for impl in caller._hookimpls):
            return super().subset_hook_caller(name, remove_plugins)
        from pluggy._hooks import _SubsetHookCaller

        from plugreg.hooks._subset import Identities

        removed = Identities(remove_plugins)
        if not any(impl.plugin in removed for impl in caller._hookimpls):
            return caller
        return _SubsetHookCaller(caller, cast("Any", removed))

    def list_plugin_distributions(self) -> list[tuple[Any, importlib.metadata.Distribution]]:
        """Return (plugin, distribution) pairs of the plugins from entry points.

        The distributions of exchanged plugins are looked up when this is called.
        """
        taken = list(self._plugreg.taken.values())
        return [
            *super().list_plugin_distributions(),
            *(
                (plugin.plugin, dist)
                for plugin in taken
                if (dist := plugin.distribution()) is not None
            ),
        ]

    def list_plugin_distinfo(self) -> list[tuple[Any, DistFacade]]:
        """Return (plugin, distinfo) pairs, as :meth:`list_plugin_distributions`."""
        return [(plugin, DistFacade(dist)) for plugin, dist in self.list_plugin_distributions()]

    # -- exchanged plugins -------------------------------------------------------------------

    def is_taken_in(self, slug: str) -> bool:
        """Return whether a plugin was exchanged in, and has not left.

        Args:
            slug: The plugin.
        """
        return slug in self._plugreg.taken

    def is_reserved(self, name: str) -> bool:
        """Return whether the host has registered or blocked this name itself.

        Args:
            name: The plugin's name.
        """
        return name in self._name2plugin and name not in self._plugreg.slugs

    def unknown_hooks(self, slug: str) -> tuple[str, ...]:
        """Return a sentence for each implementation of a plugin without a spec.

        Those marked ``optionalhook``, and those that only the host's prefix makes hooks, need none.

        Args:
            slug: The plugin.
        """
        found = self._plugreg.taken.get(slug)
        if found is None:
            return ()
        unknown = [
            hook_name
            for hook_name, impl in found.pairs
            if not (has_spec(self, hook_name) or impl.optionalhook or _is_by_prefix(self, impl))
        ]
        known = [name for name in _hook_names(self) if has_spec(self, name)] if unknown else ()
        return tuple(
            f"unknown hook {hook_name!r}, which no specification asks for{near(hook_name, known)}"
            for hook_name in unknown
        )

    def spec_function(self, name: str) -> Callable[..., Any] | None:
        """Return the function that specifies a hook, None for a hook without.

        Args:
            name: The hook's name.
        """
        hook = find_caller(self, name)
        return None if hook is None or hook.spec is None else hook.spec.function

    def history(self, name: str) -> tuple[Mapping[str, object], ...]:
        """Return the arguments of the historic calls of a hook, the first call first.

        Args:
            name: The hook's name.
        """
        hook = find_caller(self, name)
        return tuple(call[0] for call in (hook and hook._call_history) or ())

    def is_by_prefix(self, impl: HookImpl) -> bool:
        """Return whether the host's prefix alone makes a function an implementation.

        Args:
            impl: The implementation.
        """
        return _is_by_prefix(self, impl)

    def ignored_constraints(self) -> Mapping[str, tuple[str, ...]]:
        """Return a sentence for each cycle of ordering constraints, by each plugin in it."""
        messages: dict[str, tuple[str, ...]] = {}
        for hook_name, arranged in sorted([*self._plugreg.arranged.items()]):
            for cycle in arranged.cycles:
                message = (
                    f"hook {hook_name!r}: ignored constraints, which form a cycle: {cycle.text}"
                )
                for name in sorted(cycle.names):
                    messages[name] = (*messages.get(name, ()), message)
        return messages

    def ignored_wishes(self) -> Mapping[str, tuple[str, ...]]:
        """Return :meth:`ignored_constraints`, under its old name."""
        message = "ignored_wishes() is deprecated; call ignored_constraints()"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return self.ignored_constraints()

    def subset(self, slugs: Iterable[str]) -> HookSubset:
        """Return the hooks with the implementations of some plugins alone.

        Args:
            slugs: The plugins; those that are not in service have none.
        """
        from plugreg.hooks._subset import HookSubset

        return HookSubset(self.table, frozenset(slugs), self._plugreg.around)

    def explain(self, hook: Any) -> tuple[Position, ...]:
        """Return all implementations of a hook in call order, with reasons.

        Args:
            hook: The spec function, or the hook's name.

        Raises:
            UnknownHookError: If neither a spec nor an implementation has this name.
            TypeError: If *hook* is neither.
        """
        return self.table(hook).explain()

    def table(self, hook: Any) -> HookTable:
        """Return a hook as the isolated call needs it.

        It is kept until its list or spec changes.

        Args:
            hook: The spec function, or the hook's name.

        Raises:
            UnknownHookError: If neither a spec nor an implementation has this name.
            TypeError: If *hook* is neither.
        """
        try:
            table = self._plugreg.tables[hook]
        except (KeyError, TypeError):
            return _make_table(self, hook)
        if table.impls is table.hook._hookimpls and table.spec is table.hook.spec:
            return table
        return _make_table(self, hook)


# The parts are functions, so that no method of a host's subclass can take their place.


_IMPLICIT: Final = MappingProxyType({"firstresult": False, "historic": False})
"""The options of a spec that only the prefix makes one."""


def _find_specs(manager: PluginManager, holder: Any) -> list[tuple[str, Any]]:
    """Find the specs of a module or class, by name; a host may parse in its own way."""
    if getattr(manager.parse_hookspec_opts, "__func__", None) is PluginManager.parse_hookspec_opts:
        marks = Marks((f"{manager.project_name}_spec", "plugreg_spec"), manager.implicit_prefix)
        found = find_at_once(holder, marks)
        if found is not None:
            return [(name, opts or {**_IMPLICIT}) for name, opts, _ in found]
    parsed = ((name, manager.parse_hookspec_opts(holder, name)) for name in dir(holder))
    return [(name, opts) for name, opts in parsed if opts is not None]


def _find_functions(manager: PluginManager, plugin: Any) -> Iterable[MarkedFunction]:
    """Find the implementations of a plugin, by name; a host may parse in its own way."""
    if getattr(manager.parse_hookimpl_opts, "__func__", None) is PluginManager.parse_hookimpl_opts:
        found = find_at_once(plugin, _marks_of(manager.project_name, manager.implicit_prefix))
        if found is not None:
            return found
    return _find_one_by_one(manager, plugin)


def _find_one_by_one(manager: PluginManager, plugin: Any) -> Iterator[MarkedFunction]:
    for attribute in dir(plugin):
        if attribute in OBJECT_NAMES:
            continue
        opts = manager.parse_hookimpl_opts(plugin, attribute)
        if opts is None:
            continue
        found = _static_hook_attr(plugin, attribute)
        assert found is not None, f"{plugin!r}.{attribute} is not a hookable attribute"
        yield attribute, opts, found[1]


def _is_by_prefix(manager: PluginManager, impl: HookImpl) -> bool:
    """Return whether the host's prefix alone makes a function an implementation."""
    marks = _marks_of(manager.project_name, None)
    return manager.implicit_prefix is not None and marks.options("", impl.function) is None


@lru_cache(maxsize=8)
def _marks_of(host: str, prefix: str | None) -> Marks:
    return Marks((f"{host}_impl", "plugreg_impl"), prefix)


def _any_wrapper() -> Iterator[None]:
    yield


def _parse(manager: PluginManager, plugin: Any, name: str) -> list[tuple[str, HookImpl]]:
    pairs = []
    for attribute, opts, function in _find_functions(manager, plugin):
        impl = HookImpl(plugin, name, function, as_plain(opts))
        # Raises if it is no string: a class's dict, or a __dir__, may have other names.
        hook_name = impl.opts["specname"] or str.__str__(attribute)
        hook = find_caller(manager, hook_name)
        if hook is not None and hook.has_spec():
            manager._verify_hook(hook, impl)
        pairs.append((hook_name, impl))
    return pairs


def _is_blocked(manager: PluginManager, plugin: Any, name: str) -> bool:
    """Return whether a name is blocked. Raises ValueError if it is taken."""
    if manager._name2plugin.get(name) is not None:
        raise ValueError(
            f"Plugin name already registered: {name}={safe_str(plugin)}\n"
            f"{safe_repr(manager._name2plugin)}"
        )
    return name in manager._name2plugin


def _name_of(plugin: Any, manager: PluginManager) -> str | None:
    """Return the name of a registered plugin; exchanged plugins are never compared."""
    known = list(manager._name2plugin.items())
    for name, registered in known:
        if registered is plugin:
            return name
    for name, registered in known:
        if name not in manager._plugreg.slugs and registered is not None and plugin == registered:
            return name
    return None


def _hook_names(manager: PluginManager) -> list[str]:
    return [*vars(manager.hook), *manager._plugreg.own]


def _make_table(manager: PluginManager, hook: Any) -> HookTable:
    tables = manager._plugreg.tables
    if isinstance(hook, str):
        caller = find_caller(manager, hook)
        if caller is None:
            raise exceptions.UnknownHookError(hook, near(hook, _hook_names(manager)))
        table = tables[hook] = HookTable(caller, manager._plugreg.around)
        return table
    name = getattr(hook, "__name__", None)
    if not isinstance(name, str):
        raise TypeError(f"a hook is its spec function or its name, not {safe_repr(hook)}")
    table = manager.table(name)
    if table.spec is not None and table.spec.function is hook:
        # Found at once from now on. The spec keeps this function anyway; no other is kept.
        tables[hook] = table
    return table


def _specify(manager: PluginManager, hook: HookCaller, holder: Any, opts: Any) -> None:
    """Set the spec of a hook, and check the implementations that it has already."""
    hook.set_specification(holder, opts)
    for impl in hook.get_hookimpls():
        manager._verify_hook(hook, impl)


def _options(
    manager: PluginManager, holder: Any, name: str, kind: str, implicit: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the options of the host's marker or plugreg's own, or those of the prefix."""
    found = _static_hook_attr(holder, name)
    if found is None:
        return None
    marks = Marks((f"{manager.project_name}_{kind}", f"plugreg_{kind}"), manager.implicit_prefix)
    opts = marks.options(name, found[0])
    return implicit if opts == {} else opts
