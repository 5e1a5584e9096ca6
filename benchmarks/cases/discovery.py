"""Finding the plugins of installed distributions, without loading them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from model import Budget, Case, How, Place, floor, ours, peer
from sites import GROUP, PLUX_GROUP, SITES


def entries_of(text: str) -> list[tuple[str, str]]:
    """Return name and value of the group's entries, in the least time."""
    found = []
    section = ""
    for line in text.splitlines():
        if line[:1] == "[":
            section = line[1:-1]
        elif line and section == GROUP:
            name, _, value = line.partition("=")
            found.append((name.strip(), value.strip()))
    return found


def scan() -> list[tuple[str, str]]:
    """Read each entry_points.txt of ``sys.path``: the cold floor."""
    found = []
    for entry in sys.path:
        try:
            children = os.listdir(entry)  # noqa: PTH208 - a Path for each would take longer
        except OSError:
            continue
        for child in children:
            if child.endswith(".dist-info"):
                try:
                    descriptor = os.open(f"{entry}/{child}/entry_points.txt", os.O_RDONLY)
                except FileNotFoundError:
                    continue
                data = os.read(descriptor, 1 << 14)
                os.close(descriptor)
                text = data.decode()
                if GROUP in text:
                    found.extend(entries_of(text))
    return found


def cold_floor(place: Place) -> Callable[[], object]:
    place.narrow_path()
    return scan


def index_floor(place: Place) -> Callable[[], object]:
    """Stat each entry of the path, and read what was found before."""
    place.narrow_path()
    index = place.scratch / "index.json"
    index.write_text(json.dumps([[name, value, "1.0", "dist"] for name, value in scan()]))

    def run() -> object:
        for entry in sys.path:
            try:
                os.stat(entry)  # noqa: PTH116
            except OSError:
                continue
        with open(index, encoding="utf-8") as file:  # noqa: PTH123
            return json.load(file)

    return run


def verify_floor(place: Place) -> Callable[[], object]:
    """Stat each entry_points.txt, and read what was found before."""
    read_index = index_floor(place)

    def run() -> object:
        for entry in sys.path:
            try:
                children = os.scandir(entry)
            except OSError:
                continue
            for child in children:
                if child.name.endswith(".dist-info"):
                    try:
                        os.stat(f"{child.path}/entry_points.txt")  # noqa: PTH116
                    except FileNotFoundError:
                        continue
        return read_index()

    return run


def plugreg(place: Place) -> Callable[[], object]:
    from plugreg.discovery import discover

    # What is imported at the first use belongs to the start, and is measured there.
    discover(GROUP, [])
    place.narrow_path()
    return lambda: discover(GROUP)


def plugreg_index(place: Place, **options: object) -> Callable[[], object]:
    """Take the registry's own first step, where the index is."""
    from plugreg.discovery import Sources

    place.narrow_path()
    index = place.scratch / "index"
    sources = Sources(group=GROUP, index=index, **options)
    assert sources.find().specs
    assert index.exists()
    # Read once, too, for what is imported by that.
    sources.find()
    return sources.find


def stdlib(place: Place) -> Callable[[], object]:
    from importlib.metadata import entry_points

    place.narrow_path()
    return lambda: entry_points(group=GROUP)


def backport(place: Place) -> Callable[[], object]:
    from importlib_metadata import entry_points

    place.narrow_path()
    return lambda: entry_points(group=GROUP)


def stevedore_cache(folder: Path) -> object:
    from stevedore._cache import Cache

    cache = Cache(str(folder))
    # It keeps none where Python itself lies below /tmp.
    cache._disable_caching = False
    return cache


def stevedore(place: Place) -> Callable[[], object]:
    cache = stevedore_cache(place.scratch)
    place.narrow_path()
    return lambda: cache.get_group_all(GROUP)


def stevedore_warm(place: Place) -> Callable[[], object]:
    stevedore(place)()
    return stevedore(place)


def plux(place: Place) -> Callable[[], object]:
    os.environ["XDG_CACHE_HOME"] = str(place.scratch)
    from plux.runtime.cache import EntryPointsCache

    place.narrow_path()
    cache = EntryPointsCache()
    return lambda: cache.get_entry_points()[PLUX_GROUP]


def plux_warm(place: Place) -> Callable[[], object]:
    plux(place)()
    return plux(place)


ON_SITES = {
    "how": How.ONCE,
    "together": False,
    "site": True,
    "counting": "distributions",
    "sizes": tuple(SITES)[:3],
    "quick": tuple(SITES)[:2],
    "huge": tuple(SITES)[3:],
}
CASES = {
    each.name: each
    for each in (
        Case(
            name="without an index",
            contestants=(
                floor("cold floor", cold_floor),
                ours("plugreg", plugreg),
                peer("importlib.metadata", stdlib),
                peer("importlib_metadata", backport),
                peer("stevedore, cold", stevedore),
                peer("plux, cold", plux),
            ),
            budgets=(Budget(of="plugreg", limit=1.5, against="cold floor"),),
            **ON_SITES,
        ),
        Case(
            name="with an index",
            contestants=(
                floor("warm floor", index_floor),
                ours("plugreg, index", plugreg_index),
                peer("stevedore, warm", stevedore_warm),
                peer("plux, warm", plux_warm),
            ),
            budgets=(Budget(of="plugreg, index", limit=1.5, against="warm floor"),),
            note="stevedore and plux look at each entry_points.txt, so they are verifying ones",
            **ON_SITES,
        ),
        Case(
            name="with an index that is verified",
            contestants=(
                floor("verify floor", verify_floor),
                ours("plugreg, verified", lambda place: plugreg_index(place, verify=True)),
            ),
            budgets=(Budget(of="plugreg, verified", limit=1.2, against="verify floor"),),
            **ON_SITES,
        ),
    )
}
