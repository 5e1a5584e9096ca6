"""Exchanging implementations: prepared, decided at once, and carried out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from itertools import count
from typing import Any, cast

import pluggy
from pluggy import HookCaller, HookImpl

from plugreg._support.guard import Guard
from plugreg.hooks._rows import slug_of
from plugreg.hooks._state import Delivered, Exchange, HistoricCall, ManagerState
from plugreg.hooks._tables import Implementations


class Caller(HookCaller):
    """pluggy's caller, with historic calls that never overlap an exchange.

    So each of them is replayed to an exchanged plugin, or reaches it directly.
    """

    __slots__ = ()

    def call_historic(
        self,
        result_callback: Callable[[Any], None] | None = None,
        kwargs: Mapping[str, object] | None = None,
    ) -> None:
        """Do as ``pluggy.HookCaller.call_historic`` does."""
        assert self._call_history is not None
        kwargs = self._apply_defaults(kwargs or {})
        self._verify_all_args_are_provided(kwargs)
        manager = cast("ExchangingManager", self._hookexec.__self__)  # type: ignore[attr-defined]
        with manager._plugreg.writing.get():
            self._call_history.append((kwargs, result_callback))
            impls = self._hookimpls.copy()
        results = self._hookexec(self.name, impls, kwargs, False)
        if result_callback is not None and isinstance(results, list):
            for result in results:
                result_callback(result)


class ExchangingManager(pluggy.PluginManager):
    """pluggy's manager, with implementations that are exchanged as a whole."""

    _plugreg: ManagerState

    def exchange(
        self,
        remove: Collection[str],
        add: Sequence[Implementations],
        publish: Callable[[], object] = lambda: None,
    ) -> None:
        """Take plugins out of service and others into it.

        Each hook concerned gets its new list with one assignment, so that a call sees the whole
        change to that hook or none of it. No plugin code runs, and the host's own registrations
        are not touched. Exchanged plugins are ordered by ``rank``, whenever they came.

        Ctrl-C leaves the exchange undone or done. A second Ctrl-C, while the first is handled,
        leaves it decided, and :meth:`settle` carries it out.

        A plugin whose name on the manager another exchanged plugin has is known by its slug, and
        with a number where that is another one's name.

        Args:
            remove: Slugs of the plugins to take out; unknown slugs are ignored.
            add: Plugins to take in; their slugs may be in *remove*.
            publish: Called with the change, and perhaps called again.

        Raises:
            ValueError: If a name of *add* is taken. Nothing has changed then.
        """
        with self._plugreg.writing.get():
            self.settle()
            state = self._plugreg.next()
            leaving = {state.taken[slug].name: slug for slug in remove if slug in state.taken}
            hosts = self._name2plugin.keys() - state.slugs.keys()
            names = self._name2plugin.keys() - leaving.keys()
            taken = hosts | (state.taken.keys() - leaving.values())
            coming: dict[str, Implementations] = {}
            for given in add:
                if given.name in hosts or given.slug in taken:
                    raise ValueError(f"plugin name {given.name!r} is taken on the plugin manager")
                taken.add(given.slug)
                name = next(name for name in _names_for(given) if name not in names)
                names.add(name)
                coming[name] = given if name == given.name else given.renamed(name)
            if state.before is None:
                known = self._name2plugin.items()
                state.before = frozenset(name for name, plugin in known if plugin is not None)
            arriving: dict[str, list[HookImpl]] = {}
            for slug in leaving.values():
                left = state.drop(slug)
                remember_history(self, left)
                for hook_name, _ in left.pairs:
                    arriving.setdefault(hook_name, [])
            # Plugins that have left receive no more historic calls.
            state.due = deque(call for call in state.due if call.impl.plugin_name not in leaving)
            for plugin in coming.values():
                state.put(plugin)
                for hook_name, impl in plugin.pairs:
                    arriving.setdefault(hook_name, []).append(impl)
                    state.due += _due(self, plugin.plugin, hook_name, impl)
            lists = []
            for hook_name, impls in arriving.items():
                hook = caller_of(self, hook_name)
                staying = base_of(self, hook).copy()
                if leaving:
                    staying = [impl for impl in staying if impl.plugin_name not in leaving]
                new = state.arrange(hook_name, state.placed(staying, impls), impls)
                lists.append((hook, new))
            added = {name: plugin.plugin for name, plugin in coming.items()}
            state.exchange = Exchange(lists=lists, removed=leaving, added=added, publish=publish)
            try:
                # The one assignment that decides: the rest is carried out, once or twice.
                self._plugreg = state
                self.settle()
            except BaseException:
                self.settle()
                raise

    def settle(self) -> None:
        """Carry out a decided exchange that Ctrl-C has interrupted."""
        with self._plugreg.writing.get():
            exchange = self._plugreg.exchange
            if exchange is None:
                return
            for name in exchange.removed:
                self._name2plugin.pop(name, None)
            self._name2plugin.update(exchange.added)
            for hook, impls in exchange.lists:
                _publish(self, hook, impls)
            exchange.publish()
            self._plugreg.exchange = None

    def replay(self) -> Iterator[tuple[str, str, BaseException]]:
        """Make the historic calls that exchanged plugins have not received.

        Each plugin object receives each call once, however often it leaves and comes back. Calls
        after its exchange reach it directly.

        Yields:
            ``(slug, hook, exception)`` for each implementation that fails; the others go on.
        """
        while due := self._plugreg.due:
            call = due[0]
            with Guard() as guard:
                results = self._hookexec(
                    call.hook_name, [_begun(call.impl, due)], call.kwargs, False
                )
                if call.callback is not None and isinstance(results, list):
                    for result in results:
                        call.callback(result)
            if due and due[0] is call:
                # It has failed before the plugin's code began.
                del due[0]
            if guard.error is not None:
                yield slug_of(call.impl), call.hook_name, guard.error


