"""Context of the operations: the registry, and the options of the host."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, TypeVar

from plugreg._support.guard import Guard, plain
from plugreg._support.outages import Outage
from plugreg.exceptions import RecordCorruptError, StorageError
from plugreg.records import PluginRecord
from plugreg.registry import PluginRegistry

T = TypeVar("T")
_logger = logging.getLogger("plugreg")
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s@A-Z]+")


def _make_outage() -> Outage:
    return Outage(
        "an operation was answered with 503, because the storage failed",
        "an operation that the storage had failed was carried out again",
    )


@dataclass(frozen=True, eq=False, repr=False)
class Service:
    """The registry behind the operations, and the options of the host.

    Serves many threads; the options never change. `PluginAPI` describes each of them.

    Raises:
        ValueError: If an origin is one that no browser would send.
    """

    registry: PluginRegistry
    _: KW_ONLY
    model_url: Callable[[str], str | None] | None = None
    settings_url: Callable[[PluginRecord], str | None] | None = None
    native_values: bool = False
    bare_list_without_limit: bool = False
    public_assets: bool = False
    trusted_origins: Collection[str] = ()
    outage: Outage = field(default_factory=_make_outage, init=False)
    damage: set[tuple[str, str]] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        for origin in self.trusted_origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"trusted_origins: {origin!r} is not an origin; "
                    f"write scheme, host and port, as 'https://shop.example', or '*'"
                )

    def note_failure(self, error: StorageError, operation: str) -> None:
        """Log the cause of a 503, once for each outage and damaged record.

        Args:
            error: The failure of the storage.
            operation: The id of the operation.
        """
        if not isinstance(error, RecordCorruptError):
            self.outage.failed(error, operation)
        elif (error.table, error.key) not in self.damage:
            # The storage works: a damaged record neither begins nor ends an outage.
            self.damage.add((error.table, error.key))
            _logger.warning("an operation was answered with 503: %s", error)

    def note_success(self, operation: str, *, is_change: bool) -> None:
        """Log the end of an outage.

        Args:
            operation: The id of the operation.
            is_change: Whether it needed the storage. A read ends the outage in which it failed.
        """
        if is_change:
            self.outage.end()
        else:
            self.outage.succeeded(operation)

    def url_of_model(self, model: str | None) -> str | None:
        """Return the address where objects of a model are listed, None if there is none.

        Args:
            model: The model, as ``app.model``. None has no address.
        """
        return None if model is None else _ask_host(self.model_url, model)

    def url_of_settings(self, record: PluginRecord) -> str | None:
        """Return the host's page for a plugin, None if there is none.

        Args:
            record: The record of the plugin.
        """
        return _ask_host(self.settings_url, record)


def _ask_host(url_of: Callable[[T], str | None] | None, subject: T) -> str | None:
    if url_of is not None:
        with Guard():
            url = url_of(subject)
            return None if url is None else plain(url)
    return None
