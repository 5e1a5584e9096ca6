"""Child processes that lead a session of their own: start them, wait for them, end them."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from subprocess import Popen

GRACE: Final = 2.0
"""Seconds that ended processes have to be gone."""
_TICK: Final = 0.01
"""Seconds between two looks."""


def start(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: str | os.PathLike[str] | None = None,
    *,
    are_streams_joined: bool = False,
    has_input: bool = False,
    descriptors: Sequence[int] = (),
) -> Popen[bytes]:
    """Start a program without a shell, with pipes for stdout and stderr, and for an input it has.

    Joined streams share the pipe of stdout. Of other files it inherits *descriptors* alone. Raises
    OSError.
    """
    import subprocess
    from subprocess import DEVNULL, PIPE, STDOUT, Popen

    return Popen(  # noqa: S603 - there is no shell, and the arguments are plugreg's own
        arguments,
        stdin=PIPE if has_input else DEVNULL,
        stdout=PIPE,
        stderr=STDOUT if are_streams_joined else PIPE,
        env=environment,
        cwd=folder,
        start_new_session=True,
        # Windows has no sessions; its groups keep Ctrl-C of the host away.
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        pass_fds=descriptors,
    )


def interpreter_flags() -> list[str]:
    """Return the flags of this interpreter, for a child process with the same flags."""
    import subprocess

    # They are private in subprocess; multiprocessing starts its children with them too.
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return flags


def keep_no_core() -> None:
    """Let a crash of this process leave no core file in the host's folder."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def has_ended(process: Popen[bytes]) -> bool:
    """Return whether *process* ended, without reaping it: its group must still be ended."""
    if sys.platform == "win32":
        return process.poll() is not None
    try:
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, process.pid, options) is not None
    except ChildProcessError:
        return True  # The host lets the system take its children's exit codes.


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until *condition* holds; return whether it did within *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_TICK)
    return True


def end(process: Popen[bytes], grace: float = 0.0) -> None:
    """Kill the group of *process* and reap *process*; ask first, if there is a *grace* period."""
    try:
        if grace:
            signal_group(process, signal.SIGTERM)
            wait_until(lambda: has_ended(process), grace)
    finally:
        if sys.platform == "win32":
            process.kill()
        else:
            signal_group(process, signal.SIGKILL)
        process.wait()


def wait_for_group(process: Popen[bytes]) -> None:
    """Wait until no process of an ended group is left, a grace period at most."""
    if sys.platform != "win32":
        wait_until(lambda: not signal_group(process, 0), GRACE)


def signal_group(process: Popen[bytes], number: int) -> bool:
    """Signal the group of *process*; return whether it has a process that may be signalled."""
    if sys.platform == "win32":
        process.terminate()
        return True
    # The group has the number of its first process, until that process is reaped.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
        return True
    return False
