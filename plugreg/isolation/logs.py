"""Log records of the plugin's process, on their way to the host."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

_LONGEST: Final = 1_000_000
"""How many characters of a record are sent."""


class HostLogs(logging.Handler):
    """Sends the records of the process to the host's logger of the plugin.

    Args:
        send: Sends a message to the host.
        level: The level below which nothing is sent.
    """

    def __init__(self, send: Callable[..., Any], level: int) -> None:
        super().__init__()
        self._send = send
        root = logging.getLogger()
        root.addHandler(self)
        root.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record as a string, with its traceback."""
        try:
            text = self.format(record)
            if len(text) > _LONGEST:
                # The half of a protected value could not be hidden any more.
                text = f"a record of {len(text):,} characters was left out"
            self._send(log=text, level=record.levelno)
        except Exception:  # noqa: BLE001 - as the handlers of the standard library do
            self.handleError(record)
