"""The process of a plugin as the system has it: started, connected, and ended.

Where processes fork, a guardian inherits sockets, and forks the process with the plugin. Elsewhere,
on Windows, the process connects to the host over the loopback address, and a job object ends it
with its host and with everything that it has started.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from subprocess import Popen
from typing import Any, Final

from plugreg._support.process import GRACE, end, has_ended, signal_group, start, wait_until
from plugreg.isolation.environments import Program

CAN_FORK = hasattr(os, "fork") and hasattr(socket, "send_fds")
"""Whether a guardian can fork the process, and sockets be handed to it."""

_PATIENCE: Final = 1.0
"""Seconds that a peer has for its key; others wait meanwhile."""

Send = Callable[[Mapping[str, Any], socket.socket | None], object]
"""Sends a message over the control line, with a socket if given."""

# It is imported, since Python keeps no bytecode of a script, and by this name alone.
_BOOT: Final = (
    "import sys; sys.path[:not sys.flags.safe_path] = [sys.argv[1]]; "
    "from guardian import main; main(*sys.argv[2:])"
)


def _command(program: Program, *places: int) -> list[str]:
    folder = str(Path(__file__).parent)
    return [
        program.python,
        *program.flags,
        "-X",
        "faulthandler",
        "-c",
        _BOOT,
        folder,
        *map(str, places),
    ]


class GuardedProcess:
    """A guardian, which has forked the process; see `plugreg.isolation.guardian`.

    Attributes:
        popen: The process that was started.
        control: The socket for messages beside calls.
        calls: The socket for the first calls.
        connects: Whether `connect` waits for the process.
    """

    connects = False

    def __init__(self, program: Program) -> None:
        self.control, control = socket.socketpair()
        self.calls, calls = socket.socketpair()
        places = (control.fileno(), calls.fileno())
        with control, calls:
            try:
                command = _command(program, *places)
                self.popen = start(command, program.environment, descriptors=places)
            except BaseException:
                self.control.close()
                self.calls.close()
                raise

    def connect(self, kind: str, send: Send) -> socket.socket:
        """Return another socket for calls, whose other end the process gets."""
        near, far = socket.socketpair()
        send({"line": kind}, far)
        return near

    def has_started(self, pid: int) -> bool:
        """Return whether a process, whose number the plugin names, is of the guardian's session."""
        with suppress(OSError):
            return pid > 0 and os.getsid(pid) == self.popen.pid
        return False

    def kill(self) -> None:
        """Let the guardian end the rest, and itself; return before that is done."""
        with suppress(OSError):
            if self.popen.returncode is None:
                os.kill(self.popen.pid, signal.SIGTERM)

    def reap(self, pid: int) -> int:
        """Wait for the guardian, which ends as the process *pid* ended; return the exit code."""
        if not wait_until(lambda: has_ended(self.popen), GRACE):
            self.kill()
            wait_until(lambda: has_ended(self.popen), GRACE)
        if pid != self.popen.pid:
            # The guardian itself may have been killed.
            with suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
        end(self.popen)
        return self.popen.returncode


class ConnectedProcess:
    """The process itself, which connects to the host. It leads a session, or is in a job.

    It has the attributes and methods of a `GuardedProcess`.
    """

    connects = True

    def __init__(self, program: Program, seconds: float, memory: int | None) -> None:
        self._seconds = seconds
        self.popen = start(_command(program), program.environment, has_input=True)
        stdin, stdout, stderr = self.popen.stdin, self.popen.stdout, self.popen.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        with ExitStack() as opened:
            opened.callback(end, self.popen)
            opened.enter_context(stdout)
            opened.enter_context(stderr)
            self._job = _job_of(self.popen, memory)
            with _Invitation(self.popen) as invitation:
                with stdin:
                    stdin.write(json.dumps(invitation.as_data()).encode())
                self.control = opened.enter_context(invitation.accept(seconds))
                self.calls = invitation.accept(seconds)
            opened.pop_all()

    def connect(self, kind: str, send: Send) -> socket.socket:
        """Let the process connect once more. Raises OSError if it does not."""
        with _Invitation(self.popen) as invitation:
            send({"line": kind, **invitation.as_data()}, None)
            return invitation.accept(self._seconds)

    def has_started(self, pid: int) -> bool:  # noqa: ARG002 - it is shown, and never signalled
        """Return True: the started program on Windows may be a launcher of the process."""
        return True

    def kill(self) -> None:
        """End the process and its group or job."""
        signal_group(self.popen, 9)
        self._job.close()

    def reap(self, pid: int) -> int:  # noqa: ARG002 - it is that of the process
        """Wait for the process, as long as it may take to leave."""
        wait_until(lambda: has_ended(self.popen), GRACE)
        self._job.close()
        end(self.popen)
        return self.popen.returncode


