"""One attempt to change the environment, from request to result."""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Final

from plugreg._support.guard import Guard, explain
from plugreg.exceptions import InstallError, PlugregError
from plugreg.install.audit import Action, AuditEntry, AuditOutcome
from plugreg.install.exceptions import InstallRefusedError
from plugreg.install.installer import Progress
from plugreg.install.plan import Change, InstallPlan
from plugreg.install.reports import InstallReport, UninstallReport
from plugreg.install.safeguard import Undo

_logger = logging.getLogger("plugreg")

_KEPT: Final = 2_000
"""Number of last lines of an installer's output that are kept for the report of a failure."""


@dataclass(slots=True)
class Attempt:
    """State of an attempt; the audit records it before it is final, and at its end.

    ``progress`` is the host's callback, and ``lines`` are the installer's output. ``undo`` is set
    once the environment may have been touched. ``is_refused`` says that the attempt is forbidden,
    and ``is_made`` that its changes are final.
    """

    action: Action
    requirement: str
    actor: str | None
    progress: Progress | None = None
    distribution: str | None = None
    changes: tuple[Change, ...] = ()
    undo: Undo | None = None
    is_refused: bool = False
    is_made: bool = False
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _is_deaf: bool = False
    _when: datetime = field(default_factory=lambda: datetime.now(UTC))
    _started: float = field(default_factory=monotonic)

    def begin_now(self) -> None:
        """Restart the clock: the attempt begins now, not when it was requested."""
        self._when, self._started = datetime.now(UTC), monotonic()

    def add_line(self, line: str) -> None:
        """Keep a line of the installer's output, and pass it to the host's callback.

        An exception of the callback does not reach the installer; the first one is logged.
        """
        self.lines.append(line)
        if self.progress is None:
            return
        with Guard() as guard:
            self.progress(line)
        if guard.error is not None and not self._is_deaf:
            self._is_deaf = True
            message = explain(guard.error).message
            _logger.warning("progress of %r could not be shown: %s", self.requirement, message)

    @property
    def restored(self) -> bool:
        """Whether the environment is as it was before, if it was touched at all."""
        return self.undo is None or (self.undo.done and not self.undo.lost)

    @property
    def lost(self) -> tuple[str, ...]:
        """Sentences about files that could not be restored."""
        lost = () if self.undo is None else self.undo.lost
        return tuple(f"{path!r} was written in place, and could not be put back" for path in lost)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Count an InstallError of the ``with`` block as a refusal."""
        try:
            yield
        except InstallError:
            self.is_refused = True
            raise

    @contextmanager
    def reporting(self, plan: InstallPlan) -> Iterator[None]:
        """Add to an InstallError of the ``with`` block what became of the environment."""
        try:
            yield
        except InstallError as error:
            error.report = InstallReport(
                plan=plan,
                distribution=plan.distribution or "",
                success=False,
                restored=self.restored,
                reasons=(*error.reasons, *self.lost),
                output="\n".join(self.lines or error.reasons),
            )
            raise

    def entry(self, error: BaseException | None = None) -> AuditEntry:
        """Return what the audit is to have of it now, and of the error that ended it."""
        return AuditEntry(
            when=self._when,
            actor=self.actor,
            action=self.action,
            requirement=self.requirement,
            distribution=self.distribution,
            changes=self.changes,
            outcome=self._outcome(error),
            reasons=(*_reasons(error), *self.lost),
            seconds=monotonic() - self._started,
            id=self.id,
        )

    def _outcome(self, error: BaseException | None) -> AuditOutcome:
        if error is None:
            return "begun" if self.undo is not None and not self.is_made else "done"
        if self.is_refused or isinstance(error, InstallRefusedError):
            return "refused"
        return "put back" if self.undo is not None and self.restored else "failed"


def _reasons(error: BaseException | None) -> tuple[str, ...]:
    if isinstance(error, InstallError):
        return error.reasons
    # The text of another exception may hold anything.
    return () if error is None else (type(error).__qualname__,)


@contextmanager
def taking_in(what: str, report: InstallReport | UninstallReport) -> Iterator[None]:
    """Have a ``with`` block take in a change that is final; where it fails, say that it is.

    Raises InstallError with the report in place of any error of plugreg's, whose own words may name
    what is no business of a client's.
    """
    try:
        yield
    except PlugregError as error:
        failure = InstallError(
            [
                f"{what}, but the registry could not take that in ({type(error).__qualname__}); "
                f"see to that, and call registry.reload(collect=True)"
            ]
        )
        failure.report = report
        raise failure from error
