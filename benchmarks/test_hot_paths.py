"""The hot paths, for everyday use, with pytest-benchmark: the cases of ``run.py``, one size each.

``make bench-hot`` runs them; ``make test`` does not. Nothing is asserted about time.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from model import NotThereError, Place, Timed
from sites import SITES, fabricate

HOT = (
    ("calling", "all results", "bare loop", 10),
    ("calling", "all results", "plugreg, call", 10),
    ("calling", "all results", "plugreg, call, observed", 10),
    ("calling", "all results", "plugreg, outcomes", 10),
    ("calling", "the first result, from the last one asked", "plugreg, first", 10),
    ("calling", "all results, in one wrapper", "plugreg, call", 10),
    ("lookups", "one plugin", "plugreg, get", 100),
    ("lookups", "those with a capability", "plugreg, with_mixin", 100),
    ("settings", "a read", "plugreg on memory", 100),
    ("settings", "a write, memory", "plugreg, settings.set", 1_000),
    ("settings", "a write, tinydb", "plugreg, settings.set", 1_000),
    ("settings", "a write, sqlite", "plugreg, settings.set", 1_000),
    ("lists", "a page", "plugreg, new search", 1_000),
    ("hooks", "one more plugin", "plugreg, exchange", 100),
    ("activation", "one plugin", "plugreg, activate", 100),
    ("discovery", "without an index", "plugreg", 100),
    ("discovery", "with an index", "plugreg, index", 100),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the smallest site."""
    return fabricate(tmp_path_factory.mktemp("sites") / "site", 100, SITES[100])


@pytest.mark.parametrize("hot", HOT, ids=lambda hot: ": ".join(map(str, hot)))
def test_hot_path(
    benchmark: Callable,
    site: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hot: tuple[str, str, str, int],
) -> None:
    """Measure one contestant."""
    group, case, contestant, size = hot
    monkeypatch.setattr("sys.path", [*sys.path, str(site)])
    found = importlib.import_module(f"cases.{group}").CASES[case]
    (start,) = (each.start for each in found.contestants if each.name == contestant)
    try:
        made = start(Place(size=size, site=site, scratch=tmp_path))
    except NotThereError as error:
        pytest.skip(str(error))
    timed = made if isinstance(made, Timed) else Timed(run=made)
    run = timed.run
    if isinstance(run, str):
        run = eval(f"lambda: {run}", dict(timed.names))
    try:
        if timed.after is None:
            benchmark(run)
        else:
            after = timed.after
            run()
            # What is called before each round puts back what the call before it did.
            benchmark.pedantic(run, setup=lambda: (after(), None)[1], rounds=200)
    finally:
        if timed.close is not None:
            timed.close()