class _Invitation:
    """An address whose key only one process knows, until it has connected."""

    def __init__(self, popen: Popen[bytes]) -> None:
        self._popen = popen
        self._key = secrets.token_hex()
        self._listener = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> _Invitation:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def as_data(self) -> dict[str, Any]:
        """Return the data for the process."""
        return {"port": self._listener.getsockname()[1], "key": self._key}

    def accept(self, seconds: float) -> socket.socket:
        """Return the connection of the process. Raises OSError if it does not connect."""
        deadline = time.monotonic() + seconds
        self._listener.settimeout(0.1)
        while time.monotonic() < deadline and not has_ended(self._popen):
            with suppress(TimeoutError):
                near, _ = self._listener.accept()
                if self._is_known(near):
                    near.settimeout(None)
                    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return near
                near.close()
        raise ConnectionError("its process does not connect to the host")

    def _is_known(self, near: socket.socket) -> bool:
        """Return whether the peer knows the key: any user of the machine may try."""
        near.settimeout(_PATIENCE)
        deadline = time.monotonic() + _PATIENCE
        given = b""
        with suppress(OSError):
            while (left := len(self._key) - len(given)) and time.monotonic() < deadline:
                piece = near.recv(left)
                if not piece:
                    break
                given += piece
        return secrets.compare_digest(given, self._key.encode())


def _job_of(popen: Popen[bytes], memory: int | None) -> ExitStack:
    """Put a process into a job, on Windows; return what ends everything in it.

    The job ends with the host, too. Elsewhere the process leads a group, and limits itself.
    """
    opened = ExitStack()
    if sys.platform == "win32":
        import ctypes
        from ctypes import wintypes

        class JobLimits(ctypes.Structure):  # JOBOBJECT_EXTENDED_LIMIT_INFORMATION
            _fields_ = (
                ("times", ctypes.c_int64 * 2),
                ("flags", wintypes.DWORD),
                ("sizes", ctypes.c_size_t * 2),
                ("processes", wintypes.DWORD),
                ("affinity", ctypes.c_size_t),
                ("classes", wintypes.DWORD * 2),
                ("counters", ctypes.c_uint64 * 6),
                ("process_memory", ctypes.c_size_t),
                ("others", ctypes.c_size_t * 3),
            )

        system = ctypes.WinDLL("kernel32", use_last_error=True)
        system.CreateJobObjectW.restype = wintypes.HANDLE
        job = wintypes.HANDLE(system.CreateJobObjectW(None, None))
        opened.callback(system.CloseHandle, job)
        # JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE, and JOB_OBJECT_LIMIT_PROCESS_MEMORY.
        limits = JobLimits(flags=0x2000 | (0x100 if memory else 0), process_memory=memory or 0)
        size, process = ctypes.sizeof(limits), wintypes.HANDLE(int(popen._handle))
        # 9 is JobObjectExtendedLimitInformation.
        if not (
            system.SetInformationJobObject(job, 9, ctypes.byref(limits), size)
            and system.AssignProcessToJobObject(job, process)
        ):
            raise ctypes.WinError(ctypes.get_last_error())
    return opened


SystemProcess = GuardedProcess | ConnectedProcess


def start_process(program: Program, *, seconds: float, memory: int | None) -> SystemProcess:
    """Start a process for a plugin. Raises OSError.

    Args:
        program: The program to start.
        seconds: Most seconds that it may take to connect.
        memory: Most bytes of memory, for a system where the process cannot limit itself.
    """
    return GuardedProcess(program) if CAN_FORK else ConnectedProcess(program, seconds, memory)
