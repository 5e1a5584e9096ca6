"""Child processes that lead a group: whether they, or others of it, are still there."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from subprocess import Popen

_TICK: Final = 0.01
"""How many seconds lie between two looks."""


def has_ended(process: Popen[bytes]) -> bool:
    """Tell whether it has, without taking its number from it: its group is still to be ended."""
    if sys.platform == "win32":
        return process.poll() is not None
    try:
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, process.pid, how) is not None
    except ChildProcessError:
        return True  # The host lets the system take its children's exit codes.


def group_exists(number: int) -> bool:
    """Tell whether any process of a group is there that this one may signal."""
    if sys.platform == "win32":
        return False  # There are no groups.
    try:
        os.killpg(number, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def waited(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; tell whether it came to hold in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_TICK)
    return True
