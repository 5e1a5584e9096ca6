"""What is logged in the plugin's process, on its way to the host."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any


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
            self._send(log=self.format(record), level=record.levelno, name=record.name)
        except Exception:  # noqa: BLE001 - as the handlers of the standard library do
            self.handleError(record)
