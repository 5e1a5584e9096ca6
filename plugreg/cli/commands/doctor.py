"""``plugreg doctor``: problems and their remedies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any, Final

import click

from plugreg.cli.command import command, pass_session
from plugreg.cli.commands.store import address_of, damaged_rows
from plugreg.cli.faults import FINE, NO
from plugreg.cli.hosts import is_safe_mode_asked
from plugreg.cli.output import Answer
from plugreg.cli.overview import look
from plugreg.cli.session import Session
from plugreg.cli.tables import printable
from plugreg.registry import PluginRegistry
from plugreg.repairs import Repair
from plugreg.repairs.codes import SAFE_MODE
from plugreg.storage import Storage

_SIGNS: Final = (("error", "✗", "red"), ("warning", "!", "yellow"), ("info", "·", "bright_black"))


@command("doctor", "plugreg doctor\nplugreg doctor --probe --json")
@click.option("--probe", is_flag=True, help="Also probe plugins that serve in no process.")
@pass_session
def doctor(session: Session, *, probe: bool) -> Answer:
    """Find problems of plugins, the store and the environment.

    Each problem has a line with its remedy; the last line is a verdict. The exit code is 1 if a
    problem is an error. Nothing is changed, and without --probe no plugin is loaded.
    """
    registry = session.registry
    if probe:
        _probe_what_serves_nowhere(session, registry)
    rows = [_row(repair) for repair in registry.repairs() if _counts(repair)]
    rows += [*_store_rows(session), *_environment_rows(session.storage)]
    if probe:
        rows += list(_probe_rows(registry, {row["slug"] for row in rows}))
    order = [name for name, _, _ in _SIGNS]
    rows.sort(key=lambda row: order.index(row["severity"]))
    counts = {name: sum(row["severity"] == name for row in rows) for name in order}
    found = ", ".join(f"{n} {name}{'s' * (n != 1)}" for name, n in counts.items() if n)
    return Answer(
        "repairs",
        rows,
        columns={"code": "CODE", "severity": "SEVERITY", "slug": "PLUGIN", "text": "TEXT"},
        code=NO if counts["error"] else FINE,
        text="".join(_lines(session, row) for row in rows),
        verdict=found or "ok: nothing is wrong",
    )


def _counts(repair: Repair) -> bool:
    # This command is always in safe mode; it is news only where the environment asks for it.
    return repair.code != SAFE_MODE or is_safe_mode_asked()


def _row(repair: Repair) -> dict[str, Any]:
    return {
        "code": repair.code,
        "severity": repair.severity,
        "slug": repair.slug,
        "title": repair.title,
        "text": repair.text,
        "actions": [
            {
                "name": action.name,
                "label": action.label,
                "command": action.command or None,
                "url": action.url or None,
            }
            for action in repair.actions
        ],
    }


def _store_rows(session: Session) -> list[dict[str, Any]]:
    """Return a row for each damaged row of the store that is no plugin's."""
    known = {(error.table, error.key) for error in session.registry.damaged}
    rows = []
    for error in damaged_rows(session.storage):
        if (error.table, error.key) in known:
            continue
        action = {
            "name": "set-aside",
            "label": f"Set {address_of(error)} aside",
            "command": f"plugreg store repair --set-aside {quote(address_of(error))}",
            "url": None,
        }
        rows.append(
            {
                "code": "store",
                "severity": "error",
                "slug": "",
                "title": "A row of the store is damaged",
                "text": str(error),
                "actions": [action],
            }
        )
    return rows


def _environment_rows(storage: Storage) -> Iterator[dict[str, Any]]:
    """Yield a row for a store that this user may read, and not write."""
    path: Path | None = getattr(storage, "path", None)
    if path is None or os.name != "posix":
        return
    for place in (path, path.parent):
        if place.exists() and not os.access(place, os.W_OK):
            text = f"{str(place)!r} cannot be written by this user, so that no change is stored"
            yield {
                "code": "environment",
                "severity": "warning",
                "slug": "",
                "title": "The store cannot be written",
                "text": text,
                "actions": [
                    {
                        "name": "chown",
                        "label": "Give it to this user",
                        "command": f"chown {os.geteuid()} {quote(str(place))}",
                        "url": None,
                    }
                ],
            }


def _probe_what_serves_nowhere(session: Session, registry: PluginRegistry) -> None:
    overview = look(registry)
    for slug, record in overview.records.items():
        if record.wanted and record.is_installed and not overview.serving(slug):
            session.output.note(f"probing {slug}")
            registry.probe(slug)


def _probe_rows(registry: PluginRegistry, known: set[str]) -> list[dict[str, Any]]:
    rows = []
    for slug, record in registry.plugins.items():
        report = registry.probed(slug) if record.wanted else None
        if report is None or report.outcome == "ok" or slug in known:
            continue
        action = {
            "name": "deactivate",
            "label": f"Deactivate {slug}",
            "command": f"plugreg deactivate {slug}",
            "url": None,
        }
        rows.append(
            {
                "code": "probe",
                "severity": "error",
                "slug": slug,
                "title": "A probe of the plugin failed",
                "text": f"{slug!r} ended its probe with {report.outcome}: {report.detail}",
                "actions": [action],
            }
        )
    return rows


def _lines(session: Session, row: dict[str, Any]) -> str:
    """Return a line for a problem, and a line for each remedy."""
    _, sign, colour = next(signed for signed in _SIGNS if signed[0] == row["severity"])
    slug = row["slug"] or ""
    named = row["text"] if slug in row["text"] else f"{slug}: {row['text']}"
    head = f"{session.output.style(sign, fg=colour)} {row['code']} {printable(named)}\n"
    commands = [action["command"] for action in row["actions"] if action["command"]]
    lines = [
        session.command + line.removeprefix("plugreg") if line.startswith("plugreg ") else line
        for line in commands
    ] or [f"see {action['url']} in the documentation" for action in row["actions"] if action["url"]]
    return head + "".join(f"      {printable(line)}\n" for line in lines)
