"""One attempt to change the environment, from the asking for it to what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic

from plugreg.exceptions import InstallError
from plugreg.install.audit import Action, AuditEntry, AuditOutcome
from plugreg.install.exceptions import InstallRefusedError
from plugreg.install.plan import Change, InstallPlan
from plugreg.install.reports import InstallReport
from plugreg.install.safeguard import Undo


@dataclass(slots=True)
class Attempt:
    """What is known of it so far; the audit gets it at its end.

    ``undo`` is there once the environment may have been touched, and ``is_refused`` says that what
    was asked for may not be.
    """

    action: Action
    requirement: str
    actor: str | None
    distribution: str | None = None
    changes: tuple[Change, ...] = ()
    undo: Undo | None = None
    is_refused: bool = False
    _when: datetime = field(default_factory=lambda: datetime.now(UTC))
    _started: float = field(default_factory=monotonic)

    def begin_now(self) -> None:
        """Count it as begun at this moment, and not when it was asked for."""
        self._when, self._started = datetime.now(UTC), monotonic()

    @property
    def restored(self) -> bool:
        """Whether the environment is as it was before, if it was touched at all."""
        return self.undo is None or (self.undo.done and not self.undo.lost)

    @property
    def lost(self) -> tuple[str, ...]:
        """Sentences on files that could not be put back."""
        lost = () if self.undo is None else self.undo.lost
        return tuple(f"{each!r} was written in place, and could not be put back" for each in lost)

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
                output="\n".join(error.reasons),
            )
            raise

    def entry(self, error: BaseException | None = None) -> AuditEntry:
        """Return what the audit is to have of it, and of the error that ended it."""
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
        )

    def _outcome(self, error: BaseException | None) -> AuditOutcome:
        if error is None:
            return "done"
        if self.is_refused or isinstance(error, InstallRefusedError):
            return "refused"
        return "put back" if self.undo is not None and self.restored else "failed"


def _reasons(error: BaseException | None) -> tuple[str, ...]:
    if isinstance(error, InstallError):
        return error.reasons
    # The text of another exception may hold anything.
    return () if error is None else (type(error).__qualname__,)
