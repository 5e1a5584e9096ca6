"""The folder of generations: complete sets of distributions, of which one is current.

``<environment>/current`` names the generation that serves. It is replaced atomically, and nothing
else decides. A process that is killed leaves the old or the new ``current``, and at most files
that nothing refers to, which the next change removes.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from plugreg.exceptions import InstallError, StorageError, StorageUnavailableError
from plugreg.install.disk import WASTE, disk_errors, write_file
from plugreg.install.distributions import Distribution
from plugreg.install.exceptions import InstallBusyError, InstallPermissionError
from plugreg.storage.base import Gate
from plugreg.storage.file.locking import FileLock
from plugreg.storage.file.storefile import flush_folder

_TEXT: Final = re.compile(r"(\d{1,9})(?:\n(?:last (\d{1,9})\nbefore((?: \d{1,9})*)\n)?)?")


class Current(NamedTuple):
    """The content of ``current``.

    ``number`` is the generation that serves, 0 for none. ``last`` is the highest number ever
    given. ``before`` are the generations that served earlier, latest first, without those that
    were rolled back.
    """

    number: int = 0
    last: int = 0
    before: tuple[int, ...] = ()

    def then(self, number: int) -> Current:
        """Return the content after generation *number* was swapped in."""
        if number == self.number:
            return self
        if number in self.before:
            earlier = self.before[self.before.index(number) + 1 :]
        else:
            earlier = (self.number, *self.before)[:20]
        return Current(number, max(self.last, number), earlier)

    def __str__(self) -> str:
        return f"{self.number}\nlast {self.last}\nbefore{''.join(f' {n}' for n in self.before)}\n"


class Generations:
    """The generations in an environment. Nothing is cached: every answer is read from the disk.

    Args:
        environment: The folder; it is created with the first generation.
        keep: Number of generations that are kept beside the current generation.
        lock_timeout: Seconds that a change waits for another change.
    """

    def __init__(self, environment: Path, *, keep: int = 3, lock_timeout: float = 10.0) -> None:
        self.environment = environment
        self._keep = keep
        self._timeout = lock_timeout
        lock = str(environment / "lock")
        self._gate, self._lock = Gate(lock, lock_timeout), FileLock(lock)

    # -- reading -----------------------------------------------------------------------------

    @property
    def current_file(self) -> Path:
        """The file that names the serving generation."""
        return self.environment / "current"

    def folder(self, number: int) -> Path:
        """Return the folder of a generation; 0 has none that exists."""
        return self.environment / "generations" / str(number)

    def lock_file(self, number: int) -> Path:
        """Return the ``pylock.toml`` of a generation."""
        return self.environment / "generations" / f"{number}.lock"

    def current(self) -> Current:
        """Return which generation serves.

        Raises:
            InstallError: If the file cannot be read, or names a generation that is not there.
        """
        try:
            text = self.current_file.read_text("utf-8")
        except FileNotFoundError:
            return Current()
        except (OSError, ValueError) as error:
            raise InstallError([f"{str(self.current_file)!r} cannot be read: {error}"]) from error
        found = _TEXT.fullmatch(text)
        number = int(found[1]) if found else -1
        if found is None or (number and not self.folder(number).is_dir()):
            there = ", ".join(map(str, self.numbers())) or "none"
            reason = f"{str(self.current_file)!r} names no generation that is there ({there}); "
            reason += "write the number of one into it, or remove the file to start without any"
            raise InstallError([reason])
        before = tuple(map(int, (found[3] or "").split()))
        # Somebody has changed only the number; existing generations have numbers already.
        last = max(self.numbers(), default=0) if found[2] is None else int(found[2])
        return Current(number, max(number, last), before)

    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of the generations that are there, ascending."""
        return tuple(sorted(filter(self._is_whole, self._published())))

    def left(self) -> tuple[str, ...]:
        """Return the paths that interrupted changes have left; none during a change.

        Raises:
            InstallError: If the current generation cannot be read.
        """
        found = self._left(self.current())
        is_idle = bool(found) and is_unused(Path(self._lock.path))
        return tuple(sorted(map(str, found))) if is_idle else ()

    # -- changing ----------------------------------------------------------------------------

    @contextmanager
    def changing(self) -> Iterator[tuple[Current, Path]]:
        """Keep other changes out of the ``with`` block, in all processes.

        Files that an earlier change left are removed first.

        Returns:
            What serves, and an empty folder in the environment, which the block may publish.

        Raises:
            InstallBusyError: If another change did not end in time.
            InstallPermissionError: If this process may not write to the environment.
            InstallSpaceError: If the disk is full.
        """
        with self._disk_errors():
            (self.environment / "generations").mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                deadline = stack.enter_context(self._gate.entered())
                stack.enter_context(self._lock.held(self._timeout, deadline))
            except StorageUnavailableError as error:
                reason = f"the environment cannot be locked: {error}"
                raise InstallPermissionError([reason]) from error
            except StorageError as error:
                # It is held by another process or thread, or by a caller of this function.
                reason = f"another change of {str(self.environment)!r} is running; try again later"
                raise InstallBusyError([reason], self._lock.path) from error
            current = self.current()
            with self._disk_errors():
                for path in self._left(current):
                    self._drop(path)
                folder = self._waste()
                folder.mkdir()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            yield current, folder

    def publish(self, staged: Path, lock: str, current: Current) -> int:
        """Give a complete folder the next number, and return it; it is not current yet.

        Folder and lock are on the disk when this returns.
        """
        number = max(current.last, *self.numbers(), 0) + 1
        with self._disk_errors():
            _flush(staged)
            try:
                write_file(self.lock_file(number), lock.encode())
                staged.rename(self.folder(number))
                flush_folder(self.folder(number).parent)
            except BaseException:
                self._drop(self.lock_file(number))
                raise
        return number

    def swap(self, number: int, current: Current) -> Current:
        """Make a generation current; this is the only commit point.

        Returns:
            The new content of ``current``, which is on the disk.
        """
        after = current.then(number)
        with self._disk_errors():
            write_file(self.current_file, str(after).encode())
        return after

    def retire(self, current: Current) -> None:
        """Remove generations beyond those that are kept, unless a process uses them.

        Generations to which a rollback leads are kept first, then the latest.
        """
        others = [number for number in self.numbers() if number != current.number]
        ranked = dict.fromkeys(
            [number for number in current.before if number in others] + others[::-1]
        )
        for number in list(ranked)[self._keep :]:
            with suppress(OSError):
                self._drop(self.lock_file(number))

    def _left(self, current: Current) -> list[Path]:
        """Return what is being made or removed, and the locks of generations that never served."""
        highest = max(self.numbers(), default=0)
        # A killed first change leaves no ``current``; otherwise somebody removed it.
        last = current.last or (highest if highest > 1 else 0)
        numbers = [number for number in self._published() if number != current.number]
        unserved = [n for n in numbers if n > last or not self._is_whole(n)]
        folder = self.environment / "generations"
        waste = (*self.environment.glob(f"{WASTE}*"), *folder.glob(f"{WASTE}*"))
        return [*waste, *map(self.lock_file, unserved)]

    def _drop(self, path: Path) -> None:
        """Remove waste, or the generation of a lock that no process uses."""
        if path.suffix == ".lock":
            if not is_unused(path):
                return
            waste = self._waste()
            with suppress(FileNotFoundError):
                path.with_suffix("").rename(waste)
            path.unlink(missing_ok=True)
            path = waste
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            path.unlink()  # It is a file.

    def _published(self) -> set[int]:
        paths = (self.environment / "generations").glob("[0-9]*")
        return {int(path.stem) for path in paths if path.stem.isdecimal()}

    def _is_whole(self, number: int) -> bool:
        return self.folder(number).is_dir() and self.lock_file(number).is_file()

    def _waste(self) -> Path:
        return self.environment / "generations" / f"{WASTE}{secrets.token_hex(8)}"

    def _disk_errors(self) -> AbstractContextManager[None]:
        return disk_errors(f"the environment {str(self.environment)!r} cannot be changed")


