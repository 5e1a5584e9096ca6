"""Signals and an outbox: how an object notifies others that are made after it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

_logger = logging.getLogger("plugreg")


class Signal:
    """Calls its subscribers with each emitted value, in the order in which they connected.

    Subscribers connect while a registry is assembled, and stay. Guarding a subscriber that may
    raise is the subscriber's own business.
    """

    __slots__ = ("_subscribers",)

    def __init__(self) -> None:
        self._subscribers: tuple[Callable[..., object], ...] = ()

    def connect(self, subscriber: Callable[..., object]) -> None:
        """Have *subscriber* called from now on."""
        self._subscribers += (subscriber,)

    def emit(self, *args: Any, **kwargs: Any) -> None:
        """Call every subscriber with these arguments."""
        for subscriber in self._subscribers:
            subscriber(*args, **kwargs)


Notify = Callable[..., object]
"""Emits one of plugreg's own events: its name, and its arguments by keyword."""

_MOST_ROUNDS: Final = 20
"""How often events may cause further events before this counts as a loop."""


class _Pending(threading.local):
    """The events that this thread has yet to emit, and whether it is emitting now."""

    events: tuple[tuple[str, dict[str, Any]], ...] = ()
    is_flushing = False


class EventOutbox:
    """Collects plugreg's own events during a change.

    Each thread has its own events, in their order. Emitting waits until the change has ended, since
    a queue may wait for its worker, which may wait for the change.
    """

    def __init__(self, notify: Notify) -> None:
        self._notify = notify
        self._pending = _Pending()

    def add(self, event: str, /, **kwargs: Any) -> None:
        """Keep an event until :meth:`flush` is called in this thread.

        Args:
            event: The event.
            **kwargs: Its arguments.
        """
        self._pending.events += ((event, kwargs),)

    def flush(self) -> None:
        """Emit the events of this thread, and those that they cause, in order.

        Within a flush of the same thread this does nothing: the outer flush goes on with the new
        events, 20 times over. Events that still follow are dropped with an error in the log.
        """
        pending = self._pending
        if pending.is_flushing:
            return
        pending.is_flushing = True
        try:
            for _ in range(_MOST_ROUNDS):
                events, pending.events = pending.events, ()
                for event, kwargs in events:
                    self._notify(event, **kwargs)
            if pending.events:
                _logger.error(
                    "events cause events without end; %d are dropped", len(pending.events)
                )
        finally:
            pending.events = ()
            pending.is_flushing = False
