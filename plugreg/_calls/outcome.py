"""Results of single implementations, and of the wrappers round them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import field
from typing import Any, Generic, TypeVar

from plugreg._support.frozen import Frozen
from plugreg.records import PluginFailure

R = TypeVar("R")

FaultRecorder = Callable[[str, str, BaseException], PluginFailure | None]
"""Takes a plugin's name, a hook's name and an exception; returns the record of it."""


class Outcome(Frozen, Generic[R], kw_only=False):
    """Result of an implementation: a value, which may be None, or an exception.

    An implementation that was skipped, because its plugin's circuit is open, has a
    CircuitOpenError and no record. The repr leaves out the exception, which may quote a secret.

    Attributes:
        slug: The plugin, or the name that a host registered on the manager itself.
        value: The returned value; None if there is an exception.
        error: The exception, or None.
        failure: The record of the exception, or None.
        seconds: Duration of the implementation.
    """

    slug: str
    value: R | None = None
    error: BaseException | None = field(default=None, repr=False)
    failure: PluginFailure | None = None
    seconds: float = 0.0


class OutcomeDraft(Frozen, Generic[R], frozen=False):
    """Becomes an :class:`Outcome` when that is made its class, as fields and bases are the same.

    This takes a third of the time of the constructor of a frozen class.
    """

    slug: str
    value: Any
    error: BaseException | None
    failure: PluginFailure | None
    seconds: float

    def __init__(self, slug: str, value: Any, seconds: float) -> None:
        self.slug = slug
        self.value = value
        self.error = None
        self.failure = None
        self.seconds = seconds


# -- wrappers --------------------------------------------------------------------------------

Wrapper = Generator[None, Any, Any]
"""A hook wrapper, stepped to its yield and to its end."""


def enter_wrapper(wrapper: Wrapper) -> Wrapper:
    """Run a wrapper to its yield. Raises RuntimeError if it has none."""
    try:
        next(wrapper)
    except StopIteration:
        raise RuntimeError("hook wrapper did not yield") from None
    return wrapper


def leave_wrapper(wrapper: Wrapper, value: Any, *, is_list: bool) -> Any:
    """Send a wrapper the value inside it, and return the value outside.

    A list is copied, so that a wrapper that changes it and then fails costs only itself.
    """
    try:
        wrapper.send(value.copy() if is_list else value)
    except StopIteration as end:
        result = end.value
        return check_list(result) if is_list and type(result) is not list else result
    wrapper.close()
    raise RuntimeError("hook wrapper has a second yield")


def check_list(value: Any) -> list[Any]:
    """Return a wrapper's result as a plain list. Raises TypeError if it is no list."""
    if not issubclass(type(value), list):
        raise TypeError(f"hook wrapper must return a list, not {type(value).__name__}")
    return list(value)
