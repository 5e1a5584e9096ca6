"""Changes of an environment: one at a time, as planned or not at all, and each in the audit."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from plugreg._guard import explain
from plugreg.exceptions import InstallError, StorageError
from plugreg.install.attempt import Attempt
from plugreg.install.audit import Audit, AuditEntry
from plugreg.install.environment import Environment, Found, difference
from plugreg.install.plan import Change
from plugreg.install.removal import listed
from plugreg.install.safeguard import Interrupted, Safeguard

_logger = logging.getLogger("plugreg")


class Changes:
    """Makes attempts to change ``environment``, and puts back what did not end well.

    ``recovered`` is called when something was put back that another process had left.
    """

    def __init__(
        self, environment: Environment, audit: Audit, recovered: Callable[[], object]
    ) -> None:
        self._environment = environment
        self._safeguard = Safeguard(environment)
        self._audit = audit
        self._recovered = recovered

    @property
    def interrupted(self) -> Interrupted | None:
        """The change whose process died in the middle, None where there is none."""
        return self._safeguard.interrupted()

    @contextmanager
    def audited(self, attempt: Attempt) -> Iterator[None]:
        """Append to the audit what came of the ``with`` block, unless :meth:`made` has done that.

        What another process has left is put back first. Raises InstallError where others have
        changed the environment since, which putting back would undo.
        """
        try:
            self.recover_for(attempt)
            yield
        except BaseException as error:
            self._note(attempt.entry(error))
            raise
        if attempt.undo is None:
            self._audit.append(attempt.entry())

    @contextmanager
    def made(
        self, what: str, attempt: Attempt, files: Iterable[Path], work: Callable[[], str]
    ) -> Iterator[str]:
        """Have ``work`` make the changes of an attempt, and no others; give what it returns.

        They are final when the ``with`` block ends, and when it raises all is as it was; so it is
        where the environment is another one than was planned for, or becomes another one, which
        raises InstallError. ``files`` outside of the environment are kept too. The audit has the
        attempt before it is final, so that nothing changes without an entry: where there can be
        none, StorageError is raised, and all is as it was.
        """
        names = [each.name for each in attempt.changes]
        kept = [*self._environment.files(names), Path(sys.prefix, "pyvenv.cfg"), *files]
        about = {"actor": attempt.actor, "names": names}
        try:
            with self._safeguard.changing(what, kept, about=about) as undo:
                attempt.undo = undo
                before = self._environment.distributions()
                _require_current(attempt.changes, before)
                output = work()
                self._require_as_planned(attempt.changes, before)
                yield output
                self._audit.append(attempt.entry())
        finally:
            importlib.invalidate_caches()

    def kept_out(self) -> AbstractContextManager[None]:
        """Return what keeps changes out for a ``with`` block, in which none is made."""
        return self._safeguard.alone()

    def recover(self, actor: str | None = None) -> Interrupted | None:
        """Put back what another process has left in the middle of a change, and return it."""
        when, started = datetime.now(UTC), monotonic()
        found = self._safeguard.recover()
        if found is not None:
            importlib.invalidate_caches()
            asked = found.about.get("actor")
            by = f", asked for by {asked}," if asked else ""
            lost = [f"{each!r} could not be put back" for each in found.lost]
            self._note(
                AuditEntry(
                    when=when,
                    actor=actor,
                    action="recover",
                    requirement=found.what,
                    outcome="failed" if lost else "put back",
                    reasons=(f"the process that did it{by} had ended in the middle", *lost),
                    seconds=monotonic() - started,
                )
            )
            self._recovered()
        return found

    def recover_for(self, attempt: Attempt) -> None:
        """Put back what another process has left, before an attempt begins.

        Raises InstallError where others have changed the environment since.
        """
        interrupted = self.interrupted
        if interrupted is None:
            return
        names = frozenset(interrupted.about.get("names", ()))
        now = {name: each.version for name, each in self._environment.distributions().items()}
        changed = {
            name
            for name in (now.keys() | interrupted.before.keys()) - names
            if now.get(name) != interrupted.before.get(name)
        }
        if changed:
            raise InstallError(
                [
                    f"{interrupted.what} was interrupted, and {listed(sorted(changed))} changed "
                    f"since, which putting back would undo; see to that, and call "
                    f"registry.packages.recover()"
                ]
            )
        self.recover(attempt.actor)
        attempt.begin_now()

    def _require_as_planned(self, changes: tuple[Change, ...], before: Mapping[str, Found]) -> None:
        """Raise InstallError when something else has changed than was planned, or less."""
        importlib.invalidate_caches()
        found = difference(before, self._environment.distributions())
        made = {(each.name, normal(each.after)) for each in found}
        planned = {(e.name, normal(e.after)) for e in changes if e.before != e.after}
        if made != planned:
            shown = ", ".join(
                sorted(f"{name} {version or 'is gone'}" for name, version in made ^ planned)
            )
            raise InstallError(
                [
                    f"the environment is not as it was planned to be ({shown}): "
                    f"everything was put back"
                ]
            )

    def _note(self, entry: AuditEntry) -> None:
        # Beside what went wrong already, a store that is away is told of in the log.
        try:
            self._audit.append(entry)
        except StorageError as error:
            _logger.warning(
                "the audit has no entry of %r: %s", entry.requirement, explain(error).message
            )


def _require_current(changes: Iterable[Change], found: Mapping[str, Found]) -> None:
    """Raise InstallError when a plan was made for another environment than the one there is."""
    versions = {name: each.version for name, each in found.items()}
    other = [each.name for each in changes if versions.get(each.name) != each.before]
    if other:
        raise InstallError(
            [f"{listed(other)} changed since the plan was made; nothing was done: plan again"]
        )


def normal(version: str | None) -> str | None:
    """Return a version as PEP 440 writes it: metadata may have another spelling than an index."""
    from packaging.version import InvalidVersion, Version

    try:
        return version and str(Version(version))
    except InvalidVersion:
        return version
