"""``plugreg activate``, ``deactivate``, ``reset`` and ``reload``; ``plugreg probe``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from plugreg._support.slugs import Slug
from plugreg.cli.command import command, slug_argument
from plugreg.cli.faults import FINE, NO, UNKNOWN, Fault, usage
from plugreg.cli.output import Answer
from plugreg.cli.overview import look, reach
from plugreg.cli.session import Session
from plugreg.cli.tables import fields_of, printable
from plugreg.exceptions import PluginMandatoryError, PluginRequiredError, PlugregError
from plugreg.records import PluginState
from plugreg.registry import PluginRegistry

Change = Callable[[str], tuple[str, str]]
"""Changes a plugin; returns the result in a word, and a message."""


def change_each(session: Session, slugs: Iterable[str], change: Change, done: str) -> Answer:
    """Change plugins one after another. A failed change does not stop the others.

    Args:
        session: The session.
        slugs: The plugins.
        change: Function that changes a plugin.
        done: The word for the change, in the last line.

    Returns:
        A row for each plugin. The exit code is 3 if a plugin is unknown, else that of the first
        fault.
    """
    session.note_memory()
    rows: list[dict[str, Any]] = []
    faults: list[Fault] = []
    for slug in dict.fromkeys(slugs):
        try:
            result, message = change(slug)
        except PlugregError as error:
            fault_now = session.fault_of(error)
            faults.append(fault_now)
            message = "; ".join(filter(None, (fault_now.message, fault_now.remedy)))
            rows.append({"slug": slug, "ok": False, "result": fault_now.code, "message": message})
        else:
            rows.append({"slug": slug, "ok": True, "result": result, "message": message})
    found = [fault for fault in faults if fault.exit_code == UNKNOWN] or faults
    fault = found[0] if found else None
    if fault is not None and len(rows) > 1:
        fault = fault._replace(message=f"{len(faults)} of {len(rows)} were not {done}", remedy="")
    return Answer(
        "changes",
        rows,
        columns=("slug", "result", "message"),
        fault=fault,
        text="".join(map(_line, rows if len(rows) > 1 or not faults else ())),
        verdict=f"{len(rows) - len(faults)} of {len(rows)} {done}" if len(rows) != 1 else "",
    )


def _line(row: dict[str, Any]) -> str:
    said = "; ".join(
        filter(None, (row["result"], row["message"]) if row["ok"] else (row["message"],))
    )
    return printable(f"{'✓' if row['ok'] else '✗'} {row['slug']}: {said}") + "\n"


def _chosen(
    registry: PluginRegistry, slugs: Sequence[str], excluded: Sequence[str], every: Iterable[str]
) -> list[str]:
    """Return the plugins that the operator means: with ``--all`` (*every*) all of them."""
    chosen = [slug for slug in (slugs or every) if slug not in excluded]
    for slug in excluded:
        registry.get(slug)
    return chosen


def check_asked(slugs: Sequence[str], *, every: bool) -> None:
    """Refuse a command that names plugins and has ``--all``, or neither of both.

    Args:
        slugs: The plugins.
        every: Whether ``--all`` was given.

    Raises:
        CommandError: If it is so.
    """
    if bool(slugs) is every:
        raise usage("name plugins, or give --all", "one of both, and not both")


_ALL = click.option("--all", "every", is_flag=True, help="All plugins to which this applies.")
_EXCLUDE = click.option(
    "--exclude",
    "excluded",
    multiple=True,
    metavar="SLUG",
    help="Exclude this plugin from --all; repeatable.",
)


@command(
    "activate",
    """plugreg activate discount
    plugreg activate loyalty --cascade
    plugreg activate --all --exclude crash""",
)
@slug_argument(many=True, required=False)
@_ALL
@_EXCLUDE
@click.option("--cascade", is_flag=True, help="Also the plugins that it needs.")
@click.option("--no-probe", is_flag=True, help="Do not load it in a child process first.")
@click.option("--timeout", default=10.0, show_default=True, help="Seconds that a probe may take.")
def activate(
    session: Session,
    slugs: tuple[str, ...],
    *,
    every: bool,
    excluded: tuple[str, ...],
    cascade: bool,
    no_probe: bool,
    timeout: float,
) -> Answer:
    """Switch plugins on; live processes take that in within a second or at their next request.

    Each plugin is loaded in a child process first. If that ends the child, nothing is stored. A
    plugin that merely fails there is switched on, since it is tried again at each load.
    """
    check_asked(slugs, every=every)
    registry = session.registry
    off = [
        slug
        for slug, record in registry.plugins.items()
        if not record.wanted and record.state not in (PluginState.MISSING, PluginState.BLOCKED)
    ]
    needs = registry.outlook(registry.plugins).needs

    def needs_of(slug: str) -> list[str]:
        return reach([slug], lambda member: needs.get(Slug(member), ()))[1:]

    def change(slug: str) -> tuple[str, str]:
        was_on = registry.get(slug).wanted
        beside = [n for n in needs_of(slug) if not registry.get(n).wanted] if cascade else []
        # All are probed before any is switched on.
        new = beside if was_on else [slug, *beside]
        probed = {other: "" if no_probe else probe_first(session, other, timeout) for other in new}
        for other in (*reversed(beside), slug):
            registry.activate(other)
        said = [probed.get(slug, "")]
        for need in beside:
            warning = f" ({probed[need]})" if probed[need] else ""
            said.append(f"so is {need}, which it needs{warning}")
        said += _lacks(session, slug)
        return "is on already" if was_on else "on", "; ".join(filter(None, said))

    # Each plugin goes behind those that it needs.
    chosen = sorted(_chosen(registry, slugs, excluded, off), key=lambda slug: len(needs_of(slug)))
    return change_each(session, chosen, change, "switched on")


def _lacks(session: Session, slug: str) -> list[str]:
    """Return why a plugin that is switched on will not be loaded."""
    overview = look(session.registry)
    held = overview.plan.held.get(Slug(slug))
    return [
        f"it needs {need!r}, which is off: {session.command} activate {need}"
        for need in overview.needs(slug)
        if not overview.records[need].wanted
    ] or ([f"it will not be loaded: {held.reason}"] if held else [])


def probe_first(session: Session, slug: str, timeout: float = 10.0) -> str:
    """Load a plugin in a child process before it is switched on.

    Args:
        session: The session.
        slug: The plugin.
        timeout: Seconds that the probe may take.

    Returns:
        The fault of the plugin, an empty string if there is none.

    Raises:
        ProbeFailedError: If the plugin ended its process.
    """
    from plugreg._state.probe_report import ProbeFailedError

    report = session.registry.probe(slug, timeout)
    if report.ends_host:
        raise ProbeFailedError(report)
    return "" if report.outcome == "ok" else f"its probe failed: {report.detail}"


@command(
    "deactivate",
    """plugreg deactivate crash
    plugreg deactivate tax-table --cascade
    plugreg deactivate --all --exclude core-tax""",
)
@slug_argument(many=True, required=False)
@_ALL
@_EXCLUDE
@click.option("--cascade", is_flag=True, help="Also the plugins that need it.")
def deactivate(
    session: Session,
    slugs: tuple[str, ...],
    *,
    every: bool,
    excluded: tuple[str, ...],
    cascade: bool,
) -> Answer:
    """Switch plugins off; live processes take that in within a second or at their next request.

    No plugin is imported, so that this works while a plugin keeps the host from starting.
    """
    check_asked(slugs, every=every)
    registry = session.registry
    overview = look(registry)
    on = [slug for slug, r in registry.plugins.items() if r.wanted and not r.is_mandatory]
    chosen = _chosen(registry, slugs, excluded, on)
    if cascade:
        known = [slug for slug in chosen if slug in registry.plugins]
        chosen += [slug for slug in overview.needed_by(known) if slug not in excluded]
    # Dependents go first, so that no plugin ever serves without its dependencies.
    chosen.sort(key=lambda slug: len(overview.needed_by([slug])))
    damaged = {error.key: error for error in registry.damaged if error.table == "plugins"}
    leaving: dict[str, bool] = {}

    def change(slug: str) -> tuple[str, str]:
        record = registry.get(slug)
        if slug in damaged:
            raise damaged[slug]
        if not record.wanted:
            return "is off already", ""
        if record.is_mandatory:
            raise PluginMandatoryError(slug)
        staying = [
            other
            for other in overview.needed_by([slug])
            if other not in chosen or overview.records[other].is_mandatory
        ]
        if staying:
            raise PluginRequiredError(slug, tuple(staying))
        leaving[slug] = False
        return "off", ""

    answer = change_each(session, chosen, change, "switched off")
    # A single plan decides, however many plugins there are.
    registry.switch(leaving)
    return answer


@command("reset", "plugreg reset discount\nplugreg reset --all")
@slug_argument(many=True, required=False)
@_ALL
def reset(session: Session, slugs: tuple[str, ...], *, every: bool) -> Answer:
    """Have all processes close circuits, end quarantine, and try failed plugins again."""
    check_asked(slugs, every=every)
    registry = session.registry

    def change(slug: str) -> tuple[str, str]:
        registry.shared.ask("reset", slug=registry.get(slug).slug)
        return "reset", "each process does so at its next refresh"

    wanted = [slug for slug, record in registry.plugins.items() if record.wanted]
    return change_each(session, slugs or wanted, change, "reset")


@command("reload", "plugreg reload")
def reload(session: Session) -> Answer:
    """Have all processes look for plugins again, and reload those that have changed."""
    shared = session.registry.shared
    shared.ask("reload")
    heard = len(shared.processes()) - 1
    return Answer(
        "changes",
        [{"ok": True, "result": "reload", "processes": heard}],
        columns=("result", "processes"),
        text=f"asked all processes to reload; {heard} are heard\n",
    )


@command("probe", "plugreg probe discount\nplugreg probe discount --timeout 30 --json")
@slug_argument(many=True)
@click.option("--timeout", default=10.0, show_default=True, help="Seconds that it may take.")
def probe(session: Session, slugs: tuple[str, ...], *, timeout: float) -> Answer:
    """Load plugins in a child process, and report what they provide or how they ended it.

    Nothing of them is imported here, and nothing is switched. The report is stored.
    """
    registry = session.registry
    rows: list[dict[str, Any]] = []
    faults: list[Fault] = []
    shown = ("slug", "outcome", "seconds", "detail")
    more = ("version", "hooks", "warnings", "stdout", "stderr")
    for slug in dict.fromkeys(slugs):
        try:
            report = registry.probe(slug, timeout)
        except PlugregError as error:
            faults.append(session.fault_of(error))
            continue
        names = {"mixins": sorted(report.mixins), "settings": list(report.settings)}
        rows.append({**fields_of(report, *shown, *more), **names})
    is_fine = all(row["outcome"] == "ok" for row in rows)
    if len(rows) == 1 and rows[0]["stderr"]:
        for line in rows[0]["stderr"].splitlines():
            session.output.note(line)
    return Answer(
        "plugins",
        rows,
        columns=shown,
        code=faults[0].exit_code if faults else FINE if is_fine else NO,
        fault=faults[0] if faults else None,
    )
