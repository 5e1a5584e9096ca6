"""The host's state of an isolated plugin's process, and of the calls that wait for it."""

from __future__ import annotations

from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING, Final

from plugreg._support.frozen import NamedTuple
from plugreg.isolation.process import ChildProcess

if TYPE_CHECKING:
    from plugreg.isolation.codec import Codec

Callers = frozenset[tuple[object, ChildProcess]]
"""The isolated plugins that wait for the code that is running, each with its process."""

CALLERS: Final[ContextVar[Callers]] = ContextVar("plugreg isolated callers", default=frozenset())


def all_waiting(callers: Callers) -> Callers:
    """Return the isolated plugins that wait for some others, and those that wait for them."""
    found, todo = set(callers), [*callers]
    while todo:
        _, child = todo.pop()
        more = frozenset().union(*list(child.callers)) - found
        found |= more
        todo += more
    return frozenset(found)


class RemoteFunction(NamedTuple):
    """A function of the plugin: its name there, the codec of its calls, and their time limit."""

    name: str
    codec: Codec
    seconds: float


class Running:
    """The state of the plugin's process in a host process; a fork begins without any."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.child: ChildProcess | None = None
        self.restarts = -1
