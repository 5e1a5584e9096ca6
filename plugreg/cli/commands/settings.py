"""``plugreg settings``: settings of a plugin, with layer and lock, without importing it."""

from __future__ import annotations

import json
import os
import sys
from typing import Final

import click

from plugreg._support.redact import MASK
from plugreg.cli.command import command, slug_argument
from plugreg.cli.faults import refused, usage
from plugreg.cli.output import Answer
from plugreg.cli.overview import setting_row
from plugreg.cli.session import Session
from plugreg.settings.view import SettingsView

ACTIONS: Final = ("list", "get", "set", "unset", "schema")
_COLUMNS: Final = ("key", "value", "layer", "locked", "type", "name")


@command(
    "settings",
    """plugreg settings discount
    plugreg settings discount get PERCENT
    plugreg settings discount set PERCENT 20
    pass show/shop | plugreg settings discount set API_KEY --stdin
    plugreg settings discount unset PERCENT""",
)
@slug_argument()
@click.argument(
    "action", type=click.Choice(ACTIONS), default="list", metavar=f"[{'|'.join(ACTIONS)}]"
)
@click.argument("key", required=False)
@click.argument("values", metavar="[VALUE]", nargs=-1)
@click.option("--user", type=int, metavar="ID", help="Settings of this user.")
@click.option("--stdin", is_flag=True, help="Read the value of set from standard input.")
@click.option("--env", metavar="NAME", help="Read the value of set from this variable.")
def settings(
    session: Session,
    slug: str,
    *,
    action: str,
    key: str | None,
    values: tuple[str, ...],
    user: int | None,
    stdin: bool,
    env: str | None,
) -> Answer:
    """List, get, set or unset settings of a plugin, or print their JSON Schema.

    Each value has a layer: default, stored, or an override of the host, which locks it. The plugin
    is not imported: the accepted values are known from its last probe. Without a probe, values are
    strings. A protected value is read only from --stdin or --env, and never shown.
    """
    if (key is None) is (action in ("get", "set", "unset")):
        raise usage(
            f"settings {action} takes {'a KEY' if key is None else 'no KEY'}",
            "such as: settings SLUG get KEY",
        )
    registry = session.registry
    asked = () if key is None or action == "get" else (key, *(values if action == "unset" else ()))
    view = registry.config.offline_settings(slug, user, asked)
    if registry.probed(slug) is None:
        hint = f"nothing was probed of {slug!r}, so values are strings; see: plugreg probe {slug}"
        session.output.note(hint)
    if key is None:
        rows = [setting_row(view, name) for name in view.definitions]
        if action == "list":
            return Answer("settings", rows, columns=_COLUMNS, empty="no setting is known")
        schema = view.schema()
        text = json.dumps(schema, indent=2) + "\n"
        return Answer("settings", rows, columns=("key",), text=text, more={"json_schema": schema})
    if action == "unset":
        return _write(view, slug, dict.fromkeys((key, *values), ""), "unset")
    check_name(view, key)
    if action == "get":
        if values:
            raise usage("settings get takes one KEY", "or see all: plugreg settings SLUG")
        row = setting_row(view, key.upper())
        return Answer("settings", [row], columns=_COLUMNS, text=f"{row['value']}\n")
    check_name(view, key)
    is_protected = view.is_protected(key)
    if not values and not stdin and env is None and session.is_interactive:
        value = session.ask(f"{key.upper()}: ", is_secret=is_protected).removesuffix("\n")
    else:
        value = _given_value(values, stdin=stdin, env=env, is_protected=is_protected)
    # An empty value means that there is none, so that the default is read again.
    answer = _write(view, slug, {key: value}, "set" if value else "unset")
    # A value outside the arguments may be a secret, even if no probe has found it protected.
    if value and not values:
        return answer._replace(rows=[{**row, "value": MASK} for row in answer.rows])
    return answer


def check_name(view: SettingsView, key: str) -> None:
    """Refuse a setting that a plugin does not declare.

    Args:
        view: The settings of the plugin.
        key: Key of the setting, in any case.

    Raises:
        CommandError: If there is no such setting. It names near keys, or all.
    """
    try:
        view.layer(key)
    except KeyError as error:
        message, _, remedy = str(error.args[0]).partition("; ")
        there = f"there are: {', '.join(view.definitions) or 'none'}"
        raise usage(message, remedy or there) from None


def _given_value(
    values: tuple[str, ...], *, stdin: bool, env: str | None, is_protected: bool
) -> str:
    """Return the value from the only source that has one."""
    if len(values) + stdin + (env is not None) != 1:
        raise usage("set takes one value", "give VALUE, --stdin or --env NAME")
    if values and is_protected:
        # Arguments are seen by everybody on the machine, and kept in histories.
        raise usage(
            "this value is protected, and not taken from arguments", "--stdin or --env NAME"
        )
    if values:
        return values[0]
    if stdin:
        return sys.stdin.read().removesuffix("\n")
    found = os.environ.get(str(env))
    if found is None:
        raise usage(f"there is no environment variable {env!r}", "set it, or use --stdin")
    return found


def _write(view: SettingsView, slug: str, values: dict[str, str], done: str) -> Answer:
    for key in values:
        check_name(view, key)
        if view.is_locked(key):
            raise refused(
                f"setting {key.upper()!r} is fixed by the host's configuration",
                "change it there",
                code="locked",
            )
    for key, value in values.items():
        view.set(key, value)
    rows = [{"slug": slug, "result": done, **setting_row(view, key.upper())} for key in values]
    text = "".join(f"{slug}: {row['key']} {done}\n" for row in rows)
    return Answer("changes", rows, columns=("slug", "key", "value", "layer"), text=text)
