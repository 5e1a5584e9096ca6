"""Supervision of each call where the host asks for it: circuits and observers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import CoroutineType
from typing import Any, Final

from plugreg._calls.circuits import Admission, Circuits
from plugreg._support.guard import belongs_to_process, explain, is_abort
from plugreg.exceptions import CircuitOpenError
from plugreg.hooks import AsyncOnly, BothWays, Row
from plugreg.observation import CallObserver, Observation

_logger = logging.getLogger("plugreg")


_NO_TOKEN: Final = object()
"""Stands for the token of an observer that has failed, and so does not receive the end."""


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
        slug, hook, function = row[:3]
        if type(function) is AsyncOnly:
            # The host calls it in the wrong way, and no code of the plugin runs.
            return row
        observers = []
        for observer in self._observers:
            if type(observer) is Observation:
                function = observer.around(function, slug, hook)
            else:
                observers.append(observer)
        is_counted = self._circuits.is_for_all or type(row.function) is BothWays
        if not observers and not is_counted:
            return row._replace(function=function)
        circuits, failed, admit = self._circuits_of(hook), self._circuits.failed, self._admit
        always = Admission(slug, 0, False)
        is_watched = bool(observers)

        def supervised(*values: Any) -> Any:
            admission = admit(slug, hook) if slug in failed else always
            tokens: list[Any] = []
            try:
                if is_watched:
                    _report_beginning(observers, tokens, slug, hook)
                value = function(*values)
            except BaseException as error:
                SupervisedCall(circuits, admission, observers, tokens).end(error)
                raise
            if admission is always and type(value) is not CoroutineType:
                if is_watched:
                    _report_end(observers, tokens, None)
                return value
            call = SupervisedCall(circuits, admission, observers, tokens)
            if type(value) is CoroutineType:
                # The same mistake of the host's; the caller refuses the coroutine.
                call.abort()
            else:
                call.end()
            return value

        return row._replace(function=supervised)

    def begin(self, slug: str, hook: str) -> SupervisedCall | None:
        """Begin a call, which has to be ended; None if it is not supervised.

        Raises CircuitOpenError.

        The error has the mark ``is_refusal``, which an error of a plugin's own has not.
        """
        if not self._observers and not self._circuits.covers(slug):
            return None
        admission, circuits = self._admit(slug, hook), self._circuits_of(hook)
        tokens: list[Any] = []
        call = SupervisedCall(circuits, admission, self._observers, tokens)
        try:
            _report_beginning(self._observers, tokens, slug, hook)
        except BaseException:
            call.abort()
            raise
        return call

    def _circuits_of(self, hook: str) -> Circuits:
        return self._always_closed if hook.startswith("plugreg_") else self._circuits

    def _admit(self, slug: str, hook: str) -> Admission:
        admission = self._circuits_of(hook).admit(slug)
        if admission is None or (hook == "plugreg_health" and self._circuits.state(slug) == "open"):
            refusal = CircuitOpenError(slug)
            refusal.is_refusal = True
            raise refusal
        return admission


class SupervisedCall:
    """A call that is under way, with the tokens of the observers that receive its end, too."""

    def __init__(
        self,
        circuits: Circuits,
        admission: Admission,
        observers: Sequence[CallObserver],
        tokens: list[Any],
    ) -> None:
        self._circuits = circuits
        self._admission = admission
        self._observers = observers
        self._tokens = tokens
        self._has_overrun = False

    def move(self) -> None:
        """Note that the call goes on in this task, which awaits the returned awaitable."""
        for observer, token in zip(self._observers, self._tokens, strict=True):
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
        elif is_abort(error) and not self._has_overrun:
            self.abort()
        else:
            self._end(error, partial(self._circuits.record_failure, error=error))

    def abort(self) -> None:
        """Report that the call has ended for no reason of the plugin's."""
        self._end(None, self._circuits.record_abort)

    def _end(self, error: BaseException | None, record: Callable[[Admission], None]) -> None:
        try:
            _report_end(self._observers, self._tokens, error)
        finally:
            if not self._has_overrun:
                record(self._admission)


def _report_beginning(
    observers: Sequence[CallObserver], tokens: list[Any], slug: str, hook: str
) -> None:
    """Report the beginning to the observers, and add their tokens."""
    for observer in observers:
        try:
            tokens.append(observer.began(slug, hook))
        except BaseException as error:
            if belongs_to_process(error):
                raise
            _log_fault(observer, error)
            tokens.append(_NO_TOKEN)


def _report_end(
    observers: Sequence[CallObserver], tokens: list[Any], error: BaseException | None
) -> None:
    """Report the end to the observers that know of the beginning, the last first."""
    while tokens:
        token = tokens.pop()
        observer = observers[len(tokens)]
        try:
            if token is not _NO_TOKEN:
                observer.ended(token, error)
        except BaseException as fault:
            if belongs_to_process(fault):
                # The others receive the end, too.
                _report_end(observers, tokens, error)
                raise
            _log_fault(observer, fault)


def _log_fault(observer: CallObserver, error: BaseException) -> None:
    _logger.warning(
        "an observer of calls, a %s, failed: %s",
        type(observer).__qualname__,
        explain(error).message,
    )
