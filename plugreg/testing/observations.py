"""Observations of a plugin while it runs, as data that crosses a process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plugreg._support.frozen import NamedTuple


class Symptom(NamedTuple):
    """An observation: the code of its check, its place, and the fault as a clause."""

    code: str
    where: str
    message: str


def as_rows(observations: Iterable[Symptom]) -> list[list[str]]:
    """Return observations as values that JSON can hold.

    Args:
        observations: The observations.
    """
    return [[*observation] for observation in observations]


def from_rows(rows: Any) -> tuple[Symptom, ...]:
    """Return the observations that `as_rows` has made rows of.

    Args:
        rows: The rows.
    """
    return tuple(Symptom(*map(str, row)) for row in rows)
