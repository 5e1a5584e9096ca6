"""The plan of a normal start, as far as it is known without an import."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from plugreg._lifecycle.resolve import Describe, need_unmet, resolve, settle
from plugreg._state.published import StoredRows
from plugreg._support.frozen import replace
from plugreg._support.slugs import Slug
from plugreg.exceptions import StorageError
from plugreg.records import (
    EMPTY,
    LoadPlan,
    NotLoaded,
    PluginFailure,
    PluginState,
    Snapshot,
    Stage,
)

if TYPE_CHECKING:
    from plugreg._state.quarantine import Quarantine


def outlook(
    snapshot: Snapshot,
    stored: StoredRows,
    describe: Describe,
    wanted: Iterable[str] = (),
    *,
    quarantine: Quarantine | None = None,
) -> LoadPlan:
    """Return the plan of a normal start with the plugins of *snapshot*.

    Args:
        snapshot: The plugins that were found.
        stored: The rows, as they were read last.
        describe: Returns the facts of a plugin's distribution.
        wanted: Plugins that are looked at as if they were switched on.
        quarantine: Knows which plugins ended the process that loaded them, None without any. A
            storage that cannot be read has none.
    """
    specs = (known.spec for known in snapshot.plugins.values() if known.spec is not None)
    settled = settle(specs)
    mandatory = stored.rules.mandatory | frozenset(map(Slug, wanted))
    rules = replace(stored.rules, safe_mode=False, mandatory=mandatory)
    plan = resolve(settled, stored.known(settled.specs.values()), rules, describe)
    reasons: Mapping[str, str] = EMPTY
    if quarantine is not None:
        with suppress(StorageError):
            reasons = quarantine.reasons(plan.order)
    return _without(plan, reasons) if reasons else plan


def _without(plan: LoadPlan, reasons: Mapping[str, str]) -> LoadPlan:
    """Return a plan that leaves plugins in quarantine out, and those that need them."""
    held, failures, order = dict(plan.held), [*plan.failures], []
    for spec in plan.order:
        slug, stage = spec.slug, Stage.IMPORT
        unmet = next((need for need in plan.needs[slug] if need in held), None)
        reason = held_reason = reasons.get(slug, "")
        if reason:
            held_reason = "ended the process that loaded it"
        elif unmet is not None:
            reason = held_reason = need_unmet(unmet, held[unmet].reason)
            stage = Stage.RESOLVE
        if not reason:
            order.append(spec)
            continue
        held[slug] = NotLoaded(state=PluginState.FAILED, reason=held_reason)
        failures.append(PluginFailure(stage=stage, slug=slug, message=reason))
    return replace(plan, held=held, failures=tuple(failures), order=tuple(order))
