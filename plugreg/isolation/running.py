"""The host's state of an isolated plugin's process, and of the calls that wait for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from plugreg._support.frozen import NamedTuple
from plugreg.isolation.process import ChildProcess

if TYPE_CHECKING:
    from plugreg.isolation.codec import Codec

Callers = frozenset[tuple[object, ChildProcess]]
"""The isolated plugins that wait for the code that is running, each with its process."""

CALLERS: Final[ContextVar[Callers]] = ContextVar("plugreg isolated callers", default=frozenset())

ABSENT: Final = object()
"""Placeholder of an argument that a call does not pass."""


def all_waiting(callers: Callers) -> Callers:
    """Return the isolated plugins that wait for some others, and those that wait for them."""
    found, todo = set(callers), [*callers]
    while todo:
        _, child = todo.pop()
        more = frozenset().union(*list(child.callers)) - found
        found |= more
        todo += more
    return frozenset(found)


class HookRow(NamedTuple):
    """A hook implementation of the plugin: its name there, its arguments, and their codec.

    ``optional`` are those of the arguments that have a default, and ``seconds`` those that a call
    may take.
    """

    name: str
    names: tuple[str, ...]
    optional: frozenset[str]
    codec: Codec
    seconds: float

    def pack(self, values: Sequence[Any]) -> bytes:
        """Return the bytes of a call; the names come along where an argument is left out."""
        if not self.optional or all(value is not ABSENT for value in values):
            return self.codec.pack_arguments(values)
        given = {n: v for n, v in zip(self.names, values, strict=True) if v is not ABSENT}
        head = json.dumps({"names": [*given]}).encode()
        return head + b"\n" + self.codec.pack_arguments([*given.values()], [*given])


class Running:
    """The state of the plugin's process in a host process; a fork begins without any."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.child: ChildProcess | None = None
        self.restarts = -1
