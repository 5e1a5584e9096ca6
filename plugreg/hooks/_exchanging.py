"""Exchanging implementations: prepared aside, decided by one assignment, and then carried out.

These are functions, so that no method of a host's subclass of the manager can take their place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, cast

from pluggy import HookCaller, HookImpl

from plugreg._support.guard import Guard
from plugreg.hooks._identity import Delivered
from plugreg.hooks._state import Exchange, HistoricCall, Stateful
from plugreg.hooks._tables import Implementations


class Caller(HookCaller):
    """pluggy's, whose historic calls are made before an exchange or after it, never beside one.

    So each of them is replayed to a plugin that comes, or reaches it directly.
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
        manager = cast("Stateful", self._hookexec.__self__)  # type: ignore[attr-defined]
        with manager._plugreg.writing.get():
            self._call_history.append((kwargs, result_callback))
            impls = self._hookimpls.copy()
        results = self._hookexec(self.name, impls, kwargs, False)
        if result_callback is not None and isinstance(results, list):
            for result in results:
                result_callback(result)


def exchange(
    manager: Stateful,
    remove: Collection[str],
    add: Sequence[Implementations],
    publish: Callable[[], object],
) -> None:
    """See :meth:`plugreg.hooks.PluginManager.exchange`."""
    with manager._plugreg.writing.get():
        settle(manager)
        state = manager._plugreg.next()
        leaving = {name for name in remove if name in state.taken}
        coming: dict[str, Any] = {}
        for each in add:
            taken = each.name in manager._name2plugin and each.name not in leaving
            if taken or each.name in coming:
                raise ValueError(f"plugin name {each.name!r} is taken on the plugin manager")
            coming[each.name] = each.plugin
        if state.before is None:
            known = manager._name2plugin.items()
            state.before = frozenset(name for name, each in known if each is not None)
        arriving: dict[str, list[HookImpl]] = {}
        for name in leaving:
            left = state.drop(name)
            remember_history(manager, left)
            for hook_name, _ in left.pairs:
                arriving.setdefault(hook_name, [])
        # Nobody who has left is to be told any more.
        state.due = deque(each for each in state.due if each.impl.plugin_name not in leaving)
        for each in add:
            state.put(each)
            for hook_name, impl in each.pairs:
                arriving.setdefault(hook_name, []).append(impl)
                state.due += _due(manager, each.plugin, hook_name, impl)
        lists = []
        for hook_name, impls in arriving.items():
            hook = caller_of(manager, hook_name)
            staying = base_of(manager, hook).copy()
            if leaving:
                staying = [each for each in staying if each.plugin_name not in leaving]
            new = state.arrange(hook_name, state.placed(staying, impls), impls)
            lists.append((hook, new))
        state.exchange = Exchange(lists=lists, gone=leaving, came=coming, publish=publish)
        try:
            # The one assignment that decides: what comes after it is done, once or twice.
            manager._plugreg = state
            settle(manager)
        except BaseException:
            settle(manager)
            raise


def settle(manager: Stateful) -> None:
    """See :meth:`plugreg.hooks.PluginManager.settle`."""
    with manager._plugreg.writing.get():
        exchange = manager._plugreg.exchange
        if exchange is None:
            return
        for name in exchange.gone:
            manager._name2plugin.pop(name, None)
        manager._name2plugin.update(exchange.came)
        for hook, impls in exchange.lists:
            _publish(manager, hook, impls)
        exchange.publish()
        manager._plugreg.exchange = None


def replay(manager: Stateful) -> Iterator[tuple[str, str, BaseException]]:
    """See :meth:`plugreg.hooks.PluginManager.replay`."""
    while due := manager._plugreg.due:
        call = due[0]
        with Guard() as guard:
            results = manager._hookexec(
                call.hook_name, [_begun(call.impl, due)], call.kwargs, False
            )
            if call.callback is not None and isinstance(results, list):
                for result in results:
                    call.callback(result)
        if due and due[0] is call:
            # It has failed before the plugin's code began.
            del due[0]
        if guard.error is not None:
            yield call.impl.plugin_name, call.hook_name, guard.error


def _begun(impl: HookImpl, due: deque[HistoricCall]) -> HookImpl:
    """Return an implementation that takes its call off those due as the plugin's code begins.

    If Ctrl-C comes before that, the call stays due.
    """

    def function(*values: Any) -> Any:
        del due[0]
        return impl.function(*values)

    begun = copy(impl)
    begun.function = function  # type: ignore[misc]
    return begun


def find_caller(manager: Stateful, name: str) -> HookCaller | None:
    return cast("HookCaller | None", vars(manager.hook).get(name))


def has_spec(manager: Stateful, name: str) -> bool:
    hook = find_caller(manager, name)
    return hook is not None and hook.has_spec()


def caller_of(manager: Stateful, name: str) -> HookCaller:
    hook = find_caller(manager, name)
    if hook is None:
        # Another thread may be first; then its caller is the one.
        hook = vars(manager.hook).setdefault(name, Caller(name, manager._hookexec))
    return hook


def base_of(manager: Stateful, hook: HookCaller) -> list[HookImpl]:
    """Return a hook's implementations in the order that they have without their wishes."""
    arranged = manager._plugreg.arranged.get(hook.name)
    return hook._hookimpls if arranged is None else arranged.base


def store(
    manager: Stateful,
    hook: HookCaller,
    impls: list[HookImpl],
    coming: Sequence[HookImpl] = (),
) -> None:
    """Give a hook its new list, arranged as those in it ask; ``coming`` are new in it."""
    _publish(manager, hook, manager._plugreg.arrange(hook.name, impls, coming))


def _publish(manager: Stateful, hook: HookCaller, impls: list[HookImpl]) -> None:
    hook._hookimpls = impls  # type: ignore[misc]  # The one assignment that readers see.
    # The table made from the old list would keep plugins alive that have left.
    manager._plugreg.tables.pop(hook.name, None)
    if hook.spec is not None:
        manager._plugreg.tables.pop(hook.spec.function, None)


def _history_of(manager: Stateful, hook_name: str) -> Delivered:
    return manager._plugreg.delivered.setdefault(hook_name, Delivered())


def remember_history(manager: Stateful, leaving: Implementations) -> None:
    for hook_name, _ in leaving.pairs:
        hook = caller_of(manager, hook_name)
        if hook.is_historic():
            count = len(hook._call_history or ())
            _history_of(manager, hook_name).put(leaving.name, leaving.plugin, count)


def _due(manager: Stateful, plugin: object, hook_name: str, impl: HookImpl) -> list[HistoricCall]:
    """Return the historic calls made until now that a plugin has not had, none for other hooks."""
    hook = find_caller(manager, hook_name)
    history = None if hook is None else hook._call_history
    if not history:
        return []
    had = _history_of(manager, hook_name).get(plugin)
    return [HistoricCall(impl, hook_name, *each) for each in history[had:]]
