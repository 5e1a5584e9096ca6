"""Exchanging implementations: the state, and how a change of it is decided and carried out.

Plugin objects are kept track of without comparing or hashing them.
"""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import pluggy
from pluggy import HookCaller, HookImpl

from plugreg._support import PerProcess
from plugreg._support.frozen import NamedTuple
from plugreg._support.guard import Guard
from plugreg.hooks._rows import Row, slug_of
from plugreg.hooks._specs import RELATIONS
from plugreg.hooks._tables import HookTable, Implementations, Rank, section

if TYPE_CHECKING:
    from plugreg.hooks._order import Arranged


class Identities:
    """A set of objects that compares by identity alone."""

    def __init__(self, objects: Iterable[Any]) -> None:
        self._objects = {id(item): item for item in objects}

    def __contains__(self, item: object) -> bool:
        return id(item) in self._objects


class Delivered:
    """The number of historic calls of a hook that each plugin object has received.

    It keeps no object alive that has weak references. Of the others it keeps the last object of
    each plugin: while it is alive, no other object can have its id.
    """

    def __init__(self) -> None:
        self._counts: dict[int, tuple[object, int]] = {}
        self._last: dict[str, object] = {}

    def get(self, plugin: object) -> int:
        """Return the number of calls that this object has received."""
        _, count = self._counts.get(id(plugin), (None, 0))
        return count

    def put(self, slug: str, plugin: object, count: int) -> None:
        """Remember the number of calls that a leaving object has received."""
        key = id(plugin)
        holder: object = None
        try:
            # The entry goes with the object, before another object can get the same id.
            holder = weakref.ref(plugin, lambda _: self._counts.pop(key, None))
        except TypeError:
            before = self._last.get(slug)
            self._last[slug] = plugin
            if before is not None and before is not plugin:
                self._counts.pop(id(before), None)
        self._counts[key] = (holder, count)


class HistoricCall(NamedTuple):
    """A call that was made before a plugin was exchanged in, on its way to it."""

    impl: HookImpl
    hook_name: str
    kwargs: Mapping[str, object]
    callback: Callable[[Any], None] | None


class Exchange(NamedTuple):
    """The changes of a decided exchange beside the state.

    Carrying them out twice does no harm. ``lists`` has the new list of each hook concerned.
    ``removed`` are names of plugins, ``added`` plugins by their names. ``publish`` is the owner's
    part.
    """

    lists: Sequence[tuple[HookCaller, list[HookImpl]]]
    removed: Collection[str]
    added: Mapping[str, Any]
    publish: Callable[[], object]


class Offer:
    """A plugin that a host's subclass is asked to register, or to unregister, for an exchange.

    ``pairs`` are its implementations, once the subclass has passed it on.
    """

    def __init__(self, plugin: Any, name: str) -> None:
        self._plugin = plugin
        self._name = name
        self.pairs: list[tuple[str, HookImpl]] | None = None

    def is_of(self, plugin: Any, name: str | None) -> bool:
        """Return whether this is the plugin, and the name, if a name is given."""
        return plugin is self._plugin and name in (None, self._name)


