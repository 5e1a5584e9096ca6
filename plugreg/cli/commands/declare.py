"""``plugreg apply`` and ``plugreg export``: plugins as a file describes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from plugreg._support.redact import MASK
from plugreg._support.slugs import canonical
from plugreg.cli.command import command, consent_option
from plugreg.cli.commands.packages import install_all
from plugreg.cli.commands.settings import check_name
from plugreg.cli.commands.switching import probe_first
from plugreg.cli.faults import DIFFERENT, FINE, no, unknown, usage
from plugreg.cli.output import Answer
from plugreg.cli.overview import look
from plugreg.cli.plugins_toml import Described, read_file, write_text
from plugreg.cli.session import Session
from plugreg.cli.tables import counted
from plugreg.exceptions import PluginRequiredError, SettingError
from plugreg.registry import PluginRegistry
from plugreg.settings.view import SettingsView

Row = dict[str, Any]


@command(
    "apply",
    """plugreg apply plugins.toml --plan
    plugreg apply plugins.toml
    plugreg apply plugins.toml --prune""",
)
@click.argument("file", type=click.Path())
@click.option("--plan", "only_plan", is_flag=True, help="Show the difference; 2 if there is one.")
@click.option(
    "--prune",
    is_flag=True,
    help="Also switch off plugins, and unset values, that are not in the file.",
)
@click.option("--no-probe", is_flag=True, help="Do not load plugins in a child process first.")
@consent_option
def apply(session: Session, file: str, *, only_plan: bool, prune: bool, no_probe: bool) -> Answer:
    """Apply the desired states, versions and settings of a file.

    Distributions are installed first; then desired state and settings are stored in one
    transaction, all or none. Plugins and values that are not in the file stay unchanged, unless
    --prune is given. Protected values can only be references: {"$env" = "NAME"}.
    """
    described = read_file(file)
    registry = session.registry
    missing = [plugin for plugin in described if _is_lacking(registry, plugin)]
    rows = [_row(found.slug, "requirement", "", None, found.requirement) for found in missing]
    # Errors in the file are found before anything is installed.
    differences = _differences(registry, described, missing, prune=prune)
    if only_plan:
        return _answer([*rows, *differences], is_plan=True)
    if missing:
        install_all(session, [str(plugin.requirement) for plugin in missing])
    for plugin in () if no_probe else described:
        record = registry.plugins.get(plugin.slug)
        if plugin.active and record is not None and not record.wanted:
            probe_first(session, plugin.slug)
    from plugreg.storage.batch import OneTransaction

    with (
        OneTransaction(registry.storage) as storage,
        registry.in_safe_mode(storage) as changing,
    ):
        changing.load()
        # The differences are computed again, while no other process can change the store.
        rows += _differences(changing, described, (), prune=prune)
        _carry_out(changing, rows)
    return _answer(rows, is_plan=False)


def _answer(rows: list[Row], *, is_plan: bool) -> Answer:
    return Answer(
        "changes",
        rows,
        columns=("slug", "what", "key", "before", "after"),
        code=DIFFERENT if rows and is_plan else FINE,
        verdict=f"{counted(len(rows), 'change')} {'to make' if is_plan else 'made'}",
    )


# -- versions --------------------------------------------------------------------------------


def _is_lacking(registry: PluginRegistry, plugin: Described) -> bool:
    """Return whether a plugin must be installed. Raises if there is none to be."""
    record = registry.plugins.get(plugin.slug)
    is_installed = record is not None and record.is_installed
    if plugin.requirement is None:
        # A plugin that is gone and was wanted stays so; nothing is to be done about it.
        is_wanted = record is not None and record.wanted
        if not is_installed and plugin.active and not is_wanted:
            raise unknown(
                f"plugin {plugin.slug!r} is not known here",
                "install it, or give its requirement in the file",
            )
        return False
    if record is None or not is_installed or record.version is None:
        return not is_installed
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(plugin.requirement)
    except InvalidRequirement as error:
        raise usage(f"requirement {plugin.requirement!r} is none: {error}") from error
    return not wanted.specifier.contains(record.version, prereleases=True)


def _row(slug: str, what: str, key: str, before: Any, after: Any) -> Row:
    return {"slug": slug, "what": what, "key": key, "before": before, "after": after}


# -- desired state and settings --------------------------------------------------------------


def _differences(
    registry: PluginRegistry,
    described: Sequence[Described],
    missing: Iterable[Described],
    *,
    prune: bool,
) -> list[Row]:
    """Return the differences between file and store. Nothing is changed."""
    lacking = {plugin.slug for plugin in missing}
    rows: list[Row] = []
    for plugin in described:
        record = registry.plugins.get(plugin.slug)
        wanted = record is not None and record.wanted
        if plugin.active is not None and plugin.active is not wanted:
            rows.append(_row(plugin.slug, "active", "", wanted, plugin.active))
        if plugin.slug not in lacking or record is not None:
            rows += _setting_rows(registry, plugin, prune=prune)
    named = {plugin.slug for plugin in described}
    for slug, record in registry.plugins.items() if prune else ():
        if record.wanted and slug not in named and not record.is_mandatory:
            rows.append(_row(slug, "active", "", True, False))
    return rows


def _setting_rows(registry: PluginRegistry, plugin: Described, *, prune: bool) -> Iterator[Row]:
    stored = (None, *registry.config.users(plugin.slug)) if prune else ()
    for user in dict.fromkeys((*stored, *plugin.settings)):
        values = plugin.settings.get(user, {})
        view = registry.config.offline_settings(plugin.slug, user, values)
        what = "setting" if user is None else f"user {user}"
        for key, value in values.items():
            _check_described(view, plugin.slug, key, value)
            before = view.stored(key)
            if not _is_same(view, key, before, value):
                _check_change(view, plugin.slug, key, value)
                yield _row(plugin.slug, what, key, before, value)
        for key in view.definitions if prune else ():
            before = view.stored(key)
            # A protected value is in no file, so that its absence says nothing.
            if key not in values and before is not None and before != MASK:
                _check_change(view, plugin.slug, key, None)
                yield _row(plugin.slug, what, key, before, None)


def _check_change(view: SettingsView, slug: str, key: str, value: Any) -> None:
    """Refuse a change that writing would refuse: another type, or a setting that is locked."""
    try:
        view.check(key, value)
    except SettingError as error:
        reason, _, remedy = error.reason.partition("; ")
        raise no(f"setting {key!r} of {slug!r}: {reason}", remedy, code="setting") from error


def _check_described(view: SettingsView, slug: str, key: str, value: Any) -> None:
    check_name(view, key)
    if view.is_protected(key) and not _is_reference(value):
        raise usage(
            f"setting {key!r} of {slug!r} is protected, and its value stands in the file",
            'write {"$env" = "NAME"} in its place',
        )


def _is_reference(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("$env", "$file")


def _is_same(view: SettingsView, key: str, before: Any, value: Any) -> bool:
    if before is None or isinstance(value, (dict, list)) or not isinstance(before, str):
        return bool(before == value)
    if view.definitions[key].converter is bool:
        return str(view[key]) == str(value)
    return before == str(value)


def _carry_out(registry: PluginRegistry, rows: list[Row]) -> None:
    """Store the differences. If one is refused, raise and store none."""
    wanted = {row["slug"]: row["after"] for row in rows if row["what"] == "active"}
    overview = look(registry)
    leaving = [slug for slug, active in wanted.items() if not active]
    staying = [slug for slug in overview.needed_by(leaving) if wanted.get(slug, True)]
    if staying:
        raise PluginRequiredError(leaving[0], tuple(staying))
    registry.switch(wanted)
    for row in rows:
        if row["what"] not in ("active", "requirement"):
            user = None if row["what"] == "setting" else int(row["what"].removeprefix("user "))
            view = registry.config.offline_settings(row["slug"], user, [row["key"]])
            view.set(row["key"], row["after"])


# -- export ----------------------------------------------------------------------------------


@command("export", "plugreg export plugins.toml\nplugreg export > plugins.toml")
@click.argument("file", required=False, type=click.Path(dir_okay=False, allow_dash=True))
def export(session: Session, file: str | None) -> Answer:
    """Write desired state, versions and settings as a file that `apply` takes.

    Protected values are left out, unless they are references, and named on standard error.
    """
    registry = session.registry
    plugins: dict[str, dict[str, Any]] = {}
    for slug, record in registry.plugins.items():
        table: dict[str, Any] = {"active": record.wanted}
        # The host's own version is not the plugins' to ask for.
        is_own = record.distribution == canonical(registry.options.distribution)
        if record.distribution is not None and record.version is not None and not is_own:
            table["requirement"] = f"{record.distribution}=={record.version}"
        own, hidden = _exported(registry, slug, None)
        users = {str(u): _exported(registry, slug, u) for u in registry.config.users(slug)}
        for key in [*hidden, *(key for _, keys in users.values() for key in keys)]:
            session.output.note(f"the protected value of {slug}.{key} is left out")
        if own:
            table["settings"] = own
        if kept := {user: values for user, (values, _) in users.items() if values}:
            table["user_settings"] = kept
        plugins[slug] = table
    text = write_text(plugins)
    rows = [{"slug": slug, **json.loads(json.dumps(table))} for slug, table in plugins.items()]
    if file not in (None, "-"):
        from pathlib import Path

        Path(str(file)).write_text(text, encoding="utf-8")
        text = f"{file}\n"
    return Answer("plugins", rows, columns=("slug", "active", "requirement"), text=text)


def _exported(
    registry: PluginRegistry, slug: str, user: int | None
) -> tuple[Mapping[str, Any], list[str]]:
    """Return stored values as TOML has them, and the keys of those that are left out."""
    view = registry.config.offline_settings(slug, user)
    found, hidden = {}, []
    for key, definition in view.definitions.items():
        given = view.stored(key)
        if given is None:
            continue
        if given == MASK and view.is_protected(key):
            hidden.append(key)
        elif isinstance(given, str) and definition.converter in (bool, int):
            found[key] = view[key]
        else:
            found[key] = given
    return found, hidden
