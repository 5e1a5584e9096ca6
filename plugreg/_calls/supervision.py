"""Supervision of each call where the host asks for it: circuits and observers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from types import CoroutineType
from typing import Any

from plugreg._calls.circuits import Admission, Circuits
from plugreg._support.guard import Guard, belongs_to_process, explain
from plugreg.exceptions import CircuitOpenError
from plugreg.hooks import AsyncOnly, Row
from plugreg.observation import CallObserver, Observation

_logger = logging.getLogger("plugreg")


class Supervision:
    """Lets calls through closed circuits, and reports them to observers.

    Wrappers are not supervised, nor the hooks that plugreg calls of a single plugin. Hooks of
    plugreg's own (``plugreg_…``) are observed, but circuits neither stop nor count them. Only
    ``plugreg_health`` is not called while the circuit is open.
    """

    def __init__(self, circuits: Circuits, observers: Iterable[CallObserver]) -> None:
        self._circuits = circuits
        self._always_closed = Circuits(None)
        self._observers = tuple(observers)

    def around(self, row: Row) -> Row:
        """Return the implementation under supervision."""
        function = row.function
        if type(function) is AsyncOnly:
            # The host calls it in the wrong way, and no code of the plugin runs.
            return row

        def supervised(*values: Any) -> Any:
            call = self.begin(row.slug, row.hook)
            try:
                value = function(*values)
            except BaseException as error:
                call.end(error)
                raise
            if type(value) is CoroutineType:
                # The same mistake of the host's; the caller refuses the coroutine.
                call.abort()
            else:
                call.end()
            return value

        return row._replace(function=supervised)

    def begin(self, slug: str, hook: str) -> SupervisedCall:
        """Begin a call, which has to be ended. Raises CircuitOpenError.

        The error has the mark ``is_refusal``, which an error of a plugin's own has not.
        """
        circuits = self._always_closed if hook.startswith("plugreg_") else self._circuits
        admission = circuits.admit(slug)
        if admission is None or (hook == "plugreg_health" and self._circuits.state(slug) == "open"):
            refusal = CircuitOpenError(slug)
            refusal.is_refusal = True
            raise refusal
        call = SupervisedCall(circuits, admission)
        try:
            for observer in self._observers:
                call.observe(observer, hook)
        except BaseException:
            call.abort()
            raise
        return call


class SupervisedCall:
    """A call that is under way."""

    def __init__(self, circuits: Circuits, admission: Admission) -> None:
        self._circuits = circuits
        self._admission = admission
        self._tokens: list[tuple[CallObserver, Any]] = []
        self._has_overrun = False

    def observe(self, observer: CallObserver, hook: str) -> None:
        """Report the beginning to an observer, which will receive the end, too."""
        with Guard() as guard:
            self._tokens.append((observer, observer.began(self._admission.slug, hook)))
        _log_fault(observer, guard.error)

    def move(self) -> None:
        """Note that the call goes on in this task, which awaits the returned awaitable."""
        for observer, token in self._tokens:
            if type(observer) is Observation:
                observer.moved(token)

    def overrun(self) -> None:
        """Count a timeout now, though the call has not ended."""
        self._has_overrun = True
        self._circuits.record_failure(self._admission)

    def end(self, error: BaseException | None = None) -> None:
        """Report the result; *error* is the exception."""
        if error is None:
            self._end(None, self._circuits.record_success)
        elif _is_abort(error) and not self._has_overrun:
            self.abort()
        else:
            self._end(error, self._circuits.record_failure)

    def abort(self) -> None:
        """Report that the call has ended for no reason of the plugin's."""
        self._end(None, self._circuits.record_abort)

    def _end(self, error: BaseException | None, record: Callable[[Admission], None]) -> None:
        try:
            while self._tokens:
                observer, token = self._tokens.pop()
                with Guard() as guard:
                    observer.ended(token, error)
                _log_fault(observer, guard.error)
        finally:
            # An observer's exception may belong to the process: the others receive the end, too.
            if self._tokens:
                self._end(error, record)
            elif not self._has_overrun:
                record(self._admission)


def _is_abort(error: BaseException) -> bool:
    """Return whether this is Ctrl-C, a cancellation, or a group of nothing else."""
    errors = [error]
    while errors:
        error = errors.pop()
        if issubclass(type(error), BaseExceptionGroup):
            # A subclass may show other members than it has.
            errors += BaseExceptionGroup.exceptions.__get__(error)
        elif not belongs_to_process(error):
            return False
    return True


def _log_fault(observer: CallObserver, error: BaseException | None) -> None:
    if error is not None:
        _logger.warning(
            "an observer of calls, a %s, failed: %s",
            type(observer).__qualname__,
            explain(error).message,
        )
