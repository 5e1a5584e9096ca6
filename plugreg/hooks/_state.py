"""What the manager keeps beside pluggy's own state, and how it orders what was exchanged in."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from pluggy import HookImpl

from plugreg.hooks._identity import Delivered
from plugreg.hooks._tables import HookTable, Implementations, Rank, section


class State:
    """One attribute for all of it, so that a host's subclass is free in its own names.

    A copied or unpickled manager begins with a state of its own: what was exchanged into the
    original counts as registered by the host there.
    """

    def __init__(self) -> None:
        self.writing = threading.RLock()
        self.taken: dict[str, Implementations] = {}
        self.places: dict[int, tuple[Rank, int]] = {}
        self.before: frozenset[str] | None = None
        self.tables: dict[str, HookTable] = {}
        self.delivered: dict[str, Delivered] = {}

    def __reduce__(self) -> tuple[type[State], tuple[()]]:
        return State, ()

    def put(self, added: Implementations) -> None:
        """Take a plugin in. Its place is its rank, then the order in which it lists its hooks."""
        self.taken[added.name] = added
        for index, (_, impl) in enumerate(added.pairs):
            self.places[id(impl)] = (added.rank, index)

    def drop(self, name: str) -> Implementations:
        """Let a plugin go, and return what it had brought."""
        left = self.taken.pop(name)
        for _, impl in left.pairs:
            self.places.pop(id(impl), None)
        return left

    def composed(self, impls: Iterable[HookImpl]) -> list[HookImpl]:
        """Put a hook's implementations in the order in which pluggy keeps them.

        There are six parts (wrappers behind the rest, and in both trylast, plain, tryfirst). In
        each, what was exchanged in stands together in the order of its places, behind what the
        host had registered before the first exchange and before what it has registered since;
        each of these two keeps its own order. Among trylast all of this is the other way round.
        """
        parts: list[tuple[list[HookImpl], ...]] = [([], [], []) for _ in range(6)]
        for impl in impls:
            side = 1 if id(impl) in self.places else 2
            if side == 2 and self.before is not None and impl.plugin_name in self.before:
                side = 0
            parts[section(impl)][side].append(impl)
        placed: list[HookImpl] = []
        for number, (before, block, after) in enumerate(parts):
            is_trylast = number in (0, 3)
            block.sort(key=lambda impl: self.places[id(impl)], reverse=is_trylast)
            placed += (*after, *block, *before) if is_trylast else (*before, *block, *after)
        return placed
