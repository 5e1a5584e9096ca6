"""``plugreg list`` and ``plugreg show``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import click

from plugreg.cli.command import command, slug_argument
from plugreg.cli.faults import Fault, usage
from plugreg.cli.output import Answer
from plugreg.cli.overview import UNKNOWN, look, setting_row
from plugreg.cli.session import Session
from plugreg.cli.tables import Row, cell, fields_of
from plugreg.exceptions import RecordCorruptError
from plugreg.records import PluginState
from plugreg.registry import PluginRegistry

STATES: Final = (*map(str, PluginState), UNKNOWN)
FIELDS: Final = (
    *("slug", "version", "wanted", "state", "serves", "why"),
    *("title", "distribution", "mixins", "isolated", "failures"),
)
SHOWN: Final = FIELDS[:6]
_MOST_ENTRIES: Final = 3


@command(
    "list",
    """plugreg list --state failed --state incompatible
    plugreg list --failed --fields slug,state,why
    plugreg list --wanted --format names""",
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES),
    metavar="STATE",
    help=f"Only plugins in this state: {', '.join(STATES)}. May be repeated.",
)
@click.option("--wanted", is_flag=True, help="Only plugins that are switched on.")
@click.option("--mixin", metavar="KEY", help="Only plugins with this capability, such as settings.")
@click.option("--failed", is_flag=True, help="Only plugins that failed in any process.")
@click.option("--sort", metavar="FIELD", help="Sort by a field; -FIELD sorts descending.")
@click.option("--fields", metavar="A,B", help=f"Which columns: {', '.join(FIELDS)}.")
def list_(
    session: Session,
    *,
    states: tuple[str, ...],
    wanted: bool,
    mixin: str | None,
    failed: bool,
    sort: str | None,
    fields: str | None,
) -> Answer:
    """List plugins with their desired states, and their states in the live processes.

    SERVES is the number of processes in which a plugin is active, of all live processes. Without a
    live process the state is unknown. No plugin is imported, and nothing is written.
    """
    asked = SHOWN if fields is None else fields.split(",")
    names = [_field("--fields", name.strip()) for name in asked]
    overview = look(session.registry)
    rows: Sequence[Row] = [
        row
        for row in map(overview.row, overview.records)
        if not states or row["state"] in states
        if not wanted or row["wanted"]
        if not failed or row["failures"]
        if mixin is None or mixin.lower() in row["mixins"]
    ]
    if sort is not None:
        rows = _sorted(rows, sort)
    if fields is not None:
        rows = [{name: row[name] for name in names} for row in rows]
    return Answer(
        "plugins",
        rows,
        columns=names,
        fault=damage(session),
        empty="no plugin fits" if overview.records else "there are no plugins",
    )


def _field(option: str, name: str) -> str:
    """Return the name of a field, "slug" for ``plugin``, as the table has it."""
    name = "slug" if name == "plugin" else name
    if name not in FIELDS:
        raise usage(f"{option}: there is no field {name!r}", f"there are: {', '.join(FIELDS)}")
    return name


def _sorted(rows: Sequence[Row], sort: str) -> list[Row]:
    name = _field("--sort", sort.lstrip("-"))

    def key(row: Row) -> tuple[bool, Any]:
        value = row[name]
        return value is None, value if isinstance(value, (int, list)) else str(value or "")

    return sorted(rows, key=key, reverse=sort.startswith("-"))


def damage(session: Session) -> Fault | None:
    """Return the fault of the first damaged row of the store, with the command that repairs it.

    Args:
        session: The session.
    """
    errors = session.registry.damaged
    if not errors:
        return None
    found = session.fault_of(errors[0])
    others = f" ({len(errors) - 1} more: {session.command} store check)" if errors[1:] else ""
    return found._replace(message=f"{found.message}{others}")


@command("show", "plugreg show discount\nplugreg show discount --json")
@slug_argument()
def show(session: Session, slug: str) -> Answer:
    """Show everything about one plugin.

    Metadata, dependencies and dependents, its state in each live process, its failures, and the
    names of its settings and hooks from the last probe. No plugin is imported.
    """
    details = describe(session.registry, slug)
    return Answer("plugins", [details], text="".join(_lines(details)))


def describe(registry: PluginRegistry, slug: str) -> dict[str, Any]:
    """Return everything that is known of a plugin, as JSON values.

    Args:
        registry: The registry, loaded.
        slug: The plugin.

    Raises:
        PluginNotFoundError: If it is unknown.
    """
    record = registry.get(slug)
    overview = look(registry)
    probed, view = registry.probed(slug), registry.config.offline_settings(slug)
    return {
        **overview.row(slug),
        **fields_of(record, "description", "author", "license", "website", "module"),
        "path": None if record.path is None else str(record.path),
        "builtin": record.is_builtin,
        "sample": record.is_sample,
        "mandatory": record.is_mandatory,
        "requires": overview.needs(slug),
        "required_by": overview.needed_by([slug]),
        "processes": [
            fields_of(process, "name", "pid", "host") for process in overview.serving(slug)
        ],
        "hooks": list(probed.hooks) if probed else None,
        "settings": [setting_row(view, key) for key in view.definitions],
        "errors": [
            fields_of(failure, "stage", "message", "count", "last_seen", "process")
            for failure in overview.failures.get(slug, ())
        ],
        "probed": probed.at.isoformat(timespec="seconds") if probed else None,
        "metadata": registry.metadata(slug),
        "audit": _audit(registry, record.distribution),
    }


def _audit(registry: PluginRegistry, distribution: str | None) -> list[Row]:
    """Return the last attempts to install or remove a distribution, none where rows are damaged."""
    if distribution is None:
        return []
    from plugreg.install.audit import Audit

    try:
        entries = Audit(registry.storage).entries()
    except RecordCorruptError:
        return []
    own = [entry for entry in entries if entry.distribution == distribution]
    names = ("when", "actor", "action", "outcome")
    return [fields_of(entry, *names) for entry in own[-_MOST_ENTRIES:]]


def _lines(details: Row) -> Iterator[str]:
    """Yield the readable lines; empty values are left out."""
    shapes = {
        "processes": "{name} (pid {pid})",
        "settings": "{key}={value}",
        "audit": "{when} {actor}: {action} {outcome}",
        "errors": "{stage} in {process}: {message}",
    }
    texts = {name: [shape.format(**row) for row in details[name]] for name, shape in shapes.items()}
    for name, value in {**details, **texts}.items():
        if value in (None, "", [], {}) or (value is False and name != "wanted"):
            continue
        head = name.replace("_", " ")
        for text in value if name in ("errors", "audit") else [value]:
            yield f"{head:<14}{cell(text)}\n"
            head = ""
