"""Connections of psycopg with a timeout for servers that do not answer."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg

T = TypeVar("T")


class LimitedConnection(psycopg.Connection[Any]):
    """A connection that closes itself after *silence* seconds without an answer.

    libpq has a limit for connecting, and none for an answer.
    """

    silence: float | None = None

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **options: Any) -> T:
        """Run a generator of psycopg, as every statement does, with the limit.

        Args:
            gen: The generator.
            args: Further arguments of psycopg's method.
            options: Its options.
        """
        limited = gen if self.silence is None else self._limited(gen, self.silence)
        return super().wait(limited, *args, **options)

    def _limited(self, gen: Generator[Any, Any, T], seconds: float) -> Generator[Any, Any, T]:
        deadline = time.monotonic() + seconds
        try:
            wanted = next(gen)
            while True:
                # Without anything to read or write, psycopg comes here ten times a second.
                ready = yield wanted
                if ready:
                    deadline = time.monotonic() + seconds
                elif time.monotonic() >= deadline:
                    self.close()
                    raise psycopg.OperationalError(
                        f"the server has not answered for {seconds:g} seconds"
                    )
                wanted = gen.send(ready)
        except StopIteration as stop:
            value: T = stop.value
            return value
