"""What a benchmark is made of: cases as data, and what a contestant gives to be measured."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

TIMES = "\N{MULTIPLICATION SIGN}"


class NotThereError(Exception):
    """Said by a contestant that cannot take part here; the text says what is not there."""


FAILED = "failed"
"""How the text begins that stands for a value where a contestant broke off."""


class Part(StrEnum):
    """The part that a contestant plays."""

    FLOOR = "floor"
    """What the task costs at least, done by hand and without any of the promises."""
    PLUGREG = "plugreg"
    PEER = "peer"


class How(StrEnum):
    """How a contestant is measured in one process; the value is a number of the case's unit."""

    LOOP = "loop"
    """The least time of some rounds of many calls, as timeit does it, garbage collection off."""
    EACH = "each"
    """The median of calls that are timed one by one."""
    ONCE = "once"
    """The time of the first and only call."""
    VALUE = "value"
    """What the call returns."""
    CALLS = "calls"
    """How many calls of the file system the call makes."""


class Unit(StrEnum):
    """What is measured."""

    SECONDS = "s"
    BYTES = "B"
    COUNT = ""


_SCALES = {
    Unit.SECONDS: ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    Unit.BYTES: ((2**20, "MiB"), (2**10, "KiB"), (1, "B")),
}


def shown(value: float, unit: str) -> str:
    """Return a figure with three digits and its unit."""
    if unit not in _SCALES:
        return f"{value:,.0f}"
    scales = _SCALES[Unit(unit)]
    factor, name = next((each for each in scales if abs(value) >= each[0]), scales[-1])
    scaled = value / factor
    digits = 0 if abs(scaled) >= 100 or not scaled else 2 - math.floor(math.log10(abs(scaled)))
    return f"{scaled:.{min(max(digits, 0), 2)}f} {name}"


def times(ratio: float) -> str:
    """Return a ratio with three digits."""
    digits = 2 if ratio < 10 else 1 if ratio < 100 else 0
    return f"{ratio:.{digits}f} {TIMES}"


class Kind(StrEnum):
    """How a budget is read."""

    TIMES = "times"
    """At most ``limit`` times the contestant ``against``."""
    PLUS = "plus"
    """At most the contestant ``against`` and ``limit`` more."""
    AT_MOST = "at most"
    """At most ``limit``, whatever the others need."""
    GROWTH = "growth"
    """At most ``limit`` times its own value at the smallest size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a contestant works: the size of its task, a fabricated site, an empty folder."""

    size: int
    site: Path | None
    scratch: Path

    def narrow_path(self) -> None:
        """Leave the standard library and the site on ``sys.path``; what is imported stays so.

        The worker has put the site there, once, for what is there twice a floor searches twice.
        """
        own = str(Path(__file__).parent)
        sys.path[:] = [each for each in sys.path if "site-packages" not in each and each != own]


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """What is measured: a function, or a statement with the names it uses, as in timeit.

    ``after`` puts things back after each call of ``run``, and is not measured; only EACH calls it.
    ``close`` lets go of what was opened.
    """

    run: Callable[[], object] | str
    names: Mapping[str, Any] = field(default_factory=dict)
    after: Callable[[], object] | None = None
    close: Callable[[], object] | None = None


def statement(text: str, /, **names: Any) -> Timed:
    """Return a statement to be measured without the cost of a function round it."""
    return Timed(run=text, names=names)


@dataclass(frozen=True, kw_only=True, slots=True)
class Contestant:
    """One that takes part: ``start`` prepares everything and gives what is measured."""

    name: str
    part: Part
    start: Callable[[Place], Timed | Callable[[], object]]


def floor(name: str, start: Callable[[Place], Timed | Callable[[], object]]) -> Contestant:
    """Return a contestant that is a floor; the first of a case is what ratios are read against."""
    return Contestant(name=name, part=Part.FLOOR, start=start)


def ours(name: str, start: Callable[[Place], Timed | Callable[[], object]]) -> Contestant:
    """Return a contestant that is plugreg."""
    return Contestant(name=name, part=Part.PLUGREG, start=start)


def peer(name: str, start: Callable[[Place], Timed | Callable[[], object]]) -> Contestant:
    """Return a contestant that a user would pick instead."""
    return Contestant(name=name, part=Part.PEER, start=start)


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What a contestant may need, at some sizes or (without ``sizes``) at all."""

    of: str
    limit: float
    kind: Kind = Kind.TIMES
    against: str = ""
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One question. ``counting`` is what the sizes are numbers of, and empty if there is one size.

    With ``together`` the contestants take turns in one process, else each has one of its own.
    With ``site`` they work on a fabricated site of ``size`` distributions, or of ``size`` plugins
    if these are counted. With ``warm`` a first process of each is not counted, which fills what
    libraries cache on the disk. ``quick`` are the sizes of a quick run, all if empty, ``huge``
    those added by --huge; ``rounds`` is how often EACH calls in a process.
    """

    name: str
    contestants: tuple[Contestant, ...]
    how: How
    counting: str = ""
    sizes: tuple[int, ...] = (1,)
    quick: tuple[int, ...] = ()
    huge: tuple[int, ...] = ()
    unit: Unit = Unit.SECONDS
    together: bool = True
    site: bool = False
    warm: bool = False
    rounds: int = 40
    budgets: tuple[Budget, ...] = ()
    note: str = ""

    def sizes_of(self, *, quick: bool, huge: bool) -> tuple[int, ...]:
        """Return the sizes of a run."""
        chosen = self.quick if quick and self.quick else self.sizes
        return chosen + self.huge if huge else chosen

    @property
    def floor(self) -> str | None:
        """The name of the contestant that ratios are read against."""
        return next((each.name for each in self.contestants if each.part is Part.FLOOR), None)
