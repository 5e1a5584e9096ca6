"""What a normal start would load, as far as it is known without an import."""

from __future__ import annotations

from collections.abc import Iterable

from plugreg._lifecycle.resolve import Describe, resolve, settle
from plugreg._state.published import StoredRows
from plugreg._support.frozen import replace
from plugreg._support.slugs import Slug
from plugreg.records import LoadPlan, Snapshot


def outlook(
    snapshot: Snapshot,
    stored: StoredRows,
    describe: Describe,
    wanted: Iterable[str] = (),
) -> LoadPlan:
    """Return the plan of a normal start with the plugins of *snapshot*.

    Args:
        snapshot: The plugins that were found.
        stored: The rows, as they were read last.
        describe: Returns the facts of a plugin's distribution.
        wanted: Plugins that are looked at as if they were switched on.
    """
    specs = (known.spec for known in snapshot.plugins.values() if known.spec is not None)
    settled = settle(specs)
    mandatory = stored.rules.mandatory | frozenset(map(Slug, wanted))
    rules = replace(stored.rules, safe_mode=False, mandatory=mandatory)
    return resolve(settled, stored.known(settled.specs.values()), rules, describe)
