"""A lock that threads, processes and their forked children respect alike, on a file of its own."""

from __future__ import annotations

import os
import random
import stat
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

from plugreg.exceptions import StorageLockedError, StorageUnavailableError

_PAUSE_SECONDS: Final = (0.0005, 0.0035)
"""How long to wait between two looks at a lock that another one holds."""

# Reading is enough for a lock. A link or a named pipe may stand in its place, and is not to lead
# elsewhere, or to wait for a writer.
_OPENING: Final = (
    os.O_RDONLY | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
)

_FREE_SHARE: Final = 0.02
_FREE_SECONDS: Final = 0.002


class BackOff:
    """Lets others have a lock that all look for now and then, and that nobody is handed.

    A holder that asks again at once would find it free before anybody else has looked, and so
    over and over. It waits first, for a fiftieth of the time that it held the lock and for 2 ms at
    most. Who asks later than that does not wait.
    """

    def __init__(self) -> None:
        self._free_until = 0.0

    def give_way(self, deadline: float) -> None:
        """Wait for what is left of that, but not beyond ``deadline``."""
        seconds = min(self._free_until, deadline) - time.monotonic()
        if seconds > 0:
            time.sleep(seconds)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Take the time of a ``with`` block, in which the lock is held."""
        since = time.monotonic()
        try:
            yield
        finally:
            now = time.monotonic()
            self._free_until = now + min(_FREE_SHARE * (now - since), _FREE_SECONDS)


class FileLock:
    """An exclusive lock (``flock``) on the file at ``path``, which is made and is never removed.

    The system lets go of it when its process ends, however that ends. A child that is forked
    while it is held does not hold it. One thread at a time may ask, which a Gate sees to.

    Args:
        path: The file of the lock. Whoever may read it can hold the lock.
        mode: The mode of a new one.
        adapt: Called with the descriptor of the file each time that the lock was acquired, so that
            it gets the owner and mode of what it protects. May raise OSError.

    """

    def __init__(
        self, path: str, *, mode: int = 0o644, adapt: Callable[[int], object] = lambda _: None
    ) -> None:
        self.path = path
        self._mode = mode
        self._adapt = adapt
        self._descriptor: int | None = None
        self._kept_from_children = False
        self._courtesy = BackOff()

    @contextmanager
    def held(self, seconds: float, deadline: float) -> Iterator[None]:
        """Hold the lock for a ``with`` block.

        StorageLockedError, which tells of ``seconds``, is raised when it is not had by
        ``deadline``, a time of :func:`time.monotonic`; StorageUnavailableError when its file
        cannot be opened.
        """
        try:
            self._courtesy.give_way(deadline)
            # Acquired inside, so that an interrupt right after it does not leave it held.
            try:
                self._acquire(seconds, deadline)
            except PermissionError as error:
                raise StorageUnavailableError(
                    self.path,
                    f"{error.strerror}; give it the owner, group and mode of what it locks",
                ) from error
            except OSError as error:
                raise StorageUnavailableError(self.path, error.strerror or str(error)) from error
            with self._courtesy.holding():
                yield
        finally:
            try:
                self._release()
            finally:
                # Once more, as Ctrl-C may have come at the beginning of it.
                self._release()

    def _acquire(self, seconds: float, deadline: float) -> None:
        self._release()  # An interrupt may have kept the last one from it.
        self._keep_from_children()
        while True:
            self._descriptor = os.open(self.path, _OPENING, self._mode)
            status = os.fstat(self._descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                raise StorageUnavailableError(
                    self.path, "it is no file of its own; remove it, and a new one is made"
                )
            while not _locked(self._descriptor):
                if time.monotonic() >= deadline:
                    raise StorageLockedError(self.path, seconds)
                # At random, so that nobody keeps step with a holder that comes again and again.
                time.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311 - it keeps no secret
            # If somebody has removed the file meanwhile, the others lock the one made since.
            with suppress(FileNotFoundError):
                if os.path.samestat(status, os.stat(self.path)):  # noqa: PTH116 - a Path costs more
                    self._adapt(self._descriptor)
                    return
            self._release()

    def _release(self) -> None:
        if self._descriptor is None:
            return
        # The work is done by now, and closing ends the lock even where unlocking fails.
        with suppress(OSError):
            _unlock(self._descriptor)
        self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)

    def _keep_from_children(self) -> None:
        # A forked child shares the lock as long as it has the descriptor: its unlocking would take
        # the lock from the parent, and its living on would keep it when the parent is killed.
        if not self._kept_from_children and hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=partial(_close_in_child, weakref.ref(self)))
            self._kept_from_children = True


def _close_in_child(lock: weakref.ref[FileLock]) -> None:
    this = lock()
    if this is not None:
        this._close()


if sys.platform == "win32":
    import msvcrt

    def _locked(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _locked(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
