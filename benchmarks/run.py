"""Measures plugreg beside its peers and beside the floor, and shows the figures.

Run it with the plugreg that is installed::

    python benchmarks/run.py [--quick] [--only GROUP[:CASE]] [--huge]
                             [--json FILE] [--svg FOLDER] [--compare BASELINE.json]

The status is 1 when something could not be measured that should have been; budgets that do not
hold are shown, and change nothing about it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic

import svg
import table
from cases import GROUPS
from measure import FULL, QUICK, Bench, Result
from model import FAILED, TIMES, Case

LIBRARIES = (
    "plugreg",
    "pluggy",
    "stevedore",
    "plux",
    "catalogue",
    "blinker",
    "importlib-metadata",
    "tinydb",
    "sqlalchemy",
    "psycopg",
    "pymysql",
    "pydantic",
    "packaging",
)


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parsed(arguments)
    started = monotonic()
    effort = QUICK if asked.quick else FULL
    if asked.runs is not None:
        effort = replace(effort, runs=asked.runs, together=asked.runs, steady=asked.runs)
    about = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": asked.quick,
        "machine": machine(),
        "versions": versions(),
    }
    print(" ".join(f"{name} {number}" for name, number in about["versions"].items()))
    print(", ".join(map(str, about["machine"].values())))
    print(
        f"Medians of {effort.runs} fresh processes ({effort.together} where all take turns in one),"
        f" ± half of the interquartile range; {TIMES} is the ratio to the floor.\n"
    )
    asked.folder.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    pictures: dict[str, list[tuple[Case, list[Result]]]] = {}
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="bench-") as name:
        bench = Bench(Path(name).resolve(), effort)
        for group, case in chosen(asked.only):
            own: list[Result] = []
            sizes = case.sizes_of(quick=asked.quick, huge=asked.huge)
            for size in sizes:
                progress(f"{monotonic() - started:4.0f} s  {group}: {case.name}, {size:,}")
                own += bench.results(group, case, size)
            progress("")
            if group not in pictures:
                print(f"== {GROUPS[group]}\n")
            print(table.case_table(case, own), end="\n\n", flush=True)
            pictures.setdefault(group, []).append((case, own))
            results += own
    print(table.summary(results))
    if bench.is_late:
        print("It took long, so the later figures are of one process each.")
    rows = [asdict(each) for each in results]
    if asked.json is not None:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**about, "results": rows}, indent=1, ensure_ascii=False)
        asked.json.write_text(text + "\n", encoding="utf-8")
    if asked.svg is not None:
        asked.svg.mkdir(parents=True, exist_ok=True)
        for group, cases in pictures.items():
            picture = svg.picture(GROUPS[group], cases)
            (asked.svg / f"{group}.svg").write_text(picture, encoding="utf-8")
    if asked.compare is not None:
        baseline = json.loads(asked.compare.read_text(encoding="utf-8"))
        print(f"\nAgainst {asked.compare}, of {baseline['when']}:")
        print(table.comparison(rows, baseline["results"]))
    print(f"\n{monotonic() - started:.0f} s")
    return int(any((each.missing or "").startswith(FAILED) for each in results))


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure plugreg beside its peers.")
    parser.add_argument("--quick", action="store_true", help="fewer runs and sizes")
    parser.add_argument("--huge", action="store_true", help="sites of 10,000 distributions, too")
    parser.add_argument(
        "--only", action="append", metavar="GROUP[:CASE]", help=f"of {', '.join(GROUPS)}"
    )
    parser.add_argument("--runs", type=int, help="how many fresh processes for each figure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    parser.add_argument("--svg", type=Path, metavar="FOLDER", help="write a picture of each group")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="print ratios to its results")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("build/bench"),
        help="where sites and stores are made, and removed again; the disk that is measured",
    )
    asked = parser.parse_args(arguments)
    if asked.compare is not None and not asked.compare.is_file():
        parser.error(f"there is no {str(asked.compare)!r} to compare with; --json makes one")
    for each in asked.only or ():
        group, _, case = each.partition(":")
        if group not in GROUPS:
            parser.error(f"there is no group {group!r}; there are {', '.join(GROUPS)}")
        if case and case not in cases_of(group):
            parser.error(f"there is no case {case!r}; there are {', '.join(cases_of(group))}")
    return asked


def cases_of(group: str) -> dict[str, Case]:
    return importlib.import_module(f"cases.{group}").CASES


def chosen(only: Sequence[str] | None) -> Iterator[tuple[str, Case]]:
    """Yield the cases to be run, in the order of the groups."""
    for group in GROUPS:
        for name, case in cases_of(group).items():
            if only is None or group in only or f"{group}:{name}" in only:
                yield group, case


def versions() -> dict[str, str]:
    """Return what is measured, and what it stands on."""
    found = {}
    for each in LIBRARIES:
        try:
            found[each] = version(each)
        except PackageNotFoundError:
            found[each] = "not installed"
    return found


def machine() -> dict[str, object]:
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "cores": f"{os.cpu_count()} cores",
    }


def progress(text: str) -> None:
    """Show where the run is, on one line of the terminal that is written over."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{text[:width]:{width}}\r", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
