"""One change of the environment at a time, across processes, with rollback.

The copy that is taken before a change is in ``purelib``, in a folder that is named at random for
it, and beside that is its journal, of the same name. The journal is there while the environment
may be anything between before and after: it is put in place once the copy is complete on the disk,
and its removal is what makes the change final. So a process may be killed at any instant, and
whoever comes next knows what to do.

Installers put files where a wheel says, and it may name plugreg's own. A wheel cannot know the name
of the copy, and what it adds under such a name is no journal: that has a mode which no installer
gives to a file of a wheel. Within a process nothing on the disk decides what is put back. All of
this is no help against code that runs, such as that of a build or of a plugin: it may do whatever
the user of the process may do.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
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
from plugreg.install.backup import (
    Backup,
    Manifest,
    flush_all,
    typed,
    walk,
    words,
    write,
)
from plugreg.install.environment import RESERVED, Environment
from plugreg.install.exceptions import InstallBusyError, InstallPermissionError
from plugreg.install.restoring import put_back
from plugreg.storage.base import Gate
from plugreg.storage.file.locking import FileLock
from plugreg.storage.file.storefile import flush_folder

_FORMAT: Final = 1
_OWN: Final = re.compile(re.escape(RESERVED) + r"-[0-9a-f]{32}(\.json)?(\.tmp)?")
"""The names of a copy and of its journal, and of a journal that is not complete."""

_JOURNAL_MODE: Final = 0o444
"""Mode of a journal, read-only even for its owner, unlike the files of a wheel."""

_MOST_TOLD: Final = 5
_PROBE_SECONDS: Final = 0.05
"""How long a look at the lock waits for another one, which holds it for an instant."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interrupted:
    """A change that never finished because its process was killed.

    Args:
        what: Description of the change.
        started: Aware time in UTC.
        before: Versions that were installed then, by canonical name.
        about: Data that was passed to :meth:`Safeguard.changing`.
        lost: Files that could not be restored; empty before a rollback was tried.
    """

    what: str
    started: datetime
    before: Mapping[str, str]
    about: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    lost: tuple[str, ...] = ()


@dataclass(kw_only=True, slots=True)
class Undo:
    """Result of a change, complete after its ``with`` block.

    ``recovered`` is the earlier change that was rolled back before this one began. ``done`` says
    that this one was rolled back. ``lost`` are large files that could not be restored, because
    something has written into them in place.
    """

    recovered: Interrupted | None = None
    done: bool = False
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Journal:
    """A journal that was read: its change, and the SHA-256 of the manifest of the copy."""

    path: Path
    told: Interrupted
    manifest: str


