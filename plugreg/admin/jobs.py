"""Installations that run beside requests, and that every process can show.

An installation takes longer than a request may. A thread of the requested process carries it
out, and stores its output; the row outlives the process.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from plugreg._state.notes import Notes
from plugreg.exceptions import PlugregError, StorageError

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

JobState = Literal["running", "done", "failed", "lost"]


class InstallJob(BaseModel):
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

    model_config = ConfigDict(frozen=True)

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
            target=self._run, args=(job, install), name="plugreg progress", daemon=True
        ).start()
        return job.id

    def get(self, id: str) -> InstallJob | None:  # noqa: A002 - that is what it is.
        """Return an installation, None if there is no such row.

        Args:
            id: Its id.

        Raises:
            StorageError: If the storage cannot be read.
        """
        try:
            # A later version may store more, and what is damaged is no installation.
            job = InstallJob.model_validate({**(self._notes.get(_PREFIX + id) or {}), "id": id})
            silence = datetime.now(UTC) - job.seen
        except (ValidationError, TypeError):
            return None
        is_lost = job.state == "running" and silence.total_seconds() > SILENCE
        return job.model_copy(update={"state": "lost"}) if is_lost else job

    def _run(self, job: InstallJob, install: Callable[[Callable[[str], None]], Any]) -> None:
        """Carry an installation out in another thread, and store its lines now and then."""
        lines: list[str] = []
        end: dict[str, Any] = {}
        has_ended = threading.Event()

        def work() -> None:
            try:
                report = install(lambda line: lines.append(line[:500]))
            except PlugregError as error:
                reasons = getattr(error, "reasons", None) or [str(error)]
                end.update(state="failed", reasons=tuple(reasons))
            except Exception as error:  # noqa: BLE001 - its row must say that it has ended.
                end.update(state="failed", reasons=(type(error).__name__,))
            else:
                end.update(state="done", plugins=report.plugins)
            finally:
                has_ended.set()

        def so_far() -> InstallJob:
            seen = datetime.now(UTC)
            return job.model_copy(update={"lines": tuple(lines[-MOST_LINES:]), "seen": seen, **end})

        threading.Thread(target=work, name="plugreg install", daemon=True).start()
        stored, stored_at = 0, time.monotonic()
        while not has_ended.wait(EVERY):
            now = time.monotonic()
            if len(lines) != stored or now - stored_at > _BEAT:
                stored, stored_at = len(lines), now
                # The end is stored in any case, and the lines with it.
                with suppress(StorageError):
                    self._put(so_far())
        self._put(so_far())

    def _put(self, job: InstallJob) -> None:
        self._notes.put(_PREFIX + job.id, job.model_dump(mode="json", exclude={"id"}))
