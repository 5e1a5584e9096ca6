"""Exchanging implementations: the state, and how a change of it is decided and carried out.

Plugin objects are kept track of without comparing or hashing them.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import pluggy
from pluggy import HookCaller, HookImpl

from plugreg._support import PerProcess
from plugreg.hooks._specs import RELATIONS
from plugreg.hooks._tables import HookTable, section

if TYPE_CHECKING:
    from plugreg.hooks._history import Delivered, HistoricCall
    from plugreg.hooks._order import Arranged
    from plugreg.hooks._rows import Implementations, Rank, Row

    Place = tuple[int, tuple[Rank, int]]
    """The section of an exchanged implementation, and its place among the exchanged."""


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

    A deep copy of a manager, or an unpickled manager, begins with a state of its own: plugins
    exchanged into the original count as registered by the host there. ``exchange`` carries out a
    decided exchange; calling it twice does no harm. ``due`` are the historic calls that exchanged
    plugins have not received.
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
        self.places: dict[HookImpl, Place] = {}
        self.before: frozenset[str] | None = None
        self.tables: dict[Any, HookTable] = {}
        self.arranged: dict[str, Arranged] = {}
        self.delivered: dict[str, Delivered] = {}
        self.due: deque[HistoricCall] = deque()
        self.exchange: Callable[[], object] | None = None
        self.offer: Offer | None = None

    def __reduce__(self) -> tuple[type[ManagerState], tuple[None, dict[str, HookCaller]]]:
        return ManagerState, (None, self.own)

    def drop(self, slug: str) -> Implementations:
        """Remove a plugin with its due calls, and return its implementations."""
        left = self.taken.pop(slug)
        del self.slugs[left.name]
        due = self.due.copy()
        self.due = deque(call for call in due if call.impl.plugin_name != left.name)
        for _, impl in left.pairs:
            self.places.pop(impl, None)
        return left

    def arrange(
        self, hook_name: str, impls: list[HookImpl], coming: Iterable[HookImpl]
    ) -> Arranged | None:
        """Return a hook's list ordered by its constraints, None without; ``coming`` are new."""
        # Without constraints before and among the new rows, the others need not be searched.
        if (hook_name in self.arranged or any(map(_has_constraints, coming))) and any(
            map(_has_constraints, impls)
        ):
            from plugreg.hooks._order import arrange

            return arrange(impls)
        return None

    def insert(
        self, impls: list[HookImpl], arriving: Mapping[HookImpl, Place], before: Container[str]
    ) -> None:
        """Insert exchanged implementations at their places among those of a hook.

        There are six parts (wrappers behind the rest, and in both trylast, plain, tryfirst). In
        each part the exchanged implementations stand together, in the order of their places. The
        host's own with names in ``before`` stand before them, its later ones behind them; each of
        these two keeps its own order. Among trylast all of this is the other way round.
        """
        end = len(impls)
        for new in arriving:
            follows = self._follows(new, arriving, before)
            # Many come last, or right after their predecessor, in the order of their places.
            low, high = 0, len(impls)
            if end and not follows(impls[end - 1]):
                low = end
                if end < high and follows(impls[end]):
                    high = end
            end = bisect_left(impls, True, low, high, key=follows)
            impls.insert(end, new)
            end += 1

    def _follows(
        self, new: HookImpl, arriving: Mapping[HookImpl, Place], before: Container[str]
    ) -> Callable[[HookImpl], bool]:
        """Return a function that says whether an implementation stands after *new*."""
        places = self.places
        new_part, new_place = arriving[new]
        is_trylast = new_part in (0, 3)

        def follows(other: HookImpl) -> bool:
            part, place = arriving.get(other) or places.get(other) or (section(other), None)
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
        are not touched. Exchanged plugins are ordered by ``rank``, whenever they came. A name that
        leaves and comes back is registered throughout.

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
            state, names = self._plugreg, self._name2plugin
            leaving = {slug: state.taken[slug] for slug in remove if slug in state.taken}
            removed = {plugin.name for plugin in leaving.values()}
            coming = _named(self, add, leaving)
            before = state.before
            if before is None:
                known = [*names.items()]
                before = frozenset(name for name, plugin in known if plugin is not None)
            arriving: dict[str, dict[HookImpl, Place]] = {}
            for left in leaving.values():
                remember_history(self, left)
                for hook_name, _ in left.pairs:
                    arriving.setdefault(hook_name, {})
            # Removed plugins receive no historic calls.
            waiting = state.due.copy()  # Another thread may be replaying.
            due = deque(call for call in waiting if call.impl.plugin_name not in removed)
            for plugin in coming.values():
                for index, (hook_name, impl) in enumerate(plugin.pairs):
                    place = section(impl), (plugin.rank, index)
                    arriving.setdefault(hook_name, {})[impl] = place
                    due += _due(self, plugin.plugin, hook_name, impl)
            lists = [
                _new_list(self, hook_name, removed, places, before)
                for hook_name, places in arriving.items()
            ]

            def carry_out() -> None:
                state.before = before
                # No name is on the manager while its slug is not known, as if it were the host's.
                for name in removed - coming.keys():
                    names.pop(name, None)
                    state.slugs.pop(name, None)
                added = {plugin.slug: plugin for plugin in coming.values()}
                for slug, left in leaving.items():
                    for _, impl in left.pairs:
                        state.places.pop(impl, None)
                    if slug not in added:
                        state.taken.pop(slug, None)
                state.taken.update(added)
                for places in arriving.values():
                    state.places.update(places)
                state.slugs.update({name: plugin.slug for name, plugin in coming.items()})
                names.update({name: plugin.plugin for name, plugin in coming.items()})
                state.due = due
                for hook, impls, arranged in lists:
                    _publish(self, hook, impls, arranged)
                publish()

            try:
                # This assignment decides: the rest is carried out, once or twice.
                state.exchange = carry_out
                self.settle()
            except BaseException:
                self.settle()
                raise

    def settle(self) -> None:
        """Carry out a decided exchange that Ctrl-C has interrupted."""
        with self._plugreg.writing.get():
            carry_out = self._plugreg.exchange
            if carry_out is not None:
                carry_out()
                self._plugreg.exchange = None

    def replay(
        self, watch: Callable[[str], object] | None = None
    ) -> Iterator[tuple[str, str, BaseException]]:
        """Make the historic calls that exchanged plugins have not received.

        Each plugin object receives each call once, however often it leaves and comes back. Calls
        after its exchange reach it directly. An exchange in another thread meanwhile may repeat
        calls, so the owner of the manager makes exchanges and replays in turn, as a registry does.

        Args:
            watch: Called with the slug before each call.

        Returns:
            ``(slug, hook, exception)`` for each implementation that fails; the others go on.
        """
        if not self._plugreg.due:
            return iter(())
        from plugreg.hooks._history import replay

        return replay(lambda: self._plugreg.due, self._hookexec, watch)


