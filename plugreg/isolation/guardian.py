"""The guardian: the first process of an isolated plugin, which forks the process with the plugin.

It is imported by its own name, and imports nothing of plugreg, so that it stays small. It waits for
the end of the plugin's process, or of the host, whose socket closes then. It does so though the
plugin holds the GIL, and though the thread that started it is gone. Then it ends all that the
plugin has started: the group of its process, and on Linux each process that lost its parent, since
those become children of the guardian (prctl(2), PR_SET_CHILD_SUBREAPER). It ends as the plugin's
process ended.
"""

import json
import os
import select
import signal
import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

GRACE = 1.0
"""Seconds that the plugin's process has to end by itself when the host has gone."""
_SUBREAPER = 36


def main(*places: str) -> None:
    """Fork the plugin's process; in it, serve the host; here, guard it.

    Without the descriptors of the two sockets this process serves, and connects to the host by
    data that it reads from stdin.
    """
    del sys.path[0], sys.modules[__name__], sys.argv[1:]
    if not places:
        with sys.stdin as stdin:
            address = json.loads(stdin.read())
        sys.stdin = open(os.devnull)  # noqa: PTH123, SIM115 - it takes the place of the other
        serve(connect(**address).detach(), connect(**address).detach())
    control, calls = map(int, places)
    ready, tell = os.pipe()
    os.set_inheritable(calls, False)
    os.set_inheritable(control, False)
    plugin = os.fork()
    if plugin == 0:
        os.close(tell)
        os.setpgid(0, 0)
        serve(control, calls, ready)
    os.close(ready)
    os.close(calls)
    with suppress(OSError):
        os.setpgid(plugin, plugin)
    guard(plugin, control, tell)


def connect(port: int, key: str) -> "socket.socket":
    """Return a connection to the host, which asks for the key."""
    import socket

    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(key.encode())
    return sock


def serve(control: int, calls: int, ready: int = -1) -> None:
    """Import the server by the path that the host sends, and hand over to it."""
    import socket

    first = socket.socket(fileno=calls)
    start = json.loads(read_exactly(first, int.from_bytes(read_exactly(first, 4), "big")))
    if start["path"] is not None:
        sys.path[:] = start["path"]
    sys.path += [folder for folder in start["own"] if folder not in sys.path]
    from plugreg.isolation.child import main as run

    sys.path[:0] = start["first"]
    sys.dont_write_bytecode, sys.pycache_prefix = start["bytecode"]
    run(socket.socket(fileno=control), first, ready, connect)


def read_exactly(sock: "socket.socket", length: int) -> bytes:
    """Receive so many bytes; EOFError if the other side closes before."""
    data = b""
    while len(data) < length:
        piece = sock.recv(length - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def guard(plugin: int, control: int, tell: int) -> None:
    """Wait for the end of the plugin's process or of the host, and end everything."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with suppress(Exception):
        import ctypes

        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    os.close(tell)
    # The standard streams are the plugin's: the host reads them to their end.
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(null, descriptor)
    poll = select.poll()
    poll.register(woken, select.POLLIN)
    # No event is requested except the end of the host, which is always reported.
    poll.register(control, getattr(select, "POLLRDHUP", 0))
    has_host = True
    while not asked and not has_ended(plugin):
        events = poll.poll(None if has_host else GRACE * 1000)
        if not has_host and not events:
            break
        for descriptor, _ in events:
            if descriptor == woken:
                os.read(woken, 4096)
            else:
                has_host = False
                poll.unregister(control)
    with suppress(OSError):
        os.killpg(plugin, signal.SIGKILL)
    _, status = os.waitpid(plugin, 0)
    end_adopted()
    finish(status)


def has_ended(process: int) -> bool:
    """Return whether a child has ended; it is not reaped, so that its number stays its own."""
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process, options) is not None


def end_adopted() -> None:
    """Kill every process that has become a child of this process, until there is none."""
    while True:
        for process in children():
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        try:
            # Children of a killed process become children, too.
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def children() -> list[int]:
    """Return the numbers of the children of this process, none where the system does not say."""
    found = []
    with suppress(OSError):
        names = os.listdir("/proc")  # noqa: PTH208 - pathlib would make the start slower
        for name in filter(str.isdigit, names):
            # A process may be gone by now.
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                # The name of the program, in parentheses, may have blanks.
                parent = file.read().rpartition(b")")[2].split()[1]
                if int(parent) == os.getpid():
                    found.append(int(name))
    return found


def finish(status: int) -> None:
    """End as a process with this status did."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with suppress(Exception):
            import resource

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with suppress(OSError, ValueError):
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 128 - code)
