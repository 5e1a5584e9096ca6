"""Results of single implementations, and how faults among them are recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any, Generic, TypeVar

from plugreg._support.frozen import Frozen
from plugreg.records import PluginFailure

R = TypeVar("R")

FaultRecorder = Callable[[str, str, BaseException], PluginFailure | None]
"""Takes a plugin's name, a hook's name and an exception; returns the record of it."""


class Outcome(Frozen, Generic[R], kw_only=False):
    """Result of one implementation: a value, which may be None, or an exception.

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
