"""Facts on the process of an isolated plugin, as they are at the moment they are read."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from plugreg._support.frozen import Frozen, arguments


class ProcessInfo(Frozen):
    """The process of an isolated plugin.

    Attributes:
        pid: Number of the process that runs the plugin, None while there is none.
        started: Time of its start, aware, in UTC; None while there is none.
        restarts: How often an ended process was replaced, since activation.
        rss: Bytes of memory that it has now, None where the system does not say.
        cpu: Seconds of CPU time that it has used, None where the system does not say.
    """

    pid: int | None
    started: datetime | None
    restarts: int
    rss: int | None = None
    cpu: float | None = None

    def as_data(self) -> dict[str, Any]:
        """Return the facts as data for JSON."""
        started = None if self.started is None else self.started.isoformat()
        return arguments(self) | {"started": started}


def measure(pid: int | None) -> tuple[int | None, float | None]:
    """Return memory in bytes and CPU time in seconds of a process, by proc(5)."""
    rss = cpu = None
    if pid is not None:
        with suppress(OSError, ValueError, IndexError, AttributeError):
            pages = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
            rss = pages * os.sysconf("SC_PAGE_SIZE")
            # The name of the program, in parentheses, may have blanks.
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return rss, cpu
