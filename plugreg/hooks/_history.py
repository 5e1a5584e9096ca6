"""Historic calls on their way to plugins that are exchanged in later.

It is imported with the first plugin that is exchanged in or out of a historic hook.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Any

from pluggy import HookImpl

from plugreg._support.frozen import NamedTuple
from plugreg._support.guard import Guard
from plugreg.hooks._specs import slug_of


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


def replay(
    due_now: Callable[[], deque[HistoricCall]],
    execute: Callable[..., object],
    watch: Callable[[str], object] | None,
) -> Iterator[tuple[str, str, BaseException]]:
    """Make the due calls, as ``ExchangingManager.replay`` describes it.

    Args:
        due_now: Returns the calls that are due.
        execute: Executes a call of a hook, as the manager does.
        watch: Called with the slug before each call.
    """
    while due := due_now():
        call = due[0]
        if watch is not None:
            watch(slug_of(call.impl))
        with Guard() as guard:
            results = execute(call.hook_name, [_begun(call.impl, due)], call.kwargs, False)
            if call.callback is not None and isinstance(results, list):
                for result in results:
                    call.callback(result)
        if due and due[0] is call:
            # It has failed before the plugin's code began.
            del due[0]
        if guard.error is not None:
            yield slug_of(call.impl), call.hook_name, guard.error


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
