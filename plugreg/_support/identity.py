"""Which process something belongs to, and whether that process still runs."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from plugreg._support.frozen import NamedTuple

_BOOT: Final = "/proc/sys/kernel/random/boot_id"


class ProcessIdentity(NamedTuple):
    """A process, as other processes can recognize it.

    Attributes:
        host: Name of its machine, or of its container.
        pid: Process number.
        started: String that differs for another process with the same number, "" where the system
            does not say.
        space: String that differs where process numbers mean other processes: on another machine
            or after a restart of it, and in another container. "" where the system does not say.
    """

    host: str
    pid: int
    started: str = ""
    space: str = ""


def host_name() -> str:
    """Return the name of this machine, or of this container."""
    if hasattr(os, "uname"):
        # It is the same name, without the import of sockets.
        return os.uname().nodename
    from socket import gethostname

    return gethostname()


def own_identity() -> ProcessIdentity:
    """Return the identity of this process."""
    pid = os.getpid()
    return ProcessIdentity(host_name(), pid, _started(pid) or "", _space())


def is_gone(process: ProcessIdentity) -> bool | None:
    """Return whether a process has ended, None if this process cannot know.

    A process of another machine, or of another container, cannot be looked for.

    Args:
        process: The process.
    """
    own = own_identity()
    if (process.host, process.space) != (own.host, own.space):
        return None
    if process.pid == own.pid:
        return process.started != own.started
    if own.started:
        started = _started(process.pid)
        return started is None or started != process.started
    if sys.platform == "win32":
        return None  # There os.kill() would end it.
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # It belongs to another user.
    return False


def _started(pid: int) -> str | None:
    """Return when a process was started, by Linux' own count; None if it has ended."""
    with suppress(OSError, ValueError, IndexError):
        # The name of the program, in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        # A process that its parent has not waited for yet has ended all the same.
        return None if fields[0] in ("Z", "X") else fields[19]
    return None


def _space() -> str:
    found = []
    with suppress(OSError):
        found.append(Path(_BOOT).read_text("utf-8").strip())
        found.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 - it names no file
    return " ".join(found)


def identity_of(row: dict[str, Any]) -> ProcessIdentity:
    """Return the identity that a stored row has.

    Args:
        row: The fields of the identity, beside others.

    Raises:
        KeyError: If a field is missing.
        TypeError: If a field has another type.
    """
    identity = ProcessIdentity(*(row[name] for name in ProcessIdentity._fields))
    if list(map(type, identity)) != [str, int, str, str]:
        raise TypeError("the identity of the process has fields of wrong types")
    return identity
