"""The plugin manager: pluggy's, with lists of implementations that are replaced as a whole."""

from __future__ import annotations

import itertools
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import pluggy
from pluggy import HookCaller, HookImpl, HookimplOpts
from pluggy._hooks import _SubsetHookCaller, normalize_hookimpl_opts
from pluggy._manager import _static_hook_attr

from plugreg._guard import Guard, safe_repr
from plugreg._names import near
from plugreg.exceptions import UnknownHookError
from plugreg.hooks._identity import Delivered, Identities
from plugreg.hooks._tables import HookTable, Implementations, Rank, make_table, section

# What every object has is no hook, and is a third of what ``dir`` lists.
_OBJECT_NAMES: Final = frozenset(dir(object))


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
        self._delivered: dict[str, Delivered] = {}

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
        if self.is_reserved(name):
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
            impl = HookImpl(plugin, name, found[1], _as_plain(opts))
            hook_name = impl.opts["specname"] or attribute
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
        removed = Identities(remove_plugins)
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

    def is_reserved(self, name: str) -> bool:
        """Tell whether the host has registered or blocked this name itself."""
        return name in self._name2plugin and name not in self._taken

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
            table = self._tables[name] = make_table(hook)
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
            part = section(impl)
            start = bisect_left(placed, part, key=section)
            end = bisect_right(placed, part, lo=start, key=section)
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

    def _history_of(self, hook_name: str) -> Delivered:
        return self._delivered.setdefault(hook_name, Delivered())

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


def _as_plain(opts: HookimplOpts) -> HookimplOpts:
    """Return options whose values are looked at again and again, and so must be harmless.

    Raises TypeError for a ``specname`` that is no text.
    """
    specname = opts["specname"]
    if specname is not None and not issubclass(type(specname), str):
        raise TypeError(f"specname must be the name of a hook, not {safe_repr(specname)}")
    return {
        "wrapper": bool(opts["wrapper"]),
        "hookwrapper": bool(opts["hookwrapper"]),
        "optionalhook": bool(opts["optionalhook"]),
        "tryfirst": bool(opts["tryfirst"]),
        "trylast": bool(opts["trylast"]),
        "specname": None if specname is None else str.__str__(specname),
    }


def _marked(holder: object, attribute: str) -> dict[str, Any] | None:
    """Return the options that a marker left on a function, or on what it was made from."""
    for each in (holder, getattr(holder, "__func__", None)):
        opts = getattr(each, attribute, None)
        if isinstance(opts, dict):
            return opts
    return None
