"""What the operations work on: the registry, and what only the host can say."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from plugreg._support.guard import Guard, plain
from plugreg._support.outages import Outage
from plugreg.exceptions import RecordCorruptError, StorageError
from plugreg.records import PluginRecord
from plugreg.registry import PluginRegistry

_logger = logging.getLogger("plugreg")

_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s@A-Z]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """The registry behind the operations, and the host's answers to what plugreg cannot know.

    ``model_url`` gives the address where objects of a model (``app.model``) are listed,
    ``settings_url`` the page of the host's interface for a plugin; both may be None, and what one
    of them raises counts as None. With ``native_values`` values of settings are what JSON
    has for them on the wire (booleans, numbers, arrays, objects), not text, and are taken so.
    With ``bare_list_without_limit`` a list that was asked for without a limit is a plain array.
    With ``public_assets`` plugins' files are served without asking who wants them.
    ``trusted_origins`` are the origins of other sites whose pages may make changes, as
    ``https://shop.example``; ``*`` trusts all.

    Raises ValueError for an origin that no browser would send.
    """

    registry: PluginRegistry
    model_url: Callable[[str], str | None] | None = None
    settings_url: Callable[[PluginRecord], str | None] | None = None
    native_values: bool = False
    bare_list_without_limit: bool = False
    public_assets: bool = False
    trusted_origins: Collection[str] = ()
    outage: Outage = field(
        default_factory=lambda: Outage(
            "an operation was answered with 503, because the storage failed",
            "an operation that the storage had failed was carried out again",
        ),
        init=False,
        repr=False,
        compare=False,
    )

    damage: set[tuple[str, str]] = field(default_factory=set, init=False, repr=False, compare=False)

    def note_failure(self, error: StorageError, operation: str) -> None:
        """Log why an operation is answered with 503: once for each outage and damaged record."""
        if not isinstance(error, RecordCorruptError):
            self.outage.failed(error, operation)
        elif (error.table, error.key) not in self.damage:
            # The storage works, so that it is no outage, and ends none.
            self.damage.add((error.table, error.key))
            _logger.warning("an operation was answered with 503: %s", error)

    def note_success(self, operation: str, *, is_change: bool) -> None:
        """Log the end of an outage: a read needs the storage only where it has failed before."""
        if is_change:
            self.outage.end()
        else:
            self.outage.succeeded(operation)

    def __post_init__(self) -> None:
        for origin in self.trusted_origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"trusted_origins: {origin!r} is not an origin; "
                    f"write scheme, host and port, as 'https://shop.example', or '*'"
                )

    def url_of_model(self, model: str | None) -> str | None:
        """Return the address where objects of ``model`` are listed, None if the host has none."""
        if self.model_url is None or model is None:
            return None
        with Guard():
            url = self.model_url(model)
            return None if url is None else plain(url)
        return None

    def url_of_settings(self, record: PluginRecord) -> str | None:
        """Return the host's page for a plugin, None if it has none."""
        if self.settings_url is None:
            return None
        with Guard():
            url = self.settings_url(record)
            return None if url is None else plain(url)
        return None
