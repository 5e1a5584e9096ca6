"""``plugreg status``, ``plugreg errors`` and ``plugreg processes``: of all processes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

import click

from plugreg.cli.command import command, slug_argument
from plugreg.cli.commands.listing import damage
from plugreg.cli.faults import FINE, NO, usage
from plugreg.cli.output import Answer
from plugreg.cli.overview import Overview, look, shared_failures
from plugreg.cli.session import Session
from plugreg.cli.tables import counted, fields_of, printable
from plugreg.records import Stage


@command("status", "plugreg status\nplugreg status --check && echo all serve")
@click.option("--check", is_flag=True, help="Exit with 1 unless all wanted plugins serve.")
def status(session: Session, *, check: bool) -> Answer:
    """Summarize all processes: the wanted plugins that do not serve in all of them, and why.

    With --check the exit code is 1 if a wanted plugin is not active in a live process, or its
    circuit is open there, also where no live process is heard.
    """
    overview = look(session.registry)
    wanted = [slug for slug, record in overview.records.items() if record.wanted]
    lacking = [slug for slug in wanted if not _serves(overview, slug)]
    summary = {
        "plugins": len(overview.records),
        "wanted": len(wanted),
        "serving": len(wanted) - len(lacking),
        "failures": sum(map(len, overview.failures.values())),
        "processes": len(overview.processes),
    }
    verdict = (
        f"{counted(len(overview.records), 'plugin')}, {len(wanted)} wanted, "
        f"{summary['serving']} of them serve; {counted(len(overview.processes), 'live process')}"
    )
    return Answer(
        "plugins",
        [overview.row(slug) for slug in lacking],
        columns=("slug", "version", "state", "serves", "why"),
        code=NO if check and lacking else FINE,
        fault=damage(session),
        verdict=verdict,
        more={"summary": summary},
    )


def _serves(overview: Overview, slug: str) -> bool:
    serves = bool(overview.processes) and overview.serving(slug) == overview.processes
    return serves and not overview.open_circuits(slug)


_FAILURE: Final = (
    *("slug", "stage", "subject", "message", "exception_type", "count"),
    *("first_seen", "last_seen", "process", "pid", "host"),
)


@command("errors", "plugreg errors --since 1h\nplugreg errors discount --stage call --traceback")
@slug_argument(required=False)
@click.option("--stage", type=click.Choice([*map(str, Stage)]), help="Only failures at this stage.")
@click.option("--since", metavar="TIME", help="Only failures seen since: 90s, 15m, 1h, 2d or ISO.")
@click.option("--traceback", is_flag=True, help="With tracebacks.")
def errors(
    session: Session, slug: str | None, *, stage: str | None, since: str | None, traceback: bool
) -> Answer:
    """List the failures of all processes, those that have ended too, latest first."""
    registry = session.registry
    failures = shared_failures(registry)
    if slug is not None and all(failure.slug != slug for failure in failures):
        registry.get(slug)
    earliest = None if since is None else _parse_since(since)
    found = [
        failure
        for failure in sorted(failures, key=lambda failure: failure.last_seen, reverse=True)
        if slug is None or failure.slug == slug
        if stage is None or failure.stage == stage
        if earliest is None or failure.last_seen >= earliest
    ]
    more = ("traceback",) if traceback else ()
    rows = [
        {**fields_of(failure, *_FAILURE, *more), "running": failure.is_running} for failure in found
    ]
    return Answer(
        "failures",
        rows,
        columns=("slug", "stage", "count", "last_seen", "process", "message"),
        text="\n".join(map(_with_traceback, rows)) if traceback and rows else None,
        empty="no failures",
    )


def _with_traceback(row: dict[str, Any]) -> str:
    head = (
        f"{row['slug']} at {row['stage']} in {row['process']} (pid {row['pid']}), "
        f"{row['count']} times, last {row['last_seen']}: {row['message']}"
    )
    lines = [printable(line) for line in (head, *row["traceback"].splitlines())]
    return "\n    ".join(lines) + "\n"


_SECONDS: Final = MappingProxyType({"s": 1, "m": 60, "h": 3600, "d": 86400})


def _parse_since(since: str) -> datetime:
    """Return the moment that ``1h`` ago, or an ISO time, stands for."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", since.strip())
    try:
        if found is not None:
            return datetime.now(UTC) - timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
        moment = datetime.fromisoformat(since)
        return moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError):
        raise usage(
            f"--since {since!r} is no time", "write 90s, 15m, 1h, 2d or 2026-01-31T12:00"
        ) from None


@command("processes", "plugreg processes\nplugreg processes --json")
def processes(session: Session) -> Answer:
    """List the live processes: which plugins each has, and when it was heard last.

    A process is heard if it was given a name, watches the store, or answers requests, and is not
    in safe mode.
    """
    names = ("name", "pid", "host", "active", "errors", "seen")
    found = session.registry.shared.processes()[1:]
    empty = "no live process is heard"
    return Answer.of("processes", found, names, ["generation"], empty=empty)
