"""What stands round a call of a plugin where the host asks for it: circuits and observers."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from plugreg._guard import Guard, explain
from plugreg.circuits import Admission, Circuits
from plugreg.observation import CallObserver

_logger = logging.getLogger("plugreg")


class Supervision:
    """Lets calls through whose plugin's circuit is closed, and tells observers of them."""

    def __init__(self, circuits: Circuits, observers: Iterable[CallObserver]) -> None:
        self._circuits = circuits
        self._observers = tuple(observers)

    def guard(self, slug: str, hook: str) -> SupervisedGuard | None:
        """Return the guard for one call of a plugin, None where its circuit is open.

        It must be entered, once: a call that is on trial keeps all others out till it has ended.
        """
        admission = self._circuits.admit(slug)
        if admission is None:
            return None
        return SupervisedGuard(hook, admission, self._circuits, self._observers)


class SupervisedGuard(Guard):
    """A guard that tells circuits and observers of the call inside it."""

    __slots__ = ("_admission", "_circuits", "_hook", "_observers", "_tokens")

    def __init__(
        self,
        hook: str,
        admission: Admission,
        circuits: Circuits,
        observers: tuple[CallObserver, ...],
    ) -> None:
        super().__init__()
        self._hook = hook
        self._admission = admission
        self._circuits = circuits
        self._observers = observers
        self._tokens: list[tuple[CallObserver, Any]] = []

    def __enter__(self) -> Self:
        for each in self._observers:
            with Guard() as guard:
                self._tokens.append((each, each.began(self._admission.slug, self._hook)))
            _log(each, guard)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        is_kept = super().__exit__(kind, error, trace)
        for each, token in reversed(self._tokens):
            with Guard() as guard:
                each.ended(token, error)
            _log(each, guard)
        if is_kept:
            self._circuits.went_wrong(self._admission)
        elif error is None:
            self._circuits.went_well(self._admission)
        else:
            self._circuits.broke_off(self._admission)
        return is_kept


def _log(observer: CallObserver, guard: Guard) -> None:
    if guard.error is not None:
        _logger.warning(
            "an observer of calls, a %s, failed: %s",
            type(observer).__qualname__,
            explain(guard.error).message,
        )
