"""One change of the environment at a time, across processes, undone unless it ends well.

The folder ``.plugreg`` in the environment has the lock, the copy that is taken before a change,
and the journal. The journal is there while the environment may be anything between before and
after: it is put in place once the copy is complete on the disk, and its removal is what makes the
change final. So a process may be killed at any instant, and whoever comes next knows what to do.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from plugreg.exceptions import (
    InstallError,
    StorageError,
    StorageLockedError,
    StorageUnavailableError,
)
from plugreg.install.backup import Backup, flush_all, flush_folder, typed, words, write
from plugreg.install.environment import Environment
from plugreg.install.exceptions import InstallBusyError, InstallPermissionError
from plugreg.install.restoring import put_back
from plugreg.storage.base import Gate
from plugreg.storage.locking import FileLock

_FORMAT: Final = 1
_PROBE_SECONDS: Final = 0.05
"""How long a look at the lock waits for another one, which holds it for an instant."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interrupted:
    """A change that was begun and never ended, as the process that made it was killed.

    ``what`` is what was to be done, ``started`` an aware time in UTC, ``before`` the versions that
    were installed then, by canonical name. ``lost`` are the files that could not be put back; it
    is empty before that was tried.
    """

    what: str
    started: datetime
    before: Mapping[str, str]
    lost: tuple[str, ...] = ()


@dataclass(kw_only=True, slots=True)
class Undo:
    """What became of a change, to be asked after its ``with`` block.

    ``recovered`` is the earlier change that was put back before this one began. ``done`` says that
    this one was put back, ``lost`` which large files could not be, because something has written
    into them in place.
    """

    recovered: Interrupted | None = None
    done: bool = False
    lost: tuple[str, ...] = ()


class Safeguard:
    """Lets one change at a time into ``environment``, and puts it back unless that ends well.

    ``lock_timeout`` is how many seconds a change waits for another one, of any process, before
    InstallBusyError is raised. Nothing is written before a change begins.
    """

    def __init__(self, environment: Environment, *, lock_timeout: float = 1.0) -> None:
        self._environment = environment
        self._lock_timeout = lock_timeout
        folder = environment.folder
        self._journal = folder / "journal.json"
        self._backup = Backup(folder / "backup", environment.folders, without=folder)
        lock = str(folder / "lock")
        self._gate, self._lock = Gate(lock, lock_timeout), FileLock(lock)
        # A look at the lock has its own, so that it never waits for a change of this process.
        self._probe_gate, self._probe = Gate(lock, None), FileLock(lock)

    @contextmanager
    def changing(self, what: str, files: Iterable[Path] = ()) -> Iterator[Undo]:
        """Let the environment be changed in a ``with`` block, by this process or those it starts.

        An interrupted change is put back first. Then the folders of the environment are copied,
        and ``files`` outside of them, which need not be there: the plugins file, and what RECORDs
        list elsewhere. When the block ends, the change is final, and on disk. When it raises,
        whatever that is, all is put back as it was, and what came since is removed from these
        folders, no matter who put it there; outside of them only ``files`` are looked at.

        ``what`` is told by :meth:`interrupted` and must have no secrets. A child that is forked
        inside the block neither holds the lock nor puts anything back.

        Raises InstallBusyError while another change is made; InstallSpaceError,
        InstallPermissionError or InstallError where no copy can be taken, and nothing was touched
        then. One of these comes in place of the block's own exception where something could not be
        put back: it names what, the change counts as interrupted, and :meth:`recover` tries again.
        """
        with self._alone():
            undo = Undo(recovered=self._recover())
            record = self._record(what)
            self._backup.take(files)
            process = os.getpid()
            try:
                self._write_journal(record)
                yield undo
                flush_all()
            except BaseException:
                if os.getpid() == process:
                    undo.lost = self._put_back()
                    undo.done = True
                raise
            # Not within the try: once the journal is gone, there is nothing to put back from.
            if os.getpid() == process:
                self._end()

    def interrupted(self) -> Interrupted | None:
        """Return the change that was interrupted, None where there is none. Changes nothing.

        A change that another thread or process is making now is none. Raises InstallError where
        the journal cannot be read.
        """
        if self._read_journal() is None:
            return None
        try:
            with self._probe_gate.entered(), _held(self._probe, _PROBE_SECONDS):
                # Whoever held it till now may have ended well.
                return self._read_journal()
        except StorageUnavailableError as error:
            raise InstallPermissionError([str(error)]) from error
        except StorageLockedError:
            return None

    def recover(self) -> Interrupted | None:
        """Put back what an interrupted change has left, and return it; None where there is none.

        Raises InstallBusyError while a change is made, and InstallError where something cannot be
        put back; the change is then still interrupted.
        """
        if self._read_journal() is None:
            return None
        with self._alone():
            return self._recover()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        folder = self._environment.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise typed(error, "the environment cannot be changed") from error
        with ExitStack() as stack:
            try:
                stack.enter_context(self._gate.entered())
                stack.enter_context(_held(self._lock, self._lock_timeout))
            except StorageUnavailableError as error:
                raise InstallPermissionError([str(error)]) from error
            except StorageError as error:
                raise InstallBusyError([self._occupation()], self._lock.path) from error
            yield

    def _occupation(self) -> str:
        other = self._read_journal()
        doing = f": {other.what!r}, since {other.started.isoformat()}" if other else ""
        return f"the environment in {str(self._environment.purelib)!r} is being changed{doing}"

    def _record(self, what: str) -> dict[str, Any]:
        found = self._environment.distributions()
        return {
            "format": _FORMAT,
            "what": what,
            "started": datetime.now(UTC).isoformat(),
            "pid": os.getpid(),
            "before": {name: each.version for name, each in found.items()},
        }

    def _write_journal(self, record: dict[str, Any]) -> None:
        try:
            write(str(self._journal), json.dumps(record))
        except OSError as error:
            raise typed(error, "the journal cannot be written; nothing was touched") from error

    def _read_journal(self) -> Interrupted | None:
        try:
            with self._journal.open(encoding="ascii") as file:
                found = json.load(file)
            if found["format"] != _FORMAT:
                raise ValueError(f"it has format {found['format']!r}, not {_FORMAT}")
            return Interrupted(
                what=found["what"],
                started=datetime.fromisoformat(found["started"]),
                before=MappingProxyType(found["before"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InstallError(
                [
                    f"the journal {str(self._journal)!r} of an interrupted change cannot be read: "
                    f"{words(error)}"
                ]
            ) from error

    def _recover(self) -> Interrupted | None:
        found = self._read_journal()
        return found and replace(found, lost=self._put_back())

    def _put_back(self) -> tuple[str, ...]:
        try:
            lost = put_back(self._backup)
        except InstallError as error:
            remedy = f"mend that and recover; {str(self._journal)!r} tells what was being changed"
            raise type(error)([*error.reasons, remedy]) from error
        self._end()
        return lost

    def _end(self) -> None:
        try:
            with suppress(FileNotFoundError):
                self._journal.unlink()
            flush_folder(str(self._journal.parent))
        except OSError as error:
            raise typed(error, "the journal cannot be removed; recover once it can") from error
        # What is left of the copy is removed before the next one is taken.
        with suppress(OSError):
            self._backup.remove()


def _held(lock: FileLock, seconds: float) -> AbstractContextManager[None]:
    return lock.held(seconds, time.monotonic() + seconds)
