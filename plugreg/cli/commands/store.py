"""``plugreg store``: the store as a whole, also where a part of it is damaged."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from plugreg.cli.command import Group, consent_option
from plugreg.cli.faults import FINE, NO, no, refused, usage
from plugreg.cli.output import Answer
from plugreg.cli.session import Session
from plugreg.exceptions import RecordCorruptError, StorageCorruptError
from plugreg.registry import PluginRegistry
from plugreg.storage import Storage, Transaction
from plugreg.storage.base import DamagedRecord

ASIDE: Final = "set_aside"
"""The table of rows that were set aside."""


@click.group(
    "store",
    cls=Group,
    examples="""plugreg store check
    plugreg store repair --set-aside plugins:discount
    plugreg store export backup.json""",
)
def store() -> None:
    """Check, repair, copy, export or import the store."""


def damaged_rows(storage: Storage) -> list[RecordCorruptError]:
    """Return an error for each damaged row of a store, of whatever table. Writes nothing.

    Args:
        storage: The store.

    Raises:
        StorageError: If the store cannot be read.
    """
    from plugreg.install.audit import Audit

    found = {}
    with storage.transaction() as transaction:
        for table in transaction.tables():
            for key, record in transaction.items(table):
                if isinstance(record, DamagedRecord):
                    found[table, key] = RecordCorruptError(table, key, record.reason)
    with PluginRegistry("plugreg", storage=storage).in_safe_mode() as registry:
        registry.load()
        for error in (*registry.damaged, *Audit(storage).damaged()):
            found.setdefault((error.table, error.key), error)
    return [found[place] for place in sorted(found)]


def address_of(error: RecordCorruptError) -> str:
    """Return the argument of ``--set-aside`` for a damaged row.

    Args:
        error: The error that names the row.
    """
    return f"{error.table}:{error.key}"


@store.command("check", examples="plugreg store check\nplugreg store check --json")
def check(session: Session) -> Answer:
    """Read every row, and name those that are damaged. Nothing is changed.

    The exit code is 1 if a row is damaged, and 5 if the store as a whole cannot be read.
    """
    errors = damaged_rows(session.storage)
    rows = [
        {
            "row": address_of(error),
            "table": error.table,
            "key": error.key,
            "reason": error.reason,
            "command": session.set_aside(error),
        }
        for error in errors
    ]
    return Answer(
        "rows",
        rows,
        columns=("row", "reason"),
        code=NO if rows else FINE,
        verdict=(
            f"{len(rows)} damaged; set one aside: {rows[0]['command']}"
            if rows
            else "the store is fine"
        ),
    )


@store.command(
    "repair",
    examples="""plugreg store repair --set-aside plugins:discount
    plugreg store repair --accept-changes""",
)
@click.option(
    "--set-aside",
    "keys",
    multiple=True,
    metavar="KEY",
    help="The row, as TABLE:KEY; may be repeated. `store check` names damaged ones.",
)
@click.option(
    "--accept-changes",
    is_flag=True,
    help="Accept the content of a file that was edited by hand, after asking.",
)
@consent_option
def repair(session: Session, keys: tuple[str, ...], *, accept_changes: bool) -> Answer:
    """Set damaged rows aside, so that all others can be used, or accept an edited file.

    A copy of each row, as far as it can be read, is kept in the table "set_aside". A plugin whose
    row is set aside counts as new; a setting has its default. Only damaged rows are moved. A copy
    of an edited file is kept beside it.
    """
    if accept_changes is bool(keys):
        raise usage("one of --set-aside and --accept-changes is needed", "see `store check`")
    if accept_changes:
        return _accept_changes(session)
    storage = session.storage
    damaged = {address_of(error): error for error in damaged_rows(storage)}
    for key in keys:
        if key not in damaged:
            there = f"damaged: {', '.join(damaged)}" if damaged else "no row is damaged"
            raise no(f"row {key!r} is not damaged, and stays", there, code="not-damaged")
    with storage.transaction() as transaction:
        for key in keys:
            _set_aside(transaction, damaged[key], storage.revision())
    rows = [{"row": key, "ok": True, "result": "set aside"} for key in keys]
    text = "".join(f"{key}: set aside\n" for key in keys)
    return Answer("changes", rows, columns=("row", "result"), text=text)


def _accept_changes(session: Session) -> Answer:
    """Accept the file of a store that something else than plugreg has changed."""
    from plugreg.storage.file.tinydb import accept_changes

    try:
        session.storage.revision()
    except StorageCorruptError as error:
        if "checksum" not in error.reason:
            raise
        path = error.path
        session.confirm(
            f"{error}\nIf it was changed by hand, its content can be accepted as it is now; a copy "
            f"of the file is kept. Whoever could write to it may have put anything there. Accept?"
        )
    else:
        raise no("the file of the store is not damaged, and stays", code="not-damaged")
    aside = accept_changes(path)
    result = "not damaged" if aside is None else f"accepted; as it was found: {aside.path}"
    rows = [{"row": path, "ok": True, "result": result}]
    return Answer("changes", rows, columns=("row", "result"), text=f"{path}: {result}\n")


def _set_aside(transaction: Transaction, error: RecordCorruptError, revision: int) -> None:
    """Move a row to the table of those set aside, and count on from the rows that are left."""
    record = transaction.get(error.table, error.key)
    is_readable = record is not None and not isinstance(record, DamagedRecord)
    when = datetime.now(UTC)
    copy = {
        # The row may contain a secret, so it is left out of exports.
        "value": json.dumps(record) if is_readable else "",
        "protected": True,
        "table": error.table,
        "key": error.key,
        "reason": error.reason,
        "when": when.isoformat(),
    }
    transaction.delete(error.table, error.key)
    transaction.put(ASIDE, f"{when:%Y%m%dT%H%M%S.%f}-{error.table}:{error.key}"[:250], copy)
    if (error.table, error.key) == ("counters", "pk"):
        numbers = [row.get("pk", 0) for _, row in transaction.items("plugins")]
        last = max((number for number in numbers if type(number) is int), default=0)
        transaction.put("counters", "pk", {"last": last})
    elif (error.table, error.key) == ("counters", "generation"):
        # Each epoch was a commit, so that this number is later than any before.
        transaction.put("counters", "generation", {"number": revision + 1, "asked": revision + 1})


@store.command("copy", examples="plugreg store copy postgresql+psycopg://shop@db/shop")
@click.argument("url")
@click.option("--replace", is_flag=True, help="Remove all rows of the target first.")
def copy(session: Session, url: str, *, replace: bool) -> Answer:
    """Copy the whole store to another, in one transaction. The host continues to use the first."""
    from plugreg.storage import copy as copy_store
    from plugreg.storage import open_storage

    target = open_storage(url)
    try:
        _check_empty(target, replace=replace)
        copy_store(session.storage, target, replace=replace)
        rows = _tables(target)
    finally:
        target.close()
    return Answer("tables", rows, columns=("table", "rows"))


def _check_empty(storage: Storage, *, replace: bool) -> None:
    with storage.transaction() as transaction:
        tables = transaction.tables()
    if tables and not replace:
        rows = f"it has rows in {', '.join(tables)}"
        raise refused(f"the store is not empty: {rows}", "add --replace", code="not-empty")


def _tables(storage: Storage) -> list[dict[str, Any]]:
    with storage.transaction() as transaction:
        tables = transaction.tables()
        return [{"table": name, "rows": len(list(transaction.items(name)))} for name in tables]


@store.command(
    "export", examples="plugreg store export backup.json\nplugreg store export > backup.json"
)
@click.argument("file", required=False, type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--secrets", is_flag=True, help="With protected values. Keep it like a password.")
def export(session: Session, file: str | None, *, secrets: bool) -> Answer:
    """Write the whole store as JSON, without protected values."""
    from plugreg.storage import export_json

    text = export_json(session.storage, secrets=secrets)
    if file in (None, "-"):
        return Answer("", text=text, more={"store": json.loads(text)})
    # The file may contain secrets, so only its owner can read it from the first byte on.
    path = Path(str(file))
    path.touch(mode=0o600)
    if path.is_file():
        # It may have been there before, for others to read.
        path.chmod(0o600)
    path.write_text(text, encoding="utf-8")
    return Answer("files", [{"path": file}], columns=("path",), text=f"{file}\n")


@store.command("import", examples="plugreg store import backup.json --replace")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--replace", is_flag=True, help="Remove all other rows first.")
def import_(session: Session, file: str, *, replace: bool) -> Answer:
    """Store a file of `store export`, in one transaction. Omitted values stay unchanged."""
    from plugreg.storage import import_json

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise usage(f"{file!r} cannot be read: {error}", "name a file of `store export`") from error
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise usage(f"{file!r} is no JSON: {error}", "nothing was changed") from error
    _check_empty(session.storage, replace=replace)
    skipped = import_json(session.storage, text, replace=replace)
    return Answer(
        "tables",
        _tables(session.storage),
        columns=("table", "rows"),
        more={"skipped": [f"{table}:{key}" for table, key in skipped]},
        verdict=f"{len(skipped)} protected values were left out, and stay" if skipped else "",
    )
