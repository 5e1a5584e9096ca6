"""The plan of a normal start, as far as it is known without an import."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from plugreg._lifecycle.resolve import Describe, resolve, settle
from plugreg._state.published import StoredRows
from plugreg._support.frozen import replace
from plugreg._support.slugs import Slug
from plugreg.exceptions import StorageError
from plugreg.records import EMPTY, LoadPlan, Snapshot

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
    quarantined: Mapping[str, str] = EMPTY
    if quarantine is not None:
        with suppress(StorageError):
            quarantined = quarantine.reasons(settled.specs.values())
    rows = stored.known(settled.specs.values())
    return resolve(settled, rows, rules, describe, quarantined=quarantined)
