"""What the manager keeps beside pluggy's own state, and how it orders what was exchanged in."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pluggy
from pluggy import HookCaller, HookImpl

from plugreg._support.per_process import PerProcess
from plugreg.hooks._identity import Delivered
from plugreg.hooks._order import Arranged, arrange, asks
from plugreg.hooks._rows import Row
from plugreg.hooks._tables import HookTable, Implementations, Rank, section


class HistoricCall(NamedTuple):
    """A call that was made before a plugin was exchanged in, on its way to it."""

    impl: HookImpl
    hook_name: str
    kwargs: Mapping[str, object]
    callback: Callable[[Any], None] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """What an exchange that was decided on changes beside the state; to do it twice is no harm.

    ``lists`` has the new list of each hook concerned, ``gone`` and ``came`` are names of plugins,
    ``publish`` is the owner's part.
    """

    lists: Sequence[tuple[HookCaller, list[HookImpl]]]
    gone: Collection[str]
    came: Mapping[str, Any]
    publish: Callable[[], object]


class State:
    """One attribute for all of it, so that a host's subclass is free in its own names.

    A copied or unpickled manager begins with a state of its own: what was exchanged into the
    original counts as registered by the host there. ``exchange`` is one that is not carried out
    to its end yet, ``due`` the historic calls that plugins which were exchanged in have not had.
    """

    def __init__(self, around: Callable[[Row], Row] | None = None) -> None:
        self.around = around
        self.writing = PerProcess(threading.RLock)
        self.taken: dict[str, Implementations] = {}
        # Of each implementation: its section, and its place among those taken in.
        self.places: dict[HookImpl, tuple[int, tuple[Rank, int]]] = {}
        self.before: frozenset[str] | None = None
        self.tables: dict[Any, HookTable] = {}
        self.arranged: dict[str, Arranged] = {}
        self.delivered: dict[str, Delivered] = {}
        self.due: deque[HistoricCall] = deque()
        self.exchange: Exchange | None = None

    def __reduce__(self) -> tuple[type[State], tuple[()]]:
        return State, ()

    def next(self) -> State:
        """Return a state to prepare an exchange in; what readers see of this one stays as it is."""
        state = State(self.around)
        vars(state).update(vars(self))
        state.taken, state.places = self.taken.copy(), self.places.copy()
        state.arranged, state.due = self.arranged.copy(), self.due.copy()
        return state

    def put(self, added: Implementations) -> None:
        """Take a plugin in. Its place is its rank, then the order in which it lists its hooks."""
        self.taken[added.name] = added
        for index, (_, impl) in enumerate(added.pairs):
            self.places[impl] = (section(impl), (added.rank, index))

    def drop(self, name: str) -> Implementations:
        """Let a plugin go, and return what it had brought."""
        left = self.taken.pop(name)
        for _, impl in left.pairs:
            self.places.pop(impl, None)
        return left

    def arrange(
        self, hook_name: str, impls: list[HookImpl], coming: Sequence[HookImpl]
    ) -> list[HookImpl]:
        """Return a hook's new list, arranged as those in it ask; ``coming`` are new in it."""
        # Where nobody has asked, and nobody who comes asks, the others need not be looked through.
        if (hook_name in self.arranged or any(map(asks, coming))) and any(map(asks, impls)):
            self.arranged[hook_name] = found = arrange(impls)
            return found.impls
        self.arranged.pop(hook_name, None)
        return impls

    def placed(self, impls: list[HookImpl], arriving: Iterable[HookImpl]) -> list[HookImpl]:
        """Put implementations that were taken in at their places among those of a hook.

        There are six parts (wrappers behind the rest, and in both trylast, plain, tryfirst). In
        each, what was exchanged in stands together in the order of its places, behind what the
        host had registered before the first exchange and before what it has registered since;
        each of these two keeps its own order. Among trylast all of this is the other way round.
        """
        end = 0
        for new in arriving:
            follows = self._follows(new)
            # Many come in the order of their places, and so each right after the one before it.
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
        """Return what tells which implementations stand after one that was taken in."""
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


class Stateful(pluggy.PluginManager):
    """pluggy's manager, with plugreg's state beside its own."""

    _plugreg: State
