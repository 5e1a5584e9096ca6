"""One attempt to change the environment, from request to result, and its entries in the audit."""

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
from plugreg.exceptions import InstallError, PlugregError, RequirementError, StorageError
from plugreg.install.audit import Action, Audit, AuditEntry, AuditOutcome
from plugreg.install.exceptions import InstallRefusedError
from plugreg.install.installer import Progress
from plugreg.install.plan import Change, InstallPlan
from plugreg.install.reports import InstallReport, UninstallReport

_logger = logging.getLogger("plugreg")

_KEPT: Final = 2_000
"""Number of last lines of an installer's output that are kept for reports."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """State of an attempt. The audit records it before the swap, and at its end.

    ``progress`` is the host's callback, and ``lines`` are the installer's output. ``outcome`` is
    that of an error which is raised now.
    """

    action: Action
    requirement: str
    actor: str | None
    progress: Progress | None = None
    plan: InstallPlan | None = None
    distribution: str | None = None
    changes: tuple[Change, ...] = ()
    outcome: AuditOutcome = "failed"
    is_begun: bool = False
    is_made: bool = False
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _id: str = field(default_factory=lambda: secrets.token_hex(8))
    _is_deaf: bool = False
    _when: datetime = field(default_factory=lambda: datetime.now(UTC))
    _started: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        check_actor(self.actor)

    def take_plan(self, plan: InstallPlan) -> None:
        """Note the plan, and raise InstallRefusedError if it has refusals."""
        self.plan = plan
        self.distribution, self.changes = plan.distribution, plan.changes
        if not plan.allowed:
            raise InstallRefusedError(plan)

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

    @contextmanager
    def recorded(self, audit: Audit) -> Iterator[None]:
        """Record the result of the ``with`` block, and give its InstallError a report."""
        try:
            yield
        except BaseException as error:
            if isinstance(error, InstallError) and error.report is None and self.plan is not None:
                error.report = self._report(error)
            self._note(audit, error)
            raise
        self._note(audit, None)

    def entry(self, error: BaseException | None = None) -> AuditEntry:
        """Return the entry for the audit as of now, and of the error that ended the attempt."""
        outcome = self.outcome
        if isinstance(error, InstallRefusedError):
            outcome = "refused"
        elif error is None or self.is_made:
            outcome = "begun" if self.is_begun and not self.is_made else "done"
        return AuditEntry(
            when=self._when,
            actor=self.actor,
            action=self.action,
            requirement=self.requirement,
            distribution=self.distribution,
            changes=self.changes,
            outcome=outcome,
            reasons=_reasons(error),
            seconds=monotonic() - self._started,
            id=self._id,
        )

    def _report(self, error: InstallError) -> InstallReport:
        return InstallReport(
            plan=self.plan,
            distribution=self.distribution or "",
            success=False,
            reasons=error.reasons,
            output="\n".join(self.lines or error.reasons),
        )

    def _note(self, audit: Audit, error: BaseException | None) -> None:
        try:
            audit.put(self.entry(error))
        except StorageError as fault:
            # Beside what happened already, a store that is away is reported to the log.
            message = explain(fault).message
            _logger.warning("the audit lacks the end of %r: %s", self.requirement, message)


def check_actor(actor: object) -> None:
    """Raise RequirementError for an actor that is neither a string nor None."""
    if actor is not None and not isinstance(actor, str):
        raise RequirementError(
            "actor", f"it must be a string or None, not {type(actor).__name__}; write 'user 7'"
        )


def _reasons(error: BaseException | None) -> tuple[str, ...]:
    if isinstance(error, InstallError):
        return error.reasons
    # The message of another exception may contain anything.
    return () if error is None else (type(error).__qualname__,)


@contextmanager
def taking_in(what: str, report: InstallReport | UninstallReport) -> Iterator[None]:
    """Have a ``with`` block take in a change that is final; if it fails, say that it is.

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
