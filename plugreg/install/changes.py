"""Make audited changes of an environment, one at a time, as planned or not at all."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from plugreg._support.guard import explain
from plugreg.exceptions import InstallError, StorageError
from plugreg.install.attempt import Attempt
from plugreg.install.audit import Audit, AuditEntry
from plugreg.install.environment import Environment, Found, difference
from plugreg.install.plan import Change
from plugreg.install.plugins_file import PluginsFile
from plugreg.install.removal import listed
from plugreg.install.safeguard import Interrupted, Safeguard

_logger = logging.getLogger("plugreg")


class Changes:
    """Changes ``environment``, and rolls failed changes back.

    ``plugins_file`` is rolled back too, except for edits that people made meanwhile. ``recovered``
    is called after the rollback of a change that another process left unfinished.
    """

    def __init__(
        self,
        environment: Environment,
        audit: Audit,
        plugins_file: PluginsFile | None,
        recovered: Callable[[], object],
    ) -> None:
        self._environment = environment
        self._safeguard = Safeguard(environment)
        self._audit = audit
        self._file = plugins_file
        self._recovered = recovered

    @property
    def interrupted(self) -> Interrupted | None:
        """The change whose process died before its end, None without one."""
        return self._safeguard.interrupted()

    @contextmanager
    def audited(self, attempt: Attempt) -> Iterator[None]:
        """Record the result of the ``with`` block in the audit, unless :meth:`made` has done so.

        A change that another process left unfinished is rolled back first. Raises InstallError if
        the environment has changed since, because the rollback would undo that.
        """
        try:
            self.recover_for(attempt)
            yield
        except BaseException as error:
            if not attempt.is_made:
                self._note(attempt.entry(error))
            raise
        if not attempt.is_made:
            self._audit.put(attempt.entry())

    @contextmanager
    def made(
        self, what: str, attempt: Attempt, files: Iterable[Path], work: Callable[[], str]
    ) -> Iterator[str]:
        """Have ``work`` make the changes of an attempt, and no others; give what it returns.

        They are final when the ``with`` block ends, and when it raises all is as it was; so it is
        where the environment is another one than was planned for, or becomes another one, which
        raises InstallError. ``files`` outside of the environment are kept too, and so is the
        plugins file, which is to be changed last in the block.

        The audit has the attempt, as begun, before it is final, so that nothing changes without an
        entry: where there can be none, StorageError is raised, and all is as it was. Its end takes
        the place of that; where the store is away just then, the log says so.
        """
        names = [change.name for change in attempt.changes]
        kept = [*self._environment.files(names), Path(sys.prefix, "pyvenv.cfg"), *files]
        if self._file is not None:
            kept.append(self._file.path)
        about = {
            "actor": attempt.actor,
            "names": names,
            "distribution": attempt.distribution,
            "attempt": attempt.id,
        }
        listed_then = None
        try:
            with self._safeguard.changing(what, kept, about=about) as undo:
                attempt.undo = undo
                try:
                    before = self._environment.distributions()
                    _require_current(attempt.changes, before)
                    output = work()
                    self._require_as_planned(attempt.changes, before)
                    yield output
                    self._audit.put(attempt.entry())
                finally:
                    listed_then = self._listed()
            attempt.is_made = True
            self._note(attempt.entry())
        finally:
            importlib.invalidate_caches()
            if attempt.undo is not None and attempt.undo.done:
                self._keep_listed(listed_then, attempt.distribution)

    def kept_out(self) -> AbstractContextManager[None]:
        """Return what keeps changes out for a ``with`` block, in which none is made."""
        return self._safeguard.alone()

    def recover(self, actor: str | None = None) -> Interrupted | None:
        """Put back what another process has left in the middle of a change, and return it."""
        when, started = datetime.now(UTC), monotonic()
        listed_then = self._listed()
        found = self._safeguard.recover()
        if found is not None:
            importlib.invalidate_caches()
            self._keep_listed(listed_then, found.about.get("distribution"))
            asked = found.about.get("actor")
            by = f", asked for by {asked}," if asked else ""
            lost = [f"{path!r} could not be put back" for path in found.lost]
            entry = AuditEntry(
                when=when,
                actor=actor,
                action="recover",
                requirement=found.what,
                outcome="failed" if lost else "put back",
                reasons=(f"the process that did it{by} had ended in the middle", *lost),
                seconds=monotonic() - started,
            )
            self._note(entry, found.about.get("attempt"))
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
        now = {
            name: distribution.version
            for name, distribution in self._environment.distributions().items()
        }
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
        made = {(change.name, normal(change.after)) for change in found}
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

    def _note(self, entry: AuditEntry, recovered: str | None = None) -> None:
        """Put an entry into the audit, and what it means for the attempt that it has recovered."""
        # Beside what happened already, a store that is away is told of in the log.
        try:
            if recovered is not None:
                self._audit.correct(recovered, entry.outcome, entry.reasons)
            self._audit.put(entry)
        except StorageError as error:
            what, message = (entry.requirement, entry.outcome), explain(error).message
            _logger.warning("the audit does not tell that %r is %s: %s", *what, message)

    def _listed(self) -> str | None:
        """Return the text of the plugins file, None where there is none that can be read."""
        with suppress(InstallError):
            return None if self._file is None else self._file.text()
        return None

    def _keep_listed(self, text: str | None, distribution: str | None) -> None:
        """Keep what people had written into the plugins file before it was put back."""
        if self._file is None or text is None:
            return
        try:
            self._file.keep(text, distribution or "")
        except InstallError as error:
            # The error that led here is the one to be raised.
            _logger.warning("what was written into the plugins file meanwhile is lost: %s", error)


def _require_current(changes: Iterable[Change], found: Mapping[str, Found]) -> None:
    """Raise InstallError when a plan was made for another environment than the one there is."""
    versions = {name: distribution.version for name, distribution in found.items()}
    other = [change.name for change in changes if versions.get(change.name) != change.before]
    if other:
        raise InstallError(
            [f"{listed(other)} changed since the plan was made; nothing was done: plan again"]
        )


def digest(installed: Mapping[str, Found]) -> str:
    """Return a text that differs when one of the distributions does, in name or version."""
    from hashlib import sha256

    lines = (
        f"{name}=={distribution.version}\n" for name, distribution in sorted(installed.items())
    )
    return sha256("".join(lines).encode(errors="backslashreplace")).hexdigest()


def normal(version: str | None) -> str | None:
    """Return a version as PEP 440 writes it: metadata may have another spelling than an index."""
    from packaging.version import InvalidVersion, Version

    try:
        return version and str(Version(version))
    except InvalidVersion:
        return version
