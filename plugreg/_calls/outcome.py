"""Results of single implementations. It is imported with the first call that asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from time import perf_counter
from types import CoroutineType
from typing import Any, Generic, TypeVar

from plugreg._support.frozen import Frozen
from plugreg._support.guard import belongs_to_process
from plugreg.hooks import Row, refuse
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

    This takes a third of the time of the constructor of a frozen class. It has no constructor,
    since setting the fields takes half the time of that.
    """

    slug: str
    value: Any
    error: BaseException | None
    failure: PluginFailure | None
    seconds: float

    __init__ = object.__init__


def make_outcomes(
    on_fault: FaultRecorder,
) -> Callable[[Iterable[Row], Mapping[str, Any]], Iterator[Outcome[Any]]]:
    """Make the function that calls implementations on demand, and yields their outcomes.

    Args:
        on_fault: Records the exception of an implementation.
    """

    def outcomes(rows: Iterable[Row], arguments: Mapping[str, Any]) -> Iterator[Outcome[Any]]:
        outcome: Any
        for slug, hook, function, _, pick in rows:
            began = perf_counter()
            try:
                value = function(*pick(arguments))
                if type(value) is CoroutineType:
                    refuse(value)
            except BaseException as error:
                seconds = perf_counter() - began
                if belongs_to_process(error):
                    raise
                failure = on_fault(slug, hook, error)
                outcome = Outcome(slug, None, error, failure, seconds)
            else:
                seconds = perf_counter() - began
                outcome = OutcomeDraft()
                outcome.slug = slug
                outcome.value = value
                outcome.error = outcome.failure = None
                outcome.seconds = seconds
                outcome.__class__ = Outcome
            yield outcome

    return outcomes
