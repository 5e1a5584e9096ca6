"""Values between responder and screens: a visit goes in, a screen or a redirect comes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from plugreg._support.frozen import Frozen
from plugreg.api import Access, Actor, APIError, PluginAPI
from plugreg.api.errors import NotFoundError
from plugreg.api.http import Request
from plugreg.records import EMPTY

MOST_LINES: Final = 8
"""The most lines of a message, which travels in a cookie."""

MOST_BYTES: Final = 2400
"""The most bytes of a message as JSON, of which its cookie makes a third more."""


INSTALLING: Final = (
    "plugins_plan_create",
    "plugins_install_create",
    "plugins_uninstall_partial_update",
)
"""The operations that need an installer."""


class Message(NamedTuple):
    """The result of a change, in a sentence that names the plugin.

    Attributes:
        role: ``status``, or ``alert`` if something was refused or has failed.
        text: The sentence.
        lines: Details, a line for each plugin.
    """

    role: Literal["status", "alert"]
    text: str
    lines: tuple[str, ...] = ()

    def shortened(self) -> Message:
        """Return the part that fits into a cookie: the sentence first, then whole lines.

        Browsers drop a cookie of more than 4096 bytes, and the message with it.
        """
        lines, words = [*self.lines], self.text
        while lines and len(json.dumps([words, *lines])) > MOST_BYTES:
            lines.pop()
        if len(json.dumps(words)) > MOST_BYTES:
            # A character takes up to twelve bytes of JSON.
            words = f"{words[: MOST_BYTES // 12]}…"
        return Message(self.role, words, tuple(lines))


class Screen(NamedTuple):
    """A page to show.

    Attributes:
        template: Name of its template.
        values: Values for the template.
        status: HTTP status.
        message: The result of a refused change.
    """

    template: str
    values: Mapping[str, Any] = EMPTY
    status: int = 200
    message: Message | None = None


class Redirect(NamedTuple):
    """The answer to a change: another screen, which shows the message.

    Attributes:
        address: Address of the screen.
        message: The result of the change.
    """

    address: str
    message: Message | None = None


class Visit(Frozen):
    """A request of an actor whom the access rule of the screen allows.

    Attributes:
        api: The operations of the extended API.
        actor: Who asks.
        request: The request.
        root: Path of the page, with a slash at its end.
        language: Its language.
        query: Parameters of the address.
        fields: Fields of the form, whose token was checked; none for a read.
        text: Translates a sentence into the language of the visit; keywords are its values.
        plans: Plans that this process has made and that may be confirmed, by their digests.
    """

    api: PluginAPI
    actor: Actor
    request: Request
    root: str
    language: str
    query: Mapping[str, str]
    fields: Mapping[str, str]
    text: Callable[..., str]
    plans: MutableMapping[str, Any]

    def may(self, operation: str) -> bool:
        """Return whether the actor may carry an operation out, and the host offers it.

        Args:
            operation: The id of the operation.
        """
        if operation in INSTALLING and self.api.registry.packages is None:
            return False
        access = access_of(self.api, operation)
        return access is not None and access.allows(self.actor)

    def call(self, operation: str, **arguments: Any) -> Any:
        """Carry an operation of the API out, as this actor.

        Args:
            operation: The id of the operation.
            **arguments: Its parameters, and ``body=``.

        Raises:
            APIError: If it is refused, or the host does not offer it.
        """
        if access_of(self.api, operation) is None:
            raise NotFoundError
        return getattr(self.api, operation)(self.actor, **arguments)

    def address(self, path: str = "", /, **query: object) -> str:
        """Return the address of a screen.

        Args:
            path: Its path below the page, not encoded.
            **query: Parameters; those that are empty are left out.
        """
        pairs = {name: value for name, value in query.items() if value not in ("", None)}
        return self.root + quote(path) + (f"?{urlencode(pairs)}" if pairs else "")

    @property
    def back(self) -> str:
        """Path and query of the screen that the actor came from, below the page; "" is the list."""
        path, _, query = (self.fields.get("back") or self.query.get("back", "")).partition("?")
        pairs = parse_qsl(query)
        return quote(path) + (f"?{urlencode(pairs)}" if pairs else "")


def access_of(api: PluginAPI, operation: str) -> Access | None:
    """Return the access rule of an operation, None if the host has removed it.

    Args:
        api: The operations.
        operation: The id.
    """
    row = getattr(type(api), operation, None)
    return None if row is None else row.access


def sentences(error: APIError) -> str:
    """Return the words of a refusal as a string, without the names of fields.

    Args:
        error: The refusal.
    """
    return " ".join(sentence for group in error.errors.values() for sentence in group)
