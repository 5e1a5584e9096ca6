"""Run an installer in a session of its own, without a shell, and with a timeout.

It receives few of the host's environment variables. Credentials in its output are masked.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from plugreg._support.guard import Guard
from plugreg._support.process import GRACE, end, has_ended, start, wait_for_group
from plugreg.exceptions import InstallError
from plugreg.install.environment import Environment
from plugreg.install.exceptions import InstallTimeoutError
from plugreg.install.installer import Progress
from plugreg.install.requirements import masker, secrets_of

if TYPE_CHECKING:
    from subprocess import Popen

_TICK: Final = 0.02
"""Seconds between two checks of a command without output."""
_LINE: Final = 8_192
"""The longest line that is kept, in bytes."""
_WAITING: Final = 1_000
"""How many lines may wait for a slow listener, before the command has to wait too."""
_KEPT: Final = 1_000_000
"""Number of last characters of a command's output that are kept."""
_REASONS: Final = 20
"""How many of its last lines are the reasons of an error."""

_PASSED: Final = ("HOME", "USERPROFILE", "LANG", "SYSTEMROOT", "SSL_CERT_FILE")
_PASSED_TOO: Final = ("SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_PASSED_GROUPS: Final = ("LC_", "XDG_")

_LEASH: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
"""On Linux it asks to be ended with this process (PR_SET_PDEATHSIG), and becomes the command.

Otherwise an installer would go on, and change the environment, after its host was killed.
"""


class Completed(NamedTuple):
    """Exit code of a finished command, and the masked end of its output."""

    code: int
    output: str


def run(
    arguments: Sequence[str],
    *,
    timeout: float,
    environment: Mapping[str, str],
    folder: str | os.PathLike[str] | None = None,
    secrets: Iterable[str] = (),
    progress: Progress | None = None,
) -> Completed:
    """Run a command to its end, whatever its exit code is.

    ``arguments`` begin with the path of a program; ``environment`` is all that it gets of
    variables. It works in ``folder``, has no input, and a session of its own. Each line that it
    writes is masked and given to ``progress``, in this thread; what that raises is left out.

    Raises InstallTimeoutError after ``timeout`` seconds and InstallError where it cannot be
    started. Nothing of its session is left when this returns or raises, KeyboardInterrupt
    included. What has left the session goes on: only the system's own means could hold it.
    """
    told = _Told(tuple(secrets), progress)
    lines: Queue[bytes | None] = Queue(_WAITING)
    leaving = Event()
    process = _started(arguments, environment, folder)
    assert process.stdout is not None
    try:
        Thread(target=_read, args=(process.stdout, lines, leaving), daemon=True).start()
        _follow(process, lines, told, time.monotonic() + timeout)
    except TimeoutError:
        raise InstallTimeoutError(
            [f"the installer took more than {timeout:g} seconds and was ended", *told.last()],
            timeout,
        ) from None
    finally:
        leaving.set()
        with suppress(Empty):
            # The reader may wait for room, and would for ever.
            while True:
                lines.get_nowait()
        end(process, GRACE)
        wait_for_group(process)
    return Completed(process.returncode, str(told))


def _started(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: str | os.PathLike[str] | None,
) -> Popen[bytes]:
    import shutil

    if shutil.which(arguments[0]) is None:
        raise InstallError([f"{arguments[0]!r} is no program that can be started"])
    if sys.platform == "linux":
        leash = [sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid())]
        arguments = [*leash, *arguments]
    try:
        return start(arguments, environment, folder, are_streams_joined=True)
    except OSError as error:
        raise InstallError([f"{arguments[0]!r} cannot be started: {error}"]) from error


def _read(stream: IO[bytes], lines: Queue[bytes | None], leaving: Event) -> None:
    """Put each line of a stream into ``lines``, and None at its end."""
    with stream:
        while not leaving.is_set() and (line := stream.readline(_LINE)):
            cut = len(line) == _LINE
            while cut and line and not line.endswith(b"\n"):
                line = stream.readline(_LINE)
            # Half a line could end in half a secret, which nobody would find.
            lines.put(b"(an overlong line was left out)" if cut else line)
    lines.put(None)


