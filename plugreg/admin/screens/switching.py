"""Switching plugins on and off: the concerned plugins, a question, and the result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import quote

from plugreg._state.probe_report import ProbeReport
from plugreg._support.frozen import Frozen
from plugreg._support.slugs import Slug
from plugreg.admin.looks import look_of
from plugreg.admin.reading import plan_of
from plugreg.admin.visits import MOST_LINES, Message, Redirect, Screen, Visit, sentences
from plugreg.api import APIError
from plugreg.api.errors import InvalidError
from plugreg.api.plugins import why_it_stays
from plugreg.exceptions import (
    PluginMandatoryError,
    PluginNotFoundError,
    PluginRequiredError,
    PlugregError,
)
from plugreg.records import LoadPlan, PluginRecord

SWITCH = "plugins_activate_partial_update"
"""The operation that switches."""

_FIELD = "plugin:"


class Concern(Frozen):
    """The plugins concerned by switching a plugin.

    Attributes:
        record: The plugin.
        needs: Plugins that it needs, with their states.
        needed_by: Wanted plugins that need it, and are not switched with it.
        dependants: Those of them that are active.
        mandatory: The mandatory plugin that keeps it on: itself, or an active one that needs it.
        outlook: Why it would not be loaded if it was switched on, "" if it would.
        probe: Report of the last probe of this version, or None.
    """

    record: PluginRecord
    needs: tuple[PluginRecord, ...]
    needed_by: tuple[str, ...]
    dependants: tuple[str, ...]
    mandatory: str | None
    outlook: str
    probe: ProbeReport | None


class SwitchOutcome(NamedTuple):
    """The result of switching a plugin, in a sentence; ``is_fine`` as it was wanted."""

    slug: str
    sentence: str
    is_fine: bool


def ask_to_activate(visit: Visit, plugin: str) -> Screen:
    """Return the question whether to switch a plugin on.

    Args:
        visit: The visit.
        plugin: The plugin.

    Raises:
        PluginNotFoundError: If there is no such plugin.
    """
    return _ask_of(visit, plugin, wanted=True)


def ask_to_deactivate(visit: Visit, plugin: str) -> Screen:
    """Return the question whether to switch a plugin off.

    Args:
        visit: The visit.
        plugin: The plugin.

    Raises:
        PluginNotFoundError: If there is no such plugin.
    """
    return _ask_of(visit, plugin, wanted=False)


def switch(visit: Visit) -> Screen | Redirect:
    """Switch the plugins of a form, or ask first where that concerns more than them.

    Args:
        visit: The visit; its fields have the plugins, and ``to``.
    """
    if visit.fields.get("to") not in ("activate", "deactivate"):
        raise InvalidError({"to": [visit.text("The form is incomplete; nothing was changed.")]})
    wanted = visit.fields["to"] == "activate"
    slugs = [name.removeprefix(_FIELD) for name in visit.fields if name.startswith(_FIELD)]
    if not slugs:
        sentence = visit.text("No plugin was selected; nothing was changed.")
        return Redirect(visit.root + visit.back, Message("alert", sentence))
    concerns = concerns_of(visit, slugs)
    if "confirmed" not in visit.fields:
        if any(_is_grave(concern, wanted=wanted) for concern in concerns):
            return _ask(visit, concerns, wanted=wanted)
    elif not wanted and "cascade" in visit.fields:
        dependants = _dependants(concerns)
        if not {*dependants} <= {*visit.fields.get("dependants", "").split()}:
            words = visit.text("Other plugins depend on it by now; nothing was changed.")
            screen = _ask(visit, concerns, wanted=wanted)
            return screen._replace(status=409, message=Message("alert", words))
        slugs = [*dependants, *slugs]
    outcomes = _switch_all(visit, slugs, wanted=wanted)
    fragment = f"#switch-{quote(slugs[-1])}" if not visit.back.startswith("plugins/") else ""
    return Redirect(visit.root + visit.back + fragment, _message(visit, outcomes))


def concerns_of(visit: Visit, slugs: Sequence[str]) -> list[Concern]:
    """Return the concerns of switching plugins together. Nothing is imported.

    Args:
        visit: The visit.
        slugs: The plugins; unknown ones are left out.
    """
    registry = visit.api.registry
    records = [registry.get(slug) for slug in slugs if slug in registry.plugins]
    # A single plan serves all of them, because it includes every plugin.
    plan = plan_of(registry, [record.slug for record in records])
    # In safe mode no plugin is active, and those count that a normal start would load.
    active = {spec.slug for spec in plan.order} if registry.safe_mode else {*registry.active}
    return [_concern_of(visit, record, plan, active, slugs) for record in records]


def _concern_of(
    visit: Visit, record: PluginRecord, plan: LoadPlan, active: Set[str], together: Sequence[str]
) -> Concern:
    registry, slug = visit.api.registry, Slug(record.slug)
    held = plan.held.get(slug)
    dependants = plan.dependants(slug)
    needed_by = tuple(name for name in dependants if name not in together)
    keeping = [slug, *(name for name in dependants if name in active)]
    return Concern(
        record=record,
        needs=tuple(registry.get(need) for need in plan.needs.get(slug, ())),
        needed_by=needed_by,
        dependants=tuple(name for name in needed_by if name in active),
        mandatory=next((name for name in keeping if registry.get(name).is_mandatory), None),
        outlook="" if record.wanted or held is None else held.reason,
        probe=registry.probed(slug),
    )


def _dependants(concerns: Iterable[Concern]) -> list[str]:
    """Return the plugins to switch off too; where a plugin must stay, they would go in vain."""
    leaving = (concern for concern in concerns if concern.mandatory is None)
    return sorted({slug for concern in leaving for slug in concern.dependants})


def _is_grave(concern: Concern, *, wanted: bool) -> bool:
    """Return whether switching concerns more than the plugin itself."""
    if not wanted:
        return bool(concern.dependants)
    return concern.probe is not None and concern.probe.ends_host


def _ask_of(visit: Visit, plugin: str, *, wanted: bool) -> Screen:
    record = visit.api.registry.get(plugin)
    return _ask(visit, concerns_of(visit, [record.slug]), wanted=wanted)


def _ask(visit: Visit, concerns: Sequence[Concern], *, wanted: bool) -> Screen:
    values = {
        "wanted": wanted,
        "concerns": concerns,
        "dependants": _dependants(concerns),
        "back": visit.back,
        "field": _FIELD,
    }
    return Screen("switch.html", values)


def _switch_all(visit: Visit, slugs: Sequence[str], *, wanted: bool) -> list[SwitchOutcome]:
    refused, registry = {} if wanted else _refusals(visit, slugs), visit.api.registry
    left = [slug for slug in slugs if slug not in refused]
    if not wanted:
        # Where one of them cannot be switched off, each is tried alone, which names the one.
        with suppress(PlugregError):
            registry.switch({slug: False for slug in left if slug in registry.plugins})
            left = [slug for slug in left if slug not in registry.plugins]
    for slug in left:
        try:
            visit.call(SWITCH, plugin=slug, body={"active": wanted})
        except APIError as error:
            refused[slug] = sentences(error)
    return [_outcome(visit, slug, refused.get(slug), wanted=wanted) for slug in slugs]


def _refusals(visit: Visit, slugs: Sequence[str]) -> dict[str, str]:
    """Return why some of the plugins must stay on, as a single plan shows it."""
    refused = {}
    for concern in concerns_of(visit, slugs):
        slug = concern.record.slug
        if concern.mandatory is not None:
            refused[slug] = why_it_stays(slug, PluginMandatoryError(concern.mandatory))
        elif concern.dependants:
            refused[slug] = why_it_stays(slug, PluginRequiredError(slug, concern.dependants))
    return refused


def _outcome(visit: Visit, slug: str, refusal: str | None, *, wanted: bool) -> SwitchOutcome:
    names = {"slug": slug}
    if refusal is not None:
        words = visit.text("%(slug)s was not switched: %(reason)s", **names, reason=refusal)
        return SwitchOutcome(slug, words, is_fine=False)
    try:
        record = visit.api.registry.get(slug)
    except PluginNotFoundError:
        return SwitchOutcome(slug, visit.text("%(slug)s is gone.", **names), is_fine=True)
    is_fine = wanted is record.active or (wanted and visit.api.registry.safe_mode)
    names |= {"state": visit.text(look_of(record.state).word), "reason": record.reason}
    if record.active and wanted:
        words = visit.text("%(slug)s is active.", **names)
    elif not record.active and not wanted:
        words = visit.text("%(slug)s is inactive.", **names)
    elif is_fine:
        words = visit.text("%(slug)s is switched on, and starts when safe mode ends.", **names)
    elif wanted:
        words = visit.text("%(slug)s is switched on, but it is %(state)s: %(reason)s", **names)
    else:
        words = visit.text("%(slug)s is switched off, but it is %(state)s: %(reason)s", **names)
    return SwitchOutcome(slug, words, is_fine)


def _message(visit: Visit, outcomes: Sequence[SwitchOutcome]) -> Message:
    bad = [outcome for outcome in outcomes if not outcome.is_fine]
    if len(outcomes) == 1:
        return Message("alert" if bad else "status", outcomes[0].sentence)
    fine, total = len(outcomes) - len(bad), len(outcomes)
    text = visit.text("%(fine)d of %(all)d plugins were switched.", fine=fine, all=total)
    # Those that did not work come first, and the cookie has room for a few.
    ordered = [*bad, *(outcome for outcome in outcomes if outcome.is_fine)]
    lines = [outcome.sentence[:200] for outcome in ordered[:MOST_LINES]]
    if len(ordered) > MOST_LINES:
        lines.append(visit.text("and %(more)d more", more=len(ordered) - MOST_LINES))
    return Message("alert" if bad else "status", text, tuple(lines))
