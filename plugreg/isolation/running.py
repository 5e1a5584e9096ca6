"""The host's state of an isolated plugin's process, and the host's work for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Protocol

from plugreg._support.frozen import NamedTuple
from plugreg._support.redact import Scrubber
from plugreg.exceptions import IsolationError, PluginNotActiveError
from plugreg.isolation.data import to_data
from plugreg.isolation.options import Isolated
from plugreg.isolation.process import ChildProcess
from plugreg.isolation.protocol import Mirrored

if TYPE_CHECKING:
    from plugreg._lifecycle.binding import BoundContext
    from plugreg.isolation.codec import Codec


class Surroundings(Protocol):
    """The surroundings of the plugin in the host."""

    slug: str
    """The plugin."""

    def scrubber(self) -> Scrubber:
        """Return the scrubber of the plugin's protected values."""
        ...

    def values(self) -> tuple[object, object]:
        """Return stored settings and metadata: the same objects as long as they are the same."""
        ...

    def mirrored(self) -> Mirrored:
        """Return the same as they are sent."""
        ...

    def call_host(self, hook: str, arguments: Mapping[str, Any]) -> Any:
        """Call a hook of the host."""
        ...


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


class HookRow(NamedTuple):
    """A hook implementation of the plugin: its name there, its arguments, and their codec.

    ``seconds`` are those that a call may take.
    """

    name: str
    names: tuple[str, ...]
    codec: Codec
    seconds: float


class Running:
    """The state of the plugin's process in a host process; a fork begins without any."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.child: ChildProcess | None = None
        self.restarts = -1


def carry_out(
    message: Mapping[str, Any],
    context: BoundContext | None,
    options: Isolated,
    around: Surroundings,
) -> Any:
    """Carry out a request of the plugin to its host, and return the answer as data.

    Args:
        message: The request; it may be anything.
        context: The plugin's context in the host, None before it has one.
        options: The options of the plugin.
        around: Its surroundings in the host.

    Raises:
        IsolationError: If the host does not allow it.
        ValueNotSentError: If the answer is no data.
    """
    what = message["what"]
    if context is None:
        raise PluginNotActiveError(around.slug, "loaded")
    if what == "set_setting":
        context.set_setting(message["key"], message["value"])
    elif what == "set_user_setting":
        context.set_user_setting(message["key"], message["value"], message["user"])
    elif what == "set_metadata":
        context.set_metadata(message["data"], bool(message["merge"]))
    elif what == "call_host":
        hook = str(message["hook"])
        if hook not in options.allowed_hooks:
            reason = f"it may not call hook {hook!r}; the host allows it with may_call="
            raise IsolationError(around.slug, reason)
        return to_data(hook, "result", around.call_host(hook, dict(message["arguments"])))
    else:
        raise ValueError(f"{what!r} cannot be asked for")
    return None


def pack(row: HookRow, values: Sequence[Any], named: Mapping[str, Any]) -> bytes:
    """Return the bytes of a call; the names come along where an argument is left out."""
    if not named and len(values) == len(row.names):
        return row.codec.pack_arguments(values)
    names = [*row.names[: len(values)], *named]
    head = json.dumps({"names": names}).encode()
    return head + b"\n" + row.codec.pack_arguments([*values, *named.values()], names)