class Safeguard:
    """Permits one change of ``environment`` at a time, and rolls it back if it fails.

    A change waits ``lock_timeout`` seconds for another one, of any process, before
    InstallBusyError is raised. Nothing is written before a change begins.
    """

    def __init__(self, environment: Environment, *, lock_timeout: float = 1.0) -> None:
        self._environment = environment
        self._lock_timeout = lock_timeout
        lock = str(environment.folder / "lock")
        self._gate, self._lock = Gate(lock, lock_timeout), FileLock(lock)
        # A look at the lock has its own, so that it never waits for a change of this process.
        self._probe_gate, self._probe = Gate(lock, None), FileLock(lock)

    @contextmanager
    def changing(
        self, what: str, files: Iterable[Path] = (), *, about: Mapping[str, Any] | None = None
    ) -> Iterator[Undo]:
        """Permit changes of the environment in a ``with`` block, by this process or its children.

        An interrupted change is rolled back first. Then the folders of the environment are copied.
        When the block ends, the change is final and on disk. When it raises any exception,
        everything is restored. New files in these folders are then removed, no matter who wrote
        them; outside of them only ``files`` are restored. A child that is forked inside the block
        neither holds the lock nor restores anything.

        Args:
            what: Description of the change, without secrets.
            files: Files outside the folders, which need not exist: the plugins file, and files
                that RECORDs list elsewhere.
            about: JSON data without secrets, kept for :meth:`interrupted`.

        Yields:
            The result of the change.

        Raises:
            InstallBusyError: If another change is in progress.
            InstallError: If no copy can be taken (also InstallSpaceError and
                InstallPermissionError); nothing was touched then. If the block has written files
                of a reserved name (:func:`plugreg.install.environment.reserved`); it is rolled
                back then. If a file could not be restored; this replaces the block's exception,
                the change counts as interrupted, and :meth:`recover` tries again.
            TypeError, ValueError: If ``about`` is no JSON data; nothing was touched then.
        """
        with self.alone():
            undo = Undo(recovered=self._recover())
            record = self._record(what, about or {})
            self._remove_leftovers()
            journal = self._environment.purelib / f"{RESERVED}-{secrets.token_hex(16)}.json"
            backup = self._backup(journal)
            manifest, record["manifest"] = backup.take(files)
            process = os.getpid()
            try:
                self._write_journal(journal, record)
                own = self._own(backup)
                yield undo
                if os.getpid() == process:
                    self._require_same(own, self._own(backup))
                    flush_all()
            except BaseException:
                if os.getpid() == process:
                    undo.lost = self._put_back(journal, backup, manifest)
                    undo.done = True
                raise
            # Not within the try: once the journal is gone, there is nothing to put back from.
            if os.getpid() == process:
                self._end(journal, backup)

    def interrupted(self) -> Interrupted | None:
        """Return the change that was interrupted, None where there is none. Changes nothing.

        A change that another thread or process is making now is none. Raises InstallError where
        the journal cannot be read.
        """
        if self._told() is None:
            return None
        try:
            with self._probe_gate.entered(), _held(self._probe, _PROBE_SECONDS):
                # Whoever held it till now may have ended well.
                return self._told()
        except StorageUnavailableError as error:
            raise InstallPermissionError([str(error)]) from error
        except StorageLockedError:
            return None

    def recover(self) -> Interrupted | None:
        """Roll an interrupted change back, with every later change, no matter who made it.

        Returns:
            The interrupted change, None if there is none. Its ``before`` and ``about`` describe
            the earlier state and the plan.

        Raises:
            InstallBusyError: If a change is in progress.
            InstallError: If a file cannot be restored, or the copy was modified and nothing is
                restored. The change then still counts as interrupted.
        """
        if self._told() is None:
            return None
        with self.alone():
            return self._recover()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep all changes out for a ``with`` block; raises InstallBusyError while one is made."""
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
        other = self._told()
        doing = f": {other.what!r}, since {other.started.isoformat()}" if other else ""
        return f"the environment in {str(self._environment.purelib)!r} is being changed{doing}"

    def _record(self, what: str, about: Mapping[str, Any]) -> dict[str, Any]:
        found = self._environment.distributions()
        return {
            "format": _FORMAT,
            "what": what,
            "started": datetime.now(UTC).isoformat(),
            "pid": os.getpid(),
            "before": {name: distribution.version for name, distribution in found.items()},
            # What cannot be told is refused before the copy is taken.
            "about": json.loads(json.dumps(dict(about), allow_nan=False)),
        }

    def _backup(self, journal: Path) -> Backup:
        without = (journal, Path(self._lock.path))
        return Backup(journal.with_suffix(""), self._environment.folders, without)

    def _remove_leftovers(self) -> None:
        # There is no journal now, so that nothing under such a name is needed.
        for path in self._reserved():
            if _OWN.fullmatch(path.name):
                with suppress(OSError):
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path)
                    else:
                        path.unlink()

    def _reserved(self) -> list[Path]:
        purelib = self._environment.purelib
        try:
            names = os.listdir(purelib)  # noqa: PTH208 - only few of them become a Path
        except FileNotFoundError:
            return []
        return [purelib / name for name in sorted(names) if name.lower().startswith(RESERVED)]

    def _own(self, backup: Backup) -> dict[str, tuple[int, ...]]:
        """Return what is under reserved names, but for the copy, whose name nobody can know."""
        found: dict[str, tuple[int, ...]] = {}
        for top in self._reserved():
            if str(top) == backup.place:
                continue
            try:
                for path, status in walk(str(top), ()):
                    found[path] = (status.st_mode, status.st_ino)
                    if not stat.S_ISDIR(status.st_mode):
                        found[path] += (status.st_size, status.st_mtime_ns)
            except OSError as error:
                raise typed(error, "plugreg's own folder cannot be read") from error
        return found

    def _require_same(
        self, before: dict[str, tuple[int, ...]], after: dict[str, tuple[int, ...]]
    ) -> None:
        changed = sorted(dict(before.items() ^ after.items()))
        if changed:
            raise InstallError(
                [
                    f"the distribution writes into plugreg's own folder: "
                    f"{', '.join(map(repr, changed[:_MOST_TOLD]))}; names that begin with "
                    f"{RESERVED!r} are reserved, so do not install it"
                ]
            )

    def _write_journal(self, journal: Path, record: dict[str, Any]) -> None:
        try:
            write(str(journal), json.dumps(record), _JOURNAL_MODE)
        except OSError as error:
            raise typed(error, "the journal cannot be written; nothing was touched") from error
        if self._journals() != [journal]:
            raise InstallError(
                [
                    f"the journal {str(journal)!r} would not be known again, as its file system "
                    f"lets its owner write to what was made read-only; nothing was touched"
                ]
            )

    def _journals(self) -> list[Path]:
        return [
            path
            for path in self._reserved()
            if _OWN.fullmatch(path.name) and path.suffix == ".json" and _is_journal(path)
        ]

    def _told(self) -> Interrupted | None:
        found = self._read_journal()
        return None if found is None else found.told

    def _read_journal(self) -> _Journal | None:
        journals = self._journals()
        if not journals:
            return None
        if journals[1:]:
            raise InstallError(
                [
                    f"there is more than one journal of an interrupted change: "
                    f"{', '.join(repr(str(path)) for path in journals)}; look at the environment, "
                    f"and remove those that plugreg has not written"
                ]
            )
        [path] = journals
        try:
            with path.open(encoding="ascii") as file:
                found = json.load(file)
            if found["format"] != _FORMAT:
                raise ValueError(f"it has format {found['format']!r}, not {_FORMAT}")
            told = Interrupted(
                what=found["what"],
                started=datetime.fromisoformat(found["started"]),
                before=MappingProxyType(found["before"]),
                about=MappingProxyType(found["about"]),
            )
            return _Journal(path=path, told=told, manifest=found["manifest"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InstallError(
                [
                    f"the journal {str(path)!r} of an interrupted change cannot be read: "
                    f"{words(error)}; {_remedy(path)}"
                ]
            ) from error

    def _recover(self) -> Interrupted | None:
        found = self._read_journal()
        if found is None:
            return None
        backup = self._backup(found.path)
        try:
            manifest = backup.manifest(found.manifest)
        except InstallError as error:
            raise InstallError([*error.reasons, _remedy(found.path)]) from error
        return replace(found.told, lost=self._put_back(found.path, backup, manifest))

    def _put_back(self, journal: Path, backup: Backup, manifest: Manifest) -> tuple[str, ...]:
        try:
            lost = put_back(backup, manifest)
        except InstallError as error:
            remedy = f"mend that and recover; {str(journal)!r} tells what was being changed"
            raise type(error)([*error.reasons, remedy]) from error
        self._end(journal, backup)
        return lost

    def _end(self, journal: Path, backup: Backup) -> None:
        try:
            with suppress(FileNotFoundError):
                if os.name == "nt":
                    journal.chmod(0o600)  # There, what is read-only cannot be removed.
                journal.unlink()
            flush_folder(str(journal.parent))
        except OSError as error:
            raise typed(error, "the journal cannot be removed; recover once it can") from error
        # What is left of the copy is removed before the next one is taken.
        with suppress(OSError):
            backup.remove()


def _is_journal(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISREG(mode) and not mode & 0o222


def _remedy(journal: Path) -> str:
    return (
        f"look at what is installed, make the environment anew or mend it, and then remove "
        f"{str(journal)!r}, without which nothing is put back"
    )


def _held(lock: FileLock, seconds: float) -> AbstractContextManager[None]:
    return lock.held(seconds, time.monotonic() + seconds)
