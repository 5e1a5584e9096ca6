"""Attributes that are made when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class lazy(Generic[T]):  # noqa: N801 - it is used as a decorator, like property.
    """An attribute whose value a method makes at the first access, and which then stays.

    Two threads that come first at once get the same value; the method may run in both, so it only
    makes the object and has no other effect.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __get__(self, instance: Any, owner: type) -> T:
        if instance is None:
            return self  # type: ignore[return-value]
        made: T = instance.__dict__.setdefault(self._make.__name__, self._make(instance))
        return made