def isolated_folders(environment: Path) -> Mapping[str, Path]:
    """Return the serving folder of each plugin that has an environment of its own, by slug.

    Args:
        environment: The folder that the installer was given. It need not exist.
    """
    found = {}
    for path in sorted((environment / "isolated").glob("[!.]*")):
        generations = Generations(path)
        with suppress(InstallError):
            if number := generations.current().number:
                found[path.name] = generations.folder(number)
    return found


def carry_over(distribution: Distribution, folder: Path) -> None:
    """Put the files of a distribution into another folder: as hard links, else as copies.

    Files that its RECORD does not list, such as compiled modules, stay behind. Raises InstallError
    if one that it lists is missing.
    """
    for line in distribution.record():
        source, target = distribution.folder / line, folder / line
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target, follow_symlinks=False)
        except FileNotFoundError as error:
            name, file = distribution.name, str(source)
            reason = f"the file {file!r} of {name!r} is missing in the serving generation, which "
            reason += f"nobody may change; uninstall {name!r} and install it again, or roll back"
            raise InstallError([reason]) from error
        except FileExistsError:
            raise
        except OSError:
            shutil.copy2(source, target)


def is_unused(lock: Path) -> bool:
    """Return whether no process has a generation in use, by its lock file."""
    try:
        import fcntl
    except ImportError:
        return True  # Windows does not remove a folder with open files.
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _flush(folder: Path) -> None:
    """Write the files and folders below *folder* to the disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(Path(place, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        flush_folder(Path(place))
