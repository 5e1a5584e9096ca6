"""Installations that run beside requests, and that every process can show.

An installation takes longer than a request may. A thread of the requested process carries it
out, and stores its output; the row outlives the process.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from plugreg._state.notes import Notes
from plugreg._support.frozen import Frozen, arguments, replace
from plugreg.exceptions import PlugregError, StorageError
from plugreg.storage.base import Record

MOST_LINES: Final = 200
"""The most lines of an installer's output that are kept."""

EVERY: Final = 0.5
"""Seconds between two writes of the output."""

SILENCE: Final = 30.0
"""Seconds after which an installation that stored nothing counts as lost with its process."""

KEPT: Final = timedelta(days=7)
"""For how long the row of an installation is kept."""

_BEAT: Final = 5.0
_PREFIX: Final = "install "
_LISTS: Final = ("lines", "reasons", "plugins")
_TIMES: Final = ("began", "seen")

JobState = Literal["running", "done", "failed", "lost"]


class InstallJob(Frozen):
    """An installation as its row has it.

    Attributes:
        id: Its name in addresses.
        requirement: The requirement, without credentials.
        state: Its progress. ``lost`` means that its process has ended.
        began: When it began, aware, in UTC.
        seen: When it was stored last, aware, in UTC.
        lines: The last lines of the installer's output.
        reasons: Why it failed.
        plugins: Slugs of the plugins that it brought.
    """

    id: str
    requirement: str
    state: JobState
    began: datetime
    seen: datetime
    lines: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()


class Jobs:
    """Runs installations in threads, and stores their output.

    Args:
        notes: The rows that all processes share.
    """

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def start(self, requirement: str, install: Callable[[Callable[[str], None]], Any]) -> str:
        """Begin an installation, and return its id. Old ones are forgotten.

        Args:
            requirement: The requirement, without credentials.
            install: Carries it out. It is given a function that takes each line of output, and
                returns an InstallReport.

        Raises:
            StorageError: If it cannot be stored; nothing was begun then.
        """
        now = datetime.now(UTC)
        for key in self._notes.keys(_PREFIX):
            old = self.get(key.removeprefix(_PREFIX))
            if old is None or now - old.seen > KEPT:
                self._notes.drop(key)
        job = InstallJob(
            id=secrets.token_hex(8), requirement=requirement, state="running", began=now, seen=now
        )
        self._put(job)
        threading.Thread(
            target=self._run, args=(job, install), name="plugreg install", daemon=True
        ).start()
        return job.id

    def get(self, id: str) -> InstallJob | None:  # noqa: A002 - that is what it is.
        """Return an installation, None if there is no such row.

        Args:
            id: Its id.

        Raises:
            StorageError: If the storage cannot be read.
        """
        row = self._notes.get(_PREFIX + id)
        return None if row is None else _job_of(id, row)

    def _run(self, job: InstallJob, install: Callable[[Callable[[str], None]], Any]) -> None:
        progress = _Progress(job, self._put)
        with progress:
            try:
                report = install(progress.add)
            except PlugregError as error:
                reasons = getattr(error, "reasons", None) or [str(error)]
                end = replace(progress.job, state="failed", reasons=tuple(reasons))
            except Exception as error:  # noqa: BLE001 - its row must say that it has ended.
                end = replace(progress.job, state="failed", reasons=(type(error).__name__,))
            else:
                end = replace(progress.job, state="done", plugins=report.plugins)
        self._put(replace(end, seen=datetime.now(UTC)))

    def _put(self, job: InstallJob) -> None:
        row = arguments(job)
        key = _PREFIX + row.pop("id")
        lists = {name: list(row[name]) for name in _LISTS}
        times = {name: row[name].isoformat() for name in _TIMES}
        self._notes.put(key, {**row, **lists, **times})


class _Progress:
    """Collects lines, and stores them now and then while a ``with`` block runs."""

    def __init__(self, job: InstallJob, put: Callable[[InstallJob], None]) -> None:
        self._put = put
        self._lines: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._store, name="plugreg progress", daemon=True)
        self._job = job

    @property
    def job(self) -> InstallJob:
        """The installation with its output so far."""
        lines = tuple(self._lines[-MOST_LINES:])
        return replace(self._job, lines=lines, seen=datetime.now(UTC))

    def add(self, line: str) -> None:
        self._lines.append(line[:500])

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _store(self) -> None:
        stored, stored_at = 0, time.monotonic()
        while not self._ended.wait(EVERY):
            now = time.monotonic()
            if len(self._lines) != stored or now - stored_at > _BEAT:
                stored, stored_at = len(self._lines), now
                try:
                    self._put(self.job)
                except StorageError:
                    continue  # The end is stored in any case, and the next lines with it.


def _job_of(id: str, row: Record) -> InstallJob | None:  # noqa: A002
    try:
        lists = {name: tuple(row[name]) for name in _LISTS}
        times = {name: datetime.fromisoformat(row[name]) for name in _TIMES}
        # A later version may store more.
        words = {name: row[name] for name in ("requirement", "state")}
        job = InstallJob(**{"id": id, **words, **lists, **times})
        silence = (datetime.now(UTC) - job.seen).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None
    is_lost = job.state == "running" and silence > SILENCE
    return replace(job, state="lost") if is_lost else job
