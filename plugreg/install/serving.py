"""The generation that serves this process: on ``sys.path``, held, and followed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Final
from weakref import finalize

from plugreg._support.importing import forget, names_in
from plugreg.exceptions import InstallError
from plugreg.install.distributions import distributions
from plugreg.install.generations import Generations
from plugreg.records import PluginFailure, Stage

_FOLDER: Final = f"{os.sep}generations{os.sep}"

_Stamp = tuple[int, int, int] | None
"""Identifier of the contents of ``current``, or None."""


class Serving:
    """Has this process use the serving generation of an environment.

    Its folder is the last entry of ``sys.path`` when it is entered, so that the host's packages
    win. Nothing in it is run by that: ``.pth`` files have no effect. While a process uses a
    generation, other processes do not remove it.

    Args:
        generations: The environment.
    """

    def __init__(self, generations: Generations) -> None:
        self._generations = generations
        self._root = os.path.realpath(generations.environment / "generations") + os.sep
        self._stamp: _Stamp = None
        self._fault: InstallError | None = None
        self._held: dict[int, int] = {}
        self._let_go = finalize(self, _close, self._held)
        self._number = 0
        self.follow()

    def is_current(self) -> bool:
        """Return whether the same generation serves as when it was last followed."""
        return self._look() == self._stamp

    def failures(self) -> tuple[PluginFailure, ...]:
        """Return a failure for an environment whose serving generation cannot be found."""
        if self._fault is None:
            return ()
        return (PluginFailure(stage=Stage.INSTALL, slug="install", message=str(self._fault)),)

    def follow(self) -> None:
        """Use the generation that serves now.

        Modules of distributions that it does not have, or has otherwise, are removed from
        ``sys.modules``. If ``current`` cannot be read, everything stays as it is.
        """
        try:
            number = self._hold()
        except InstallError as error:
            self._fault = error
            return
        self._fault = None
        if number != self._number:
            self._number = number
            self._enter(number)
            forget(self._outdated(number))
            self._release()

    def close(self) -> None:
        """Let other processes remove generations that this process has used."""
        self._let_go()

    # -- the parts ---------------------------------------------------------------------------

    def _look(self) -> _Stamp:
        try:
            status = self._generations.current_file.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size

    def _hold(self) -> int:
        """Return the serving generation, which nobody removes from now on."""
        while True:
            self._stamp = self._look()
            number = self._generations.current().number
            if number and number not in self._held:
                self._acquire(number)
            # It may have been retired just before.
            if self.is_current() and (not number or self._generations.folder(number).is_dir()):
                return number

    def _acquire(self, number: int) -> None:
        try:
            import fcntl
        except ImportError:
            return  # Windows does not remove a folder with open files.
        # Others who may not read the file can use the generation without holding it.
        with suppress(OSError):
            descriptor = os.open(self._generations.lock_file(number), os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            self._held[number] = descriptor

    def _release(self) -> None:
        """Release the generations of which no module is imported."""
        used = {number for _, number, _ in self._modules()} | {self._number}
        for number in self._held.keys() - used:
            # Closed and not unlocked: a forked process holds it still.
            os.close(self._held.pop(number))

    def _enter(self, number: int) -> None:
        """Put a generation on ``sys.path``, in the place of the previous generation."""
        own = [
            entry
            for entry in sys.path
            if type(entry) is str and os.path.realpath(entry).startswith(self._root)
        ]
        path = [entry for entry in sys.path if entry not in own]
        if number:
            place = sys.path.index(own[0]) if own else len(path)
            path.insert(place, str(self._generations.folder(number)))
        # At once, because other threads import meanwhile.
        sys.path[:] = path

    def _modules(self) -> Iterator[tuple[str, int, str]]:
        """Yield name, generation and path in it of each module imported from a generation."""
        for name, module in list(sys.modules.items()):
            file = names_in(module).get("__file__")
            if type(name) is str and type(file) is str and _FOLDER in file:
                file = os.path.realpath(file)
                number, _, path = file.removeprefix(self._root).partition(os.sep)
                if file.startswith(self._root) and number.isdecimal():
                    yield name, int(number), path

    def _outdated(self, number: int) -> list[str]:
        """Return the modules whose distribution differs in generation *number*."""
        differing = cache(self._differing)
        return [
            name
            for name, generation, path in self._modules()
            if generation != number and path in differing(generation, number)
        ]

    def _differing(self, old: int, new: int) -> frozenset[str]:
        """Return the files of distributions in *old* that *new* has not as they are there."""
        folder = self._generations.folder
        there, files = distributions(folder(new)), set[str]()
        for name, found in distributions(folder(old)).items():
            if name not in there or there[name].text("RECORD") != found.text("RECORD"):
                with suppress(OSError, ValueError):
                    files.update(os.path.normpath(line) for line in found.record())
        return frozenset(files)


def _close(held: dict[int, int]) -> None:
    while held:
        # Closed and not unlocked: a forked process holds it still.
        os.close(held.popitem()[1])
