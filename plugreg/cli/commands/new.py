"""``plugreg new``: generate a plugin for this host, or update it after changes of the host."""

from __future__ import annotations

import os
import sys
from collections.abc import Container, Iterable
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import click

from plugreg.cli.command import command
from plugreg.cli.faults import FINE, NO, refused, split, usage
from plugreg.cli.output import Answer
from plugreg.cli.session import Session
from plugreg.contract import Contract
from plugreg.discovery import discover
from plugreg.testing.scaffold.project import RECORD, NewPlugin, ProjectRecord, read_record
from plugreg.testing.scaffold.update import Written, write


@command(
    "new",
    """plugreg --app shop.app:make_registry new shop-weather --hook price_change --mixin settings
    plugreg new shop-weather --update""",
)
@click.argument("name")
@click.option("--hook", "hooks", multiple=True, metavar="HOOK", help="A hook to implement.")
@click.option(
    "--mixin", "mixins", multiple=True, metavar="KEY", help="A capability, such as settings."
)
@click.option("--update", is_flag=True, help="Merge changes of the host and the templates.")
@click.option("--folder", metavar="PATH", help="Where the project is. Defaults to ./NAME.")
def new(
    session: Session,
    *,
    name: str,
    hooks: tuple[str, ...],
    mixins: tuple[str, ...],
    update: bool,
    folder: str | None,
) -> Answer:
    """Generate a plugin NAME for this host: package, class, tests, checks, CI workflow.

    Signatures come from the host's contract. --hook and --mixin may be repeated. With --update
    the project is generated again and merged; your changes are never overwritten. If both sides
    have changed the same lines, the new file is written beside yours, as FILE.new.
    """
    place = Path(folder or name)
    base: dict[str, str] = {}
    record: ProjectRecord | None = None
    if update:
        record = _record(place)
        base, name = dict(record.files), record.name
        session.app = session.app or record.app
    elif place.exists() and any(place.iterdir() if place.is_dir() else [place]):
        raise refused(
            f"{str(place)!r} is there already, and is not empty",
            "choose another name or --folder, or add --update to make it again",
        )
    contract = session.contract()
    # The host may have removed what the record names; what is asked for now must be there.
    hooks = _joined(record.hooks if record else (), hooks, contract.hooks)
    mixins = _joined(record.mixins if record else (), mixins, contract.mixins)
    is_installed = _is_installed(contract.distribution)
    try:
        plugin = NewPlugin(
            name=name,
            contract=contract,
            app=session.app_name,
            hooks=hooks,
            mixins=mixins,
            testing=_testing(contract, session.app_name),
            is_host_installed=is_installed,
            host_path=None if is_installed else _host_path(contract, session.app_name, place),
        )
    except ValueError as error:
        raise usage(*split(error)) from error
    if not update and (taken := _taken(plugin)):
        raise refused(taken, "choose another name, or uninstall the other")
    try:
        written = write(place, plugin.files(), base)
    except ValueError as error:
        raise refused(*split(error)) from error
    (place / RECORD).write_text(plugin.record(), encoding="utf-8")
    is_merged = all(file.action != "conflict" for file in written)
    return Answer(
        "files",
        [{"file": file.path, "action": file.action} for file in written],
        columns=("file", "action"),
        code=FINE if is_merged else NO,
        text=_text(written, place, update=update),
        more={"folder": str(place), "slug": plugin.slug},
    )


def _joined(before: Iterable[str], asked: Iterable[str], known: Container[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*(name for name in before if name in known), *asked)))


def _taken(plugin: NewPlugin) -> str:
    """Return what has a name of the plugin already, as a clause; empty if nothing has."""
    for spec in discover(plugin.contract.group):
        if spec.slug == plugin.slug:
            return f"plugin {plugin.slug!r} is installed already, by {spec.distribution!r}"
    if _is_installed(plugin.name):
        return f"distribution {plugin.name!r} is installed already"
    found = find_spec(plugin.module)
    # A folder without modules is no package that would be in the way.
    is_there = found is not None and found.origin is not None
    return f"module {plugin.module!r} is there already" if is_there else ""


def _record(place: Path) -> ProjectRecord:
    try:
        return read_record((place / RECORD).read_text(encoding="utf-8"))
    except OSError as error:
        raise usage(
            f"{str(place)!r} was not made by 'plugreg new': there is no {RECORD}",
            "leave --update out to begin one",
        ) from error
    except ValueError as error:
        raise usage(*split(error)) from error


def _modules(contract: Contract, app: str | None) -> dict[str, None]:
    """Return the top modules of a host: that of its registry, and those of its hooks."""
    sources = (app, *(hook.source for hook in contract.hooks.values()))
    tops = (source.partition(":")[0].partition(".")[0] for source in sources if source)
    return dict.fromkeys(tops)


def _testing(contract: Contract, app: str | None) -> str | None:
    """Return the host's module with a fixture for authors, None if it has no such module."""
    for name in (f"{top}.testing" for top in _modules(contract, app)):
        # The host may be no package, or its kit needs a package that is not installed.
        with suppress(ImportError):
            if find_spec(name) is not None:
                module = import_module(name)
                if hasattr(module, "plugin_host") and hasattr(module, "Conformance"):
                    return name
    return None


def _host_path(contract: Contract, app: str | None, place: Path) -> str | None:
    """Return the folder of a host that is not installed, as seen from the project."""
    for top in _modules(contract, app):
        file = getattr(sys.modules.get(top), "__file__", None)
        if file is not None:
            folder = Path(file).parents[Path(file).name == "__init__.py"]
            return Path(os.path.relpath(folder, place)).as_posix()
    return None


def _is_installed(distribution: str) -> bool:
    try:
        return bool(version(distribution))
    except PackageNotFoundError:
        return False


def _text(written: list[Written], place: Path, *, update: bool) -> str:
    lines = []
    for file in written:
        if not update or file.action != "unchanged":
            lines.append(f"{file.action:<10} {place / file.path}\n")
        if file.beside is not None:
            lines.append(f"           see {file.beside}, and take over what you want\n")
    if update:
        return "".join(lines) or "nothing has changed\n"
    relative = os.path.relpath(place)
    lines.append(
        f"\nnext: pip install --editable ./{relative} 'plugreg[kit]'\n"
        f"      plugreg check {relative}\n"
        f"      pytest {relative}\n"
    )
    return "".join(lines)
