"""Runs the cases, each measurement in a fresh process, and makes results of the values."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from time import monotonic
from typing import Any

from model import FAILED, Budget, Case, How, Kind, Unit, shown, times
from sites import fabricate, plugins_for
from worker import BEGIN, END

HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """How much is done: fresh processes, rounds in each of them, seconds of a round of a loop."""

    runs: int
    rounds: int
    seconds: float
    each: float
    """The part of a case's rounds that is done where calls are timed one by one."""
    steady: int
    """How many processes there are where memory is measured."""
    together: int
    """How many there are where contestants take turns in one process, and do so more than once."""
    hurry: float
    """After so many seconds each figure is of one process: a busy machine must not take longer."""


FULL = Effort(runs=5, rounds=25, seconds=0.001, each=1.0, steady=3, together=3, hurry=600.0)
QUICK = Effort(runs=3, rounds=15, seconds=0.0005, each=0.5, steady=1, together=2, hurry=55.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What was measured of a budget; ``text`` says both, as "1.9 times of 2.3"."""

    text: str
    against: str
    holds: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One contestant at one size: median and quartiles of its processes, in the case's unit.

    ``ratio`` is read against the case's floor: the median of the ratios of each run, whose
    measurements follow each other. ``missing`` says why there is no value; the rest is then None.
    """

    group: str
    case: str
    size: int
    contestant: str
    part: str
    unit: str
    median: float | None = None
    low: float | None = None
    high: float | None = None
    runs: int = 0
    ratio: float | None = None
    growth: float | None = None
    missing: str | None = None
    verdicts: tuple[Verdict, ...] = field(default=())


class Bench:
    """Measures cases below ``folder``, where it fabricates the sites that they need, once each."""

    def __init__(self, folder: Path, effort: Effort) -> None:
        self._folder = folder
        self._effort = effort
        self._sites: dict[tuple[int, int], Path] = {}
        self._smallest: dict[tuple[str, str, str], float] = {}
        self._started = 0
        self._hurries_at = monotonic() + effort.hurry
        self._strace = _strace()

    @property
    def is_late(self) -> bool:
        """Whether figures are of one process each by now."""
        return monotonic() > self._hurries_at

    def results(self, group: str, case: Case, size: int) -> list[Result]:
        """Return the results of all contestants; sizes of a case come one after the other."""
        values, missing = self._values(group, case, size)
        results = []
        for each in case.contestants:
            figures: dict[str, Any] = {
                "missing": missing.get(each.name, f"{FAILED}: it gave no value")
            }
            if values[each.name]:
                key = (group, case.name, each.name)
                smallest = self._smallest.setdefault(key, median(values[each.name]))
                figures = _figures(case, each.name, size, values, smallest)
            results.append(
                Result(
                    group=group,
                    case=case.name,
                    size=size,
                    contestant=each.name,
                    part=each.part,
                    unit=case.unit,
                    **figures,
                )
            )
        return results

    def _values(
        self, group: str, case: Case, size: int
    ) -> tuple[dict[str, list[float]], dict[str, str]]:
        """Return the values of each contestant, one for each run, and who is missing and why."""
        site = self._site(case, size)
        values: dict[str, list[float]] = {each.name: [] for each in case.contestants}
        missing: dict[str, str] = {}
        # Counts are the same each time, and memory nearly so.
        timed = self._effort.together if case.together else self._effort.runs
        runs = {Unit.COUNT: 1, Unit.BYTES: self._effort.steady}.get(case.unit, timed)
        warm = int(case.warm)
        for run in range(warm + runs):
            if run > warm and self.is_late:
                break
            names = [each.name for each in case.contestants if each.name not in missing]
            turn = run % max(len(names), 1)
            names = names[turn:] + names[:turn]
            for together in [names] if case.together else [[each] for each in names]:
                answer = self._process(group, case, size, site, together)
                missing |= answer["missing"]
                if run >= warm:
                    for name, value in answer["values"].items():
                        values[name].append(value)
        return values, missing

    def _site(self, case: Case, size: int) -> Path | None:
        if not case.site:
            return None
        kind = plugins_for(size, case.counting)
        if kind not in self._sites:
            folder = self._folder / f"site-{kind[0]}-{kind[1]}"
            self._sites[kind] = fabricate(folder, *kind)
        return self._sites[kind]

    def _process(
        self, group: str, case: Case, size: int, site: Path | None, names: list[str]
    ) -> dict[str, Any]:
        """Return what a worker answers: ``values`` and ``missing``."""
        self._started += 1
        scratch = self._folder / "scratch" / str(self._started)
        scratch.mkdir(parents=True)
        effort = self._effort
        rounds = effort.rounds
        if case.how is How.EACH:
            rounds = max(3, int(case.rounds * effort.each))
        asked = {
            "group": group,
            "case": case.name,
            "contestants": names,
            "size": size,
            "site": site and str(site),
            "scratch": str(scratch),
            "seconds": effort.seconds,
            "rounds": rounds,
            "audit": not self._strace,
        }
        command = [sys.executable, str(HERE / "worker.py"), json.dumps(asked)]
        trace = None
        if case.how is How.CALLS and self._strace:
            trace = scratch / "trace"
            what = "trace=%file,getdents64"
            command = [self._strace, "-f", "-qq", "-e", what, "-o", str(trace), *command]
        environment = dict(os.environ)
        # With it a worker would not find the modules beside it.
        environment.pop("PYTHONSAFEPATH", None)
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd=scratch
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no word"])[-1]
            print(done.stderr, file=sys.stderr)
            return {"values": {}, "missing": dict.fromkeys(names, f"{FAILED}: {last}")}
        answer = json.loads(done.stdout.splitlines()[-1])
        if any(str(each).startswith(FAILED) for each in answer["missing"].values()):
            print(done.stderr, file=sys.stderr)
        if trace is not None and answer["values"]:
            answer["values"] = dict.fromkeys(answer["values"], _calls_in(trace))
        shutil.rmtree(scratch)
        return answer


def _strace() -> str | None:
    """Return strace, if it is there and may be used."""
    found = shutil.which("strace")
    if found is None:
        return None
    tried = subprocess.run(
        [found, "-qq", "-e", "trace=%file", sys.executable, "-c", ""],
        capture_output=True,
        check=False,
    )
    return found if tried.returncode == 0 else None


def _calls_in(trace: Path) -> int:
    lines = trace.read_text(errors="replace").splitlines()
    begin = next(index for index, line in enumerate(lines) if BEGIN in line)
    end = next(index for index, line in enumerate(lines) if END in line)
    return end - begin - 1


def _figures(
    case: Case,
    name: str,
    size: int,
    values: Mapping[str, list[float]],
    smallest: float,
) -> dict[str, Any]:
    own = values[name]
    middle = median(own)
    low, high = own[0], own[0]
    if len(own) > 1:
        low, _, high = quantiles(own, n=4, method="inclusive")
    growth = middle / smallest if smallest else None
    budgets = [b for b in case.budgets if b.of == name and (not b.sizes or size in b.sizes)]
    verdicts = (_verdict(each, case.unit, middle, growth, values) for each in budgets)
    return {
        "median": middle,
        "low": low,
        "high": high,
        "runs": len(own),
        "ratio": _ratio(own, values.get(case.floor or "", [])),
        "growth": growth,
        "verdicts": tuple(each for each in verdicts if each is not None),
    }


def _ratio(own: list[float], other: list[float]) -> float | None:
    """Return the median of the ratios, run by run, so that a drift of the machine hits both."""
    if len(own) != len(other) or not all(other):
        return None
    return median(mine / theirs for mine, theirs in zip(own, other, strict=True))


def _verdict(
    budget: Budget,
    unit: Unit,
    middle: float,
    growth: float | None,
    values: Mapping[str, list[float]],
) -> Verdict | None:
    limit = budget.limit
    if budget.kind is Kind.AT_MOST:
        text = f"{shown(middle, unit)} of {shown(limit, unit)}"
        return Verdict(text=text, against="", holds=middle <= limit)
    if budget.kind is Kind.GROWTH:
        if growth is None:
            return None
        text = f"{times(growth)} of {limit:.3g}"
        return Verdict(text=text, against="the smallest size", holds=growth <= limit)
    own, other = values[budget.of], values.get(budget.against, [])
    if budget.kind is Kind.PLUS:
        if len(own) != len(other):
            return None
        more = median(mine - theirs for mine, theirs in zip(own, other, strict=True))
        text = f"+ {shown(more, unit)} of {shown(limit, unit)}"
        return Verdict(text=text, against=budget.against, holds=more <= limit)
    ratio = _ratio(own, other)
    if ratio is None:
        return None
    text = f"{times(ratio)} of {limit:.3g}"
    return Verdict(text=text, against=budget.against, holds=ratio <= limit)
