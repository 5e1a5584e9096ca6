"""Memory: for each plugin that is known and inactive, for finding plugins, and of a host."""

from __future__ import annotations

import gc
import re
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model import Budget, Case, Contestant, How, Kind, NotThereError, Place, Unit, floor, ours
from sites import SITES

from cases import discovery, start


@dataclass(slots=True)
class Row:
    """What is known of a plugin, with nothing round it."""

    slug: str
    name: str
    value: str
    version: str
    distribution: str
    path: str


def rows(place: Place) -> Callable[[], object]:
    def run() -> float:
        tracemalloc.start()
        kept = [
            Row(f"p-{n}", f"P {n}", f"m{n}:P", f"1.{n}", f"d-{n}", f"/site/d_{n}.dist-info")
            for n in range(place.size)
        ]
        used, _ = tracemalloc.get_traced_memory()
        return used / len(kept)

    return run


def inactive(place: Place) -> Callable[[], object]:
    from plugreg import PluginRegistry

    def used_by(size: int) -> tuple[object, int]:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        builtin = [(f"plugin-{n}", f"module_{n}:Plugin") for n in range(size)]
        registry = PluginRegistry("bench", group="no.such", builtin=builtin)
        registry.load()
        del builtin
        gc.collect()
        return registry, tracemalloc.get_traced_memory()[0] - before

    def run() -> float:
        tracemalloc.start()
        # What is imported at first use, and what a registry needs without plugins, is no plugin's.
        used_by(1)
        empty, base = used_by(0)
        registry, used = used_by(place.size)
        assert len(registry.plugins) == place.size
        del empty
        return (used - base) / place.size

    return run


def peak_of(each: Contestant) -> Contestant:
    """Return a contestant whose value is the most memory that Python had in use meanwhile."""

    def prepare(place: Place) -> Callable[[], object]:
        inner = each.start(place)

        def run() -> float:
            assert callable(inner)
            tracemalloc.start()
            inner()
            return tracemalloc.get_traced_memory()[1]

        return run

    return Contestant(name=each.name, part=each.part, start=prepare)


def resident_after(each: Contestant) -> Contestant:
    """Return a contestant whose value is the most memory that the process has had."""

    def prepare(place: Place) -> Callable[[], object]:
        inner = each.start(place)

        def run() -> float:
            assert callable(inner)
            inner()
            return resident()

        return run

    return Contestant(name=each.name, part=each.part, start=prepare)


def resident() -> int:
    """Return the peak of this process alone; what getrusage says counts in its parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        raise NotThereError("not there: /proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    assert found is not None
    return int(found[1]) * 1024


ON_SITES = {
    "how": How.VALUE,
    "unit": Unit.BYTES,
    "together": False,
    "site": True,
    "counting": "distributions",
    "sizes": tuple(SITES)[:3],
    "quick": tuple(SITES)[:2],
    "huge": tuple(SITES)[3:],
}
FINDERS = discovery.CASES["without an index"].contestants
STARTERS = start.CASES["ten plugins of all that are installed"].contestants
CASES = {
    each.name: each
    for each in (
        Case(
            name="each plugin that is known and inactive",
            how=How.VALUE,
            unit=Unit.BYTES,
            together=False,
            counting="plugins",
            sizes=(100, 1_000, 10_000),
            quick=(100, 1_000),
            contestants=(floor("slotted dataclass", rows), ours("plugreg", inactive)),
            budgets=(Budget(of="plugreg", limit=2048, kind=Kind.AT_MOST),),
        ),
        Case(
            name="finding plugins, peak of what Python allocates",
            contestants=tuple(map(peak_of, FINDERS)),
            budgets=(
                Budget(of="plugreg", limit=15 * 2**20, kind=Kind.AT_MOST, sizes=(100, 1_000)),
            ),
            **ON_SITES,
        ),
        Case(
            name="a host that serves ten plugins, peak of the process",
            contestants=tuple(map(resident_after, STARTERS)),
            **ON_SITES,
        ),
    )
}
