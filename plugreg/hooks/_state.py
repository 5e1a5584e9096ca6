"""The manager's own state, and the order of exchanged implementations.

Plugin objects are kept track of without comparing or hashing them.
"""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pluggy import HookCaller, HookImpl

from plugreg._support.frozen import NamedTuple
from plugreg._support.lazy import PerProcess
from plugreg.hooks._rows import Row
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
    """The number of historic calls of one hook that each plugin object has received.

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
            # The entry goes with the object, before another one can get the same id.
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
        """Return whether this is the plugin, and the name, if one is given."""
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
        # For each implementation: its section, and its place among the exchanged ones.
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
        # Without constraints before and among the new ones, the others need not be looked through.
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