class _Told:
    """The last lines of a command, masked. ``str()`` is all of them."""

    def __init__(self, secrets: tuple[str, ...], progress: Progress | None) -> None:
        self._masked = masker(secrets)
        self._progress = progress
        self._lines: deque[str] = deque()
        self._length = 0

    def add(self, line: bytes) -> None:
        text = self._masked(line.decode(errors="replace").rstrip())
        self._lines.append(text)
        self._length += len(text) + 1
        while self._length > _KEPT:
            self._length -= len(self._lines.popleft()) + 1
        if self._progress is not None:
            with Guard():
                self._progress(text)

    def last(self) -> list[str]:
        return last_lines(self._lines)

    def __str__(self) -> str:
        return "\n".join(self._lines)


def last_lines(lines: Iterable[str]) -> list[str]:
    """Return the last lines that are not blank, which become the reasons of an error.

    Of a traceback only what was raised is one.
    """
    return [line.strip() for line in _without_tracebacks(lines) if line.strip()][-_REASONS:]


def _without_tracebacks(lines: Iterable[str]) -> Iterator[str]:
    depth: int | None = None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if line.lstrip().startswith("Traceback (most recent call last):"):
            depth = indent
        elif depth is None or (line.strip() and indent <= depth):
            depth = None
            yield line


def _follow(
    process: Popen[bytes], lines: Queue[bytes | None], told: _Told, deadline: float
) -> None:
    """Read the output until the process has ended. Raises TimeoutError."""
    finished, ended_at = False, None
    while (now := time.monotonic()) < deadline:
        try:
            line = lines.get(timeout=_TICK)
        except Empty:
            if has_ended(process):
                ended_at = now if ended_at is None else ended_at
                # What was left behind may keep the stream open, which is no reason to wait.
                if finished or now - ended_at > GRACE:
                    return
        else:
            if line is None:
                finished = True
            else:
                told.add(line)
    if not has_ended(process):
        raise TimeoutError
    # Its end was seen too late: the machine has paused, or who is told has. It was in time itself.
    with suppress(Empty):
        for _ in range(_WAITING):
            if (line := lines.get(timeout=_TICK)) is None:
                break
            told.add(line)


def variables(own: re.Pattern[str], given: Mapping[str, str], *, isolated: bool) -> dict[str, str]:
    """Return the environment variables of a command: the few that it needs, and ``given``.

    ``own`` matches the names of the installer's own variables that are passed on unless
    ``isolated``. Nothing else of this process's environment is. ``PATH`` is ``commands_path()``.
    """
    passed = {
        name: value
        for name, value in os.environ.items()
        if name.upper() in (*_PASSED, *_PASSED_TOO)
        or name.startswith(_PASSED_GROUPS)
        or (not isolated and own.fullmatch(name))
    }
    return passed | {"PATH": commands_path()} | dict(given)


def commands_path() -> str:
    """Return the PATH of this process without the folder of the environment's own programs.

    Those are of distributions too, whose plugins may be off. A folder that depends on where a
    command is run is left out as well.
    """
    own = Environment().scripts
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(
        folder for folder in folders if Path(folder).is_absolute() and Path(folder).resolve() != own
    )


def credentials_in(variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return all credentials in the environment variables of a command.

    They are in URLs, apart by blanks or commas; in that of a proxy, which needs no scheme; and in
    variables for a user and a password, as uv has for each of its indexes.
    """
    from urllib.parse import quote

    urls: list[str] = []
    for name, value in variables.items():
        scheme = "http://" if name.upper().endswith("_PROXY") else ""
        # A password may have a comma.
        words = (*value.split(), *re.split(r"[\s,]+", value))
        urls += (word if "://" in word else scheme + word for word in words)
        start, _, kind = name.rpartition("_")
        if kind in ("USERNAME", "PASSWORD"):
            login = (variables.get(f"{start}_{key}", "") for key in ("USERNAME", "PASSWORD"))
            urls.append(f"http://{':'.join(quote(part, safe='') for part in login)}@")
    return tuple(dict.fromkeys(secret for url in urls for secret in secrets_of(url)))
