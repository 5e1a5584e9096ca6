"""What stands round each implementation where the host asks for it: circuits and observers."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from plugreg._guard import Guard, belongs_to_process, explain
from plugreg.circuits import Admission, Circuits
from plugreg.exceptions import CircuitOpenError
from plugreg.hooks import Row
from plugreg.observation import CallObserver

_logger = logging.getLogger("plugreg")


class Supervision:
    """Lets calls through whose plugin's circuit is closed, and tells observers of them.

    Wrappers are not among what it supervises, nor what plugreg itself tells a single plugin.
    """

    def __init__(self, circuits: Circuits, observers: Iterable[CallObserver]) -> None:
        self._circuits = circuits
        self._observers = tuple(observers)

    def around(self, row: Row) -> Row:
        """Return an implementation that is called under supervision.

        It raises CircuitOpenError, and the plugin is not called, while that's circuit is open.
        """
        function = row.function

        def supervised(*values: Any) -> Any:
            call = self.begin(row.slug, row.hook)
            try:
                value = function(*values)
            except BaseException as error:
                call.end(error)
                raise
            call.end()
            return value

        return row._replace(function=supervised)

    def begin(self, slug: str, hook: str) -> SupervisedCall:
        """Begin a call, here and now; it has to be ended. Raises CircuitOpenError."""
        admission = self._circuits.admit(slug)
        if admission is None:
            raise CircuitOpenError(slug)
        tokens = []
        for each in self._observers:
            with Guard() as guard:
                tokens.append((each, each.began(slug, hook)))
            _log(each, guard.error)
        return SupervisedCall(self._circuits, admission, tokens)


class SupervisedCall:
    """A call that is under way."""

    def __init__(
        self,
        circuits: Circuits,
        admission: Admission,
        tokens: list[tuple[CallObserver, Any]],
    ) -> None:
        self._circuits = circuits
        self._admission = admission
        self._tokens = tokens
        self._has_overrun = False

    def overrun(self) -> None:
        """Count it as a fault now, though it has not ended."""
        self._has_overrun = True
        self._circuits.went_wrong(self._admission)

    def end(self, error: BaseException | None = None) -> None:
        """Tell what came of it; ``error`` is what the plugin has raised."""
        for each, token in reversed(self._tokens):
            with Guard() as guard:
                each.ended(token, error)
            _log(each, guard.error)
        if self._has_overrun:
            return
        if error is None:
            self._circuits.went_well(self._admission)
        elif belongs_to_process(error):
            self._circuits.broke_off(self._admission)
        else:
            self._circuits.went_wrong(self._admission)


def _log(observer: CallObserver, error: BaseException | None) -> None:
    if error is not None:
        _logger.warning(
            "an observer of calls, a %s, failed: %s",
            type(observer).__qualname__,
            explain(error).message,
        )
