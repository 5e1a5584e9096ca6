"""``plugreg why``: the stages of a plugin on its way into service."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from plugreg._support.slugs import canonical, near
from plugreg.cli.command import command, slug_argument
from plugreg.cli.faults import UNKNOWN, Fault
from plugreg.cli.output import Answer
from plugreg.cli.overview import Overview, look
from plugreg.cli.session import Session
from plugreg.records import PluginRecord, PluginState
from plugreg.registry import PluginRegistry

if TYPE_CHECKING:
    from plugreg._state.probe_report import ProbeReport

Stage = tuple[str, bool | None, str]
"""A stage: its name, whether it was passed (None if unknown), and the reason."""

_SIGNS: Final = MappingProxyType(
    {True: ("✓", "green"), False: ("✗", "red"), None: ("·", "bright_black")}
)


@command("why", "plugreg why discount\nplugreg why a-name-that-is-not-listed")
@slug_argument()
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
    text = ""
    for name, ok, reason in stages:
        sign, colour = _SIGNS[ok]
        text += f"{session.output.style(sign, fg=colour)} {name:<10} {reason}\n"
    return Answer(
        "plugins",
        [{**row, "stages": [*map(_as_row, stages)]}],
        text=text,
        verdict=f"{slug}: {row['state']}, serves in {row['serves']} live processes",
    )


def _as_row(stage: Stage) -> dict[str, Any]:
    return dict(zip(("stage", "ok", "reason"), stage, strict=True))


def _stages(
    registry: PluginRegistry, overview: Overview, record: PluginRecord, program: str
) -> Iterator[Stage]:
    slug, origin = record.slug, record.distribution
    if record.state is PluginState.MISSING:
        yield (
            "discovery",
            False,
            f"is not installed any more; install {origin or 'its distribution'}",
        )
    elif origin is not None:
        yield "discovery", True, f"{origin} {record.version or ''}".rstrip()
    else:
        yield "discovery", True, str(record.path or record.module or "given by the host")
    blocked = record.state is PluginState.BLOCKED
    yield "permission", not blocked, record.reason if blocked else "the host permits it"
    if record.wanted:
        yield "wanted", True, "is mandatory" if record.is_mandatory else "is switched on"
    else:
        yield "wanted", False, f"is switched off; switch it on: {program} activate {slug}"
    yield _resolution(overview, record, program)
    yield from _loading(registry, overview, record, program)


def _resolution(overview: Overview, record: PluginRecord, program: str) -> Stage:
    if not record.wanted or record.state in (PluginState.MISSING, PluginState.BLOCKED):
        return "resolve", None, "was not looked at"
    needs, reason = overview.needs(record.slug), overview.held(record.slug)
    if reason is None:
        return "resolve", True, f"needs {', '.join(needs) or 'no other plugin'}"
    off = [need for need in needs if not overview.records[need].wanted]
    if off:
        reason = f"{reason}; switch it on: {program} activate {' '.join(off)}"
    return "resolve", False, reason


def _loading(
    registry: PluginRegistry, overview: Overview, record: PluginRecord, program: str
) -> Iterator[Stage]:
    """Yield the results of import, init and activation, from the processes or from a probe."""
    slug, serving = record.slug, overview.serving(record.slug)
    failed = {str(failure.stage): failure for failure in overview.load_failures(slug)}
    names = ("import", "init", "activate")
    ahead = [failed[name] for name in names if name in failed]
    report, was_tried = registry.probed(slug), bool(ahead)
    for name in names:
        if name in failed:
            failure = ahead.pop(0)
            said = f"in {failure.process} (pid {failure.pid}): {failure.message}"
            # A plugin that was switched off since is not at fault now.
            past = "" if record.wanted else "failed before it was switched off, "
            ok = False if record.wanted else None
            yield name, ok, f"{past}{said}; {program} errors {slug}"
        elif serving:
            yield name, True, f"in {overview.names(serving)}"
        elif ahead:
            yield name, True, f"in {ahead[0].process}"
        elif was_tried:
            yield name, None, "was not reached"
        elif report is not None and name != "activate":
            yield _probed(report, name)
        else:
            yield name, None, f"no process has tried it; see: {program} probe {slug}"
    absent = [process for process in overview.processes if process not in serving]
    if not overview.processes:
        yield "service", None, "no live process is heard"
    elif absent:
        yield "service", False, f"not in {overview.names(absent)}"
    else:
        yield "service", True, f"in {overview.names(serving)}"


def _probed(report: ProbeReport, name: str) -> Stage:
    """Return the result of import or init in a probe."""
    seen = f"probed {report.at:%Y-%m-%d %H:%M}: {report.outcome}"
    at = report.detail.partition(":")[0]
    if report.outcome == "ok" or (at == "init" and name == "import"):
        return name, True, seen
    if at == "import" and name == "init":
        return name, None, "was not reached"
    return name, False, f"{seen}; {report.detail}"


def _unknown(registry: PluginRegistry, name: str) -> Answer:
    found = list(_elsewhere(registry, name))
    hint = near(name, registry.plugins)
    if hint:
        found.insert(0, hint.removeprefix("; "))
    reason = f"no entry point in group {registry.group!r} has this name"
    message = f"plugin {name!r} is not known here: {reason}"
    stages = [_as_row(("discovery", False, reason))]
    row = {"slug": name, "state": None, "stages": stages, "hints": found}
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