# The parts are functions, so that no method of a host's subclass can take their place.


def _named(
    manager: ExchangingManager,
    add: Iterable[Implementations],
    leaving: Mapping[str, Implementations],
) -> Mapping[str, Implementations]:
    """Return plugins by their names on the manager. Raises ValueError if a name is taken."""
    state, names = manager._plugreg, manager._name2plugin
    removed = {plugin.name for plugin in leaving.values()}
    coming: dict[str, Implementations] = {}
    slugs: set[str] = set()
    for plugin in add:
        stays = plugin.slug in state.taken and plugin.slug not in leaving
        of_host = any(n in names and n not in state.slugs for n in (plugin.slug, plugin.name))
        if stays or of_host or plugin.slug in slugs:
            raise ValueError(f"plugin name {plugin.name!r} is taken on the plugin manager")
        free = (name for name in _names_for(plugin) if name not in coming)
        name = next(name for name in free if name in removed or name not in names)
        coming[name] = plugin if name == plugin.name else plugin.renamed(name)
        slugs.add(plugin.slug)
    return coming


def _new_list(
    manager: ExchangingManager,
    hook_name: str,
    removed: Collection[str],
    arriving: Mapping[HookImpl, Place],
    before: Container[str],
) -> tuple[HookCaller, list[HookImpl], Arranged | None]:
    """Return a hook with its list after an exchange, and with that list's order, if it has any."""
    hook = caller_of(manager, hook_name)
    base = base_of(manager, hook)
    impls = [impl for impl in base if impl.plugin_name not in removed] if removed else base.copy()
    manager._plugreg.insert(impls, arriving, before)
    return hook, impls, manager._plugreg.arrange(hook_name, impls, arriving)


def _names_for(plugin: Implementations) -> Iterator[str]:
    """Yield the names under which a plugin may be known, the best first."""
    yield plugin.name
    yield plugin.slug
    yield from (f"{plugin.slug}-{number}" for number in count(2))


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
    _publish(manager, hook, impls, manager._plugreg.arrange(hook.name, impls, coming))


def _publish(
    manager: ExchangingManager, hook: HookCaller, impls: list[HookImpl], arranged: Arranged | None
) -> None:
    if arranged is None:
        manager._plugreg.arranged.pop(hook.name, None)
    else:
        manager._plugreg.arranged[hook.name] = arranged
        impls = arranged.impls
    hook._hookimpls = impls  # type: ignore[misc]  # The only assignment that readers see.
    # The table made from the old list would keep plugins alive that have left.
    manager._plugreg.tables.pop(hook.name, None)
    if hook.spec is not None:
        manager._plugreg.tables.pop(hook.spec.function, None)


def _history_of(manager: ExchangingManager, hook_name: str) -> Delivered:
    from plugreg.hooks._history import Delivered

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
    from plugreg.hooks._history import HistoricCall

    count = _history_of(manager, hook_name).get(plugin)
    return [HistoricCall(impl, hook_name, *call) for call in history[count:]]
