"""Run a command to its end in a session of its own, without a shell, and with a timeout."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from queue import Empty, Queue
from threading import Event, Thread
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from plugreg._support.guard import Guard
from plugreg._support.process import GRACE, end, has_ended, start, wait_for_group

if TYPE_CHECKING:
    from subprocess import Popen

_TICK: Final = 0.02
"""Seconds between two checks of a command without output."""
_LINE: Final = 8_192
"""The longest line that is kept, in bytes."""
_WAITING: Final = 1_000
"""Number of lines that may wait for a slow listener, before the command has to wait too."""
_KEPT: Final = 1_000_000
"""Number of last characters of a command's output that are kept."""
_REASONS: Final = 20
"""Number of last lines that are the reasons of an error."""

_LEASH: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv.pop(1)):
    sys.exit(1)
"""
"""On Linux a command asks first to be ended with this process (PR_SET_PDEATHSIG)."""
_BECOME: Final = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
"""The code that becomes a program."""


class Completed(NamedTuple):
    """The end of a command: its exit code, None after the timeout, and its masked output."""

    code: int | None
    output: str


def run(
    arguments: Sequence[str],
    *,
    timeout: float,
    environment: Mapping[str, str],
    code: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    mask: Callable[[str], str] = str,
    listen: Callable[[str], object] | None = None,
) -> Completed:
    """Run a command to its end, whatever its exit code is, and return that.

    ``arguments`` begin with the path of a program, or are those of Python ``code``, which runs in
    this interpreter's isolated mode without the packages of any environment. ``environment`` has
    all variables. It works in ``folder`` and has no input. Each line of its output is masked and
    passed to ``listen`` in this thread; an exception there is ignored.

    Raises OSError if it cannot be started. Nothing of its session is left when this returns or
    raises, KeyboardInterrupt included. A process that has left the session continues: only
    means of the operating system could stop it.
    """
    output = _Output(mask, listen)
    lines: Queue[bytes | None] = Queue(_WAITING)
    leaving = Event()
    process = _start(arguments, code, environment, folder)
    assert process.stdout is not None
    try:
        Thread(target=_read, args=(process.stdout, lines, leaving), daemon=True).start()
        is_finished = _follow(process, lines, output, time.monotonic() + timeout)
    finally:
        leaving.set()
        with suppress(Empty):
            # The reader may wait for room, and would for ever.
            while True:
                lines.get_nowait()
        end(process, GRACE)
        wait_for_group(process)
    return Completed(process.returncode if is_finished else None, "\n".join(output.lines))


def last_lines(lines: Iterable[str]) -> list[str]:
    """Return the last lines that are not blank, which become the reasons of an error.

    Of a traceback only the line of the exception is returned.
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


def _start(
    arguments: Sequence[str],
    code: str | None,
    environment: Mapping[str, str],
    folder: str | os.PathLike[str] | None,
) -> Popen[bytes]:
    import shutil

    if code is None and shutil.which(arguments[0]) is None:
        raise FileNotFoundError(f"{arguments[0]!r} is no program that can be started")
    python = (sys.executable, "-I", "-S", "-c")
    if sys.platform == "linux":
        arguments = (*python, _LEASH + (code or _BECOME), str(os.getpid()), *arguments)
    elif code is not None:
        arguments = (*python, code, *arguments)
    return start(arguments, environment, folder, are_streams_joined=True)


def _read(stream: IO[bytes], lines: Queue[bytes | None], leaving: Event) -> None:
    """Put each line of a stream into ``lines``, and None at its end."""
    with stream:
        while not leaving.is_set() and (line := stream.readline(_LINE)):
            is_cut = len(line) == _LINE
            while is_cut and line and not line.endswith(b"\n"):
                line = stream.readline(_LINE)
            # Half a line could end with half a secret, which masking does not find.
            lines.put(b"(an overlong line was left out)" if is_cut else line)
    lines.put(None)


class _Output:
    """The last lines of a command, masked."""

    def __init__(self, mask: Callable[[str], str], listen: Callable[[str], object] | None) -> None:
        self._mask = mask
        self._listen = listen
        self.lines: deque[str] = deque()
        self._length = 0

    def add(self, line: bytes) -> None:
        text = self._mask(line.decode(errors="replace").rstrip())
        self.lines.append(text)
        self._length += len(text) + 1
        while self._length > _KEPT:
            self._length -= len(self.lines.popleft()) + 1
        if self._listen is not None:
            with Guard():
                self._listen(text)


def _follow(
    process: Popen[bytes], lines: Queue[bytes | None], output: _Output, deadline: float
) -> bool:
    """Read the output until the process has ended; return False at the deadline."""
    is_read, stop = False, deadline
    while time.monotonic() < stop and not (is_read and has_ended(process)):
        try:
            line = lines.get(timeout=_TICK)
        except Empty:
            if stop == deadline and has_ended(process):
                # A process that is left may keep the stream open, which is no reason to wait.
                stop = min(deadline, time.monotonic() + GRACE)
        else:
            is_read = line is None
            if line is not None:
                output.add(line)
    if not has_ended(process):
        return False
    # Its end was seen too late: the machine has paused, or the listener has. It was in time itself.
    with suppress(Empty):
        for _ in range(0 if is_read else _WAITING):
            if (line := lines.get(timeout=_TICK)) is None:
                break
            output.add(line)
    return True