# The parts are functions, so that no method of a host's subclass can take their place.


def _names_for(plugin: Implementations) -> Iterator[str]:
    """Yield the names under which a plugin may be known, the best first."""
    yield plugin.name
    yield plugin.slug
    yield from (f"{plugin.slug}-{number}" for number in count(2))


def _begun(impl: HookImpl, due: deque[HistoricCall]) -> HookImpl:
    """Return an implementation that removes its call from *due* as it begins.

    If Ctrl-C comes before that, the call stays due.
    """

    def function(*values: Any) -> Any:
        del due[0]
        return impl.function(*values)

    begun = copy(impl)
    begun.function = function  # type: ignore[misc]
    return begun


def find_caller(manager: ExchangingManager, name: str) -> HookCaller | None:
    return vars(manager.hook).get(name) or manager._plugreg.own.get(name)


def has_spec(manager: ExchangingManager, name: str) -> bool:
    hook = find_caller(manager, name)
    return hook is not None and hook.has_spec()


def caller_of(manager: ExchangingManager, name: str) -> HookCaller:
    hook = find_caller(manager, name)
    if hook is None:
        # Another thread may be first; then its caller is the one.
        hook = vars(manager.hook).setdefault(name, Caller(name, manager._hookexec))
    return hook


def base_of(manager: ExchangingManager, hook: HookCaller) -> list[HookImpl]:
    """Return a hook's implementations in their order without constraints."""
    arranged = manager._plugreg.arranged.get(hook.name)
    return hook._hookimpls if arranged is None else arranged.base


def store(
    manager: ExchangingManager,
    hook: HookCaller,
    impls: list[HookImpl],
    coming: Sequence[HookImpl] = (),
) -> None:
    """Publish a hook's new list, with ``coming`` new in it, in its order."""
    _publish(manager, hook, manager._plugreg.arrange(hook.name, impls, coming))


def _publish(manager: ExchangingManager, hook: HookCaller, impls: list[HookImpl]) -> None:
    hook._hookimpls = impls  # type: ignore[misc]  # The one assignment that readers see.
    # The table made from the old list would keep plugins alive that have left.
    manager._plugreg.tables.pop(hook.name, None)
    if hook.spec is not None:
        manager._plugreg.tables.pop(hook.spec.function, None)


def _history_of(manager: ExchangingManager, hook_name: str) -> Delivered:
    return manager._plugreg.delivered.setdefault(hook_name, Delivered())


def remember_history(manager: ExchangingManager, leaving: Implementations) -> None:
    for hook_name, _ in leaving.pairs:
        hook = caller_of(manager, hook_name)
        if hook.is_historic():
            count = len(hook._call_history or ())
            _history_of(manager, hook_name).put(leaving.slug, leaving.plugin, count)


def _due(
    manager: ExchangingManager, plugin: object, hook_name: str, impl: HookImpl
) -> list[HistoricCall]:
    """Return the historic calls until now that a plugin has not received."""
    hook = find_caller(manager, hook_name)
    history = None if hook is None else hook._call_history
    if not history:
        return []
    count = _history_of(manager, hook_name).get(plugin)
    return [HistoricCall(impl, hook_name, *call) for call in history[count:]]
