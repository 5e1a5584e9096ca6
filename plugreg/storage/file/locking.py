"""A lock on a file of its own, for threads, processes and their forked children."""

from __future__ import annotations

import os
import random
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from plugreg._support import call_at_fork
from plugreg.exceptions import StorageLockedError, StorageUnavailableError

_PAUSE_SECONDS: Final = (0.0005, 0.0035)
"""The pause between two attempts to acquire a lock that another process holds."""

# Reading is enough for a lock. A link in its place must not be followed, and a named pipe must
# not wait for a writer.
_OPENING: Final = (
    os.O_RDONLY | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
)

_FREE_SHARE: Final = 0.02
_FREE_SECONDS: Final = 0.002


class BackOff:
    """A pause of the last holder of a lock, so that others can acquire it.

    All processes poll the lock. A holder that polls again at once would find it free before the
    others, over and over. So it pauses first, for 2 % of the time that it held the lock and for
    2 ms at most. A holder that returns later does not pause.
    """

    def __init__(self) -> None:
        self._free_until = 0.0

    def give_way(self, deadline: float) -> None:
        """Wait for the rest of the pause, but not beyond *deadline*, a `time.monotonic`.

        Args:
            deadline: The end of the time limit, a `time.monotonic`.
        """
        seconds = min(self._free_until, deadline) - time.monotonic()
        if seconds > 0:
            time.sleep(seconds)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Measure the ``with`` block in which the lock is held."""
        since = time.monotonic()
        try:
            yield
        finally:
            now = time.monotonic()
            self._free_until = now + min(_FREE_SHARE * (now - since), _FREE_SECONDS)


class FileLock:
    """An exclusive lock (``flock``) on a file, which is created and never removed.

    The system releases it when its process ends, however that ends. A child that is forked while
    it is held does not hold it. One thread at a time may use it, which a `Gate` ensures.

    Args:
        path: The file of the lock. Any user who may read it can hold the lock.
        mode: The mode of a new file.
        adapt: Called with the descriptor of the file after each acquisition, to give it the owner
            and mode of the file that it protects. May raise OSError.
    """

    def __init__(
        self, path: str, *, mode: int = 0o644, adapt: Callable[[int], object] = lambda _: None
    ) -> None:
        self.path = path
        self._mode = mode
        self._adapt = adapt
        self._descriptor: int | None = None
        self._watches_forks = False
        self._back_off = BackOff()

    @contextmanager
    def held(self, seconds: float, deadline: float) -> Iterator[None]:
        """Hold the lock for a ``with`` block.

        Args:
            seconds: The time limit, as StorageLockedError reports it.
            deadline: The end of the limit, a `time.monotonic`.

        Raises:
            StorageLockedError: If the lock was not acquired by then.
            StorageUnavailableError: If its file cannot be opened.
        """
        try:
            self._back_off.give_way(deadline)
            # Acquired inside, so that an interrupt right after it does not leave it held.
            try:
                self._acquire(seconds, deadline)
            except OSError as error:
                reason = error.strerror or str(error)
                if isinstance(error, PermissionError):
                    reason += "; give it the owner, group and mode of the locked file"
                raise StorageUnavailableError(self.path, reason) from error
            with self._back_off.holding():
                yield
        finally:
            try:
                self._release()
            finally:
                # Once more, because Ctrl-C may have come at the beginning of the first call.
                self._release()

    def _acquire(self, seconds: float, deadline: float) -> None:
        self._release()  # An interrupt may have prevented the last release.
        # A forked child shares the lock as long as it has the descriptor: it could release the
        # lock of its parent, and would hold the lock after the parent is killed.
        if not self._watches_forks:
            call_at_fork(after_in_child=self._close)
            self._watches_forks = True
        while True:
            self._descriptor = os.open(self.path, _OPENING, self._mode)
            status = os.fstat(self._descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                raise StorageUnavailableError(
                    self.path,
                    "it is no plain file with one name; remove it, and a new one is created",
                )
            while not _try_lock(self._descriptor):
                if time.monotonic() >= deadline:
                    raise StorageLockedError(self.path, seconds)
                # At random, so that nobody keeps in step with a holder that returns regularly.
                time.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311 - it keeps no secret
            # If the file was removed meanwhile, the other processes lock the one created since.
            with suppress(FileNotFoundError):
                if os.path.samestat(status, os.stat(self.path)):  # noqa: PTH116 - a Path costs more
                    self._adapt(self._descriptor)
                    return
            self._release()

    def _release(self) -> None:
        if self._descriptor is None:
            return
        # Closing releases the lock even where unlocking fails.
        with suppress(OSError):
            _unlock(self._descriptor)
        self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
