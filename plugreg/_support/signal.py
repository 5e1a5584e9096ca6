"""Signals: how an object notifies others that are made after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


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
