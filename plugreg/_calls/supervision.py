"""What stands round each implementation where the host asks for it: circuits and observers."""

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
    """Lets calls through whose plugin's circuit is closed, and tells observers of them.

    Wrappers are not among what it supervises, nor what plugreg itself tells a single plugin. Hooks
    of plugreg's own (``plugreg_…``) are observed, but are no matter of circuits: they get through,
    are no trial, and their faults do not count. Only ``plugreg_health`` is not called while the
    circuit is open.
    """

    def __init__(self, circuits: Circuits, observers: Iterable[CallObserver]) -> None:
        self._circuits = circuits
        self._always_closed = Circuits(None)
        self._observers = tuple(observers)

    def around(self, row: Row) -> Row:
        """Return an implementation that is called under supervision.

        It raises CircuitOpenError, and the plugin is not called, while that's circuit is open.
        """
        function = row.function
        if type(function) is AsyncOnly:
            # It is the host that calls it in the wrong way, and nothing of the plugin runs.
            return row

        def supervised(*values: Any) -> Any:
            call = self.begin(row.slug, row.hook)
            try:
                value = function(*values)
            except BaseException as error:
                call.end(error)
                raise
            if type(value) is CoroutineType:
                # The same mistake of the host's: who has called refuses it.
                call.break_off()
            else:
                call.end()
            return value

        return row._replace(function=supervised)

    def begin(self, slug: str, hook: str) -> SupervisedCall:
        """Begin a call, here and now; it has to be ended. Raises CircuitOpenError.

        That error has the mark ``is_refusal``, by which it is told from one of a plugin's own.
        """
        circuits = self._always_closed if hook.startswith("plugreg_") else self._circuits
        admission = circuits.admit(slug)
        if admission is None or (hook == "plugreg_health" and self._circuits.state(slug) == "open"):
            refusal = CircuitOpenError(slug)
            refusal.is_refusal = True
            raise refusal
        call = SupervisedCall(circuits, admission)
        try:
            for each in self._observers:
                call.observe(each, hook)
        except BaseException:
            call.break_off()
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
        """Tell an observer that it begins; it is told of the end, too, unless it fails."""
        with Guard() as guard:
            self._tokens.append((observer, observer.began(self._admission.slug, hook)))
        _log(observer, guard.error)

    def move(self) -> None:
        """Take note that it goes on here and now, where what it has returned is awaited."""
        for each, token in self._tokens:
            if type(each) is Observation:
                each.moved(token)

    def overrun(self) -> None:
        """Count it as a fault now, though it has not ended."""
        self._has_overrun = True
        self._circuits.went_wrong(self._admission)

    def end(self, error: BaseException | None = None) -> None:
        """Tell what came of it; ``error`` is what was raised."""
        if error is None:
            self._end(None, self._circuits.went_well)
        elif _is_broken_off(error) and not self._has_overrun:
            self.break_off()
        else:
            self._end(error, self._circuits.went_wrong)

    def break_off(self) -> None:
        """Tell that it has ended for no reason of the plugin's."""
        self._end(None, self._circuits.broke_off)

    def _end(self, error: BaseException | None, judge: Callable[[Admission], None]) -> None:
        try:
            while self._tokens:
                each, token = self._tokens.pop()
                with Guard() as guard:
                    each.ended(token, error)
                _log(each, guard.error)
        finally:
            # What one raises may belong to the process: the others are told nevertheless.
            if self._tokens:
                self._end(error, judge)
            elif not self._has_overrun:
                judge(self._admission)


def _is_broken_off(error: BaseException) -> bool:
    """Tell whether this is Ctrl-C, a cancellation, or a group of nothing else."""
    found = [error]
    while found:
        each = found.pop()
        if issubclass(type(each), BaseExceptionGroup):
            # A subclass may say anything of what is in it.
            found += BaseExceptionGroup.exceptions.__get__(each)
        elif not belongs_to_process(each):
            return False
    return True


def _log(observer: CallObserver, error: BaseException | None) -> None:
    if error is not None:
        _logger.warning(
            "an observer of calls, a %s, failed: %s",
            type(observer).__qualname__,
            explain(error).message,
        )
