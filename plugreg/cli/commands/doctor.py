"""``plugreg doctor``: problems and their remedies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from shlex import join
from types import MappingProxyType
from typing import Any, Final

from plugreg.cli.command import command
from plugreg.cli.commands.store import address_of, damaged_rows
from plugreg.cli.faults import FINE, NO
from plugreg.cli.hosts import is_safe_mode_asked
from plugreg.cli.output import Answer
from plugreg.cli.session import Session
from plugreg.cli.tables import counted, fields_of, printable
from plugreg.repairs import Repair, RepairAction
from plugreg.repairs.codes import SAFE_MODE, Severity
from plugreg.storage import Storage

_SIGNS: Final = MappingProxyType(
    {"error": ("✗", "red"), "warning": ("!", "yellow"), "info": ("·", "bright_black")}
)
_DAMAGED: Final[tuple[str, Severity, str]] = ("store", "error", "A row of the store is damaged")
_UNWRITABLE: Final[tuple[str, Severity, str]] = (
    "environment",
    "warning",
    "The store cannot be written",
)


@command("doctor", "plugreg doctor\nplugreg doctor --json")
def doctor(session: Session) -> Answer:
    """Find problems of plugins, the store and the environment.

    Each problem has a line with its remedy; the last line is a verdict. The exit code is 1 if a
    problem is an error. Nothing is changed, and no plugin is loaded.
    """
    repairs = [repair for repair in session.registry.repairs() if _counts(repair)]
    repairs += [*_find_damaged(session), *_find_unwritable(session.storage)]
    order = [*_SIGNS]
    repairs.sort(key=lambda repair: order.index(repair.severity))
    counts = {name: sum(repair.severity == name for repair in repairs) for name in order}
    found = ", ".join(counted(number, name) for name, number in counts.items() if number)
    return Answer(
        "repairs",
        [*map(_row, repairs)],
        columns=("code", "severity", "slug", "text"),
        code=NO if counts["error"] else FINE,
        text="".join(_lines(session, repair) for repair in repairs),
        verdict=found or "ok: nothing is wrong",
    )


def _counts(repair: Repair) -> bool:
    # This command is always in safe mode; it is news only where the environment asks for it.
    return repair.code != SAFE_MODE.code or is_safe_mode_asked()


def _row(repair: Repair) -> dict[str, Any]:
    actions = [fields_of(action, "name", "label", "command", "url") for action in repair.actions]
    return {**fields_of(repair, "code", "severity", "slug", "title", "text"), "actions": actions}


def _repair(
    kind: tuple[str, Severity, str], text: str, name: str, label: str, *words: str
) -> Repair:
    """Return what this command finds beside the repairs of a registry, which have a code P…."""
    code, severity, title = kind
    action = RepairAction(name=name, label=label, command=join(words))
    return Repair(
        code=code, severity=severity, slug=None, title=title, text=text, actions=(action,)
    )


def _find_damaged(session: Session) -> Iterator[Repair]:
    """Yield a repair for each damaged row of the store that is no plugin's."""
    known = {(error.table, error.key) for error in session.registry.damaged}
    for error in damaged_rows(session.storage):
        if (error.table, error.key) not in known:
            address = address_of(error)
            words = ("plugreg", "store", "repair", "--set-aside", address)
            yield _repair(_DAMAGED, str(error), "set-aside", f"Set {address} aside", *words)


def _find_unwritable(storage: Storage) -> Iterator[Repair]:
    """Yield a repair for a store that this user may read, and not write."""
    path: Path | None = getattr(storage, "path", None)
    if path is None or os.name != "posix":
        return
    for place in (path, path.parent):
        if place.exists() and not os.access(place, os.W_OK):
            text = f"{str(place)!r} cannot be written by this user, so that no change is stored"
            words = ("chown", str(os.geteuid()), str(place))
            yield _repair(_UNWRITABLE, text, "chown", "Give it to this user", *words)


def _lines(session: Session, repair: Repair) -> str:
    """Return a line for a problem, and a line for each remedy."""
    sign, colour = _SIGNS[repair.severity]
    slug, text = repair.slug or "", repair.text
    named = text if slug in text else f"{slug}: {text}"
    head = f"{session.output.style(sign, fg=colour)} {repair.code} {printable(named)}\n"
    commands = [action.command for action in repair.actions if action.command]
    lines = [
        session.command + line.removeprefix("plugreg") if line.startswith("plugreg ") else line
        for line in commands
    ] or [f"see {action.url} in the documentation" for action in repair.actions if action.url]
    return head + "".join(f"      {printable(line)}\n" for line in lines)
