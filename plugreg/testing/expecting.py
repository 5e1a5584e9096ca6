"""Failures that a test expects, and those that it does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from types import TracebackType

from plugreg.records import PluginFailure


class ExpectedFailure:
    """A failure that a test expects, at any time, or in a ``with`` block.

    Args:
        seen: Returns all failures until now.
        stage: Stage of the failure; None for any.
        match: Pattern that is searched in the message; None for any.
        slug: The plugin; None for any.
    """

    def __init__(
        self,
        seen: Callable[[], Iterable[PluginFailure]],
        stage: str | None,
        match: str | None,
        slug: str | None,
    ) -> None:
        self._seen = seen
        self._stage = stage
        self._pattern = None if match is None else re.compile(match)
        self._slug = slug

    def fits(self, failure: PluginFailure) -> bool:
        """Return whether a failure is the expected failure.

        Args:
            failure: The failure.
        """
        return (
            self._stage in (None, str(failure.stage))
            and self._slug in (None, failure.slug)
            and (self._pattern is None or bool(self._pattern.search(failure.message)))
        )

    def check(self) -> None:
        """Raise AssertionError if there was no such failure."""
        seen = tuple(self._seen())
        if not any(map(self.fits, seen)):
            others = "; there were: " + ", ".join(map(describe, seen)) if seen else ""
            raise AssertionError(f"there was no failure with {self}{others}")

    def __str__(self) -> str:
        pattern = None if self._pattern is None else self._pattern.pattern
        wanted = {"stage": self._stage, "match": pattern, "slug": self._slug}
        named = [f"{name}={value!r}" for name, value in wanted.items() if value is not None]
        return ", ".join(named) or "any stage"

    def __enter__(self) -> ExpectedFailure:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None:
            self.check()


def describe(failure: PluginFailure) -> str:
    """Return a failure as a line.

    Args:
        failure: The failure.
    """
    return f"plugin {failure.slug!r} at stage {str(failure.stage)!r}: {failure.message}"
