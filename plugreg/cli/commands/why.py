"""``plugreg why``: the stages of a plugin on its way into service."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Any

from plugreg._support.slugs import canonical, near
from plugreg.cli.command import command, pass_session, slug_argument
from plugreg.cli.faults import UNKNOWN, Fault
from plugreg.cli.output import Answer
from plugreg.cli.overview import Overview, look
from plugreg.cli.session import Session
from plugreg.records import PluginRecord, PluginState
from plugreg.registry import PluginRegistry

if TYPE_CHECKING:
    from plugreg._state.probe_report import ProbeReport

Stage = dict[str, Any]
"""A stage: its name, whether it was passed (None if unknown), and the reason."""


@command("why", "plugreg why discount\nplugreg why a-name-that-is-not-listed")
@slug_argument()
@pass_session
def why(session: Session, slug: str) -> Answer:
    """Explain why a plugin is in its state, stage by stage.

    For a name that is not known it looks further: for near names, for an entry point of that name
    in another group, and for a distribution of that name without an entry point. No plugin is
    imported.
    """
    registry = session.registry
    if slug not in registry.plugins:
        return _unknown(registry, slug)
    overview = look(registry)
    row = overview.row(slug)
    stages = list(_stages(registry, overview, registry.plugins[slug], session.command))
    return Answer(
        "plugins",
        [{**row, "stages": stages}],
        text="".join(f"{_line(session, stage)}\n" for stage in stages),
        verdict=f"{slug}: {row['state']}, serves in {row['serves']} live processes",
    )


def _line(session: Session, stage: Stage) -> str:
    signs = {True: ("✓", "green"), False: ("✗", "red"), None: ("·", "bright_black")}
    sign, colour = signs[stage["ok"]]
    return f"{session.output.style(sign, fg=colour)} {stage['stage']:<10} {stage['reason']}"


def _stage(name: str, ok: bool | None, reason: str) -> Stage:
    return {"stage": name, "ok": ok, "reason": reason}


def _stages(
    registry: PluginRegistry, overview: Overview, record: PluginRecord, program: str
) -> Iterator[Stage]:
    slug = record.slug
    if record.state is PluginState.MISSING:
        origin = record.distribution or "its distribution"
        yield _stage("discovery", False, f"is not installed any more; install {origin}")
    else:
        yield _stage("discovery", True, _origin(record))
    blocked = record.state is PluginState.BLOCKED
    reason = record.reason if blocked else "the host permits it"
    yield _stage("permission", not blocked, reason)
    if record.is_mandatory:
        yield _stage("wanted", True, "is mandatory")
    elif record.wanted:
        yield _stage("wanted", True, "is switched on")
    else:
        yield _stage("wanted", False, f"is switched off; switch it on: {program} activate {slug}")
    yield _resolution(overview, record, program)
    yield from _loading(registry, overview, record, program)


def _origin(record: PluginRecord) -> str:
    if record.distribution is not None:
        return f"{record.distribution} {record.version or ''}".rstrip()
    return str(record.path or record.module or "given by the host")


def _resolution(overview: Overview, record: PluginRecord, program: str) -> Stage:
    if not record.wanted or record.state in (PluginState.MISSING, PluginState.BLOCKED):
        return _stage("resolve", None, "was not looked at")
    faults = [f.message for f in overview.plan.failures if f.slug == record.slug]
    held = overview.held(record.slug)
    if held is None and not faults:
        needs = overview.needs(record.slug)
        suits = f"needs {', '.join(needs)}" if needs else "needs no other plugin"
        return _stage("resolve", True, suits)
    reason = faults[-1] if faults else str(held)
    off = [need for need in overview.needs(record.slug) if not overview.records[need].wanted]
    if off:
        reason = f"{reason}; switch it on: {program} activate {' '.join(off)}"
    return _stage("resolve", False, reason)


def _loading(
    registry: PluginRegistry, overview: Overview, record: PluginRecord, program: str
) -> Iterator[Stage]:
    """Yield the results of import, init and activation, from the processes or from a probe."""
    slug, serving = record.slug, overview.serving(record.slug)
    failed = {str(failure.stage): failure for failure in overview.load_failures(slug)}
    report = registry.probed(slug)
    serves = bool(serving) and len(serving) == len(overview.processes)
    names = ("import", "init", "activate")
    places = [place for place, name in enumerate(names) if name in failed]
    for place, name in enumerate(names):
        failure = failed.get(name)
        if places and not serving and place < places[0]:
            yield _stage(name, True, f"in {failed[names[places[0]]].process}")
        elif places and not serving and place > places[-1]:
            yield _stage(name, None, "was not reached")
        elif failure is not None:
            where = f"in {failure.process} (pid {failure.pid}): "
            yield _stage(name, False, f"{where}{failure.message}; {program} errors {slug}")
        elif serving:
            yield _stage(name, True, f"in {overview.names(serving)}")
        elif report is not None and name != "activate":
            yield _probed(report, name)
        else:
            hint = f"no process has tried it; see: {program} probe {slug}"
            yield _stage(name, None, hint)
    if not overview.processes:
        yield _stage("service", None, "no live process is heard")
    elif serves:
        yield _stage("service", True, f"in {overview.names(serving)}")
    else:
        missing = [process for process in overview.processes if process not in serving]
        yield _stage("service", False, f"not in {overview.names(missing)}")


def _probed(report: ProbeReport, name: str) -> Stage:
    """Return the result of import or init in a probe."""
    seen = f"probed {report.at:%Y-%m-%d %H:%M}: {report.outcome}"
    if report.outcome == "ok":
        return _stage(name, True, seen)
    at = report.detail.partition(":")[0]
    if at == "init" and name == "import":
        return _stage(name, True, seen)
    if at == "import" and name == "init":
        return _stage(name, None, "was not reached")
    return _stage(name, False, f"{seen}; {report.detail}")


def _unknown(registry: PluginRegistry, name: str) -> Answer:
    found = list(_elsewhere(registry, name))
    hint = near(name, registry.plugins)
    if hint:
        found.insert(0, hint.removeprefix("; "))
    stage = _stage("discovery", False, f"no entry point in group {registry.group!r} has this name")
    message = f"plugin {name!r} is not known here: {stage['reason']}"
    row = {"slug": name, "state": None, "stages": [stage], "hints": found}
    return Answer(
        "plugins",
        [row],
        fault=Fault(UNKNOWN, "unknown-plugin", message, "; ".join(found) or "see: plugreg list"),
        text="",
    )


def _elsewhere(registry: PluginRegistry, name: str) -> Iterator[str]:
    """Yield installed alternatives: other groups, and distributions without an entry point."""
    for distribution in metadata.distributions():
        title = distribution.metadata["Name"] or "?"
        points = list(distribution.entry_points)
        for point in points:
            if point.name == name and point.group != registry.group:
                yield f"{title} has an entry point {name!r} in group {point.group!r}"
        is_meant = canonical(title) in (canonical(name), f"{registry.host}-{canonical(name)}")
        own = [point.name for point in points if point.group == registry.group]
        if is_meant and own:
            yield f"{title} provides {', '.join(map(repr, own))}"
        elif is_meant:
            yield f"{title} is installed, but with no entry point in {registry.group!r}"
