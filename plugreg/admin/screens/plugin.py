"""The tabs of a plugin, except its settings."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from plugreg._support.slugs import Slug
from plugreg.admin.looks import look_of
from plugreg.admin.reading import plan_of
from plugreg.admin.screens.tabs import show_tab
from plugreg.admin.visits import Message, Redirect, Screen, Visit, sentences
from plugreg.api import APIError
from plugreg.api.errors import NotFoundError, UnavailableError
from plugreg.api.http import ASSETS_PATH
from plugreg.exceptions import InstallError, PluginNotActiveError
from plugreg.records import PluginRecord, PluginState

MOST_FILES = 500
"""The most files that the tab of files lists."""


def show_overview(visit: Visit, plugin: str) -> Screen:
    """Return the metadata of a plugin, and the order of its hooks.

    Args:
        visit: The visit.
        plugin: The plugin.
    """
    record = visit.api.registry.get(plugin)
    shown = ("title", "version", "description", "author", "license", "website", "module")
    facts = {name: getattr(record, name) for name in shown}
    # All that could be switched on, so that plugins that are off count, too.
    plan = plan_of(visit.api.registry, visit.api.registry.plugins)
    values = {
        "facts": visit.api.registry.config.scrubbed(record.slug, facts),
        "needs": plan.needs.get(Slug(plugin), ()),
        "needed_by": plan.dependants(plugin),
        "hooks": _hooks(visit, record),
        # A report may have the message of a fault, which is for those who may probe.
        "may_see_probe": visit.may("plugins_probe_create"),
        "probe": visit.api.registry.probed(plugin),
        "panel": _panel(visit, plugin),
    }
    return show_tab(visit, plugin, "overview", values)


def show_failures(visit: Visit, plugin: str) -> Screen:
    """Return the failures of a plugin, in all processes.

    Args:
        visit: The visit.
        plugin: The plugin.
    """
    try:
        found = visit.call("plugins_failures_list", plugin=plugin)
    except UnavailableError:
        # Those of this process need no store.
        slug = visit.api.registry.get(plugin).slug
        found = [failure for failure in visit.api.registry.errors if failure.slug == slug]
    values = {"failures": sorted(found, key=lambda failure: failure.last_seen, reverse=True)}
    return show_tab(visit, plugin, "failures", values)


def show_runtime(visit: Visit, plugin: str) -> Screen:
    """Return the calls of a plugin in this process, and its circuit.

    Args:
        visit: The visit.
        plugin: The plugin.
    """
    dispatch = visit.api.registry.dispatch
    try:
        may_look = visit.may("plugins_processes_list")
        processes = visit.call("plugins_processes_list") if may_look else None
    except UnavailableError:
        processes = None
    values = {
        "stats": [stats for stats in dispatch.stats() if stats.slug == plugin],
        "running": [call for call in dispatch.running() if call.slug == plugin],
        "processes": processes and [(process, plugin in process.active) for process in processes],
        "child": visit.api.registry.get(plugin).process,
        # Stacks and tracebacks name the folders of the server.
        "may_trace": visit.may("plugins_failures_list"),
    }
    return show_tab(visit, plugin, "runtime", values)


def show_files(visit: Visit, plugin: str) -> Screen:
    """Return the files of a plugin for browsers, and the log of its installations.

    Args:
        visit: The visit.
        plugin: The plugin.
    """
    registry = visit.api.registry
    record = visit.api.registry.get(plugin)
    try:
        assets = registry.asset_files(record.slug)
    except PluginNotActiveError:
        assets = None
    may_audit = visit.may("plugins_audit_list")
    entries = registry.packages.audit() if registry.packages is not None and may_audit else ()
    values = {
        "assets": None if assets is None else sorted(assets.items())[:MOST_FILES],
        "audit": [e for e in reversed(entries) if _concerns(e, record.distribution)],
        "may_audit": may_audit,
        "may_uninstall": visit.may("plugins_uninstall_partial_update")
        and _is_in_environment(visit, record.distribution),
        "may_delete": visit.may("plugins_destroy") and bool(record.pk) and not record.wanted,
    }
    return show_tab(visit, plugin, "files", values)


def probe(visit: Visit, plugin: str) -> Redirect:
    """Load a plugin in a child process, and report the result.

    Args:
        visit: The visit.
        plugin: The plugin.
    """
    here = visit.address(f"plugins/{plugin}/")
    try:
        report = visit.call("plugins_probe_create", plugin=plugin)
    except NotFoundError:
        raise
    except APIError as error:
        reason = sentences(error)
        words = visit.text("%(slug)s was not probed: %(reason)s", slug=plugin, reason=reason)
        return Redirect(here, Message("alert", words))
    if report.outcome == "ok":
        words = visit.text("%(slug)s was probed: it loads.", slug=plugin)
        return Redirect(here, Message("status", words))
    words = visit.text("%(slug)s was probed: %(reason)s", slug=plugin, reason=report.detail)
    return Redirect(here, Message("alert", words))


def reset(visit: Visit, plugin: str) -> Redirect:
    """Close the circuit of a plugin.

    Args:
        visit: The visit.
        plugin: The plugin.
    """
    config = visit.call("plugins_reset_create", plugin=plugin)
    here = visit.address(f"plugins/{plugin}/runtime/")
    if config.state == PluginState.ACTIVE and config.circuit == "closed":
        words = visit.text("%(slug)s is called again: its circuit is closed.", slug=plugin)
        return Redirect(here, Message("status", words))
    words = visit.text(
        "%(slug)s was reset, and is not called: it is %(state)s. %(reason)s",
        slug=plugin,
        state=visit.text(look_of(config.state).word),
        reason=config.reason,
    )
    return Redirect(here, Message("alert", words))


def ask_to_delete(visit: Visit, plugin: str) -> Screen:
    """Return the question whether to forget a plugin, or to uninstall it.

    Args:
        visit: The visit.
        plugin: The plugin.
    """
    record = visit.api.registry.get(plugin)
    is_uninstall = visit.request.path.endswith("/uninstall/")
    if is_uninstall and visit.api.registry.packages is None:
        raise NotFoundError
    return Screen("remove.html", {"record": record, "is_uninstall": is_uninstall})


def delete(visit: Visit, plugin: str) -> Screen | Redirect:
    """Delete the stored state of an inactive plugin.

    Args:
        visit: The visit.
        plugin: The plugin.
    """
    words = visit.text("What was stored of %(slug)s is deleted.", slug=plugin)
    return _remove(visit, plugin, "plugins_destroy", {}, words)


def uninstall(visit: Visit, plugin: str) -> Screen | Redirect:
    """Uninstall the distribution of a plugin.

    Args:
        visit: The visit; ``delete_config`` deletes the stored state, too.
        plugin: The plugin.
    """
    words = visit.text("%(slug)s is uninstalled.", slug=plugin)
    body = {"body": {"delete_config": "delete_config" in visit.fields}}
    return _remove(visit, plugin, "plugins_uninstall_partial_update", body, words)


def _remove(
    visit: Visit, plugin: str, operation: str, body: dict[str, Any], words: str
) -> Screen | Redirect:
    try:
        visit.call(operation, plugin=plugin, **body)
    except APIError as error:
        message = Message("alert", f"{plugin}: {sentences(error)}")
        return ask_to_delete(visit, plugin)._replace(status=error.status, message=message)
    return Redirect(visit.root, Message("status", words))


def _hooks(visit: Visit, record: PluginRecord) -> list[dict[str, Any]]:
    """Return the hooks of a plugin, each with all its implementations in call order."""
    registry = visit.api.registry
    callers = registry.manager.get_hookcallers(record.plugin) if record.active else None
    orders = []
    for name in sorted({caller.name for caller in callers or ()}):
        positions = registry.explain(name)
        slugs = [slug for slug, _ in positions]
        if record.slug in slugs:
            place = slugs.index(record.slug) + 1
            orders.append({"hook": name, "positions": positions, "place": place})
    return orders


def _panel(visit: Visit, plugin: str) -> dict[str, str] | None:
    """Return the address of the script of the plugin's own panel, and its context as JSON."""
    if not visit.may("plugins_admin_retrieve"):
        return None
    details = visit.call("plugins_admin_retrieve", plugin=plugin)
    source = details.source or ""
    if source.startswith(f"{ASSETS_PATH}/"):
        # The files of plugins lie beside the page, behind the same prefix.
        source = visit.root.removesuffix("/admin/") + source
    return {"source": source, "context": json.dumps(details.context)} if source else None


def _is_in_environment(visit: Visit, distribution: str | None) -> bool:
    """Return whether a distribution was installed with plugreg, which alone can remove it."""
    packages = visit.api.registry.packages
    with suppress(InstallError):
        return any(
            found.serving and distribution in found.distributions
            for found in (() if packages is None else packages.generations())
        )
    return False


def _concerns(entry: Any, distribution: str | None) -> bool:
    names = (entry.distribution, *(change.name for change in entry.changes))
    return distribution is not None and distribution in names
