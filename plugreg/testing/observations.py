"""Observations of a plugin while it runs, as data that crosses a process."""

from __future__ import annotations

from plugreg._support.frozen import NamedTuple


class Symptom(NamedTuple):
    """An observation: the code of its check, its place, and the fault as a clause."""

    code: str
    where: str
    message: str
