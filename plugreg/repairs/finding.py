"""Repairs of a situation: a pure function of values; nothing is read, stored or run here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import combinations
from typing import Any, Final

from plugreg._calls import OPEN_CIRCUIT
from plugreg._lifecycle.recording import UNKNOWN_PLUGIN as OVERRIDES
from plugreg._lifecycle.recording import SettingsHealth
from plugreg._lifecycle.resolve import settle
from plugreg._support.slugs import near
from plugreg.records import (
    LOAD_STAGES,
    KnownPlugin,
    PluginFailure,
    PluginState,
    ProcessFailure,
    Stage,
)
from plugreg.repairs import codes
from plugreg.repairs._actions import Actions, read_about
from plugreg.repairs._values import Repair, RepairAction, Situation
from plugreg.repairs.codes import OF_STAGE, RepairCode, Severity

_PATIENCE: Final = timedelta(minutes=1)
"""How long processes may serve different plugins before that is a fault."""

_ORDER: Final = ("error", "warning", "info")


def find_repairs(situation: Situation, registry: Any) -> tuple[Repair, ...]:
    """Return the problems of a situation, errors first, then by code and plugin.

    Args:
        situation: The situation.
        registry: The registry whose operations the actions run.
    """
    actions = Actions(registry, situation)
    found = [repair for find in _FINDERS for repair in find(situation, actions)]
    found.sort(key=lambda repair: (_ORDER.index(repair.severity), repair.code, repair.slug or ""))
    return tuple(found)


def _repair(
    code: RepairCode,
    slug: str | None,
    text: str,
    actions: Iterable[RepairAction | None] = (),
    *,
    severity: Severity | None = None,
    title: str = "",
) -> Repair:
    kept = tuple(action for action in actions if action is not None)
    return Repair(
        code=code.code,
        severity=severity or code.severity,
        slug=slug,
        title=title or code.title,
        text=text,
        actions=kept or (read_about(code),),
    )


# -- plugins that do not serve ---------------------------------------------------------------


def _find_failed(situation: Situation, do: Actions) -> Iterator[Repair]:
    """Yield a repair for each plugin and stage at which it has failed."""
    groups: dict[tuple[str, Stage], list[PluginFailure]] = {}
    for failure in situation.failures:
        if not _has_code_of_its_own(failure, situation):
            groups.setdefault((failure.slug, failure.stage), []).append(failure)
    for (slug, stage), failures in groups.items():
        last = max(failures, key=lambda failure: failure.last_seen)
        known = situation.snapshot.plugins.get(slug)
        is_off = stage in LOAD_STAGES and not (
            _serves(known) or all(_serves_there(failure, situation) for failure in failures)
        )
        severity: Severity | None = "warning" if known is not None and not is_off else None
        yield _repair(
            OF_STAGE[stage],
            slug,
            _sentence(last, failures),
            _of_failed(stage, slug, known, do),
            severity=severity,
            title="Plugin serves with a fault" if stage in LOAD_STAGES and not is_off else "",
        )


def _serves(known: KnownPlugin | None) -> bool:
    return known is not None and known.state is PluginState.ACTIVE


def _serves_there(failure: PluginFailure, situation: Situation) -> bool:
    """Return whether a plugin serves in the process in which it has failed all the same."""
    return isinstance(failure, ProcessFailure) and any(
        (process.host, process.pid) == (failure.host, failure.pid)
        for process in situation.processes
        if failure.slug in process.active
    )


def _sentence(last: PluginFailure, failures: list[PluginFailure]) -> str:
    more = len({failure.message for failure in failures}) - 1
    text = last.message if not more else f"{last.message} (and {more} more)"
    if isinstance(last, ProcessFailure):
        text = f"{text} [in process {last.process!r}, pid {last.pid}]"
    return text


def _of_failed(
    stage: Stage, slug: str, known: KnownPlugin | None, do: Actions
) -> tuple[RepairAction | None, ...]:
    if stage is Stage.INSTALL:
        return do("rollback"), do("sync")
    if known is None or stage is Stage.DISCOVERY:
        return do("reload"), read_about(OF_STAGE[stage])
    again = (do("reset", slug),) if stage in LOAD_STAGES else ()
    return (*again, do("deactivate", slug), do("show", slug))


def _has_code_of_its_own(failure: PluginFailure, situation: Situation) -> bool:
    """Return whether another finder yields a repair for a failure."""
    known = situation.snapshot.plugins.get(failure.slug)
    if failure.subject in (OPEN_CIRCUIT, OVERRIDES) or SettingsHealth.is_record(failure):
        return True
    if failure.stage is Stage.DISCOVERY:
        is_claim = failure.slug == "safe-mode" or _is_claim(failure)
        return is_claim or _is_row_fault(failure, situation)
    if failure.slug in situation.quarantined and failure.stage is Stage.IMPORT:
        return True
    if known is None or failure.stage not in LOAD_STAGES:
        return False
    if isinstance(failure, ProcessFailure) and not known.wanted:
        return True  # It was switched off since.
    is_settled = known.state in (PluginState.INCOMPATIBLE, PluginState.MISSING)
    return is_settled or _unmet(known, situation) is not None or _is_row_fault(failure, situation)


def _is_claim(failure: PluginFailure) -> bool:
    return "which comes first; rename or remove one of the two" in failure.message


def _is_row_fault(failure: PluginFailure, situation: Situation) -> bool:
    return any(failure.message == str(error) for error in situation.damaged)


def _unmet(known: KnownPlugin, situation: Situation) -> KnownPlugin | None:
    """Return the plugin that keeps another plugin off, at the end of the chain."""
    plugins, seen = situation.snapshot.plugins, {known.slug}
    found = None
    while known.wanted and known.reason.startswith("needs '"):
        needs = situation.snapshot.needs.get(known.slug, ())
        off = [plugins[need] for need in needs if need in plugins and not _serves(plugins[need])]
        if not off or off[0].slug in seen:
            break
        known = found = off[0]
        seen.add(known.slug)
    return found


def _find_needs(situation: Situation, do: Actions) -> Iterator[Repair]:
    for slug, known in situation.snapshot.plugins.items():
        need = _unmet(known, situation)
        if need is not None:
            text = f"{slug!r} {known.reason}"
            yield _repair(codes.NEED, slug, text, [_of_need(need, do), do("deactivate", slug)])


def _of_need(need: KnownPlugin, do: Actions) -> RepairAction | None:
    match need.state:
        case PluginState.INACTIVE:
            return do("activate", need.slug)
        case PluginState.MISSING:
            return do("install", need.distribution or need.slug)
        case PluginState.FAILED:
            return do("reset", need.slug)
    return None


def _find_unfit(situation: Situation, do: Actions) -> Iterator[Repair]:
    for slug, known in situation.snapshot.plugins.items():
        name, off = known.distribution, do("deactivate", slug)
        if known.wanted and known.state is PluginState.INCOMPATIBLE:
            upgrade = do("upgrade", slug, name) if name is not None else None
            read = read_about(codes.INCOMPATIBLE)
            text = f"{slug!r} {known.reason}"
            yield _repair(codes.INCOMPATIBLE, slug, text, [upgrade, off, read])
        elif known.wanted and known.state is PluginState.MISSING:
            actions = [do("install", name or slug), off, do("reload")]
            text = f"{slug!r} is switched on, and is not installed"
            yield _repair(codes.MISSING, slug, text, actions)


def _find_quarantined(situation: Situation, do: Actions) -> Iterator[Repair]:
    for slug, reason in sorted(situation.quarantined.items()):
        known = situation.snapshot.plugins.get(slug)
        if known is not None and known.wanted:
            actions = [do("deactivate", slug), do("probe", slug), do("reset", slug)]
            yield _repair(codes.QUARANTINED, slug, f"{slug!r}: {reason}", actions)


# -- calls -----------------------------------------------------------------------------------


def _find_calls(situation: Situation, do: Actions) -> Iterator[Repair]:
    for slug, state in situation.circuits.items():
        text = f"the circuit of {slug!r} is {state}: it has failed repeatedly"
        last = [f for f in situation.failures if f.slug == slug and f.subject != OPEN_CIRCUIT]
        if last:
            text = f"{text}; the last failure was {last[-1].message}"
        close = do("reset", slug, label=f"Close the circuit of {slug}")
        yield _repair(codes.CIRCUIT, slug, text, [close, do("deactivate", slug), do("show", slug)])
    for failure in situation.failures:
        if not isinstance(failure, ProcessFailure) or failure.subject != OPEN_CIRCUIT:
            continue
        if failure.is_running:
            slug, place = failure.slug, f"process {failure.process!r} (pid {failure.pid})"
            text = f"the circuit of {slug!r} is open in {place}: it has failed repeatedly"
            actions = [do("close_everywhere", slug), do("deactivate", slug), do("show", slug)]
            yield _repair(codes.CIRCUIT, slug, text, actions)
    for call in situation.hanging:
        text = (
            f"{call.hook!r} of {call.slug!r} has run for {call.seconds:.0f} seconds "
            f"in {call.thread!r}"
        )
        actions = [do("deactivate", call.slug), read_about(codes.HANGING)]
        yield _repair(codes.HANGING, call.slug, text, actions)


def _find_slow(situation: Situation, do: Actions) -> Iterator[Repair]:
    for slug, seconds in situation.slow.items():
        text = f"importing {slug!r} took {seconds:.1f} seconds"
        yield _repair(codes.SLOW, slug, text, [do("probe", slug), read_about(codes.SLOW)])


# -- settings and the store ------------------------------------------------------------------


def _find_settings(situation: Situation, do: Actions) -> Iterator[Repair]:
    for slug, declared in situation.declared.items():
        known = situation.snapshot.plugins.get(slug)
        if known is None or not known.wanted:
            continue
        stored = situation.stored.get(slug)
        there = {*situation.overrides.get(slug, ()), *(stored.of(None) if stored else ())}
        missing = {key for key, needs_value in declared.items() if needs_value} - there
        for key in sorted(missing):
            text = f"{slug!r} requires the setting {key}, which has neither a value nor a default"
            yield _repair(codes.REQUIRED, slug, text, [do("set", slug, key)])
        for key, fault in situation.setting_faults.get(slug, {}).items():
            if key not in missing:
                text = f"setting {key} of {slug!r}: {fault}"
                yield _repair(
                    codes.UNREADABLE, slug, text, [do("set", slug, key)], severity="warning"
                )


def _find_stored(situation: Situation, do: Actions) -> Iterator[Repair]:
    plugins = situation.snapshot.plugins
    for slug, stored in situation.stored.items():
        known, own = plugins.get(slug), stored.of(None)
        orphaned = frozenset(own) - situation.declared.get(slug, own).keys()
        if known is None or (known.state is PluginState.MISSING and not known.wanted):
            orphaned = frozenset(own)
            text = f"settings of {slug!r} are stored, and there is no such plugin"
        else:
            names = ", ".join(sorted(orphaned))
            text = f"settings that {slug!r} does not declare are stored: {names}"
        if orphaned or (known is None and stored.has_values):
            yield _repair(codes.ORPHANED, slug, text, [do("forget", slug, keys=orphaned)])
        for key, fault in ((key, value.fault) for key, value in own.items() if value.fault):
            if key not in situation.setting_faults.get(slug, {}):
                text = f"setting {key} of {slug!r}: {fault}"
                yield _repair(codes.UNREADABLE, slug, text, [do("set", slug, key)])
    for error in situation.damaged:
        owner = error.key.partition(":")[0]
        slug_or_none = owner if owner in plugins else None
        aside = do("set_aside", error.table, error.key)
        yield _repair(codes.UNREADABLE, slug_or_none, str(error), [aside])


def _find_overrides(situation: Situation, _do: Actions) -> Iterator[Repair]:
    for slug, keys in situation.overrides.items():
        if slug not in situation.snapshot.plugins:
            text = (
                f"overrides= has settings of {slug!r}, and there is no such plugin"
                f"{near(slug, situation.snapshot.plugins)}"
            )
            yield _repair(codes.UNKNOWN_PLUGIN, slug, text)
        elif slug in situation.declared:
            known = situation.declared[slug]
            for key in sorted(keys - known.keys()):
                text = f"overrides= has {key} of {slug!r}, which declares no such setting"
                text += near(key, known)
                yield _repair(codes.UNKNOWN_KEY, slug, text)


def _find_exposed(situation: Situation, _do: Actions) -> Iterator[Repair]:
    in_clear = {
        slug
        for slug, stored in situation.stored.items()
        for values in stored.values.values()
        if any(value.is_protected and not value.fault for value in values.values())
    }
    if in_clear and not situation.has_keys:
        names = ", ".join(sorted(in_clear))
        text = f"protected settings are stored, and not encrypted: those of {names}"
        yield _repair(codes.PLAINTEXT, None, text)
    if situation.open_file:
        text = f"other users of this machine can use {situation.open_file}"
        yield _repair(codes.READABLE, None, text)


# -- sources and installing ------------------------------------------------------------------


def _find_claims(situation: Situation, do: Actions) -> Iterator[Repair]:
    for failure in settle(situation.snapshot.discovery.specs).failures:
        if _is_claim(failure):
            known = situation.snapshot.plugins.get(failure.slug)
            is_package = known is not None and known.is_package
            remove = do("uninstall", failure.slug) if is_package else None
            actions = [remove, read_about(codes.CLAIMED)]
            yield _repair(codes.CLAIMED, failure.slug, failure.message, actions)


def _find_installing(situation: Situation, do: Actions) -> Iterator[Repair]:
    if situation.interrupted:
        names = ", ".join(situation.interrupted)
        text = f"an installation ended before it was done, and left {names}"
        actions = [do("sync"), read_about(codes.INTERRUPTED)]
        yield _repair(codes.INTERRUPTED, None, text, actions)
    for release in situation.releases:
        slug = release.slugs[0] if release.slugs else None
        what = f"{release.distribution} {release.installed} is installed"
        if release.yanked is not None:
            what = f"{what}, and was withdrawn ({release.yanked or 'no reason was given'})"
        text = what if release.latest is None else f"{what}; {release.latest} is the latest"
        name = release.distribution
        action = do("install", name) if slug is None else do("upgrade", slug, name)
        yield _repair(codes.RELEASE, slug, text, [action])


# -- processes -------------------------------------------------------------------------------


def _find_skew(situation: Situation, do: Actions) -> Iterator[Repair]:
    now = situation.now
    if now is None:
        return
    settled = [p for p in situation.processes if now - p.since > _PATIENCE and not p.narrowed]
    for one, other in combinations(settled, 2):
        difference = {*one.active} ^ {*other.active}
        if difference:
            names = ", ".join(sorted(difference))
            text = (
                f"process {one.name!r} (pid {one.pid}) and process {other.name!r} "
                f"(pid {other.pid}) have served different plugins for more than a minute: {names}"
            )
            yield _repair(codes.SKEW, None, text, [do("reload_everywhere")])
            return


def _find_modes(situation: Situation, _do: Actions) -> Iterator[Repair]:
    if situation.is_safe:
        text = "safe mode is on: no plugin is loaded, and nothing was changed or deleted"
        yield _repair(codes.SAFE_MODE, None, text)
    if situation.narrowed:
        yield _repair(codes.NARROWED, None, situation.narrowed)


_FINDERS: Final[tuple[Callable[[Situation, Actions], Iterator[Repair]], ...]] = (
    _find_failed,
    _find_needs,
    _find_unfit,
    _find_quarantined,
    _find_calls,
    _find_slow,
    _find_settings,
    _find_stored,
    _find_overrides,
    _find_exposed,
    _find_claims,
    _find_installing,
    _find_skew,
    _find_modes,
)
