"""Measures one case in this process, and writes the values to stdout as one line of JSON.

Its one argument is JSON, too: group, case, contestants, size, site, scratch, seconds (of a round),
rounds, audit. Only :mod:`measure` starts it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import timeit
import traceback
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from model import FAILED, Case, How, NotThereError, Part, Place, Timed

BEGIN, END = "/plugreg-benchmark-begins", "/plugreg-benchmark-ends"
"""Looked for before and after the call whose system calls are counted."""

BLOCK = 10
"""So many calls of one contestant follow each other, for a write leaves the disk some work."""

WARM = 3
"""So often a loop runs before it is known how many calls make a round."""

AUDITED = ("open", "os.listdir", "os.scandir")


def main() -> None:
    asked = json.loads(sys.argv[1])
    case = importlib.import_module(f"cases.{asked['group']}").CASES[asked["case"]]
    site = asked["site"]
    if site is not None:
        sys.path.append(site)
    values: dict[str, float] = {}
    missing: dict[str, str] = {}
    ready: dict[str, Timed] = {}
    for index, each in enumerate(case.contestants):
        if each.name not in asked["contestants"]:
            continue
        scratch = Path(asked["scratch"], str(index))
        scratch.mkdir(parents=True)
        place = Place(size=asked["size"], site=site and Path(site), scratch=scratch)
        try:
            made = each.start(place)
        except NotThereError as error:
            missing[each.name] = str(error)
        except ModuleNotFoundError as error:
            missing[each.name] = absent(error, each.part)
        except Exception as error:  # noqa: BLE001
            # The others are measured all the same.
            missing[each.name] = f"{FAILED}: {type(error).__name__}: {error}"
            traceback.print_exc()
        else:
            ready[each.name] = made if isinstance(made, Timed) else Timed(run=made)
    try:
        values = measure(case, ready, asked)
    except NotThereError as error:
        missing |= dict.fromkeys(ready, str(error))
    except ModuleNotFoundError as error:
        parts = {each.name: each.part for each in case.contestants}
        missing |= {name: absent(error, parts[name]) for name in ready}
    finally:
        for timed in ready.values():
            if timed.close is not None:
                timed.close()
    # What a contestant prints is not the answer.
    print("\n" + json.dumps({"values": values, "missing": missing}))


def absent(error: ModuleNotFoundError, part: Part) -> str:
    """Say that a library is not installed, which only plugreg itself must be."""
    return f"{FAILED if part is Part.PLUGREG else 'not there'}: {error}"


def measure(case: Case, ready: dict[str, Timed], asked: dict) -> dict[str, float]:
    """Return the value of each contestant."""
    if case.how is How.LOOP:
        return in_loops(ready, asked["rounds"], asked["seconds"])
    if case.how is How.EACH:
        return one_by_one(ready, asked["rounds"])
    values = {}
    for name, timed in ready.items():
        run = timed.run
        assert callable(run)
        if case.how is How.CALLS:
            values[name] = calls_of(run, audit=asked["audit"])
        elif case.how is How.VALUE:
            values[name] = float(run())
        else:
            # Nobody is to pay for what was made before.
            gc.collect()
            started = perf_counter()
            run()
            values[name] = perf_counter() - started
    return values


def in_loops(ready: dict[str, Timed], rounds: int, seconds: float) -> dict[str, float]:
    """Time loops of many calls, the contestants in turn; timeit keeps the collector off."""
    timers, numbers = {}, {}
    for name, timed in ready.items():
        names = {"run": timed.run, **timed.names}
        text = timed.run if isinstance(timed.run, str) else "run()"
        timers[name] = timeit.Timer(text, globals=names)
        numbers[name] = 1
        # The least of a few, since one that is interrupted would make all rounds too short.
        while (took := min(timers[name].repeat(WARM, numbers[name]))) < seconds:
            numbers[name] *= max(2, min(10, int(seconds / max(took, 1e-9))))
    taken: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(rounds):
        for name, timer in timers.items():
            taken[name].append(timer.timeit(numbers[name]) / numbers[name])
    return {name: min(times) for name, times in taken.items()}


def one_by_one(ready: dict[str, Timed], rounds: int) -> dict[str, float]:
    """Time single calls, the contestants in turn by blocks; a first one is not counted.

    The median is taken by hand: importing statistics would take longer than many a case.
    """
    taken: dict[str, list[float]] = {name: [] for name in ready}
    for timed in ready.values():
        once(timed)
    while any(len(times) < rounds for times in taken.values()):
        for name, timed in ready.items():
            taken[name].extend(once(timed) for _ in range(min(BLOCK, rounds)))
    return {name: sorted(times)[len(times) // 2] for name, times in taken.items()}


def once(timed: Timed) -> float:
    """Return the seconds of one call."""
    run = timed.run
    assert callable(run)
    started = perf_counter()
    run()
    took = perf_counter() - started
    if timed.after is not None:
        timed.after()
    return took


def calls_of(run: Callable[[], object], *, audit: bool) -> int:
    """Mark the call for strace, or count with an audit hook what Python itself tells of."""
    counted = []
    if audit:
        sys.addaudithook(lambda event, _: counted.append(event) if event in AUDITED else None)
    before = len(counted)
    os.access(BEGIN, os.F_OK)
    run()
    os.access(END, os.F_OK)
    return len(counted) - before


if __name__ == "__main__":
    main()