class ManagerState:
    """All state in one attribute, so that a host's subclass is free in its own names.

    A copied or unpickled manager begins with a state of its own: plugins exchanged into the
    original count as registered by the host there. ``exchange`` is not carried out to its end
    yet. ``due`` are the historic calls that exchanged plugins have not received.
    """

    def __init__(
        self,
        around: Callable[[Row], Row] | None = None,
        own: dict[str, HookCaller] | None = None,
    ) -> None:
        self.around = around
        # The callers of plugreg's own hooks, which are none of the host's.
        self.own = own or {}
        self.writing = PerProcess(threading.RLock)
        self.taken: dict[str, Implementations] = {}
        # The slugs of these plugins, by their names on the manager.
        self.slugs: dict[str, str] = {}
        # For each implementation: its section, and its place among the exchanged implementations.
        self.places: dict[HookImpl, tuple[int, tuple[Rank, int]]] = {}
        self.before: frozenset[str] | None = None
        self.tables: dict[Any, HookTable] = {}
        self.arranged: dict[str, Arranged] = {}
        self.delivered: dict[str, Delivered] = {}
        self.due: deque[HistoricCall] = deque()
        self.exchange: Exchange | None = None
        self.offer: Offer | None = None

    def __reduce__(self) -> tuple[type[ManagerState], tuple[None, dict[str, HookCaller]]]:
        return ManagerState, (None, self.own)

    def next(self) -> ManagerState:
        """Return a copy to prepare an exchange in; readers go on with this state."""
        state = ManagerState(self.around, self.own)
        vars(state).update(vars(self))
        state.taken, state.places = self.taken.copy(), self.places.copy()
        state.slugs = self.slugs.copy()
        state.arranged, state.due = self.arranged.copy(), self.due.copy()
        return state

    def put(self, added: Implementations) -> None:
        """Add a plugin, placed by its rank, then by the order of its hooks."""
        self.taken[added.slug] = added
        self.slugs[added.name] = added.slug
        for index, (_, impl) in enumerate(added.pairs):
            self.places[impl] = (section(impl), (added.rank, index))

    def drop(self, slug: str) -> Implementations:
        """Remove a plugin, and return its implementations."""
        left = self.taken.pop(slug)
        del self.slugs[left.name]
        for _, impl in left.pairs:
            self.places.pop(impl, None)
        return left

    def arrange(
        self, hook_name: str, impls: list[HookImpl], coming: Sequence[HookImpl]
    ) -> list[HookImpl]:
        """Return a hook's new list, ordered by its constraints; ``coming`` are new in it."""
        # Without constraints before and among the new rows, the others need not be searched.
        if (hook_name in self.arranged or any(map(_has_constraints, coming))) and any(
            map(_has_constraints, impls)
        ):
            from plugreg.hooks._order import arrange

            self.arranged[hook_name] = found = arrange(impls)
            return found.impls
        self.arranged.pop(hook_name, None)
        return impls

    def placed(self, impls: list[HookImpl], arriving: Iterable[HookImpl]) -> list[HookImpl]:
        """Insert exchanged implementations at their places among those of a hook.

        There are six parts (wrappers behind the rest, and in both trylast, plain, tryfirst). In
        each part the exchanged implementations stand together, in the order of their places. The
        host's own from before the first exchange stand before them, its later ones behind them;
        each of these two keeps its own order. Among trylast all of this is the other way round.
        """
        end = 0
        for new in arriving:
            follows = self._follows(new)
            # Many come in the order of their places, and so each right after its predecessor.
            low, high = 0, len(impls)
            if end and not follows(impls[end - 1]):
                low = end
                if end < high and follows(impls[end]):
                    high = end
            end = bisect_left(impls, True, low, high, key=follows)
            impls.insert(end, new)
            end += 1
        return impls

    def _follows(self, new: HookImpl) -> Callable[[HookImpl], bool]:
        """Return a function that says whether an implementation stands after *new*."""
        places, before = self.places, self.before or ()
        new_part, new_place = places[new]
        is_trylast = new_part in (0, 3)

        def follows(other: HookImpl) -> bool:
            part, place = places.get(other) or (section(other), None)
            if part != new_part:
                return part > new_part
            if place is None:
                return (other.plugin_name in before) is is_trylast
            return place < new_place if is_trylast else new_place < place

        return follows


def _has_constraints(impl: HookImpl) -> bool:
    """Return whether an implementation has ordering constraints."""
    return any(relation in impl.opts for relation in RELATIONS)


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
        with a number if that is another plugin's name.

        Args:
            remove: Slugs of the plugins to take out; unknown slugs are ignored.
            add: Plugins to take in; their slugs may be in *remove*.
            publish: Called with the change, and perhaps called again.

        Raises:
            ValueError: If a name of *add* is taken. Nothing has changed then.
        """
        with self._plugreg.writing.get():
            self.settle()
            old, state = self._plugreg, self._plugreg.next()

            def is_of_host(name: str) -> bool:
                return name in self._name2plugin and name not in old.slugs

            dropped = [state.drop(slug) for slug in dict.fromkeys(remove) if slug in old.taken]
            leaving = {plugin.name: plugin for plugin in dropped}
            coming: dict[str, Implementations] = {}
            for given in add:
                if given.slug in state.taken or is_of_host(given.slug) or is_of_host(given.name):
                    raise ValueError(f"plugin name {given.name!r} is taken on the plugin manager")
                free = (name for name in _names_for(given) if name not in state.slugs)
                name = next(name for name in free if not is_of_host(name))
                coming[name] = given if name == given.name else given.renamed(name)
                state.put(coming[name])
            if state.before is None:
                known = self._name2plugin.items()
                state.before = frozenset(name for name, plugin in known if plugin is not None)
            arriving: dict[str, list[HookImpl]] = {}
            for left in dropped:
                remember_history(self, left)
                for hook_name, _ in left.pairs:
                    arriving.setdefault(hook_name, [])
            # Removed plugins receive no historic calls.
            state.due = deque(call for call in state.due if call.impl.plugin_name not in leaving)
            for plugin in coming.values():
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
                # This assignment decides: the rest is carried out, once or twice.
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

    def replay(
        self, watch: Callable[[str], object] | None = None
    ) -> Iterator[tuple[str, str, BaseException]]:
        """Make the historic calls that exchanged plugins have not received.

        Each plugin object receives each call once, however often it leaves and comes back. Calls
        after its exchange reach it directly.

        Args:
            watch: Called with the slug before each call.

        Yields:
            ``(slug, hook, exception)`` for each implementation that fails; the others go on.
        """
        while due := self._plugreg.due:
            call = due[0]
            if watch is not None:
                watch(slug_of(call.impl))
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
    hook._hookimpls = impls  # type: ignore[misc]  # The only assignment that readers see.
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
